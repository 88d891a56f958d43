import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { crossSign, finishRotation, issue, startRotation, trustBundle } from "./authority.ts";
import { readCertificates } from "./certificate.ts";
import { createRequest, newKey } from "./csr.ts";
import { newSwarmId } from "./names.ts";
import type { Root } from "../../model/cluster.ts";
import { createRoot, readRoot } from "./root.ts";
import {
  clusterId,
  day,
  ecKey,
  foreignRoot,
  hour,
  newAuthority,
  node,
  type RootWish,
  rsaKey,
  x509,
} from "./testing.ts";

const subject = { nodeId: newSwarmId(), role: "worker", clusterId, expiry: 90 * day } as const;
const now = Math.floor(Date.now() / 1000) * 1000;
const read = ({ certificate, key }: Root) => readRoot(certificate, key);

describe("a root of ours", () => {
  it("is a CA of 20 years on P-256, and is accepted when the user brings it", async () => {
    const root = createRoot(now);
    const certificate = new X509Certificate(root.certificate);
    assert.deepEqual([certificate.ca, certificate.publicKey.asymmetricKeyDetails?.namedCurve], [true, "prime256v1"]);
    assert.ok(certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey));
    assert.equal(certificate.validFromDate.getTime(), now - hour);
    assert.equal(certificate.validToDate.getTime(), now + 20 * 365 * day);
    assert.deepEqual(read(root), root);
  });

  it("has a name of its own", async () => {
    const [a, b] = [createRoot(), createRoot()].map((r) => new X509Certificate(r.certificate).subject);
    assert.notEqual(a, b);
  });
});

describe("a root that the user brings", () => {
  it("may be ECDSA P-256 or P-384 or RSA: its certificates verify, under a subject of several parts", async () => {
    for (const key of [newKey(), ecKey("P-384"), rsaKey(2048)]) {
      const root = read(await foreignRoot({ key }));
      const leaf = new X509Certificate(node({ root }).cert);
      const issuer = new X509Certificate(root.certificate);
      assert.ok(leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey));
    }
  });

  const refused: readonly (readonly [string, RootWish, RegExp])[] = [
    ["a short RSA key", { key: rsaKey(1024) }, /2048 bits or more/],
    ["another curve", { key: ecKey("P-521") }, /ECDSA P-256 or P-384/],
    ["no CA", { extensions: [] }, /must be a CA/],
    ["signed by another", { issuer: "CN=Somebody" }, /have signed itself/],
    ["less than a year left", { to: 364 * day }, /^CA certificate expires too soon$/],
    ["not valid yet", { from: day }, /not valid yet/],
    [
      "no CA below it",
      { extensions: [new x509.BasicConstraintsExtension(true, 0, true)] },
      /must allow one CA below it/,
    ],
    [
      "a key usage without signing",
      {
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.KeyUsagesExtension(x509.KeyUsageFlags.cRLSign, true),
        ],
      },
      /may not sign/,
    ],
    [
      "for code signing only",
      {
        extensions: [
          new x509.BasicConstraintsExtension(true, undefined, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.codeSigning]),
        ],
      },
      /may not sign/,
    ],
  ];
  for (const [what, wish, message] of refused)
    it(`is refused: ${what}`, async () => {
      await assert.rejects(foreignRoot(wish).then(read), { class: "invalid", message });
    });

  it("is refused when the key is another one's, none, or encrypted: the error does not hold it", async () => {
    const { certificate, key } = createRoot();
    assert.throws(() => readRoot(certificate, newKey()), { message: "certificate key mismatch" });
    for (const pem of ["", "key", key.replace("PRIVATE", "ENCRYPTED PRIVATE"), key.slice(0, 90)])
      assert.throws(
        () => readRoot(certificate, pem),
        (error: Error) => {
          assert.deepEqual([error.message, error.cause], ["malformed private key", undefined]);
          return true;
        },
      );
  });

  it("is refused when it is no certificate, or two", async () => {
    const { certificate, key } = createRoot();
    assert.throws(() => readRoot("", key), { message: "could not parse the desired CA certificate" });
    assert.throws(() => readRoot(certificate + certificate, key), { message: /cannot contain multiple certificates/ });
  });
});

