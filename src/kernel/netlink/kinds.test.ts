import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ChildLink, VlanLink } from "../../model/plan.ts";
import { deleteAddress, putAddress, readAddress } from "./addresses.ts";
import { type Attribute, decodeAttributes, encodeAttributes, text, u32, u8 } from "./attributes.ts";
import { createChild } from "./child-links.ts";
import { readNftEvents, readRouteEvents } from "./events.ts";
import { addName, readNames } from "./link-names.ts";
import { createVeth, readLink, setPort } from "./links.ts";
import { encodeMessage, type Message } from "./message.ts";
import { putForwarding, putNeighbour, readForwarding, readNeighbour } from "./neighbours.ts";
import { deleteRoute, putRoute, readRoute } from "./routes.ts";
import { addRule, readRule } from "./routing-rules.ts";
import { putTunnel, readTunnel } from "./tunnels.ts";
import { createVxlan } from "./vxlan.ts";

/** What the kernel would tell of a request: requests and notices have the same form. */
const told = (message: Message): Buffer => Buffer.concat([message.body, encodeAttributes(message.attributes)]);
const withAttributes = (message: Message, ...more: Attribute[]): Message => ({
  ...message,
  attributes: [...message.attributes, ...more],
});

describe("netlink words for links", () => {
  it("writes the far end of a veth behind an ifinfomsg of its own", () => {
    const bytes = told(
      createVeth({ name: "a", mtu: 1400 }, { name: "b", mac: "02:00:00:00:00:01", namespaceFd: 9 }),
    ).toString("hex");
    const name = "060003006200" + "0000";
    const mac = "0a000100020000000001" + "0000";
    const peer = "00".repeat(16) + name + mac + "08001c0009000000";
    assert.ok(bytes.includes(peer), bytes);
  });

  it("reads a port of a bridge and the far end of a veth", () => {
    const flags = { bridge: "br-1", isolated: true, hairpin: false, learning: false, proxyArp: true };
    const message = setPort({ index: 7 }, flags);
    const bytes = told(
      withAttributes(
        message,
        [3, text("veth1")],
        [4, u32(1400)],
        [10, u32(5)],
        [5, u32(2)],
        [37, u32(3)],
        [20, text("tombolo:e:x")],
      ),
    );
    const { bridge: _, ...port } = flags;
    assert.deepEqual(readLink(bytes), {
      index: 7,
      name: "veth1",
      type: "",
      up: true,
      carrier: false,
      promiscuous: false,
      mtu: 1400,
      mac: "",
      names: [],
      alias: "tombolo:e:x",
      master: 5,
      port,
      peer: { index: 2, namespaceId: 3 },
    });
  });
});

describe("netlink words for links on a parent", () => {
  const base = { kind: "link", namespace: "host", name: "eth0", parent: "lan0" } as const;
  const links: readonly (ChildLink | VlanLink)[] = [
    { ...base, type: "vlan", vlan: 4094 },
    ...(["bridge", "private", "vepa", "passthru"] as const).map(
      (mode) => ({ ...base, type: "macvlan", mode }) as const,
    ),
    ...(["l2", "l3", "l3s"] as const).map((mode) => ({ ...base, type: "ipvlan", mode, flag: "vepa" }) as const),
  ];
  for (const link of links)
    it(`writes and reads ${link.type} ${"mode" in link ? link.mode : link.vlan}`, () => {
      const { kind: _kind, namespace: _namespace, name: _name, parent: _parent, ...child } = link;
      const found = readLink(told(createChild(link, { name: "moving0", parent: 7 })));
      assert.deepEqual([found.name, found.peer, found.up, found.child], ["moving0", { index: 7 }, false, child]);
    });

  it("writes and reads more names of a link", () => {
    const attributes = decodeAttributes(told(addName(7, "tombolo-1")).subarray(16));
    assert.deepEqual(readNames(attributes.get(52)), ["tombolo-1"]);
    assert.deepEqual(readNames(Buffer.from("0300", "hex")), []);
  });
});

