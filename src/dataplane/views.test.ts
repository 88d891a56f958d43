import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defaultBalancer } from "../balancers/index.ts";
import { drivers } from "../drivers/index.ts";
import type { Network } from "../model/network.ts";
import type { Owner } from "../model/plan.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { RowKey, Snapshot, Transaction } from "../store/store.ts";
import {
  endpointRow,
  idOf,
  networkRows,
  peerRow,
  putContainer,
  putNetwork,
  sandboxRow,
} from "../../test/support/rows.ts";
import { allOwners, ownersOf, planOf } from "./views.ts";

const driverFor = (name: string) => drivers[name];
const planners = { driverFor, balancer: defaultBalancer };
const nothing = { host: {}, networks: {} };
const tunnel = { udpPort: 4789, local: "192.0.2.1", mtu: 1450 };
const wide = networkRows({ number: 1, driver: "overlay", vni: 4097, tunnel, options: { multicast: "true" } });
/** Another host's network: this one has its rows and takes no part. */
const foreign = networkRows({ number: 2, driver: "overlay", vni: 4098 });
const second = "192.0.2.7";
const third = "2001:db8::8";
const [near, far, farther, strange] = [
  peerRow(wide, { member: 4, dataPath: second }),
  peerRow(wide, { member: 5, dataPath: second }),
  peerRow(wide, { member: 6, dataPath: third }),
  peerRow(foreign, { member: 7, dataPath: "192.0.2.9" }),
];
const own = peerRow(wide, { member: 2, dataPath: tunnel.local });

async function rowsOf(...changes: ((tx: Transaction) => void)[]): Promise<Snapshot> {
  const store = createMemoryStore();
  for (const change of changes) await store.update(change);
  return store.snapshot();
}
const all = (tx: Transaction) => {
  for (const rows of [wide, foreign]) putNetwork(tx, rows);
  putContainer(tx, wide, { member: 2 });
  for (const peer of [near, far, farther, strange, own]) tx.put("peers", peer);
};
const withTunnel = (change: Partial<Network>) => (tx: Transaction) =>
  tx.put("networks", { ...wide.network, ...change });
const changed = (table: RowKey["table"], key: string): RowKey[] => [{ table, key }];
const textOf = (rows: Snapshot, owner: Owner) =>
  planOf(rows, owner, planners, nothing).map((o) =>
    JSON.stringify(o, ["kind", "family", "set", "key", "mac", "destination"]),
  );
const element = (family: string, set: string, key: string) => JSON.stringify({ kind: "element", family, set, key });

describe("owners over hosts", () => {
  it("are peers and ends of tunnels of networks in which this host takes part, once", async () => {
    const owners = allOwners(await rowsOf(all), driverFor).filter((o) => /^(peer|tunnel):/.test(o));
    assert.deepEqual(
      owners.toSorted(),
      [
        ...[near, far, farther, own].map((p) => `peer:${p.id}`),
        ...[second, third, tunnel.local].map((end) => `tunnel:${end}`),
      ].toSorted(),
    );
  });

  it("are a peer and its host, both of them when it moves, and nobody where this host takes no part", async () => {
    const before = await rowsOf(all);
    const of = async (key: string, change: (tx: Transaction) => void) =>
      new Set(ownersOf(before, await rowsOf(all, change), changed("peers", key), driverFor));
    assert.deepEqual(
      await of(near.id, (tx) => tx.delete("peers", near.id)),
      new Set([`peer:${near.id}`, `tunnel:${second}`]),
    );
    assert.deepEqual(
      await of(near.id, (tx) => tx.put("peers", { ...near, dataPath: third })),
      new Set([`peer:${near.id}`, `tunnel:${second}`, `tunnel:${third}`]),
    );
    assert.deepEqual(await of(strange.id, (tx) => tx.delete("peers", strange.id)), new Set());
  });

  it("are a network's members when its tunnel is another one, and only then", async () => {
    const before = await rowsOf(all);
    const of = async (change: Partial<Network>) =>
      ownersOf(before, await rowsOf(all, withTunnel(change)), changed("networks", wide.network.id), driverFor);
    const { id } = wide.network;
    assert.deepEqual(await of({ createdAt: "2027-01-01T00:00:00Z" }), [`network:${id}`, "host"]);
    for (const change of [{ tunnel: { ...tunnel, local: "192.0.2.3" } }, { vni: 5000 }])
      assert.deepEqual(
        new Set(await of(change)),
        new Set([
          `network:${id}`,
          "host",
          `endpoint:${endpointRow(wide, { member: 2 }).id}`,
          ...[near, far, farther, own].map((p) => `peer:${p.id}`),
          ...[second, third, tunnel.local].map((end) => `tunnel:${end}`),
        ]),
      );
  });
});

