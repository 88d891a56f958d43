import assert from "node:assert/strict";
import { test } from "node:test";
import { balancerNamed } from "../../balancers/index.ts";
import type { SwarmInit, SwarmJoin } from "../../engine/engine.ts";
import type { Parts } from "../../engine/parts.ts";
import { createFileContents } from "../../engine/secrets.ts";
import { createServices } from "../../engine/services.ts";
import { createTasks } from "../../engine/tasks.ts";
import { unavailable } from "../../lib/errors.ts";
import { createMemoryStore } from "../../store/memory-store.ts";
import { serve } from "../testing.ts";
import { cluster, playSwarm, tls } from "./testing.ts";

/** What Docker's client 28 sends for `swarm init`. */
const fromClient = {
  ListenAddr: "0.0.0.0:2377",
  AdvertiseAddr: "",
  DataPathAddr: "",
  DataPathPort: 0,
  ForceNewCluster: false,
  Spec: {
    Labels: null,
    Orchestration: {},
    Raft: { ElectionTick: 0, HeartbeatTick: 0 },
    Dispatcher: {},
    CAConfig: {},
    TaskDefaults: {},
    EncryptionConfig: { AutoLockManagers: false },
  },
  AutoLockManagers: false,
  Availability: "",
  DefaultAddrPool: [],
  SubnetSize: 24,
};
const plain: SwarmInit = {
  listenAddress: "0.0.0.0:2377",
  advertiseAddress: "",
  dataPathAddress: "",
  availability: "active",
  spec: cluster.spec,
  addressPools: ["10.0.0.0/8"],
  subnetSize: 24,
  dataPathPort: 4789,
  forceNewCluster: false,
};

/** Asks over HTTP; @returns the answer and what the engine was asked for */
async function asked(path: string, body?: unknown) {
  const { asked: seen, swarm } = playSwarm({ init: "n1", unlockKey: "SWMKEY-1-x" });
  await using server = await serve({ swarm });
  const { status, json, text } = await server.ask(body === undefined ? "GET" : "POST", path, { body });
  return { status, json, text, seen };
}
const listening = { ListenAddr: "0.0.0.0:2377" };
const init = async (body: object, version = "") => {
  const { status, json, seen } = await asked(`${version}/swarm/init`, { ...listening, ...body });
  return { status, json, wish: seen[0]?.what as SwarmInit | undefined };
};
const join = async (body: object) => {
  const { status, json, seen } = await asked("/swarm/join", { ...listening, ...body });
  return { status, json, wish: seen[0]?.what as SwarmJoin | undefined };
};
/** The text of a refusal, which must have this status. */
async function refused(path: string, body: object, status = 400): Promise<string> {
  const answer = await asked(path, /init|join/.test(path) ? { ...listening, ...body } : body);
  assert.deepEqual([answer.status, answer.seen], [status, []], answer.text);
  return answer.json.message;
}

test("init translates what Docker's client sends, and answers the node's id", async () => {
  const { status, json, wish } = await init(fromClient);
  assert.deepEqual([status, json], [200, "n1"]);
  assert.deepEqual(wish, plain);
  const nulls = Object.fromEntries(Object.keys(fromClient).map((key) => [key, null]));
  assert.deepEqual((await init({ ...nulls, ...listening })).wish, plain);
  const { json: refusal } = await init(nulls);
  assert.equal(refusal.message, 'invalid ListenAddr "": invalid empty address');
});

