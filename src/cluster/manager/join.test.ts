import { Code, ConnectError, type ConnectRouter, createClient } from "@connectrpc/connect";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { after, it } from "node:test";
import { createMemoryStore } from "../../store/memory-store.ts";
import { revised } from "../../model/cluster.ts";
import type { Transaction } from "../../store/store.ts";
import { clusterIn } from "../certificates.ts";
import { joinCalls } from "../calls/control-client.ts";
import { ControlServer } from "../calls/control-server.ts";
import { dial } from "../calls/dial.ts";
import { Join, Node, Role } from "../gen/control_pb.ts";
import { identityOf } from "../identity/certificate.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import { node } from "../identity/testing.ts";
import { digestOf, formatToken, newSecret } from "../identity/token.ts";
import { joinService, renewCertificate } from "./join.ts";
import { description, newCluster, newNode } from "../testing.ts";
import { descriptionToWire } from "../calls/wire.ts";
import { WrongTokens } from "../calls/wrong-tokens.ts";

/** Files are loaded long before their tests run: no clock that begins here. */
const { signal } = new AbortController();
const ends: (() => unknown)[] = [];
after(async () => {
  for (const end of ends.toReversed()) await end();
});

/** A manager with its control port, and a host's way to it. */
async function manager() {
  const store = createMemoryStore();
  const cluster = newCluster();
  const self = node(cluster.authority, { role: "manager" });
  await store.update((tx) => {
    tx.insert("clusters", cluster);
    const facts = { address: "192.0.2.1:2377", reachability: "reachable", leader: true, memberId: "1" } as const;
    tx.insert("nodes", newNode({ id: self.subject.nodeId, role: "manager", manager: facts }));
  });
  let time = Date.now();
  const parts = { store, now: () => time, own: () => ({ key: self.key, certificate: self.cert }) };
  const routes = (router: ConnectRouter) => {
    router.service(Join, joinService(parts));
    router.service(Node, { renewCertificate: renewCertificate(parts) });
  };
  const standing = (id: string) => store.snapshot().get("nodes", id)?.role;
  const credentials = { key: self.key, certificate: self.cert, roots: cluster.authority.root.certificate };
  const failures: unknown[] = [];
  const server = new ControlServer(credentials, cluster.id, { routes, standing, failed: (e) => failures.push(e) });
  const { port } = await server.listen("127.0.0.1", 0);
  const address = `127.0.0.1:${port}`;
  const digest = digestOf(cluster.authority.root.certificate);
  const { calls, close } = await joinCalls(address, digest, signal);
  ends.push(() => server.close(), close);
  const token = (role: "worker" | "manager") =>
    formatToken({ digest, secret: clusterIn(store.snapshot()).tokens[role] });
  const join = (secret: string, csr = createRequest(newKey())) =>
    calls.issueCertificate({ token: secret, csr, description: descriptionToWire(description) });
  const change = (how: (tx: Transaction) => void) => store.update(how);
  const wait = (milliseconds: number) => void (time += milliseconds);
  const nodes = () => store.snapshot().list("nodes");
  return { calls, join, token, change, wait, nodes, cluster, address, self, failures };
}

it("a token gives its role: a certificate, a row, the roots and the managers", async () => {
  const m = await manager();
  for (const role of ["worker", "manager"] as const) {
    const joined = await m.join(m.token(role));
    const certificate = new X509Certificate(joined.certificate);
    assert.deepEqual(identityOf(certificate), { nodeId: joined.nodeId, role, clusterId: m.cluster.id });
    const row = m.nodes().find(({ id }) => id === joined.nodeId);
    assert.deepEqual([row?.role, row?.membership, row?.hostname], [role, "accepted", "h2"]);
    assert.equal(row?.certificate.fingerprint, certificate.fingerprint256.replaceAll(":", "").toLowerCase());
    assert.equal(row?.certificate.expiresAt, certificate.validToDate.getTime());
    assert.deepEqual(
      [joined.role, joined.roots],
      [Role[role === "worker" ? "WORKER" : "MANAGER"], m.cluster.authority.root.certificate],
    );
    assert.deepEqual(joined.managers, ["192.0.2.1:2377"]);
  }
});

it("the same key twice is the same node, also at once, and keeps the role that it has", async () => {
  const m = await manager();
  const csr = createRequest(newKey());
  const [a, b] = await Promise.all([m.join(m.token("worker"), csr), m.join(m.token("worker"), csr)]);
  const c = await m.join(m.token("manager"), csr);
  assert.deepEqual([b.nodeId, c.nodeId, c.role], [a.nodeId, a.nodeId, Role.WORKER]);
  assert.equal(m.nodes().length, 2);
  const status = await m.calls.certificateStatus({ csr });
  assert.deepEqual([status.nodeId, status.role], [a.nodeId, Role.WORKER]);
  assert.equal((await m.calls.certificateStatus({ csr: createRequest(newKey()) })).nodeId, "");
});

