import { Code, createClient, createContextValues, createRouterTransport } from "@connectrpc/connect";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, it } from "node:test";
import { createMemoryStore } from "../../store/memory-store.ts";
import { type Member, MemberError } from "../../store/etcd/members.ts";
import { explain } from "../calls/call-errors.ts";
import { Manager } from "../gen/control_pb.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import { memberService } from "./member-service.ts";
import { asCaller } from "../calls/control-server.ts";
import { newCluster, newNode } from "../testing.ts";

const dataKey = Buffer.alloc(32, 7);
const url = "https://192.0.2.2:2380";
const refusal = (text: string) => new MemberError("UNHEALTHY", new Error(text));

async function manager() {
  const store = createMemoryStore();
  const cluster = newCluster();
  await store.update((tx) => tx.insert("clusters", cluster));
  const list: Member[] = [{ id: 1n, name: "a", peerUrls: ["https://192.0.2.1:2380"], clientUrls: [], learner: false }];
  const done: string[] = [];
  let refuse: Error | undefined;
  const members = {
    list: () => Promise.resolve([...list]),
    addLearner(peerUrl: string) {
      if (refuse !== undefined) return Promise.reject(refuse);
      done.push(`add ${peerUrl}`);
      const member = { id: 255n, name: "", peerUrls: [peerUrl], clientUrls: [], learner: true };
      list.push(member);
      return Promise.resolve(member);
    },
    promote: (id: bigint) => Promise.resolve(void done.push(`promote ${id}`)),
    remove(id: bigint) {
      done.push(`remove ${id}`);
      return id === 255n
        ? Promise.resolve()
        : Promise.reject(new MemberError("NOT_FOUND", new Error("member not found")));
    },
  };
  const self = newNode({ role: "manager" });
  const identity = { nodeId: self.id, role: "manager", clusterId: cluster.id } as const;
  const transport = createRouterTransport(
    (router) => router.service(Manager, memberService({ store, members, dataKey, expectOthers: async () => {} })),
    {
      router: {
        interceptors: [
          explain(() => {}),
          (next) => (request) => {
            asCaller(request.contextValues, { identity, address: "192.0.2.2" });
            return next(request);
          },
        ],
      },
    },
  );
  const contextValues = createContextValues();
  const client = createClient(Manager, transport);
  const add = (peerUrl: string, csr = createRequest(newKey())) => client.addMember({ peerUrl, csr }, { contextValues });
  return { client, add, done, cluster, self, refuseWith: (error: Error) => (refuse = error) };
}

describe("the members of the cluster's etcd", () => {
  it("a manager gets a member, its certificate and the others; once more, another certificate", async () => {
    const m = await manager();
    const [first, second] = [await m.add(url), await m.add(url)];
    assert.deepEqual(m.done, [`add ${url}`]);
    for (const { memberId, members, root, certificate } of [first, second]) {
      assert.deepEqual([memberId, root], ["ff", m.cluster.etcdAuthority.certificate]);
      assert.deepEqual(
        members.map(({ name, peerUrls }) => [name, ...peerUrls]),
        [
          ["a", "https://192.0.2.1:2380"],
          ["", url],
        ],
      );
      const { subject, subjectAltName } = new X509Certificate(certificate);
      assert.equal(subject, `CN=${m.self.id}`);
      assert.match(subjectAltName ?? "", /IP Address:192\.0\.2\.2/);
      assert.ok(new X509Certificate(certificate).verify(new X509Certificate(root).publicKey));
    }
    assert.notEqual(first.certificate, second.certificate);
  });

  it("malformed wishes add nothing", async () => {
    const m = await manager();
    for (const bad of [
      "",
      "http://192.0.2.2:2380",
      "https://h2:2380",
      `${url}/`,
      "https://a@192.0.2.2:2380",
      `${url},x`,
    ])
      await assert.rejects(m.add(bad), { code: Code.InvalidArgument });
    await assert.rejects(m.add(url, "none"), { code: Code.InvalidArgument });
    for (const memberId of ["", "0x1", "g", "1".repeat(17)])
      await assert.rejects(m.client.promoteMember({ memberId }), { code: Code.InvalidArgument });
    assert.deepEqual(m.done, []);
  });

  it("what etcd refuses is said; what is removed already is removed", async () => {
    const m = await manager();
    m.refuseWith(refusal("unhealthy cluster"));
    await assert.rejects(m.add(url), { code: Code.Unavailable, rawMessage: /unhealthy cluster/ });
    for (const memberId of ["ff", "2"]) await m.client.removeMember({ memberId });
    await m.client.promoteMember({ memberId: "ff" });
    assert.deepEqual(m.done, ["remove 255", "remove 2", "promote 255"]);
  });
});