test("init keeps all that a user can say", async () => {
  const { wish } = await init({
    ListenAddr: "eth0:2400",
    AdvertiseAddr: "192.0.2.1",
    DataPathAddr: "eth1",
    DataPathPort: 7789,
    ForceNewCluster: true,
    Spec: { Labels: { a: "b" }, CAConfig: { SigningCACert: "CERT", SigningCAKey: "KEY" } },
    AutoLockManagers: true,
    Availability: "Drain",
    DefaultAddrPool: ["10.1.2.3/16", "172.20.0.0/14"],
    SubnetSize: 26,
  });
  assert.deepEqual(wish, {
    listenAddress: "eth0:2400",
    advertiseAddress: "192.0.2.1",
    dataPathAddress: "eth1",
    availability: "drain",
    signingRoot: { certificate: "CERT", key: "KEY" },
    spec: { ...cluster.spec, labels: { a: "b" }, autolock: true },
    addressPools: ["10.1.0.0/16", "172.20.0.0/14"],
    subnetSize: 26,
    dataPathPort: 7789,
    forceNewCluster: true,
  });
  assert.equal((await init({ Spec: { EncryptionConfig: { AutoLockManagers: true } } })).wish?.spec.autolock, true);
});

test("init knows pools since API 1.39 and the port since 1.40", async () => {
  const body = { DefaultAddrPool: ["10.1.0.0/16"], SubnetSize: 26, DataPathPort: 7789 };
  const { addressPools, subnetSize, dataPathPort } = plain;
  const said = async (version: string) => {
    const { wish } = await init(body, version);
    return [wish?.addressPools, wish?.subnetSize, wish?.dataPathPort];
  };
  assert.deepEqual(await said("/v1.38"), [addressPools, subnetSize, dataPathPort]);
  assert.deepEqual(await said("/v1.39"), [["10.1.0.0/16"], 26, dataPathPort]);
  assert.deepEqual(await said("/v1.40"), [["10.1.0.0/16"], 26, 7789]);
});

test("init refuses with Docker's texts what cannot be", async () => {
  const init = (body: object) => refused("/swarm/init", body);
  assert.equal(await init({ Availability: "gone" }), 'invalid Availability: "gone"');
  for (const port of [1, 1023, 49_152])
    assert.equal(
      await init({ DataPathPort: port }),
      `Datapath port number is not in valid range (1024-49151) : ${port}`,
    );
  assert.equal(await init({ SubnetSize: 30 }), "subnet size is out of range: 30");
  assert.equal(
    await init({ DefaultAddrPool: ["10.0.0.0/28"] }),
    'invalid CIDR: "10.0.0.0/28". Subnet size is too small for pool: 24',
  );
  assert.equal(await init({ SubnetSize: 7 }), 'invalid CIDR: "10.0.0.0/8". Subnet size is too small for pool: 7');
  assert.equal(
    await init({ DefaultAddrPool: ["10.0.0.0"] }),
    "invalid base pool 10.0.0.0: invalid CIDR address: 10.0.0.0",
  );
  assert.equal(await init({ DefaultAddrPool: ["fd00::/8"] }), "invalid base pool fd00::/8: it must be an IPv4 block");
  assert.equal(
    await init({ DefaultAddrPool: ["10.0.0.0/8", "172.16.0.0/12", "10.9.0.0/16"] }),
    "invalid base pool 10.9.0.0/16: it overlaps 10.0.0.0/8",
  );
  assert.equal(await init({ Spec: { Name: "x" } }), 'swarm spec must be named "default"');
  assert.match(await init({ SubnetSize: -1 }), /^invalid JSON: SubnetSize: /);
});

test("a field that nobody knows is refused by its name, unless it says nothing", async () => {
  const unknown = "is not supported: this field is not known";
  assert.equal(await refused("/swarm/init", { New: 1 }), `New ${unknown}`);
  assert.equal(await refused("/swarm/init", { Spec: { Raft: { Ticks: 3 } } }), `Spec.Raft.Ticks ${unknown}`);
  const external = { CAConfig: { ExternalCAs: [{ Protocol: "cfssl", Retries: 3 }] } };
  assert.equal(await refused("/swarm/update?version=1", external), `CAConfig.ExternalCAs.0.Retries ${unknown}`);
  assert.equal(await refused("/swarm/join", { remoteAddrs: ["x"] }), `remoteAddrs ${unknown}`);
  assert.equal(await refused("/swarm/unlock", { Key: "k" }), `Key ${unknown}`);
  assert.equal((await init({ New: 0, Spec: { Other: "", More: [] } })).status, 200);
});

