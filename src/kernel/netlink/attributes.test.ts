import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import {
  decodeAttributes,
  encodeAttributes,
  macBytes,
  macText,
  maskBits,
  readText,
  readU32,
  splitCidr,
  text,
  u32,
  u8,
} from "./attributes.ts";

describe("attributes", () => {
  it("pads to four bytes and says the length without the padding", () => {
    const bytes = encodeAttributes([
      [3, text("lo")],
      [20, u8(7)],
    ]);
    assert.equal(bytes.toString("hex"), "070003006c6f0000" + "0500140007000000");
  });

  it("nests, with the flag that says so", () => {
    const bytes = encodeAttributes([[18, [[1, text("veth")]]]]);
    assert.equal(bytes.toString("hex"), "10001280" + "0900010076657468" + "00000000");
    const inner = decodeAttributes(decodeAttributes(bytes).get(18) ?? Buffer.alloc(0));
    assert.equal(readText(inner.get(1)), "veth");
  });

  it("reads what it wrote", () => {
    const found = decodeAttributes(
      encodeAttributes([
        [1, u32(0xfffffffe)],
        [2, text("eth0")],
        [3, Buffer.alloc(0)],
      ]),
    );
    assert.equal(readU32(found.get(1)), 0xfffffffe);
    assert.equal(readText(found.get(2)), "eth0");
    assert.deepEqual(found.get(3), Buffer.alloc(0));
    assert.equal(readU32(found.get(4)), undefined);
  });

  it("stops at an attribute that is cut off or too short", () => {
    const whole = encodeAttributes([
      [1, u32(1)],
      [2, u32(2)],
    ]);
    assert.deepEqual([...decodeAttributes(whole.subarray(0, 13)).keys()], [1]);
    assert.deepEqual([...decodeAttributes(Buffer.from([0, 0, 1, 0, 0, 0, 0, 0])).keys()], []);
  });
});

describe("addresses", () => {
  for (const [address, canonical] of [
    ["10.0.0.1", "10.0.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["fd00::", "fd00::"],
    ["FD00:0:0:1::0:5", "fd00:0:0:1::5"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["1:0:0:2:0:0:3:4", "1::2:0:0:3:4"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
  ] as const)
    it(`${address} is ${canonical}`, () => assert.equal(addressText(addressBytes(address)), canonical));

  it("refuses what is no address", () => {
    for (const bad of ["", "10.0.0", "10.0.0.256", "fd00:::1", "fe80::1%eth0x/64"])
      assert.throws(() => addressBytes(bad), RangeError);
  });

  it("masks the host's part", () => {
    const { address, prefix } = splitCidr("10.1.130.7/17");
    assert.equal(addressText(maskBits(address, prefix, 0)), "10.1.128.0");
    assert.equal(addressText(maskBits(address, prefix, 1)), "10.1.255.255");
    assert.equal(addressText(maskBits(address, 0, 0)), "0.0.0.0");
    assert.equal(addressText(maskBits(address, 32, 1)), "10.1.130.7");
    assert.equal(addressText(maskBits(addressBytes("fd00:1:2:3:4::9"), 63, 0)), "fd00:1:2:2::");
  });

  it("writes and reads a MAC", () => {
    assert.deepEqual([...macBytes("02:42:ac:11:00:0f")], [2, 0x42, 0xac, 0x11, 0, 15]);
    assert.equal(macText(Buffer.from([2, 0x42, 0xac, 0x11, 0, 15])), "02:42:ac:11:00:0f");
  });
});
