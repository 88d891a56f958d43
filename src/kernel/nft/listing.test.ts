import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { baseText } from "../../dataplane/base.ts";
import { blockNames } from "./base.ts";
import { readElements } from "./elements.ts";
import { readListing } from "./listing.ts";
import { refusal } from "./nft.ts";

describe("nft's listing", () => {
  it("has blocks with comment and lines", () => {
    const printed = `table ip tombolo {
	comment "tombolo:e:0123"
	map to {
		type ifname : verdict
	}

	chain DOCKER-USER {
	}

	chain to_1 {
		comment "network:1"
		ct status dnat accept
		drop comment "mine"
	}
}
`;
    assert.deepEqual(readListing(printed), {
      comment: "tombolo:e:0123",
      blocks: [
        { type: "map", name: "to", lines: ["type ifname : verdict"] },
        { type: "chain", name: "DOCKER-USER", lines: [] },
        { type: "chain", name: "to_1", comment: "network:1", lines: ["ct status dnat accept", 'drop comment "mine"'] },
      ],
    });
  });

  it("names what the base makes", () => {
    const { ip = "", ip6 = "", bridge = "" } = baseText("host");
    assert.deepEqual(blockNames(ip).toSorted(), blockNames(ip6).toSorted());
    const some = ["DOCKER-USER", "forward", "published", "subnets", "leaving"];
    assert.deepEqual(new Set(some).difference(new Set(blockNames(ip))), new Set());
    assert.deepEqual(
      ["ports", "sources6", "from_arp"].filter((name) => !blockNames(bridge).includes(name)),
      [],
    );
  });
});

describe("nft's elements", () => {
  const read = (set: Record<string, unknown>, kind = "map") =>
    readElements(JSON.stringify({ nftables: [{ metainfo: {} }, { [kind]: { name: "s", ...set } }] }));

  it("are in the words of a plan", () => {
    const value = { concat: ["172.17.0.2", 80] };
    assert.deepEqual(read({ type: ["inet_proto", "inet_service"], elem: [[{ concat: ["tcp", 8080] }, value]] }), [
      { set: "s", key: "tcp . 8080", value: "172.17.0.2 . 80" },
    ]);
    const marked = { elem: { val: "br-1", comment: "network:1" } };
    assert.deepEqual(read({ type: "ifname", elem: [[marked, { jump: { target: "to_1" } }]] }), [
      { set: "s", key: '"br-1"', value: "jump to_1", comment: "network:1" },
    ]);
    assert.deepEqual(read({ type: "ifname", elem: [["br-1", { drop: null }]] }), [
      { set: "s", key: '"br-1"', value: "drop" },
    ]);
  });

  it("of an interval set are subnets, also of one address", () => {
    const flags = ["interval"];
    const subnet = { prefix: { addr: "172.17.0.0", len: 16 } };
    assert.deepEqual(
      read(
        {
          type: "ipv4_addr",
          flags,
          elem: [subnet, "10.0.0.1", { elem: { val: "10.0.0.2", comment: "x" } }, { range: ["10.1.0.0", "10.2.0.5"] }],
        },
        "set",
      ),
      [
        { set: "s", key: "172.17.0.0/16" },
        { set: "s", key: "10.0.0.1/32" },
        { set: "s", key: "10.0.0.2/32", comment: "x" },
        { set: "s", key: "10.1.0.0-10.2.0.5" },
      ],
    );
    assert.deepEqual(read({ type: "ipv6_addr", flags, elem: ["fd00::1"] }, "set"), [{ set: "s", key: "fd00::1/128" }]);
    assert.deepEqual(read({ type: "ipv4_addr", elem: ["10.0.0.1"] }, "set"), [{ set: "s", key: "10.0.0.1" }]);
  });

  it("have the names of links in quotes, wherever they stand in the key", () => {
    const concat = ["veth1", "02:42:00:00:00:02", "10.0.0.2"];
    assert.deepEqual(read({ type: ["ifname", "ether_addr", "ipv4_addr"], elem: [{ concat }] }, "set"), [
      { set: "s", key: '"veth1" . 02:42:00:00:00:02 . 10.0.0.2' },
    ]);
  });

  it("are not what rules wrote", () =>
    assert.deepEqual(read({ type: "ifname", flags: ["timeout"], elem: ["veth1"] }, "set"), []));

  it("are none in an empty set", () => assert.deepEqual(read({ type: "ifname" }, "set"), []));
});

describe("nft's refusals", () => {
  for (const [complaint, code] of [
    ["Error: Could not process rule: No such file or directory\nadd …", "ENOENT"],
    ["Error: No such file or directory; did you mean chain ‘a’ in table ip ‘t’?\n", "ENOENT"],
    ["Error: Could not process rule: Device or resource busy\n", "EBUSY"],
    ["Error: Could not process rule: File exists\n", "EEXIST"],
    ["Error: element does not exist\n", "ENOENT"],
    ["Error: interval overlaps with an existing one\n", "EEXIST"],
    ["Error: syntax error, unexpected newline\n", "EINVAL"],
  ] as const)
    it(`${code}: ${complaint.split("\n")[0]}`, () => assert.equal(refusal(complaint).code, code));
});
