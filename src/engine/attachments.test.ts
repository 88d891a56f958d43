import assert from "node:assert/strict";
import { it } from "node:test";
import { idOf, networkRows, putNetwork, sandboxRow } from "../../test/support/rows.ts";
import type { Container } from "../model/container.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import { addEndpoint, checkAliases, checkAttachment, wayOutNetwork, wayOutRoutes } from "./attachments.ts";

const wish = { linkLocal: [], aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };

/** A host whose `docker_gwbridge` has 10.18.0.0/16. @returns whether a container came onto an overlay network */
async function attached(subnet: string, internal: boolean): Promise<boolean> {
  const store = createMemoryStore();
  const wayOut = networkRows({ number: 18 });
  const overlay = networkRows({ number: 20, driver: "overlay", internal });
  const networkId = overlay.network.id;
  const container = { id: idOf("5", 1), name: "c1", spec: { hostname: "" } } as Container;
  await store.update((tx) => {
    putNetwork(tx, {
      ...wayOut,
      network: { ...wayOut.network, spec: { ...wayOut.network.spec, name: wayOutNetwork } },
    });
    tx.put("names", { kind: "network", name: wayOutNetwork, id: wayOut.network.id });
    putNetwork(tx, { ...overlay, network: { ...overlay.network, scope: "cluster" } });
    for (const pool of overlay.pools) tx.put("pools", { ...pool, subnet, range: subnet });
    tx.put("sandboxes", { ...sandboxRow(1), id: container.id, containerId: container.id });
  });
  assert.deepEqual(wayOutRoutes(store.snapshot()), [{ to: "10.18.0.0/16", link: wayOutNetwork }]);
  const claim = { id: "e1", networkId, addresses: [] };
  const before = store.snapshot().list("endpoints").length;
  await store.update((tx) =>
    addEndpoint(tx, container, { ...wish, network: networkId }, "e1", { mac: "02:00:00:00:00:01", claim } as never),
  );
  return store.snapshot().list("endpoints").length > before;
}

it("a container does not come onto a network of the swarm that overlaps with its way out", async () => {
  const why =
    /net20 \(10\.18\.4\.0\/24\) overlaps with docker_gwbridge of this host \(10\.18\.0\.0\/16\): make docker_gwbridge anew/;
  await assert.rejects(attached("10.18.4.0/24", false), why);
  await assert.rejects(attached("10.0.0.0/8", false), /overlaps with docker_gwbridge/);
  assert.ok(await attached("10.18.4.0/24", true), "one without a way out");
  assert.ok(await attached("10.19.0.0/16", false));
});

it("an alias is what DNS can be asked for, as people write names", () => {
  const label = "a".repeat(63);
  const longest = `${label}.${label}.${label}.${"a".repeat(61)}`;
  checkAliases(["db", "My_DB-2", "_ldap._tcp", "db.example.org", "0", "münchen", "データ", label, longest]);
  for (const wrong of ["", " ", "a b", "b@d", "a:80", "*.shop", "..", ".db", "db.", "a\tb", `${label}a`, `${longest}a`])
    assert.throws(() => checkAliases(["db", wrong]), {
      class: "invalid",
      message: `alias "${wrong}" cannot be asked for: a name in DNS is of letters, digits, "-" and "_", of at most 63 bytes between dots and 253 in all`,
    });
  checkAliases([`shop-${label}-1`, "web"], `shop-${label}-1`);
});

it("an address may be asked for where the user has chosen the subnet, and on networks of the swarm", async () => {
  const { network, pools } = networkRows({ number: 20 });
  const store = createMemoryStore();
  const check = async (scope: "local" | "cluster", userSubnet: boolean) => {
    const row = { ...network, scope };
    await store.update((tx) => putNetwork(tx, { network: row, pools: pools.map((p) => ({ ...p, userSubnet })) }));
    checkAttachment(store.snapshot(), row, { ...wish, ipv4: "10.20.0.9" });
  };
  await check("local", true);
  await check("cluster", false);
  await assert.rejects(
    check("local", false),
    /supported only when connecting to networks with user configured subnets/,
  );
});