it("a wrong token, and one that was rotated, make nothing", async () => {
  const m = await manager();
  const old = m.token("worker");
  const wrong = {
    code: Code.InvalidArgument,
    rawMessage: "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster",
  };
  const [head = ""] = old.split(/(?<=^.{60})/);
  for (const token of ["", "SWMTKN-1", `${head}${newSecret()}`, `${old} `]) await assert.rejects(m.join(token), wrong);
  await m.change((tx) => {
    const cluster = clusterIn(tx);
    tx.put("clusters", revised(cluster, { tokens: { ...cluster.tokens, worker: newSecret() } }, 1));
  });
  await assert.rejects(m.join(old), wrong);
  assert.equal(m.nodes().length, 1);
});

it("too many wrong tokens of one address are refused, then not any more", async () => {
  const m = await manager();
  for (let n = 0; n < 5; n++) await assert.rejects(m.join("wrong"), { code: Code.InvalidArgument });
  const limited = (error: unknown) => {
    const { code, rawMessage } = ConnectError.from(error);
    assert.equal(code, Code.ResourceExhausted);
    assert.match(rawMessage, /^too many wrong join tokens from 127\.0\.0\.1: wait 10 s$/);
    return true;
  };
  await assert.rejects(m.join("wrong"), limited);
  await assert.rejects(m.join(m.token("worker")), limited);
  m.wait(10_000);
  await m.join(m.token("worker"));
  await assert.rejects(m.join("wrong"), { code: Code.InvalidArgument });
  await assert.rejects(m.join("wrong"), { code: Code.ResourceExhausted });
});

it("a malformed request or description makes nothing, and is no failure of ours", async () => {
  const m = await manager();
  const token = m.token("worker");
  await assert.rejects(m.join(token, "no request"), { code: Code.InvalidArgument, rawMessage: /^malformed/ });
  const csr = createRequest(newKey());
  const good = descriptionToWire(description);
  for (const bad of [
    undefined,
    { ...good, hostname: "a\nb" },
    { ...good, advertiseAddress: "h2" },
    { ...good, nanoCpus: -1n },
  ])
    await assert.rejects(m.calls.issueCertificate({ token, csr, ...(bad && { description: bad }) }), {
      code: Code.InvalidArgument,
    });
  assert.deepEqual([m.nodes().length, m.failures], [1, []]);
});

it("a node renews its certificate by its own, with the role of its row; a removed one does not", async () => {
  const m = await manager();
  const key = newKey();
  const joined = await m.join(m.token("worker"), createRequest(key));
  const ca = m.cluster.authority.root.certificate;
  const link = await dial(m.address, { ca, key, cert: joined.certificate }, signal);
  ends.push(link.close);
  const client = createClient(Node, link.transport);
  await m.change((tx) => {
    const row = tx.get("nodes", joined.nodeId);
    assert.ok(row);
    tx.put("nodes", revised(row, { role: "manager" }, 1));
  });
  const renewed = await client.renewCertificate({ csr: createRequest(newKey()) });
  const identity = identityOf(new X509Certificate(renewed.certificate));
  assert.deepEqual([identity?.nodeId, identity?.role, renewed.role], [joined.nodeId, "manager", Role.MANAGER]);
  assert.equal(m.nodes().find(({ id }) => id === joined.nodeId)?.certificate.role, "manager");
  await m.change((tx) => tx.delete("nodes", joined.nodeId));
  await assert.rejects(client.renewCertificate({ csr: createRequest(newKey()) }));
  assert.equal(m.nodes().length, 1);
});

it("counts wrong tokens by address, of IPv6 by the host's /64", () => {
  let time = 0;
  const wrong = new WrongTokens(() => time);
  for (let n = 0; n < 5; n++) wrong.add(`2001:db8:0:1::${n}`);
  assert.throws(() => wrong.check("2001:db8:0:1:ffff::1"), { code: Code.ResourceExhausted });
  for (const other of ["2001:db8:0:2::1", "192.0.2.1"]) wrong.check(other);
  time = 10_000;
  wrong.check("2001:db8:0:1::1");
  for (let n = 0; n < 10_000; n++) wrong.add(`10.0.${n >> 8}.${n & 255}`);
  wrong.add("2001:db8:0:1::1"); // it was forgotten: memory is bounded
  wrong.check("2001:db8:0:1::1");
});
