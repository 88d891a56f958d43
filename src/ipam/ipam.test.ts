import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { EngineError } from "../lib/errors.ts";
import type { NetworkSpec, SubnetSpec } from "../model/network.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";
import { claimAddress, countAssignable, isAssignable, releaseAddresses } from "./claim.ts";
import { closePools, type OpenRequest, openPools } from "./pools.ts";
import { calmTime } from "../../test/support/until.ts";

const subnet = (text: string, more: Partial<SubnetSpec> = {}): SubnetSpec => ({ subnet: text, auxiliary: {}, ...more });

function spec(name: string, subnets: readonly SubnetSpec[], ipv6 = false): NetworkSpec {
  return {
    name,
    driver: "bridge",
    options: {},
    labels: {},
    ipv4: true,
    ipv6,
    ipam: { driver: "default", options: {}, subnets },
    internal: false,
    attachable: false,
    ingress: false,
    configOnly: false,
  };
}

async function open(
  store: Store,
  id: string,
  subnets: readonly SubnetSpec[],
  more: Partial<OpenRequest> = {},
  ipv6 = false,
) {
  const { result } = await store.update((tx) => {
    const request: OpenRequest = {
      networkId: id,
      spec: spec(`net-${id}`, subnets, ipv6),
      severalSubnets: false,
      defaultPools: [{ base: "172.30.0.0/15", size: 16 }],
      daemonId: "daemon",
      hostRoutes: [],
      lenientCidr: false,
      ...more,
    };
    const opened = openPools(tx, request);
    const pools = opened.pools.map((p) => p.id);
    tx.insert("networks", { id, scope: "local", spec: request.spec, pools, predefined: false, createdAt: "" });
    return opened;
  });
  return result;
}

const refusal = (errorClass: string, message: string) => (error: unknown) => {
  assert.ok(error instanceof EngineError);
  assert.deepEqual([error.class, error.message], [errorClass, message]);
  return true;
};

describe("what the user typed", () => {
  const cases: [SubnetSpec[], string][] = [
    [[subnet("foo")], "invalid subnet foo: invalid CIDR block notation"],
    [[subnet("10.3.1.0/8")], "invalid subnet 10.3.1.0/8: it should be 10.0.0.0/8"],
    [
      [subnet("10.3.1.0/8", { range: "10.3.1.0/8", gateway: "10.1.1.1" })],
      "* invalid subnet 10.3.1.0/8: it should be 10.0.0.0/8\n* invalid ip-range 10.3.1.0/8: it should be 10.0.0.0/8",
    ],
    [
      [subnet("10.0.0.0/16", { range: "10.0.0.0/8" })],
      "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.0.0.0/16",
    ],
    [
      [subnet("10.0.0.0/16", { range: "10.1.0.0/24" })],
      "invalid ip-range 10.1.0.0/24: parent subnet 10.0.0.0/16 doesn't contain ip-range",
    ],
    [[subnet("10.0.0.0/16", { range: "fd00::/64" })], "invalid ip-range fd00::/64: parent subnet is an IPv4 block"],
    [
      [subnet("172.77.0.0/24", { gateway: "10.9.9.9" })],
      "invalid gateway 10.9.9.9: parent subnet 172.77.0.0/24 doesn't contain this address",
    ],
    [[subnet("172.77.0.0/24", { gateway: "x" })], "invalid gateway x: invalid address"],
    [
      [subnet("172.77.0.0/24", { auxiliary: { h1: "10.9.9.9" } })],
      "invalid auxiliary address h1: parent subnet 172.77.0.0/24 doesn't contain this address",
    ],
    [
      [subnet("10.0.0.0/16", { range: "11.0.0.1/8" })],
      "* invalid ip-range 11.0.0.1/8: CIDR block is bigger than its parent subnet 10.0.0.0/16\n* invalid ip-range 11.0.0.1/8: it should be 11.0.0.0/8\n* invalid ip-range 11.0.0.1/8: parent subnet 10.0.0.0/16 doesn't contain ip-range",
    ],
    [[{ auxiliary: {}, gateway: "10.0.0.1" }], "invalid subnet : invalid CIDR block notation"],
    [[subnet("10.0.0.0/24", { gateway: "fd00::1" })], "invalid gateway fd00::1: parent subnet is an IPv4 block"],
    [
      [subnet("10.0.0.0/24", { gateway: "10.0.0.255" })],
      "invalid gateway 10.0.0.255: it is the network or broadcast address of 10.0.0.0/24",
    ],
    [[subnet("010.0.0.0/8")], "invalid subnet 010.0.0.0/8: invalid CIDR block notation"],
  ];
  for (const [subnets, text] of cases)
    it(text, async () => {
      const store = createMemoryStore();
      await assert.rejects(open(store, "a", subnets), refusal("invalid", `invalid network config:\n${text}`));
      assert.equal(store.snapshot().revision, 0);
    });

  it("is masked when the daemon is lenient, and the labels say so", async () => {
    const { pools, labels } = await open(createMemoryStore(), "a", [subnet("10.3.1.0/8", { gateway: "10.1.1.1" })], {
      lenientCidr: true,
    });
    assert.deepEqual([pools[0]?.subnet, pools[0]?.gateway], ["10.0.0.0/8", "10.1.1.1"]);
    assert.deepEqual(labels, { "tombolo.masked.subnet.0": "10.3.1.0/8 taken as 10.0.0.0/8" });
  });
});

