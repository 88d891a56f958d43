import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { before, describe, it } from "node:test";
import type { Authority } from "../../model/cluster.ts";
import { issue } from "./authority.ts";
import { CertificateRequestError, createRequest, newKey, readRequest } from "./csr.ts";
import { newSwarmId } from "./names.ts";
import { clusterId, day, ecKey, newAuthority, rsaKey } from "./testing.ts";

const subject = { nodeId: newSwarmId(), role: "worker", clusterId, expiry: 90 * day } as const;
const now = Math.floor(Date.now() / 1000) * 1000;
const derOf = (pem: string) => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
const pemOf = (der: Buffer) =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
const spkiOf = (key: string) => createPublicKey(key).export({ type: "spki", format: "der" });

/** The same 10,000 every time (mulberry32). */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  };
}

function der(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  const long = [0x82, content.length >> 8, content.length & 0xff];
  const short = content.length < 0x80 ? [content.length] : [0x81, content.length];
  return Buffer.concat([Buffer.from([tag, ...(content.length > 0xff ? long : short)]), content]);
}
const oid = (hex: string) => der(0x06, Buffer.from(hex, "hex"));
const text = (value: string) => der(0x0c, Buffer.from(value));
const name = (...pairs: readonly (readonly [string, string])[]) =>
  der(0x30, ...pairs.map(([type, value]) => der(0x31, der(0x30, oid(`5504${type}`), text(value)))));
const signed = (info: Buffer, key: string) =>
  der(
    0x30,
    info,
    der(0x30, oid("2a8648ce3d040302")),
    der(0x03, Buffer.of(0), sign("sha256", info, createPrivateKey(key))),
  );

/** Extensions that a thief would like: CA, signing of certificates, a manager's name. */
const greedy = der(
  0x30,
  oid("2a864886f70d01090e"),
  der(
    0x31,
    der(
      0x30,
      der(0x30, oid("551d13"), der(0x01, Buffer.of(0xff)), der(0x04, der(0x30, der(0x01, Buffer.of(0xff))))),
      der(0x30, oid("551d0f"), der(0x04, Buffer.from("03020186", "hex"))),
      der(0x30, oid("551d11"), der(0x04, der(0x30, der(0x82, Buffer.from("tombolo-manager"))))),
    ),
  ),
);

/** What a certificate says apart from its key and serial number. */
function saying(pem: string, publicKey: Buffer): string {
  const certificate = new X509Certificate(pem);
  const bytes = certificate.raw.toString("hex");
  const content = bytes.slice(0, bytes.lastIndexOf("300a06082a8648ce3d040302"));
  // Lengths of the whole vary with the signature's.
  return content
    .slice(8)
    .replace(publicKey.toString("hex"), "KEY")
    .replace(certificate.serialNumber.toLowerCase(), "SERIAL");
}