test("join translates what Docker's client sends; a remote without a port gets 2377", async () => {
  const { status, wish } = await join({
    ListenAddr: "0.0.0.0:2377",
    AdvertiseAddr: "eth0",
    DataPathAddr: "",
    RemoteAddrs: ["10.1.1.115", "10.1.1.116:2400", "tcp://m:1", "fe80::1", "[fe80::2]", "[fe80::3]:5", "m:"],
    JoinToken: "SWMTKN-1-x",
    Availability: "pause",
  });
  assert.equal(status, 200);
  assert.deepEqual(wish, {
    listenAddress: "0.0.0.0:2377",
    advertiseAddress: "eth0",
    dataPathAddress: "",
    availability: "pause",
    remotes: ["10.1.1.115:2377", "10.1.1.116:2400", "m:1", "[fe80::1]:2377", "[fe80::2]:2377", "[fe80::3]:5", "m:2377"],
    token: "SWMTKN-1-x",
  });
});

test("join needs somebody to join", async () => {
  for (const RemoteAddrs of [undefined, null, []])
    assert.equal(await refused("/swarm/join", { RemoteAddrs }), "at least 1 RemoteAddr is required to join");
  assert.equal(await refused("/swarm/join", { RemoteAddrs: [""] }), 'invalid remoteAddr "": invalid empty address');
  assert.equal(await refused("/swarm/join", { RemoteAddrs: ["m"], Availability: "x" }), 'invalid Availability: "x"');
});

test("inspect shows a swarm with Docker's fields in Docker's order, and the whole tokens", async () => {
  const { json } = await asked("/swarm");
  const expected = {
    ID: cluster.id,
    Version: { Index: 10 },
    CreatedAt: "2023-11-14T22:13:20.000Z",
    UpdatedAt: "2023-11-14T22:13:21.500Z",
    Spec: {
      Name: "default",
      Labels: {},
      Orchestration: { TaskHistoryRetentionLimit: 5 },
      Raft: {
        SnapshotInterval: 10_000,
        KeepOldSnapshots: 0,
        LogEntriesForSlowFollowers: 500,
        ElectionTick: 10,
        HeartbeatTick: 1,
      },
      Dispatcher: { HeartbeatPeriod: 5_000_000_000 },
      CAConfig: { NodeCertExpiry: 7_776_000_000_000_000 },
      TaskDefaults: {},
      EncryptionConfig: { AutoLockManagers: false },
    },
    TLSInfo: {
      TrustRoot: tls.roots,
      CertIssuerSubject: tls.issuer.subject.toString("base64"),
      CertIssuerPublicKey: tls.issuer.publicKey.toString("base64"),
    },
    RootRotationInProgress: false,
    DefaultAddrPool: ["10.0.0.0/8"],
    SubnetSize: 24,
    DataPathPort: 4789,
    JoinTokens: { Worker: "SWMTKN-1-dd-worker", Manager: "SWMTKN-1-dd-manager" },
  };
  assert.equal(JSON.stringify(json), JSON.stringify(expected));
  for (const secret of [...Object.values(cluster.tokens), "PRIVATE KEY"])
    assert.ok(!JSON.stringify(json).includes(secret), "a secret of the row");
});

test("update hands on the version, what to rotate, and the spec", async () => {
  const path = "/swarm/update?version=10&rotateWorkerToken=true&rotateManagerToken=0&rotateManagerUnlockKey=T";
  const { status, text, seen } = await asked(path, { Name: "default", Labels: { a: "b" } });
  assert.deepEqual([status, text], [200, ""]);
  const rotate = { worker: true, manager: false, unlockKey: true };
  const spec = { ...cluster.spec, labels: { a: "b" } };
  assert.deepEqual(seen, [{ verb: "update", what: { version: 10, spec, rotate } }]);
  const bare = await asked("/swarm/update?version=0&rotateWorkerToken=", {});
  assert.deepEqual(bare.seen[0]?.what, {
    version: 0,
    spec: cluster.spec,
    rotate: { worker: false, manager: false, unlockKey: false },
  });
});

