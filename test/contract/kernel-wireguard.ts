import assert from "node:assert/strict";
import { it } from "node:test";
import type { KernelEvent } from "../../src/kernel/kernel.ts";
import {
  encryptedUnderlay,
  type PlanObject,
  type RouteObject,
  type WireguardLink,
  type WireguardPeerObject,
} from "../../src/model/plan.ts";
import { creates, removes, type Wanted } from "./kernel-plans.ts";
import { assertHolds, change, create, host, type OpenKernel, refused, remove } from "./kernel-support.ts";
import { until } from "../support/until.ts";

const at = encryptedUnderlay;
const namespace: PlanObject = { kind: "namespace", namespace: at };
const owned = (objects: readonly PlanObject[]): Wanted[] => objects.map((object) => ({ object, owner: at }));
const own = "fd00:9::1";
const [first, second] = ["fd00:9::2", "fd00:9::3"];
const address = (link: string): PlanObject => ({ kind: "address", namespace: at, link, address: `${own}/128` });
const route = (link: string): RouteObject => ({ kind: "route", namespace: at, to: `${first}/128`, link });
const keyOf = (number: number) => Buffer.alloc(32, number).toString("base64");
const peer = (link: string, number: number, address_ = first, place = "192.0.2.2"): WireguardPeerObject => ({
  kind: "wireguard",
  namespace: at,
  link,
  publicKey: keyOf(number),
  endpoint: { address: place, udpPort: 4793 },
  address: address_,
});

/** What encrypted networks go through: links with a key each, and other hosts on them. */
export function describeWireguard(open: () => OpenKernel): void {
  /** Two links that can be made, in a namespace of their own. */
  function begin() {
    const opened = open();
    const [one, two] = opened.wireguard() as [string, string];
    const link = (name: string, wish: Partial<WireguardLink> = {}): WireguardLink => ({
      kind: "link",
      type: "wireguard",
      namespace: at,
      name,
      mtu: 1440,
      publicKey: opened.kernel.newWireguardKey(),
      udpPort: name === one ? 4793 : 4794,
      ...wish,
    });
    return { ...opened, one, two, link };
  }

  it("lists links with keys, and other hosts on them, as planned", () => {
    const { kernel, one, two, link } = begin();
    const wanted = owned([
      namespace,
      link(one),
      link(two),
      address(one),
      address(two),
      route(two),
      peer(one, 1),
      peer(one, 2, second, "2001:db8::2"),
      peer(two, 3),
    ]);
    for (let twice = 0; twice < 2; twice += 1) {
      kernel.apply(creates(wanted));
      assertHolds(kernel, wanted);
    }
    assert.equal(kernel.link(host, one), undefined);
    kernel.apply(removes(wanted));
    kernel.apply(removes(wanted));
    assertHolds(kernel, []);
  });

  it("tells the key of a link, and of none", () => {
    const { kernel, one, two, link } = begin();
    const made = link(one);
    kernel.apply(creates(owned([namespace, made])));
    assert.deepEqual([kernel.wireguardKey(one), kernel.wireguardKey(two)], [made.publicKey, undefined]);
    assert.notEqual(kernel.newWireguardKey(), kernel.newWireguardKey());
  });

  it("changes key, port and MTU of a link in place: other hosts stay on it", () => {
    const { kernel, one, link } = begin();
    const before = link(one);
    const rest = [address(one), route(one), peer(one, 1)];
    kernel.apply(creates(owned([namespace, before, ...rest])));
    const after = link(one, { udpPort: 4795, mtu: 1400 });
    for (const [from, to] of [
      [before, after],
      [after, before],
    ] as const) {
      kernel.apply([change(to, from, at)]);
      assertHolds(kernel, owned([namespace, to, ...rest]));
      assert.equal(kernel.wireguardKey(one), to.publicKey);
    }
  });

  it("changes where another host is, and takes away who is gone", () => {
    const { kernel, one, link } = begin();
    const made = link(one);
    const [here, there] = [peer(one, 1), peer(one, 1, first, "192.0.2.3")];
    kernel.apply(creates(owned([namespace, made, here])));
    kernel.apply([change(there, here, at)]);
    assertHolds(kernel, owned([namespace, made, there]));
    kernel.apply([remove(there), remove(there)]);
    assertHolds(kernel, owned([namespace, made]));
  });

  it("has an address behind one key of a link, the last; on another link it may be behind another", () => {
    const { kernel, one, two, link } = begin();
    const links = [link(one), link(two)];
    kernel.apply(creates(owned([namespace, ...links, peer(one, 1), peer(two, 3)])));
    kernel.apply([create(peer(one, 2), at)]);
    assertHolds(kernel, owned([namespace, ...links, { ...peer(one, 1), address: "" }, peer(one, 2), peer(two, 3)]));
  });

  it("moves the way to another host from link to link", () => {
    const { kernel, one, two, link } = begin();
    const rest = [namespace, link(one), link(two), address(one), address(two)];
    kernel.apply(creates(owned([...rest, route(one)])));
    kernel.apply([change(route(two), route(one), at)]);
    assertHolds(kernel, owned([...rest, route(two)]));
    kernel.apply([remove(route(one))]);
    assertHolds(kernel, owned([...rest, route(two)]));
  });

  it("has nobody who has answered, where nobody is", () => {
    const { kernel, one, link } = begin();
    kernel.apply(creates(owned([namespace, link(one), peer(one, 1)])));
    assert.deepEqual(kernel.wireguardAnswers(one), new Set());
  });

  it("refuses a link without its namespace, and a host on what is no link, or no such one", () => {
    const { kernel, one, link } = begin();
    const bridge: PlanObject = { kind: "link", type: "bridge", namespace: at, name: "br0", mac: "52:00:00:00:00:09" };
    assert.throws(() => kernel.apply([create(link(one), at)]), refused("ENOENT", 0));
    kernel.apply(creates(owned([namespace, bridge])));
    assert.throws(() => kernel.apply([create(peer(one, 1), at)]), refused("ENODEV", 0));
    assert.throws(() => kernel.apply([create(peer("br0", 1), at)]), refused("EOPNOTSUPP", 0));
    assertHolds(kernel, owned([namespace, bridge]));
  });

  it("loses with a link what is on it, and tells it", async () => {
    const { kernel, deleteLink, one, two, link } = begin();
    const other = [link(two), address(two), peer(two, 3)];
    kernel.apply(creates(owned([namespace, ...other, link(one), address(one), route(one), peer(one, 1)])));
    const seen: KernelEvent[] = [];
    const end = kernel.events((event) => seen.push(event));
    deleteLink(one, at);
    await until(() => seen.some((event) => event.kind === "link" && event.namespace === at && event.name === one));
    assertHolds(kernel, owned([namespace, ...other]));
    assert.equal(kernel.wireguardKey(one), undefined);
    end();
  });
}
