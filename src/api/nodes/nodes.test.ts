import assert from "node:assert/strict";
import { test } from "node:test";
import { leader, tls, worker } from "../swarm/testing.ts";
import { serve } from "../testing.ts";
import { nodeJson } from "./wire.ts";

const tlsInfo = {
  TrustRoot: tls.roots,
  CertIssuerSubject: tls.issuer.subject.toString("base64"),
  CertIssuerPublicKey: tls.issuer.publicKey.toString("base64"),
};

test("a manager is shown with Docker's fields in Docker's order", () => {
  const expected = {
    ID: "leader0000000000000000000",
    Version: { Index: 9 },
    CreatedAt: "2023-11-14T22:13:20.000Z",
    UpdatedAt: "2023-11-14T22:13:22.000Z",
    Spec: { Labels: { rack: "r1" }, Role: "manager", Availability: "active" },
    Description: {
      Hostname: "h1",
      Platform: { Architecture: "x86_64", OS: "linux" },
      Resources: { NanoCPUs: 2_000_000_000, MemoryBytes: 4_000_000_000 },
      Engine: {
        EngineVersion: "28.0.0",
        Plugins: [
          { Type: "Network", Name: "bridge" },
          { Type: "Volume", Name: "local" },
        ],
      },
      TLSInfo: tlsInfo,
    },
    Status: { State: "ready", Addr: "192.0.2.1" },
    ManagerStatus: { Leader: true, Reachability: "reachable", Addr: "192.0.2.1:2377" },
  };
  assert.equal(JSON.stringify(nodeJson(leader)), JSON.stringify(expected));
});

test("a worker has no manager's status, and says what is wrong with it", () => {
  const shown = nodeJson(worker) as Record<string, unknown>;
  assert.deepEqual(shown.Status, { State: "down", Message: "heartbeat failure" });
  assert.deepEqual(shown.Spec, { Labels: {}, Role: "worker", Availability: "drain" });
  assert.ok(!("ManagerStatus" in shown));
  const manager = { address: "192.0.2.2:2377", reachability: "unreachable", leader: false, memberId: "b" } as const;
  const other = nodeJson({ ...worker, node: { ...worker.node, manager } }) as Record<string, unknown>;
  assert.deepEqual(other.ManagerStatus, { Reachability: "unreachable", Addr: "192.0.2.2:2377" });
});

test("list and inspect reach the engine, filters and all", async () => {
  const seen: unknown[] = [];
  const nodes = {
    list: (filters: ReadonlyMap<string, readonly string[]>) => (seen.push([...filters]), [leader, worker]),
    inspect: (reference: string) => (seen.push(reference), leader),
  };
  await using server = await serve({ nodes });
  const filters = encodeURIComponent('{"role":{"manager":true},"node.label":["rack=r1"]}');
  const { json } = await server.ask("GET", `/nodes?filters=${filters}`);
  assert.deepEqual(json, JSON.parse(JSON.stringify([nodeJson(leader), nodeJson(worker)])));
  assert.equal((await server.ask("GET", "/nodes/h%201")).json.ID, leader.node.id);
  const asked = [
    ["role", ["manager"]],
    ["node.label", ["rack=r1"]],
  ];
  assert.deepEqual(seen, [asked, "h 1"]);
  assert.equal((await server.ask("GET", "/nodes?filters=x")).status, 400);
});

test("update and remove reach the engine", async () => {
  const seen: unknown[] = [];
  const nodes = {
    update: async (...all: unknown[]) => void seen.push(all),
    remove: async (...all: unknown[]) => void seen.push(all),
  };
  await using server = await serve({ nodes });
  const body = { Labels: { a: "b" }, Role: "Worker", Availability: "drain" };
  const update = await server.ask("POST", "/nodes/n1/update?version=9", { body });
  assert.deepEqual([update.status, update.text], [200, ""]);
  await server.ask("POST", "/nodes/n1/update?version=9", { body: { ...body, Name: "", Labels: null } });
  assert.equal((await server.ask("DELETE", "/nodes/n1?force=1")).status, 200);
  assert.equal((await server.ask("DELETE", "/nodes/n2")).status, 200);
  const change = { version: 9, role: "worker", availability: "drain" };
  assert.deepEqual(seen, [
    ["n1", { ...change, labels: { a: "b" } }],
    ["n1", { ...change, labels: {} }],
    ["n1", true],
    ["n2", false],
  ]);
});

test("update refuses what is no node's spec, with Docker's texts", async () => {
  await using server = await serve({ nodes: {} });
  const whole = { Role: "worker", Availability: "active" };
  const refused = async (body: object, status: number, message: string, query = "?version=1") => {
    const answer = await server.ask("POST", `/nodes/n1/update${query}`, { body });
    assert.deepEqual([answer.status, answer.json?.message], [status, message]);
  };
  await refused({ ...whole, Role: "king" }, 400, 'invalid Role: "king"');
  await refused({ ...whole, Role: null }, 400, 'invalid Role: ""');
  await refused({ ...whole, Availability: "" }, 400, 'invalid Availability: ""');
  const naming = "naming a node is not supported: it has the name of its host";
  await refused({ ...whole, Name: "n" }, 501, naming);
  const unknown = "Platform is not supported: this field is not known";
  await refused({ ...whole, Platform: "x" }, 400, unknown);
  const version = `invalid node version 'x': strconv.ParseUint: parsing "x": invalid syntax`;
  await refused(whole, 400, version, "?version=x");
});