describe("netlink words for tunnels", () => {
  for (const local of ["192.0.2.1", "2001:db8::1"])
    it(`writes and reads one that begins at ${local}`, () => {
      const link = {
        kind: "link",
        type: "vxlan",
        namespace: "host",
        name: "vx",
        vni: 0xfffffe,
        udpPort: 4789,
      } as const;
      const message = createVxlan({ ...link, local, mtu: 1450 }, "moving0");
      const found = readLink(told(message));
      assert.deepEqual([found.name, found.type, found.mtu, found.up], ["moving0", "vxlan", 1450, false]);
      assert.deepEqual(found.vxlan, { vni: 0xfffffe, udpPort: 4789, local, learning: false });
      assert.ok(told(message).includes(Buffer.from("06000f0012b5", "hex")), "the port is big endian");
    });

  it("writes and reads entries, more than one destination only for what is for many", () => {
    const mac = "02:42:00:00:00:01";
    for (const destination of ["192.0.2.2", "2001:db8::2"])
      assert.deepEqual(readTunnel(told(putTunnel(4, mac, destination))), { index: 4, mac, destination });
    const append = (of: string) => (putTunnel(4, of, "192.0.2.2").flags & 0x800) !== 0;
    assert.deepEqual([mac, "00:00:00:00:00:00", "01:00:5e:00:00:01"].map(append), [false, true, true]);
  });

  it("tells entries of tunnels and of bridges apart", () => {
    const mac = "02:42:00:00:00:01";
    const tunnel = told(putTunnel(4, mac, "192.0.2.2"));
    assert.equal(readForwarding(tunnel), undefined);
    assert.equal(readTunnel(told(withAttributes(putForwarding(4, mac), [9, u32(2)]))), undefined);
    const learned = Buffer.from(tunnel);
    learned.writeUInt16LE(0x02, 8);
    assert.equal(readTunnel(learned), undefined);
    assert.equal(readTunnel(told(withAttributes(putTunnel(4, mac, "192.0.2.2"), [6, Buffer.from([0, 1])]))), undefined);
  });
});

describe("netlink words for what stands on links", () => {
  it("writes and reads addresses, with broadcast for IPv4 and without DAD for IPv6", () => {
    const four = putAddress(3, "10.1.2.3/20");
    assert.deepEqual(readAddress(told(four)), { index: 3, address: "10.1.2.3/20", protocol: 84, isSource: true });
    assert.ok(told(four).includes(Buffer.from([10, 1, 15, 255])));
    assert.ok(!told(putAddress(3, "10.1.2.3/31")).includes(Buffer.from([10, 1, 2, 255])));
    const six = putAddress(3, "fd00::2/64");
    assert.equal(six.body[2], 2);
    assert.deepEqual(readAddress(told(six)), { index: 3, address: "fd00::2/64", protocol: 84, isSource: true });
    assert.equal(readAddress(told(deleteAddress(3, "10.1.2.3/20"))).protocol, 0);
    for (const [at, value] of [
      [2, 0x40], // IFA_F_TENTATIVE
      [2, 0x08], // IFA_F_DADFAILED
      [3, 253], // RT_SCOPE_LINK
    ] as const) {
      const body = Buffer.from(six.body);
      body[at] = value;
      assert.equal(readAddress(Buffer.concat([body, encodeAttributes(six.attributes)])).isSource, false);
    }
  });

  it("writes and reads routes", () => {
    for (const route of [
      { to: "0.0.0.0/0", via: "10.0.0.1" },
      { to: "::/0", via: "fd00::1" },
      { to: "10.7.0.0/16" },
      { to: "10.7.0.1/32", source: "10.1.1.1" },
      { to: "::/0", via: "fd00::1", table: 100 },
    ])
      assert.deepEqual(readRoute(told(putRoute(4, route))), { ...route, index: 4, protocol: 84 });
    assert.equal(putRoute(4, { to: "10.7.0.0/16" }).body[6], 253);
    assert.equal(deleteRoute(4, { to: "10.7.0.0/16" }).body[6], 255);
  });

  it("reads only ordinary routes, and of which table they are", () => {
    const { body, attributes } = putRoute(4, { to: "10.7.0.0/16" });
    const local = Buffer.from(body);
    local[7] = 2; // RTN_LOCAL
    assert.equal(readRoute(Buffer.concat([local, encodeAttributes(attributes)])), undefined);
    assert.equal(readRoute(told(withAttributes(putRoute(4, { to: "10.7.0.0/16" }), [15, u32(1000)])))?.table, 1000);
  });

  it("writes and reads rules for choosing a table, and no others'", () => {
    for (const rule of [
      { priority: 100, from: "10.0.0.7", table: 100 },
      { priority: 101, from: "fd00::7", mark: { value: 0x54, mask: 0xff }, table: 100 },
    ])
      assert.deepEqual(readRule(told(addRule(rule))), rule);
    const { body, attributes } = addRule({ priority: 100, from: "10.0.0.7", table: 100 });
    const others = attributes.filter(([type]) => type !== 21); // FRA_PROTOCOL
    assert.equal(readRule(Buffer.concat([body, encodeAttributes(others)])), undefined);
  });

  it("writes and reads neighbours and forwarding entries", () => {
    const mac = "02:42:00:00:00:01";
    assert.deepEqual(readNeighbour(told(putNeighbour(4, "fd00::2", mac))), {
      index: 4,
      address: "fd00::2",
      mac,
      protocol: 84,
    });
    const entry = withAttributes(putForwarding(4, mac), [9, u32(2)]);
    assert.deepEqual(readForwarding(told(entry)), { index: 4, bridge: 2, mac });
  });

  it("takes neither learned, own, device's nor VLAN's entries for ours", () => {
    const entry = withAttributes(putForwarding(4, "02:42:00:00:00:01"), [9, u32(2)]);
    const changed = (at: number, value: number) => {
      const bytes = told(entry);
      bytes.writeUInt16LE(value, at);
      return readForwarding(bytes);
    };
    assert.equal(changed(8, 0x02), undefined);
    assert.equal(changed(8, 0x80), undefined);
    assert.equal(changed(10, 0x02), undefined);
    assert.equal(readForwarding(told(withAttributes(entry, [5, Buffer.from([1, 0])]))), undefined);
    assert.equal(readForwarding(told(putForwarding(4, "02:42:00:00:00:01"))), undefined);
  });
});