describe("a certificate request", () => {
  let authority: Authority;
  let expected: string;
  const key = newKey();
  const honest = createRequest(key);
  before(() => {
    authority = newAuthority();
    expected = saying(issue(authority, honest, subject, now), spkiOf(key));
  });

  it("gives its public key", () => {
    assert.deepEqual(readRequest(honest), spkiOf(key));
    assert.deepEqual(readRequest(honest.replaceAll("\n", "\r\n")), spkiOf(key));
  });

  it("of 9,700 mutated ones none is accepted but for its own key: one named error", () => {
    const roll = dice(5);
    const bytes = derOf(honest);
    for (let i = 0; i < 9700; i += 1) {
      const mutated = i % 4 === 3 ? mutate(Buffer.from(honest), roll).toString("latin1") : pemOf(mutate(bytes, roll));
      try {
        // A mutation of a line's end may leave the request as it was.
        assert.deepEqual(readRequest(mutated), spkiOf(key));
        assert.deepEqual(derOf(mutated), bytes);
      } catch (error) {
        assert.ok(error instanceof CertificateRequestError, `${i}: ${String(error)}`);
      }
    }
  });

  it("of 300 well signed ones with fields of their own the certificate has the key and nothing else", () => {
    const roll = dice(6);
    const random = () => Buffer.from(Array.from({ length: roll(60) }, () => roll(256)));
    for (let i = 0; i < 300; i += 1) {
      const subjects = [
        name(["03", newSwarmId()], ["0b", "swarm-manager"], ["0a", "another"]),
        name(["03", random().toString("latin1")]),
        der(0x30, random()),
      ];
      const attributes = [[greedy], [greedy, der(0x30, random())], [random()], []][roll(4)] ?? [];
      const info = der(
        0x30,
        Buffer.from("020100", "hex"),
        subjects[roll(3)] ?? random(),
        spkiOf(key),
        der(0xa0, ...attributes),
      );
      const certificate = issue(authority, pemOf(signed(info, key)), subject, now);
      assert.equal(saying(certificate, spkiOf(key)), expected);
    }
  });

  const info = (publicKey: Buffer) => der(0x30, Buffer.from("020100", "hex"), name(["03", "x"]), publicKey, der(0xa0));
  const compressed = Buffer.from(
    `3039301306072a8648ce3d020106082a8648ce3d03010703220002${spkiOf(key).toString("hex").slice(54, 118)}`,
    "hex",
  );
  const off = Buffer.from(spkiOf(key));
  off[90] = (off[90] ?? 0) ^ 1;
  const refused: Readonly<Record<string, () => string>> = {
    nothing: () => "",
    "two of them": () => honest + honest,
    "a certificate": () => authority.root.certificate,
    "text around it": () => `x\n${honest}`,
    "bytes behind it": () => pemOf(Buffer.concat([derOf(honest), Buffer.of(0)])),
    "a length that is not the shortest": () =>
      pemOf(Buffer.concat([Buffer.from("308200", "hex"), derOf(honest).subarray(2)])),
    "another's key": () => pemOf(signed(info(spkiOf(newKey())), key)),
    "P-384": () => pemOf(signed(info(spkiOf(ecKey("P-384"))), ecKey("P-384"))),
    RSA: () => pemOf(signed(info(spkiOf(rsaKey(1024))), key)),
    Ed25519: () => {
      const { publicKey } = generateKeyPairSync("ed25519");
      return pemOf(signed(info(publicKey.export({ type: "spki", format: "der" })), key));
    },
    "a compressed point": () => pemOf(signed(info(compressed), key)),
    "a point off the curve": () => pemOf(signed(info(off), key)),
    "the point at infinity": () =>
      pemOf(signed(info(Buffer.concat([spkiOf(key).subarray(0, 27), Buffer.alloc(64)])), key)),
    "more than 4 KiB": () => pemOf(Buffer.alloc(4096, 0x30)),
    "deep nesting": () => pemOf(Buffer.from("3080".repeat(1400), "hex")),
  };
  for (const [what, request] of Object.entries(refused))
    it(`is refused: ${what}`, () => {
      assert.throws(() => issue(authority, request(), subject), CertificateRequestError);
    });
});

/** One to three bytes changed, left out, put in, doubled, or the end cut off. */
function mutate(bytes: Buffer, roll: (sides: number) => number): Buffer {
  let result = Buffer.from(bytes);
  for (let n = roll(3); n >= 0; n -= 1) {
    const at = roll(result.length || 1);
    const [head, tail] = [result.subarray(0, at), result.subarray(at)];
    const ways = [
      () => Buffer.concat([head, Buffer.of((tail[0] ?? 0) ^ (1 << roll(8))), tail.subarray(1)]),
      () => Buffer.concat([head, Buffer.of(roll(256)), tail.subarray(1)]),
      () => Buffer.concat([head, Buffer.of(roll(256)), tail]),
      () => Buffer.concat([head, tail.subarray(1 + roll(8))]),
      () => Buffer.concat([head, tail.subarray(0, roll(40)), tail]),
      () => head,
    ];
    result = Buffer.from(ways[roll(n === 0 ? 6 : 5)]?.() ?? result);
  }
  return result;
}