describe("pools", () => {
  it("of IPv6 need IPv6, and an empty wish is none", async () => {
    const { pools } = await open(createMemoryStore(), "a", [subnet("fd00::/64"), { auxiliary: {} }]);
    assert.deepEqual(
      pools.map((p) => [p.subnet, p.userSubnet]),
      [["172.30.0.0/16", false]],
    );
  });

  it("of one family are one for a bridge", async () => {
    const two = [subnet("10.0.0.0/24"), subnet("10.0.1.0/24")];
    const refused = refusal("forbidden", "bridge driver doesn't support multiple subnets");
    await assert.rejects(open(createMemoryStore(), "a", two), refused);
    assert.equal((await open(createMemoryStore(), "a", two, { severalSubnets: true })).pools.length, 2);
    const twice = [subnet("10.0.0.0/24"), subnet("10.0.0.0/25")];
    await assert.rejects(open(createMemoryStore(), "a", twice, { severalSubnets: true }), /overlaps with/);
  });

  it("are none with the null driver of address management", async () => {
    const store = createMemoryStore();
    const ipam = { driver: "null", options: {}, subnets: [] };
    const none = await open(store, "a", [], { spec: { ...spec("a", []), ipam } });
    assert.deepEqual(none.pools, []);
    const named = { ...spec("b", []), ipam: { ...ipam, subnets: [subnet("10.0.0.0/24")] } };
    await assert.rejects(open(store, "b", [], { spec: named }), /^EngineError: null ipam driver does not handle/);
  });

  it("go around blocks of every size, in any order", async () => {
    const store = createMemoryStore();
    const wide = { defaultPools: [{ base: "192.168.0.0/16", size: 20 }] };
    const routes = ["192.168.200.0/21", "192.168.16.128/25", "192.168.32.0/19", "192.168.33.0/24", "10.0.0.0/8"];
    const hostRoutes = routes.map((to) => ({ to, link: "eth0" }));
    const given: string[] = [];
    for (let n = 0; n < 12; n++)
      given.push((await open(store, `n${n}`, [], { ...wide, hostRoutes })).pools[0]?.subnet ?? "");
    const third = [0, 64, 80, 96, 112, 128, 144, 160, 176, 208, 224, 240];
    assert.deepEqual(
      given,
      third.map((n) => `192.168.${n}.0/20`),
    );
    await assert.rejects(open(store, "full", [], { ...wide, hostRoutes }), /have been fully subnetted/);
  });

  it("come from the default blocks, lowest first, and come back", async () => {
    const store = createMemoryStore();
    assert.equal((await open(store, "a", [])).pools[0]?.subnet, "172.30.0.0/16");
    assert.equal((await open(store, "b", [])).pools[0]?.subnet, "172.31.0.0/16");
    await assert.rejects(open(store, "c", []), /^EngineError: all predefined address pools have been fully subnetted/);
    await store.update((tx) => closePools(tx, "a"));
    assert.equal((await open(store, "c", [])).pools[0]?.subnet, "172.30.0.0/16");
    assert.deepEqual(
      store
        .snapshot()
        .list("claims")
        .map((c) => c.owner),
      ["b", "c"],
    );
  });

  it("leave out what a route of the host has", async () => {
    const { pools } = await open(createMemoryStore(), "a", [], {
      hostRoutes: [{ to: "172.30.5.0/24", link: "eth0" }],
    });
    assert.equal(pools[0]?.subnet, "172.31.0.0/16");
  });

  it("never overlap: the refusal names the other party", async () => {
    const store = createMemoryStore();
    const words = "invalid pool request: Pool overlaps with other one on this address space: ";
    await open(store, "a", [subnet("10.1.0.0/16")]);
    await assert.rejects(
      open(store, "b", [subnet("10.1.7.0/24")]),
      refusal("forbidden", `${words}10.1.7.0/24 overlaps with network net-a (10.1.0.0/16)`),
    );
    await assert.rejects(
      open(store, "b", [subnet("10.2.0.0/16")], { hostRoutes: [{ to: "10.2.3.0/24", link: "eth0" }] }),
      refusal("forbidden", `${words}10.2.0.0/16 overlaps with the host's route 10.2.3.0/24 on eth0`),
    );
  });

  it("one of each family: IPv6 without a wish is a unique local block", async () => {
    const { pools } = await open(createMemoryStore(), "a", [], {}, true);
    assert.equal(pools.length, 2);
    // The last 40 of the first 64 bits of the SHA-256 of "daemon".
    const bits = createHash("sha256").update("daemon").digest().subarray(3, 8).toString("hex");
    const expected = `fd${bits.slice(0, 2)}:${bits.slice(2, 6)}:${bits.slice(6)}`.replaceAll(/:0+/g, ":");
    assert.deepEqual([pools[1]?.subnet, pools[1]?.gateway], [`${expected}::/64`, `${expected}::1`]);
  });
});

