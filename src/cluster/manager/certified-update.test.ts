import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { it } from "node:test";
import { revised } from "../../model/cluster.ts";
import type { Snapshot } from "../../store/store.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { explain } from "../calls/call-errors.ts";
import { updateCertified } from "./certified-update.ts";
import { clusterIn } from "../certificates.ts";
import { Join } from "../gen/control_pb.ts";
import { startRotation } from "../identity/authority.ts";
import { identityOf } from "../identity/certificate.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import { startCa } from "../identity/external-testing.ts";
import { createRoot } from "../identity/root.ts";
import { node } from "../identity/testing.ts";
import { digestOf, formatToken, newSecret } from "../identity/token.ts";
import { joinService } from "./join.ts";
import { outside } from "./outside-testing.ts";
import { description, newNode } from "../testing.ts";
import { descriptionToWire } from "../calls/wire.ts";

/** Files are loaded long before their tests run: no clock that begins here. */
const { signal } = new AbortController();

/** A manager of a swarm with an external CA, which does `meanwhile` before it answers. */
async function manager(meanwhile: (request: number) => unknown = () => {}) {
  const ca = await startCa({ answer: async () => void (await meanwhile(ca.requests.length)) });
  const store = createMemoryStore();
  const self = node({ root: ca.root }, { role: "manager" });
  const member = newNode();
  await store.update((tx) => {
    tx.insert("clusters", outside(ca.root, [ca.authority]));
    tx.insert("nodes", member);
  });
  const parts = { store, now: Date.now, own: () => ({ key: self.key, certificate: self.cert }) };
  const router = { interceptors: [explain(() => {})] };
  const transport = createRouterTransport((routes) => routes.service(Join, joinService(parts)), { router });
  const secret = () => clusterIn(store.snapshot()).tokens.worker;
  const token = () => formatToken({ digest: digestOf(ca.root.certificate), secret: secret() });
  const request = (said: string) => ({
    token: said,
    csr: createRequest(newKey()),
    description: descriptionToWire(description),
  });
  const holder = (rows: Snapshot) => {
    const row = rows.get("nodes", member.id);
    return row && { nodeId: row.id, role: row.role };
  };
  const renew = () =>
    updateCertified(parts, { csr: createRequest(newKey()), holder, write: (_, { pem }) => pem }, signal);
  const join = (said = token()) => createClient(Join, transport).issueCertificate(request(said));
  return { ca, self, member, store, join, renew, [Symbol.asyncDispose]: () => ca[Symbol.asyncDispose]() };
}

it("who joins gets a certificate of the external CA, which the manager asks with its own", async () => {
  await using m = await manager();
  const { nodeId, certificate, roots } = await m.join();
  assert.equal(roots, m.ca.root.certificate);
  const leaf = new X509Certificate(certificate);
  assert.deepEqual([identityOf(leaf)?.nodeId, identityOf(leaf)?.role], [nodeId, "worker"]);
  assert.ok(leaf.verify(new X509Certificate(roots).publicKey));
  assert.equal(m.ca.requests[0]?.by, m.self.subject.nodeId);
  const row = m.store.snapshot().get("nodes", nodeId);
  assert.equal(row?.certificate.fingerprint, leaf.fingerprint256.replaceAll(":", "").toLowerCase());
});

it("a CA that is not there makes no node, and the joiner hears of it", async () => {
  await using m = await manager();
  await m.ca[Symbol.asyncDispose]();
  const { revision } = m.store.snapshot();
  await assert.rejects(m.join(), {
    code: Code.Unknown,
    rawMessage: new RegExp(`^no certificate from the external CA: ${m.ca.url}: connect ECONNREFUSED`),
  });
  assert.equal(m.store.snapshot().revision, revision);
});

it("a wrong token is nothing to ask a CA for; one that is rotated while the CA signs makes no node", async () => {
  const rotate = () =>
    m.store.update((tx) => {
      const tokens = { worker: newSecret(), manager: newSecret() };
      tx.put("clusters", revised(clusterIn(tx), { tokens }, 1));
    });
  await using m = await manager(rotate);
  await assert.rejects(m.join(), { code: Code.InvalidArgument, rawMessage: /A valid join token is necessary/ });
  await assert.rejects(m.join("SWMTKN-1-wrong"), { code: Code.InvalidArgument });
  assert.deepEqual([m.ca.requests.length, m.store.snapshot().list("nodes").length], [1, 1]);
});

it("a role that changes while the CA signs is that of the certificate: the CA is asked again", async () => {
  await using m = await manager((count) => {
    if (count > 1) return;
    return m.store.update((tx) => tx.put("nodes", revised(m.member, { role: "manager" }, 1)));
  });
  const pem = (await m.renew()) ?? "";
  assert.equal(identityOf(new X509Certificate(pem))?.role, "manager");
  assert.equal(m.ca.requests.length, 2);
});

it("a root that changes while the CA signs signs itself; a node that is removed gets nothing", async () => {
  const next = createRoot();
  await using m = await manager(() =>
    m.store.update((tx) => {
      const cluster = clusterIn(tx);
      tx.put("clusters", { ...cluster, authority: startRotation({ root: m.ca.root }, next) });
    }),
  );
  const leaf = new X509Certificate((await m.renew()) ?? "");
  assert.ok(leaf.verify(new X509Certificate(next.certificate).publicKey));
  await m.store.update((tx) => tx.delete("nodes", m.member.id));
  assert.equal(await m.renew(), undefined);
});

it("a cluster that changes all the time is said to", async () => {
  let role: "worker" | "manager" = "worker";
  await using m = await manager(() => {
    role = role === "worker" ? "manager" : "worker";
    return m.store.update((tx) => tx.put("nodes", revised(m.member, { role }, 1)));
  });
  await assert.rejects(m.renew(), { class: "unavailable", message: /the swarm's CA is being changed/ });
});
