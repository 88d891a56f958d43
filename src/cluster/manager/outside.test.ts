import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, it } from "node:test";
import { startRotation } from "../identity/authority.ts";
import { chainOf, identityOf, readCertificates } from "../identity/certificate.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import { type CaOptions, startCa, type Whim } from "../identity/external-testing.ts";
import { newSwarmId } from "../identity/names.ts";
import type { Root } from "../../model/cluster.ts";
import { createRoot } from "../identity/root.ts";
import { authorityExtensions, nodeExtensions, readIssuer } from "../identity/sign.ts";
import { clusterId, day, hour, node } from "../identity/testing.ts";
import { certifyAnyhow } from "./outside.ts";
import { outside } from "./outside-testing.ts";

const nodeId = newSwarmId();
const worker = { nodeId, role: "worker" } as const;

const asked = async (options: CaOptions, holder: { nodeId: string; role: "worker" | "manager" } = worker) => {
  await using ca = await startCa(options);
  const now = Date.now;
  return await certifyAnyhow(outside(ca.root, [ca.authority]), createRequest(newKey()), holder, { now });
};

describe("a certificate of an external CA", () => {
  it("says what the manager has decided, for each role", async () => {
    for (const role of ["worker", "manager"] as const) {
      await using ca = await startCa();
      const key = newKey();
      const cluster = outside(ca.root, [ca.authority]);
      const { pem, facts } = await certifyAnyhow(cluster, createRequest(key), { nodeId, role }, { now: Date.now });
      const certificate = new X509Certificate(pem);
      assert.deepEqual(identityOf(certificate), { nodeId, role, clusterId });
      assert.deepEqual([facts.role, facts.expiresAt], [role, certificate.validToDate.getTime()]);
      assert.equal(pem, certificate.toString());
      assert.ok(certificate.verify(new X509Certificate(ca.root.certificate).publicKey));
    }
  });

  it("that says anything else is refused, and it is said what", async () => {
    const now = Date.now();
    const names = ["swarm-worker", nodeId];
    const other = newKey();
    const { name } = readIssuer(createRoot().certificate);
    const cases: Readonly<Record<string, readonly [Whim, RegExp]>> = {
      "another key": [{ key: other }, /it is for another key/],
      "a manager's role": [{ unit: "swarm-manager" }, /it is for another subject/],
      "one name more": [{ names: [...names, "tombolo-manager"] }, /it has other DNS names/],
      "one name less": [{ names: [nodeId] }, /it has other DNS names/],
      "an address": [{ content: { extensions: nodeExtensions(names, [Buffer.of(192, 0, 2, 1)]) } }, /other DNS names/],
      "a CA": [{ content: { extensions: authorityExtensions(Buffer.alloc(20)) } }, /other DNS names|that of a CA/],
      "another issuer": [{ content: { issuer: name } }, /not signed by the swarm's root CA/],
      "a life that is too long": [
        { content: { to: now + 92 * day } },
        /holds for 2208h, where the swarm's --cert-expiry is 2160h/,
      ],
      "one that is too short": [{ content: { to: now + hour / 3 } }, /ends in less than half an hour/],
      "one that is over": [{ content: { to: now - hour } }, /ends in less than half an hour/],
      "one that is not begun": [{ content: { from: now + hour } }, /not valid yet/],
    };
    for (const [what, [whim, message]] of Object.entries(cases))
      await assert.rejects(asked({ whim }), { class: "system", message }, what);
  });

  it("of no request, no id or an expiry below an hour is not asked for", async () => {
    await using ca = await startCa();
    const at = { now: Date.now };
    const cluster = outside(ca.root, [ca.authority]);
    await assert.rejects(certifyAnyhow(cluster, "none", worker, at), { code: "BAD_REQUEST" });
    const csr = createRequest(newKey());
    await assert.rejects(certifyAnyhow(cluster, csr, { ...worker, nodeId: "x" }, at), { class: "invalid" });
    const short = outside(ca.root, [ca.authority], hour - 1);
    await assert.rejects(certifyAnyhow(short, csr, worker, at), { class: "invalid" });
    assert.deepEqual(ca.requests, []);
  });
});

describe("several external CAs", () => {
  const csr = createRequest(newKey());
  const at = () => ({ now: Date.now });

  it("are asked in their order; one that fails, or answers badly, is followed by the next", async () => {
    const root = createRoot();
    await using bad = await startCa({ root, whim: { unit: "swarm-manager" } });
    await using broken = await startCa({ root, answer: () => [503, ""] });
    await using good = await startCa({ root });
    await using last = await startCa({ root });
    const cluster = outside(
      root,
      [bad, broken, good, last].map(({ authority }) => authority),
    );
    assert.equal((await certifyAnyhow(cluster, csr, worker, at())).facts.role, "worker");
    assert.deepEqual(
      [bad, broken, good, last].map(({ requests }) => requests.length),
      [1, 1, 1, 0],
    );
  });

  it("that all fail are all named, with their reasons, without passwords", async () => {
    const root = createRoot();
    await using bad = await startCa({ root, whim: { unit: "swarm-manager" } });
    await using broken = await startCa({ root, answer: () => [503, ""] });
    const withSecret = { ...broken.authority, url: broken.url.replace("https://", "https://user:secret@") };
    await assert.rejects(certifyAnyhow(outside(root, [bad.authority, withSecret]), csr, worker, at()), {
      class: "system",
      message: `no certificate from the external CA: ${bad.url}: its certificate is refused: it is for another subject; ${broken.url}: it answered 503 without a certificate`,
    });
  });

  it("count only for the root that they sign for; without any, and without the key, it is said", async () => {
    const root = createRoot();
    await using other = await startCa();
    await assert.rejects(certifyAnyhow(outside(root, [other.authority]), csr, worker, at()), {
      message: /the root's key is not in the swarm, and it knows no CA that has it: docker swarm update --external-ca/,
    });
    const own = { ...outside(root, [other.authority]), authority: { root } };
    assert.equal((await certifyAnyhow(own, csr, worker, at())).facts.role, "worker");
    assert.deepEqual(other.requests, []);
  });

  it("go before a key that the swarm has, as in Docker", async () => {
    await using ca = await startCa({ answer: () => [503, ""] });
    const cluster = { ...outside(ca.root, [ca.authority]), authority: { root: ca.root } };
    await assert.rejects(certifyAnyhow(cluster, csr, worker, at()), { class: "system", message: /answered 503/ });
  });
});

it("while the root is rotated, the cross certificate goes along, and either root leads to the node", async () => {
  const old = createRoot();
  await using ca = await startCa();

  const authority = startRotation({ root: old }, { certificate: ca.root.certificate });
  const cluster = { ...outside(ca.root, [ca.authority]), authority };
  const own = node({ root: old }, { role: "manager" });
  const asker = { now: Date.now, own: { key: own.key, certificate: own.cert } };
  const { pem, facts } = await certifyAnyhow(cluster, createRequest(newKey()), worker, asker);
  const [leaf, ...others] = readCertificates(pem);
  assert.ok(leaf !== undefined && facts.root !== "");
  for (const root of [old, ca.root] satisfies Root[])
    assert.ok(chainOf(leaf, others, readCertificates(root.certificate)), "no chain");
  assert.equal(ca.requests[0]?.by, own.subject.nodeId);
});