describe("a node's certificate", () => {
  it("names node, role and swarm, and managers the name that clients ask for", async () => {
    const authority = newAuthority();
    const request = createRequest(newKey());
    for (const role of ["worker", "manager"] as const) {
      const certificate = new X509Certificate(issue(authority, request, { ...subject, role }, now));
      assert.equal(certificate.subject, `CN=${subject.nodeId}\nOU=swarm-${role}\nO=${clusterId}`);
      const names = [
        `DNS:swarm-${role}`,
        `DNS:${subject.nodeId}`,
        ...(role === "manager" ? ["DNS:tombolo-manager"] : []),
      ];
      assert.equal(certificate.subjectAltName, names.join(", "));
      assert.deepEqual(certificate.keyUsage, ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
      assert.equal(certificate.ca, false);
      assert.equal(certificate.validFromDate.getTime(), now - hour);
      assert.equal(certificate.validToDate.getTime(), now + 90 * day);
      const root = new X509Certificate(authority.root.certificate);
      assert.ok(certificate.checkIssued(root) && certificate.verify(root.publicKey));
    }
  });

  it("lives an hour at least, and never longer than its root", async () => {
    const authority = newAuthority();
    const request = createRequest(newKey());
    for (const expiry of [hour - 1, 0, -1, Number.NaN])
      assert.throws(() => issue(authority, request, { ...subject, expiry }), {
        class: "invalid",
        message: "minimum certificate expiry time is: 1h0m0s",
      });
    const long = new X509Certificate(issue(authority, request, { ...subject, expiry: Number.POSITIVE_INFINITY }));
    assert.equal(long.validTo, new X509Certificate(authority.root.certificate).validTo);
    assert.throws(() => issue(authority, request, subject, now + 21 * 365 * day), { class: "unavailable" });
  });

  it("is not made for an id that is none", async () => {
    const authority = newAuthority();
    for (const nodeId of ["", "a,OU=swarm-manager", "A".repeat(25), `${"a".repeat(25)}\n`])
      assert.throws(() => issue(authority, createRequest(newKey()), { ...subject, nodeId }), { class: "invalid" });
  });

  it("verifies with openssl, also by the old root over the cross certificate", async () => {
    const before = newAuthority();
    const during = startRotation(before, createRoot());
    const [old, next] = [node(before), node(during)];
    const [leaf = "", cross = ""] = readCertificates(next.cert).map(String);
    const folder = mkdtempSync(join(tmpdir(), "identity-"));
    const verify = (root: string, certificate: string, untrusted: string) => {
      const files = Object.entries({ root, certificate, untrusted }).map(([name, pem]) => {
        writeFileSync(join(folder, name), pem);
        return join(folder, name);
      });
      const [roots = "", subjectFile = "", others = ""] = files;
      const flags = ["-x509_strict", "-purpose", "sslclient", "-CAfile", roots, "-untrusted", others, subjectFile];
      return execFileSync("/usr/bin/openssl", ["verify", ...flags], { encoding: "utf8" });
    };
    try {
      assert.match(verify(before.root.certificate, old.cert, cross), /: OK/);
      assert.match(verify(before.root.certificate, leaf, cross), /: OK/);
      assert.match(verify(during.next?.certificate ?? "", leaf, cross), /: OK/);
      const input = createRequest(newKey());
      execFileSync("/usr/bin/openssl", ["req", "-verify", "-noout"], { input, stdio: "pipe" });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("rotation of the root", () => {
  it("trusts both roots until it is finished, the present one first, and another start replaces it", async () => {
    const before = newAuthority();
    const [b, c] = [createRoot(), createRoot()];
    const during = startRotation(before, b);
    assert.equal(trustBundle(during), before.root.certificate + b.certificate);
    assert.equal(trustBundle(startRotation(during, c)), before.root.certificate + c.certificate);
    assert.deepEqual(finishRotation(during), { root: b });
    assert.deepEqual(finishRotation(before), before);
  });

  it("refuses a next root with the same key or the same name", async () => {
    const old = await foreignRoot();
    assert.throws(() => crossSign(old, old), { message: "Cannot update to a cert with an identical key" });
    const other = await foreignRoot();
    assert.throws(() => crossSign(old, other), { message: /must have another subject/ });
  });
});
