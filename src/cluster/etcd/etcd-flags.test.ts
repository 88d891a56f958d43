import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { it } from "node:test";
import { issueMember } from "./etcd-certificate.ts";
import { type EtcdOptions, etcdFlags, peerUrlOf } from "./etcd-flags.ts";
import { CertificateRequestError, createRequest, newKey } from "../identity/csr.ts";
import { newSwarmId } from "../identity/names.ts";
import { createRoot } from "../identity/root.ts";
import { day } from "../identity/testing.ts";

const options: EtcdOptions = {
  dataDirectory: "/data/etcd",
  runDirectory: "/run/etcd",
  nodeId: newSwarmId(),
  address: "2001:db8::1",
  peerPort: 2380,
  clientPort: 2381,
  beginning: { kind: "new", token: newSwarmId() },
  limits: ["--max-txn-ops=1024"],
};

it("the client port is for this host, both ports ask for certificates, and what the store wants is there", () => {
  const { lasting } = etcdFlags(options);
  for (const flag of [
    "--listen-client-urls=https://127.0.0.1:2381",
    "--listen-peer-urls=https://[2001:db8::1]:2380",
    "--client-cert-auth=true",
    "--peer-client-cert-auth=true",
    "--max-txn-ops=1024",
  ])
    assert.ok(lasting.includes(flag), flag);
  assert.ok(lasting.every((flag) => !flag.includes("http://")));
});

it("a member begins alone, beside others, or alone again; what lasts is the same", () => {
  const url = peerUrlOf(options.address, options.peerPort);
  const others = [
    { name: "", peerUrls: [url] },
    { name: "m1", peerUrls: ["https://192.0.2.1:2380"] },
  ];
  const flags = (beginning: EtcdOptions["beginning"]) => etcdFlags({ ...options, beginning });
  const [alone, beside] = [flags({ kind: "new", token: newSwarmId() }), flags({ kind: "join", members: others })];
  assert.ok(alone.beginning.includes(`--initial-cluster=${options.nodeId}=${url}`));
  assert.ok(beside?.beginning.includes(`--initial-cluster=${options.nodeId}=${url},m1=https://192.0.2.1:2380`));
  assert.ok(beside.beginning.includes("--initial-cluster-state=existing"));
  assert.ok(flags({ kind: "force-new" }).beginning.includes("--force-new-cluster=true"));
  assert.deepEqual(beside.lasting, alone.lasting);
});

it("a member's certificate has its address, loopback and the managers' name, and is of etcd's CA alone", () => {
  const root = createRoot();
  const key = newKey();
  const wish = { nodeId: options.nodeId, address: "192.0.2.7", expiry: 90 * day };
  const certificate = new X509Certificate(issueMember(root, createRequest(key), wish));
  assert.equal(certificate.subjectAltName, "DNS:tombolo-manager, IP Address:192.0.2.7, IP Address:127.0.0.1");
  assert.ok(certificate.verify(new X509Certificate(root.certificate).publicKey));
  assert.throws(() => issueMember(root, "none", wish), CertificateRequestError);
  assert.throws(() => issueMember(root, createRequest(key), { ...wish, nodeId: "a" }), { class: "invalid" });
});
