import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeAttributes, text } from "./attributes.ts";
import { decodeMessages, encodeMessage, flags } from "./message.ts";

/** A message of the kernel's, by hand. */
function raw(type: number, flag: number, sequence: number, body: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flag, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, body, Buffer.alloc((4 - (body.length % 4)) % 4)]);
}
const errno = (number: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(-number, 0);
  return bytes;
};
const explained = encodeAttributes([[1, text("Nexthop has invalid gateway")]]);

describe("netlink messages", () => {
  it("writes header, body and attributes", () => {
    const bytes = encodeMessage(
      { type: 16, flags: flags.create | flags.request, body: Buffer.alloc(16), attributes: [[3, text("lo")]] },
      5,
    );
    assert.equal(
      bytes.toString("hex"),
      "28000000" + "1000" + "0104" + "05000000" + "00000000" + "00".repeat(16) + "070003006c6f0000",
    );
  });

  it("reads several messages of one datagram", () => {
    const bytes = Buffer.concat([
      raw(16, 2, 1, Buffer.from([9])),
      raw(17, 2, 1, Buffer.from([8])),
      raw(3, 2, 1, errno(0)),
    ]);
    assert.deepEqual(decodeMessages(bytes), [
      { kind: "message", sequence: 1, type: 16, body: Buffer.from([9]) },
      { kind: "message", sequence: 1, type: 17, body: Buffer.from([8]) },
      { kind: "result", sequence: 1, errno: 0 },
    ]);
  });

  it("reads an error with the kernel's explanation, the request repeated whole or cut", () => {
    const request = raw(24, 0, 7, Buffer.alloc(12));
    const whole = raw(2, 0x200, 7, Buffer.concat([errno(101), request, explained]));
    const cut = raw(2, 0x300, 7, Buffer.concat([errno(101), request.subarray(0, 16), explained]));
    const expected = [{ kind: "result", sequence: 7, errno: 101, text: "Nexthop has invalid gateway" }];
    assert.deepEqual(decodeMessages(whole), expected);
    assert.deepEqual(decodeMessages(cut), expected);
  });

  it("reads an acknowledgement, and the errno at the end of a dump", () => {
    assert.deepEqual(decodeMessages(raw(2, 0x100, 7, Buffer.concat([errno(0), Buffer.alloc(16)]))), [
      { kind: "result", sequence: 7, errno: 0 },
    ]);
    assert.deepEqual(decodeMessages(raw(3, 0x202, 7, Buffer.concat([errno(2), explained]))), [
      { kind: "result", sequence: 7, errno: 2, text: "Nexthop has invalid gateway" },
    ]);
  });

  it("tells that a dump was interrupted", () => {
    const [first] = decodeMessages(raw(16, 0x12, 3, Buffer.alloc(4)));
    assert.deepEqual(first, { kind: "interrupted", sequence: 3 });
  });

  it("stops at a message that is cut off", () => {
    const bytes = Buffer.concat([raw(16, 0, 1, Buffer.alloc(4)), raw(16, 0, 2, Buffer.alloc(40)).subarray(0, 30)]);
    assert.equal(decodeMessages(bytes).length, 1);
    assert.deepEqual(decodeMessages(Buffer.alloc(16)), []);
  });
});