describe("plans over hosts", () => {
  it("close the port of the tunnels from the host's first one on, and no port without", async () => {
    const ports = (rows: Snapshot) => textOf(rows, "host").filter((text) => text.includes("tunnel_ports"));
    assert.deepEqual(ports(await rowsOf(all)), [
      element("ip", "tunnel_ports", "4789"),
      element("ip6", "tunnel_ports", "4789"),
    ]);
    assert.deepEqual(ports(await rowsOf((tx) => putNetwork(tx, foreign))), []);
  });

  it("let another host in while it has a container on a network of this one", async () => {
    const rows = await rowsOf(all);
    const everyone = (destination: string) => JSON.stringify({ kind: "tunnel", mac: "00:00:00:00:00:00", destination });
    assert.deepEqual(textOf(rows, `tunnel:${second}`), [
      element("ip", "tunnel_ends", `${second} . ${tunnel.local} . 4097`),
      everyone(second),
    ]);
    assert.deepEqual(textOf(rows, `tunnel:${third}`), [everyone(third)], "it speaks IPv6, and this host does not");
    assert.deepEqual(textOf(rows, "tunnel:192.0.2.9"), [], "on another network alone");
    assert.deepEqual(textOf(rows, `tunnel:${tunnel.local}`), [], "this host");
    const one = await rowsOf(all, (tx) => tx.delete("peers", near.id));
    assert.equal(textOf(one, `tunnel:${second}`).length, 2);
    const none = await rowsOf(all, (tx) => [near, far].forEach(({ id }) => tx.delete("peers", id)));
    assert.deepEqual(textOf(none, `tunnel:${second}`), []);
  });

  it("have a network's namespace without what the kernel's bridges must not do, and no other", async () => {
    const key = "net.bridge.bridge-nf-call-iptables";
    const rows = await rowsOf(all, (tx) => putNetwork(tx, networkRows({ number: 3 })));
    const found = rows.list("networks").flatMap(({ id }) => {
      const objects = planOf(rows, `network:${id}`, planners, { host: {}, networks: { [key]: "0" } });
      return objects.filter((o) => o.kind === "sysctl" && o.key === key);
    });
    assert.deepEqual(found, [{ kind: "sysctl", namespace: `network:${wide.network.id}`, key, value: "0" }]);
  });

  it("have sandboxes on them find the size of a path by themselves, unless their users say otherwise", async () => {
    const key = "net.ipv4.tcp_mtu_probing";
    const { id, sandboxId } = endpointRow(wide, { member: 2 });
    const value = (rows: Snapshot) =>
      planOf(rows, `sandbox:${sandboxId}`, planners, nothing).flatMap((o) =>
        o.kind === "sysctl" && o.key === key ? o.value : [],
      );
    const rows = await rowsOf(all);
    assert.deepEqual(value(rows), ["1"]);
    const chosen = await rowsOf(all, (tx) => tx.put("sandboxes", sandboxRow(2, undefined, { [key]: "0" })));
    assert.deepEqual(value(chosen), ["0"]);
    const left = await rowsOf(all, (tx) => tx.delete("endpoints", id));
    assert.deepEqual(value(left), []);
    for (const [before, after] of [
      [rows, left],
      [left, rows],
    ] as const)
      assert.ok(ownersOf(before, after, changed("endpoints", id), driverFor).includes(`sandbox:${sandboxId}`));
  });

  it("have a peer where it is, and this host's own as an endpoint alone", async () => {
    const rows = await rowsOf(all);
    assert.equal(textOf(rows, `peer:${far.id}`).length, 4);
    for (const id of [own.id, strange.id, idOf("e", 99)]) assert.deepEqual(textOf(rows, `peer:${id}`), []);
  });
});

describe("leaf bridges", () => {
  const rows = networkRows({ number: 3 });
  const { id } = rows.network;
  const crowd = (tx: Transaction) => {
    putNetwork(tx, rows);
    putContainer(tx, rows, { member: 2 });
    putContainer(tx, rows, { member: 3, leaf: 1 });
    putContainer(tx, rows, { member: 4, leaf: 2 });
  };
  const kinds = (some: Snapshot, leaf: number) =>
    new Set(planOf(some, `leaf:${id}|${leaf}`, planners, nothing).map(({ kind }) => kind));

  it("are owners while endpoints are on them, and planned with the first and the last", async () => {
    const before = await rowsOf(crowd);
    const found = allOwners(before, driverFor).filter((owner) => owner.startsWith("leaf:"));
    assert.deepEqual(found, [`leaf:${id}|1`, `leaf:${id}|2`]);
    const { id: last } = endpointRow(rows, { member: 4 });
    const after = await rowsOf(crowd, (tx) => tx.delete("endpoints", last));
    const owners = [`endpoint:${last}`, `leaf:${id}|2`];
    assert.deepEqual(ownersOf(before, after, changed("endpoints", last), driverFor), owners);
    assert.deepEqual(ownersOf(after, before, changed("endpoints", last), driverFor), owners);
    assert.deepEqual(kinds(after, 1), new Set(["element", "link", "sysctl"]));
    assert.deepEqual(kinds(after, 2), new Set());
  });

  it("are none of a driver that has no bridges", async () => {
    const lan = networkRows({ number: 3, driver: "macvlan", options: { parent: "eth0" } });
    const some = await rowsOf((tx) => {
      putNetwork(tx, lan);
      putContainer(tx, lan, { member: 2, leaf: 1 });
    });
    assert.deepEqual(kinds(some, 1), new Set());
  });

  it("cost an endpoint one forwarding entry more, however many there are", async () => {
    const some = await rowsOf(crowd);
    const entries = (member: number) =>
      planOf(some, `endpoint:${endpointRow(rows, { member }).id}`, planners, nothing).filter(
        ({ kind }) => kind === "forwarding" || kind === "neighbour",
      ).length;
    assert.deepEqual([2, 3, 4].map(entries), [2, 3, 3]);
  });
});
