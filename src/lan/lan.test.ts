import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FrameFilter, FrameSocket } from "../kernel/kernel.ts";
import { addressBytes } from "../lib/address-bytes.ts";
import type { LeaseRequest } from "../model/lease.ts";
import { decode, encode, messageTypes, prefixOf } from "./dhcp/message.ts";
import {
  arp,
  checksum,
  ethernet,
  macBytes,
  neighbourAnnouncement,
  neighbourProbe,
  readAdvertisement,
  readArp,
  readUdp,
  udp,
} from "./frames.ts";
import { createLan } from "./lan.ts";

const own = "02:00:00:00:00:01";
const other = "02:00:00:00:00:02";
const request: LeaseRequest = { link: "lan0", mac: own, clientId: "00ff", hostname: "web" };

/** A LAN on which `answer` says what comes back for each frame. */
function lanWith(answer: (frame: Buffer, filter: FrameFilter) => Buffer[]): {
  lan: ReturnType<typeof createLan>;
  sent: Buffer[];
} {
  const sent: Buffer[] = [];
  const frames = (_link: string, filter: FrameFilter, onFrame: (frame: Buffer) => void): FrameSocket => ({
    send(frame) {
      sent.push(frame);
      for (const one of answer(frame, filter)) setImmediate(onFrame, one);
    },
    closed: false,
    close() {},
  });
  const link = (_: string, name: string) =>
    name === "lan0"
      ? { name, index: 2, type: "", up: true, carrier: true, promiscuous: false, mtu: 1500, mac: own }
      : undefined;
  return { lan: createLan({ frames, link }), sent };
}

describe("frames", () => {
  it("have the Internet checksum of RFC 1071's example", () =>
    assert.equal(checksum(Buffer.from("0001f203f4f5f6f7", "hex")).toString("hex"), "220d"));

  it("of ARP are read as they were written, others not", () => {
    const packet = {
      operation: "reply",
      senderMac: other,
      senderAddress: "10.0.0.2",
      targetMac: own,
      targetAddress: "10.0.0.1",
    } as const;
    assert.deepEqual(readArp(ethernet(own, other, "arp", arp(packet))), packet);
    assert.equal(readArp(ethernet(own, other, "arp", Buffer.alloc(28))), undefined);
    assert.equal(readArp(Buffer.alloc(5)), undefined);
  });

  it("of UDP are read as they were written, with right checksums", () => {
    const from = { address: "10.0.0.1", port: 68 };
    const to = { address: "10.0.0.2", port: 67 };
    const frame = udp({ to: other, from: own }, from, to, Buffer.from("hello"));
    assert.equal(readUdp(frame)?.toString(), "hello");
    assert.equal(checksum(frame.subarray(14, 34)).readUInt16BE(0), 0);
    const pseudo = Buffer.concat([frame.subarray(26, 34), Buffer.from([0, 17]), frame.subarray(38, 40)]);
    assert.equal(checksum(pseudo, frame.subarray(34), Buffer.alloc(1)).readUInt16BE(0), 0);
    for (let length = 0; length < frame.length; length += 1) readUdp(frame.subarray(0, length));
  });

  it("of neighbour discovery go to the groups of RFC 4861", () => {
    const probe = neighbourProbe(own, "fd00::12:3456");
    assert.equal(probe.subarray(0, 6).toString("hex"), "3333ff123456");
    assert.equal(probe[54], 135);
    const told = neighbourAnnouncement(own, "fd00::1");
    assert.equal(told.subarray(0, 6).toString("hex"), "333300000001");
    assert.equal(readAdvertisement(told), "fd00::1");
    assert.equal(readAdvertisement(probe), undefined);
  });
});

describe("DHCP messages", () => {
  it("say who asks, and for what", () => {
    const clientId = Buffer.from("00aabb", "hex");
    const bytes = encode({
      type: "request",
      transaction: 7,
      mac: own,
      clientId,
      requested: "10.0.0.9",
      hostname: "web",
    });
    assert.ok(bytes.length >= 300);
    assert.equal(bytes.readUInt32BE(4), 7);
    assert.equal(bytes.readUInt16BE(10), 0x8000, "answers are broadcast");
    const options = bytes.subarray(240).toString("hex");
    for (const option of ["350103", "3d0300aabb", "32040a000009", "0c03776562"])
      assert.ok(options.includes(option), option);
  });

  it("of servers are read, those to others and rubbish are not", () => {
    const answer = serverMessage(7, "offer", "10.0.0.9");
    assert.deepEqual(decode(answer, own), {
      type: "offer",
      transaction: 7,
      address: "10.0.0.9",
      server: "10.0.0.1",
      mask: "255.255.0.0",
      router: "10.0.0.254",
      seconds: 120,
    });
    assert.equal(decode(answer, other), undefined);
    let seed = 1;
    const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
    for (let round = 0; round < 5000; round += 1) {
      const bytes = Buffer.from(answer.subarray(0, random(4) === 0 ? random(answer.length) : answer.length));
      for (let k = random(6); k > 0 && bytes.length > 0; k -= 1) bytes[random(bytes.length)] = random(256);
      decode(bytes, own);
    }
  });

  it("have masks that are prefixes, or none", () =>
    assert.deepEqual(["255.255.255.0", "255.0.0.0", "0.0.0.0", "255.0.255.0"].map(prefixOf), [24, 8, 0, undefined]));
});

