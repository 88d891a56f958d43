import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { finishRotation, startRotation, trustBundle } from "./authority.ts";
import { identityOf, readCertificates } from "./certificate.ts";
import { newSwarmId } from "./names.ts";
import { Peers, type PeerSocket } from "./peer.ts";
import { createRoot } from "./root.ts";
import { clusterId, day, foreignRoot, hour, meet, type Node, newAuthority, node, x509 } from "./testing.ts";

const authority = newAuthority();
const ca = trustBundle(authority);
const server = node(authority, { role: "manager" });

/** Whom a manager sees in a real handshake. */
const seen = (client: Partial<Node>, peers = new Peers(ca, clusterId), now?: number) =>
  meet(server, { ...client, ca }, { ca, look: (socket) => peers.read(socket, now) });

describe("who is at the other end", () => {
  for (const role of ["worker", "manager"] as const)
    it(`a ${role}`, async () => {
      const client = node(authority, { role });
      assert.deepEqual(await seen(client), { nodeId: client.subject.nodeId, role, clusterId });
    });

  it("nobody without a certificate", async () => {
    assert.equal(await seen({}), undefined);
  });

  it("nobody with an expired certificate, nor with one that is not valid yet", async () => {
    assert.equal(await seen(node(authority, { expiry: hour }, Date.now() - 2 * hour)), undefined);
    assert.equal(await seen(node(authority, {}, Date.now() + day)), undefined);
  });

  it("nobody once the certificate expires on an open connection", async () => {
    const client = node(authority, { expiry: hour });
    const look = (socket: PeerSocket) => {
      const peers = new Peers(ca, clusterId);
      return [0, 59, 61].map((minutes) => peers.read(socket, Date.now() + minutes * 60_000)?.nodeId);
    };
    const { nodeId } = client.subject;
    assert.deepEqual(await meet(server, { ...client, ca }, { ca, look }), [nodeId, nodeId, undefined]);
  });

  it("nobody from another CA, also when that bears our root's name", async () => {
    const name = readCertificates(ca)[0]?.subject ?? "";
    const twin = await foreignRoot({ subject: name });
    for (const root of [createRoot(), twin]) assert.equal(await seen(node({ root })), undefined);
  });

  it("nobody from another swarm under the same root", async () => {
    assert.equal(await seen(node(authority, { clusterId: newSwarmId() })), undefined);
  });

  it("nobody once the bundle has another root, on a connection that was let in before", async () => {
    const next = trustBundle({ root: createRoot() });
    assert.equal(await seen(node(authority), new Peers(next, clusterId)), undefined);
  });

  it("nobody with a subject that is not exactly one node, one role and one swarm", async () => {
    const { nodeId } = server.subject;
    const subjects = [
      `CN=${nodeId}, OU=swarm-manager`,
      `CN=${nodeId}, OU=swarm-ca, O=${clusterId}`,
      `CN=${nodeId}, OU=swarm-worker, OU=swarm-manager, O=${clusterId}`,
      `CN=${nodeId}, CN=${nodeId}, OU=swarm-worker, O=${clusterId}`,
      `CN=${nodeId}, OU=swarm-manager, O=${clusterId}, L=x`,
      `CN=${nodeId.slice(1)}, OU=swarm-manager, O=${clusterId}`,
    ];
    for (const subject of subjects) {
      const self = await foreignRoot({
        subject,
        extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
      });
      assert.deepEqual(readCertificates(self.certificate).map(identityOf), [undefined], subject);
    }
  });
});

describe("while the root is rotated", () => {
  const during = startRotation(authority, createRoot());
  const after = finishRotation(during);
  const fresh = node(during, { role: "manager" });
  const freshWorker = node(during);
  const idOf = (bundle: string, at: Node, client: Node, trusted: string) =>
    meet(
      at,
      { ...client, ca: trusted },
      {
        ca: bundle,
        look: (socket) => new Peers(bundle, clusterId).read(socket)?.nodeId,
      },
    );

  it("who trusts only the old root accepts the new one's certificates over the cross certificate, on both sides", async () => {
    assert.equal(await idOf(ca, fresh, freshWorker, ca), freshWorker.subject.nodeId);
  });

  it("old and new nodes meet, whichever trusts both", async () => {
    const old = node(authority);
    assert.equal(await idOf(trustBundle(during), fresh, old, ca), old.subject.nodeId);
    assert.equal(await idOf(trustBundle(during), server, freshWorker, trustBundle(during)), freshWorker.subject.nodeId);
    assert.equal(await idOf(trustBundle(after), fresh, freshWorker, trustBundle(after)), freshWorker.subject.nodeId);
  });

  it("when it is finished, the old root's nodes are nobody, and refuse to be fooled by it", async () => {
    assert.equal(await idOf(trustBundle(after), fresh, node(authority), ca), undefined);
    await assert.rejects(idOf(ca, server, freshWorker, trustBundle(after)), { code: /UNABLE_TO|SELF_SIGNED/ });
  });
});

it("a worker cannot pose as a manager: it does not have the name that clients ask for", async () => {
  const client = node(authority);
  await assert.rejects(meet(node(authority), { ...client, ca }, { ca, look: () => undefined }), {
    code: "ERR_TLS_CERT_ALTNAME_INVALID",
  });
});