test("update refuses versions and flags that are none, with Docker's texts", async () => {
  const update = (query: string) => refused(`/swarm/update?${query}`, {});
  assert.equal(await update(""), `invalid swarm version '': strconv.ParseUint: parsing "": invalid syntax`);
  assert.equal(
    await update("version=-1"),
    `invalid swarm version '-1': strconv.ParseUint: parsing "-1": invalid syntax`,
  );
  const large = "18446744073709551616";
  assert.equal(
    await update(`version=${large}`),
    `invalid swarm version '${large}': strconv.ParseUint: parsing "${large}": value out of range`,
  );
  for (const flag of ["rotateWorkerToken", "rotateManagerToken", "rotateManagerUnlockKey"])
    assert.equal(await update(`version=1&${flag}=yes`), `invalid value for ${flag}: yes`);
});

test("leave, unlock and the unlock key", async () => {
  assert.deepEqual((await asked("/swarm/leave", "")).seen, [{ verb: "leave", what: false }]);
  const forced = await asked("/swarm/leave?force=1", "");
  assert.deepEqual([forced.status, forced.text, forced.seen], [200, "", [{ verb: "leave", what: true }]]);
  const unlocked = await asked("/swarm/unlock", { UnlockKey: "SWMKEY-1-x" });
  assert.deepEqual([unlocked.status, unlocked.seen], [200, [{ verb: "unlock", what: "SWMKEY-1-x" }]]);
  assert.deepEqual((await asked("/swarm/unlockkey")).json, { UnlockKey: "SWMKEY-1-x" });
});

test("keys are rotated now, or from then on by age", async () => {
  const path = "/tombolo/swarm/rotate-keys";
  const now = await asked(path, {});
  assert.deepEqual([now.status, now.json], [200, { Nodes: ["h1"], Away: ["h2"] }]);
  const later = await asked(path, { Every: 3_600_000_000_000 });
  assert.deepEqual([later.json, later.seen], [{}, [{ verb: "rotateKeysEvery", what: 3_600_000 }]]);
  assert.deepEqual((await asked(path, { Every: 0 })).seen, [{ verb: "rotateKeysEvery", what: 0 }]);
  assert.match(await refused(path, { Every: 1 }), /Every must be whole milliseconds/);
  assert.match(await refused(path, { Often: 1 }), /Often/);
});

const things = ["services", "tasks", "secrets", "configs"];

test("elsewhere they say first why this node cannot be asked", async () => {
  const inspect = () => {
    throw unavailable("This node is not a swarm manager.");
  };
  const membership = { control: inspect, current: inspect, update: inspect } as unknown as Parts["membership"];
  const parts = { membership, store: createMemoryStore(), balancerNamed, host: {} as Parts["host"] };
  await using server = await serve({
    swarm: { inspect },
    services: createServices(parts),
    tasks: createTasks(parts),
    secrets: createFileContents(parts, "secrets"),
    configs: createFileContents(parts, "configs"),
  });
  for (const path of ["/swarm", ...things.flatMap((thing) => [`/${thing}`, `/${thing}/x`])])
    assert.equal((await server.ask("GET", path)).status, 503, path);
  const bodies = {
    "/services/create": {},
    "/secrets/create": { Name: "a", Data: "YQ==" },
    "/configs/create": { Name: "a", Data: "YQ==" },
  };
  for (const [path, body] of Object.entries(bodies))
    assert.equal((await server.ask("POST", path, { body })).json.message, "This node is not a swarm manager.", path);
  assert.equal((await server.ask("DELETE", "/services/x")).status, 503);
});