/** What a server at 10.0.0.1 says. */
function serverMessage(transaction: number, type: keyof typeof messageTypes, address: string): Buffer {
  const head = Buffer.alloc(240);
  head[0] = 2;
  head.writeUInt32BE(transaction, 4);
  addressBytes(address).copy(head, 16);
  macBytes(own).copy(head, 28);
  head.writeUInt32BE(0x63825363, 236);
  const options = `3501${messageTypes[type].toString(16).padStart(2, "0")}36040a0000010104ffff000003040a0000fe330400000078`;
  return Buffer.concat([head, Buffer.from(options, "hex"), Buffer.from([0, 255])]);
}

/** A server that answers each message of these types as told; the type of a message is behind the magic cookie. */
const server =
  (says: Partial<Record<keyof typeof messageTypes, readonly [keyof typeof messageTypes, string]>>) =>
  (frame: Buffer): Buffer[] => {
    const message = readUdp(frame) ?? Buffer.alloc(300);
    const code = message[242];
    const type = (Object.keys(messageTypes) as (keyof typeof messageTypes)[]).find((t) => messageTypes[t] === code);
    const [answer, address] = (type && says[type]) ?? [];
    if (answer === undefined || address === undefined) return [];
    const text = serverMessage(message.readUInt32BE(4), answer, address);
    const [from, to] = [
      { address: "10.0.0.1", port: 67 },
      { address: "255.255.255.255", port: 68 },
    ];
    return [Buffer.from("rubbish"), udp({ to: "ff:ff:ff:ff:ff:ff", from: other }, from, to, text)];
  };

describe("leases", () => {
  it("are obtained by discover and request, with all that the server said", async () => {
    const { lan, sent } = lanWith(server({ discover: ["offer", "10.0.0.9"], request: ["ack", "10.0.0.9"] }));
    const { obtainedAt, ...given } = await lan.obtain(request);
    assert.ok(Math.abs(obtainedAt - Date.now()) < 5000);
    assert.deepEqual(given, {
      address: "10.0.0.9",
      prefix: 16,
      gateway: "10.0.0.254",
      server: "10.0.0.1",
      serverMac: other,
      seconds: 120,
    });
    assert.equal(sent.length, 2);
    lan.stop();
  });

  it("that are refused say why; a renewal that is refused is none", async () => {
    const { lan } = lanWith(server({ discover: ["offer", "10.0.0.9"], request: ["nak", "0.0.0.0"] }));
    await assert.rejects(lan.obtain(request), /the DHCP server on lan0 refused: it gave no reason/);
    assert.equal(await lan.renew(request, "10.0.0.9"), undefined);
    lan.stop();
  });

  it("of what no container can use are refused", async () => {
    for (const address of ["0.0.0.0", "127.0.0.1", "224.0.0.9", "255.255.255.255", "10.0.0.254"]) {
      const { lan } = lanWith(server({ discover: ["offer", address], request: ["ack", address] }));
      await assert.rejects(lan.obtain(request), /the DHCP server on lan0 gave what no container can use/, address);
      lan.stop();
    }
  });

  it("are asked for on a link that is there", async () => {
    const { lan } = lanWith(() => []);
    await assert.rejects(lan.probe("eth9", "10.0.0.9"), /there is no interface eth9 on this host/);
    lan.stop();
  });
});

describe("a probe", () => {
  const reply = (address: string, mac: string) =>
    ethernet(
      own,
      mac,
      "arp",
      arp({ operation: "reply", senderMac: mac, senderAddress: address, targetMac: own, targetAddress: "0.0.0.0" }),
    );

  it("finds who has the address, and nobody else", async () => {
    const { lan } = lanWith(() => [reply("10.0.0.8", other), reply("10.0.0.9", other)]);
    assert.equal(await lan.probe("lan0", "10.0.0.9"), other);
    assert.equal(await lan.probe("lan0", "10.0.0.7"), undefined);
    lan.stop();
  });

  it("of two that ask at once gives the address to the lower MAC", async () => {
    const asked = (mac: string) =>
      arp({
        operation: "request",
        senderMac: mac,
        senderAddress: "0.0.0.0",
        targetMac: own,
        targetAddress: "10.0.0.9",
      });
    const probe = (mac: string) => {
      const { lan } = lanWith(() => [ethernet("ff:ff:ff:ff:ff:ff", mac, "arp", asked(mac))]);
      return lan.probe("lan0", "10.0.0.9").finally(() => lan.stop());
    };
    assert.equal(await probe("00:00:00:00:00:01"), "00:00:00:00:00:01");
    assert.equal(await probe("fe:00:00:00:00:01"), undefined);
  });

  it("does not find the host itself", async () => {
    const { lan } = lanWith(() => [reply("10.0.0.9", own)]);
    assert.equal(await lan.probe("lan0", "10.0.0.9"), undefined);
    lan.stop();
  });

  it("asks for an IPv6 address by neighbour discovery", async () => {
    const { lan } = lanWith((_, filter) =>
      filter === "neighbour-advertisement" ? [neighbourAnnouncement(other, "fd00::9")] : [],
    );
    assert.equal(await lan.probe("lan0", "fd00::9"), other);
    lan.stop();
  });
});
