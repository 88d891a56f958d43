import assert from "node:assert/strict";
import { it } from "node:test";
import { addressText, cidrText, contains, lastOf, masked, overlaps, parseAddress, parseCidr, sizeOf } from "./net.ts";

const cidr = (text: string) => {
  const parsed = parseCidr(text);
  assert.ok(parsed, text);
  return parsed;
};

it("refuses what Go's netip refuses", () => {
  const bad = [
    "",
    "010.1.2.3",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "0x7f.1.1.1",
    "1.2.3.4 ",
    "fe80::1%eth0",
    ":::",
    "1::2::3",
    "g::",
  ];
  for (const text of bad) assert.equal(parseAddress(text), undefined, text);
  for (const text of [
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "/8",
    "fd00::/129",
    "10.0.0.0/8/8",
  ])
    assert.equal(parseCidr(text), undefined, text);
});

it("writes what it reads in canonical text", () => {
  const texts: [string, string][] = [
    ["10.0.0.1/24", "10.0.0.1/24"],
    ["FD00:0:0:0:0:0:0:00A/64", "fd00::a/64"],
    ["::/0", "::/0"],
    ["2001:db8:0:0:1:0:0:1/128", "2001:db8::1:0:0:1/128"],
  ];
  for (const [text, canonical] of texts) assert.equal(cidrText(cidr(text)), canonical);
});

it("knows the borders of a block", () => {
  const block = cidr("10.3.1.0/8");
  assert.equal(cidrText(masked(block)), "10.0.0.0/8");
  assert.equal(addressText({ family: 4, number: lastOf(block) }), "10.255.255.255");
  assert.equal(sizeOf(block), 2n ** 24n);
  assert.equal(addressText({ family: 6, number: lastOf(cidr("fd00::/64")) }), "fd00::ffff:ffff:ffff:ffff");
  assert.ok(contains(block, cidr("10.255.255.255/32")) && !contains(block, cidr("11.0.0.0/32")));
});

it("two blocks overlap when they share an address", () => {
  const cases: [string, string, boolean][] = [
    ["10.0.0.0/8", "10.9.0.0/16", true],
    ["10.9.0.0/16", "10.0.0.0/8", true],
    ["10.0.0.0/9", "10.128.0.0/9", false],
    ["0.0.0.0/0", "::/0", false],
    ["fd00::5/64", "fd00::/127", true],
  ];
  for (const [a, b, expected] of cases) assert.equal(overlaps(cidr(a), cidr(b)), expected, `${a} ${b}`);
});