describe("events", () => {
  const names = () => new Map([[3, "br-1"]]);
  const event = (message: Message, type = message.type) =>
    readRouteEvents(encodeMessage({ ...message, type }, 0), names());

  it("names the link", () => {
    assert.deepEqual(event(putAddress(3, "10.0.0.1/8")), [{ kind: "address", namespace: "host", name: "br-1" }]);
    assert.deepEqual(event(putRoute(3, { to: "10.7.0.0/16" }), 25), [
      { kind: "route", namespace: "host", name: "br-1" },
    ]);
    assert.deepEqual(event(putNeighbour(3, "10.0.0.2", "02:42:00:00:00:01")), [
      { kind: "neighbour", namespace: "host", name: "br-1" },
    ]);
    assert.deepEqual(event(withAttributes(putForwarding(3, "02:42:00:00:00:01"), [9, u32(2)])), [
      { kind: "forwarding", namespace: "host", name: "br-1" },
    ]);
  });

  it("names the namespace and tells of tunnels", () => {
    const message = encodeMessage(putTunnel(3, "02:42:00:00:00:01", "192.0.2.2"), 0);
    assert.deepEqual(readRouteEvents(message, names(), "network:1"), [
      { kind: "tunnel", namespace: "network:1", name: "br-1" },
    ]);
  });

  it("is silent about neighbours that nobody wrote", () => {
    const { attributes, ...message } = putNeighbour(3, "10.0.0.2", "02:42:00:00:00:01");
    assert.deepEqual(event({ ...message, attributes: attributes.slice(0, 2) }), []);
  });

  it("learns and forgets names", () => {
    const known = names();
    const link = createVeth({ name: "veth9" }, { name: "x" });
    link.body.writeInt32LE(9, 4);
    assert.deepEqual(readRouteEvents(encodeMessage(link, 0), known), [
      { kind: "link", namespace: "host", name: "veth9" },
    ]);
    assert.equal(known.get(9), "veth9");
    readRouteEvents(encodeMessage({ ...link, type: 17 }, 0), known);
    assert.equal(known.has(9), false);
  });

  it("tells changes of forwarding", () => {
    const all = {
      type: 80,
      flags: 0,
      body: Buffer.from([2, 0, 0, 0]),
      attributes: [
        [1, u32(-1)],
        [2, u32(0)],
      ],
    } as const;
    assert.deepEqual(event(all), [{ kind: "sysctl", namespace: "host", name: "net.ipv4.conf.all.forwarding" }]);
  });

  it("tells changes of our nft table only", () => {
    const message = (table: string, type: number, name: Attribute): Message => ({
      type: 0xa00 | type,
      flags: 0,
      body: Buffer.alloc(4),
      attributes: [[1, text(table)], name],
    });
    const read = (m: Message) => readNftEvents(encodeMessage(m, 0));
    assert.deepEqual(read(message("tombolo", 5, [3, text("to_1")])), [
      { kind: "chain", namespace: "host", name: "to_1" },
    ]);
    assert.deepEqual(read(message("tombolo", 14, [2, text("published")])), [
      { kind: "element", namespace: "host", name: "published" },
    ]);
    assert.deepEqual(read(message("tombolo", 12, [2, text("__set3")])), []);
    assert.deepEqual(read(message("filter", 5, [3, text("to_1")])), []);
    assert.deepEqual(read({ type: 0xa0f, flags: 0, body: Buffer.alloc(4), attributes: [[1, u8(1)]] }), []);
  });
});