describe("addresses", () => {
  it("are the lowest free ones again when they were given back", async () => {
    const store = createMemoryStore();
    const pool = (await open(store, "a", [subnet("10.0.0.0/29")])).pools[0];
    assert.ok(pool);
    const claim = async (owner: string) =>
      (await store.update((tx) => claimAddress(tx, pool, undefined, owner))).result;
    const given: string[] = [];
    for (let n = 0; n < 7; n++) {
      given.push(await claim("e"));
      await store.update((tx) => releaseAddresses(tx, "e"));
    }
    assert.deepEqual(
      given.map((a) => a.slice(-1)),
      ["2", "2", "2", "2", "2", "2", "2"],
    );
  });

  it("cost the same however many are taken, in both families", async () => {
    const store = createMemoryStore();
    const { pools } = await open(store, "a", [subnet("10.0.0.0/8"), subnet("fd00::/48")], {}, true);
    const started = calmTime();
    const given = new Set<string>();
    await store.update((tx) => {
      for (let n = 0; n < 5000; n++) for (const pool of pools) given.add(claimAddress(tx, pool, undefined, `e${n}`));
    });
    const took = calmTime() - started;
    assert.equal(given.size, 10_000);
    assert.ok(given.has("10.0.19.137") && given.has("fd00::1389"), "one after the other");
    assert.ok(took < 5000, `${took} ms`);
  });

  it("of every small subnet: none beyond its borders", async () => {
    const cases: [string, string[]][] = [
      ["10.0.0.0/30", ["10.0.0.1", "10.0.0.2"]],
      ["10.0.0.0/31", ["10.0.0.0", "10.0.0.1"]],
      ["fd00::/126", ["fd00::1", "fd00::2", "fd00::3"]],
      ["fd00::/127", ["fd00::", "fd00::1"]],
    ];
    for (const text of ["10.0.0.7/32", "fd00::7/128"])
      await assert.rejects(open(createMemoryStore(), "a", [subnet(text)], {}, true), /no room for a gateway/);
    for (const [text, expected] of cases) {
      const store = createMemoryStore();
      const { pools } = await open(store, "a", [subnet(text)], {}, true);
      const pool = pools.find((p) => p.subnet === text);
      assert.ok(pool, text);
      const given = [pool.gateway];
      for (const owner of expected.slice(1))
        given.push((await store.update((tx) => claimAddress(tx, pool, undefined, owner))).result);
      assert.deepEqual(given, expected);
      await assert.rejects(
        store.update((tx) => claimAddress(tx, pool, undefined, "x")),
        /^EngineError: no available IPv[46] addresses on this network's address pools: net-a \(a\)$/,
      );
    }
  });

  it("are one however they are written", async () => {
    const store = createMemoryStore();
    const pool = (await open(store, "a", [subnet("fd00::/64")], {}, true)).pools[1];
    assert.ok(pool);
    const claim = (wish: string) => store.update((tx) => claimAddress(tx, pool, wish, "e"));
    assert.equal((await claim("FD00:0:0::00a")).result, "fd00::a");
    await assert.rejects(claim("fd00::a"), /Address already in use/);
  });

  it("are the lowest free ones of the range; gateway and reserved ones are left out", async () => {
    const store = createMemoryStore();
    const { pools } = await open(store, "a", [
      subnet("10.0.0.0/24", { range: "10.0.0.128/30", gateway: "10.0.0.129", auxiliary: { printer: "10.0.0.130" } }),
    ]);
    const pool = pools[0];
    assert.ok(pool);
    const claim = (owner: string, wish?: string) => store.update((tx) => claimAddress(tx, pool, wish, owner));
    assert.equal((await claim("e1")).result, "10.0.0.128");
    assert.equal((await claim("e2")).result, "10.0.0.131");
    await assert.rejects(claim("e3"), /no available IPv4 addresses on this network's address pools: net-a \(a\)/);
    assert.equal((await claim("e3", "10.0.0.5")).result, "10.0.0.5");
    await assert.rejects(claim("e4", "10.0.0.5"), /^EngineError: Address already in use: 10.0.0.5 is container e3's$/);
    await assert.rejects(claim("e4", "10.0.0.129"), /Address already in use: 10.0.0.129 is the network's gateway/);
    await assert.rejects(claim("e4", "10.0.0.130"), /reserved with --aux-address/);
    await assert.rejects(claim("e4", "10.0.0.255"), /network or broadcast address/);
    await assert.rejects(claim("e4", "10.9.9.9"), /no configured subnet or ip-range contain the IP address 10.9.9.9/);
    await store.update((tx) => releaseAddresses(tx, "e1"));
    assert.equal((await claim("e5")).result, "10.0.0.128");
  });

  it("are counted: those of the range that are not reserved", () => {
    const pool = { id: "p", networkId: "n", gateway: "", userSubnet: true };
    const counted = (text: string, range = text) => countAssignable({ ...pool, subnet: text, range });
    assert.deepEqual(
      ["10.0.0.0/29", "10.0.0.0/31", "10.0.0.0/32", "fd00::/125"].map((text) => counted(text)),
      [...[6, 2, 1, 7]],
    );
    const ranges = ["10.0.0.0/30", "10.0.0.128/30", "10.0.0.252/30"];
    assert.deepEqual(
      ranges.map((range) => counted("10.0.0.0/24", range)),
      [3, 4, 3],
    );
    const isOne = (address: string) =>
      isAssignable({ ...pool, subnet: "10.0.0.0/24", range: "10.0.0.252/30" }, address);
    assert.deepEqual(["10.0.0.251", "10.0.0.252", "10.0.0.254", "10.0.0.255", "fd00::1"].map(isOne), [
      ...[false, true, true, false, false],
    ]);
  });
});

describe("subnets of LANs that are not ours", () => {
  const net = (range?: string, gateway?: string) => [
    subnet("10.0.0.0/8", { ...(range !== undefined && { range }), ...(gateway !== undefined && { gateway }) }),
  ];
  const onLan = (segment: string) => ({ segment, hostRoutes: [{ to: "10.0.0.0/8", link: segment }] });

  it("are the host's, too, and may be the same on two links", async () => {
    const store = createMemoryStore();
    await open(store, "a", net(), onLan("eth0"));
    await open(store, "b", net(), onLan("eth1"));
    await assert.rejects(open(store, "c", net(), onLan("eth0")), /10\.0\.0\.0\/8 overlaps with network net-a/);
    await assert.rejects(open(store, "d", net()), /overlaps with network net-a/, "a bridge is on the host itself");
  });

  it("may have the swarm's ingress network in them, and no other of the swarm's", async () => {
    const store = createMemoryStore();
    const ingress = { ...spec("ingress", [subnet("10.0.0.0/24")]), ingress: true };
    await open(store, "a", [], { spec: ingress });
    await open(store, "b", net(), onLan("eth0"));
    await assert.rejects(open(store, "c", net()), /overlaps with network ingress/, "a bridge is on the host itself");
    await open(store, "d", [subnet("192.168.0.0/24")]);
    await assert.rejects(open(store, "e", [subnet("192.168.0.0/16")], onLan("eth0")), /overlaps with network net-d/);
  });

  it("may be shared by networks with ranges apart, which hand out no address twice", async () => {
    const store = createMemoryStore();
    await open(store, "a", net("10.3.1.0/24", "10.1.1.1"), onLan("eth0"));
    await assert.rejects(open(store, "b", net("10.3.1.128/25", "10.1.1.1"), onLan("eth0")), /overlaps/);
    await open(store, "b", net("10.3.2.0/24", "10.1.1.1"), onLan("eth0"));
    const take = (id: string, wish?: string) =>
      store.update((tx) => {
        const [pool] = tx.where("pools", "network", id);
        assert.ok(pool);
        return claimAddress(tx, pool, wish, `endpoint-${id}-${wish ?? ""}`);
      });
    assert.equal((await take("a")).result, "10.3.1.0");
    assert.equal((await take("b")).result, "10.3.2.0");
    await take("a", "10.9.9.9");
    await assert.rejects(take("b", "10.9.9.9"), /Address already in use: 10\.9\.9\.9/);
  });

  it("keep the host's own addresses from containers", async () => {
    const store = createMemoryStore();
    const reserved = ["10.3.1.0"];
    await open(store, "a", net("10.3.1.0/30", "10.1.1.1"), { ...onLan("eth0"), reserved });
    const [pool] = store.snapshot().where("pools", "network", "a");
    assert.ok(pool);
    const { result } = await store.update((tx) => claimAddress(tx, pool, undefined, "endpoint"));
    assert.equal(result, "10.3.1.1");
    const clash = { ...onLan("eth1"), reserved: ["10.1.1.1"] };
    await assert.rejects(open(store, "b", net(undefined, "10.1.1.1"), clash), /cannot be the host's/);
    const stray = { ...onLan("eth1"), reserved: ["fd00::7"] };
    await assert.rejects(open(store, "b", net(undefined, "10.1.1.1"), stray), /fd00::7 is in no subnet of the network/);
  });
});
