import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterSpec } from "../../model/cluster.ts";
import { clusterJson } from "./inspect.ts";
import { readSpec, specBody } from "./spec.ts";
import { cluster, detail } from "./testing.ts";

const read = (body: unknown) => readSpec(specBody.parse(body));
const shown = (spec: ClusterSpec) => (clusterJson(detail(spec)) as { Spec: object }).Spec;
const second = 1_000_000_000; // nanoseconds

/** Every member that a user can set, and what is kept of it. */
const whole = {
  Name: "default",
  Labels: { a: "b" },
  Orchestration: { TaskHistoryRetentionLimit: -1 },
  Raft: {
    SnapshotInterval: 7,
    KeepOldSnapshots: 2,
    LogEntriesForSlowFollowers: 9,
    ElectionTick: 20,
    HeartbeatTick: 3,
  },
  Dispatcher: { HeartbeatPeriod: 1.5 * second },
  CAConfig: {
    NodeCertExpiry: 365 * 24 * 3600 * second,
    ExternalCAs: [
      { Protocol: "cfssl", URL: "https://ca.example", Options: { o: "p" }, CACert: "PEM" },
      { Protocol: "cfssl", URL: "https://cb.example", CACert: "" },
    ],
    ForceRotate: 4,
  },
  TaskDefaults: { LogDriver: { Name: "json-file", Options: { "max-size": "1m" } } },
  EncryptionConfig: { AutoLockManagers: true },
};
const kept: ClusterSpec = {
  name: "default",
  labels: { a: "b" },
  taskHistoryLimit: -1,
  raft: {
    snapshotInterval: 7,
    keepOldSnapshots: 2,
    logEntriesForSlowFollowers: 9,
    electionTick: 20,
    heartbeatTick: 3,
  },
  heartbeatPeriod: 1500,
  certificates: {
    nodeExpiry: 365 * 24 * 3_600_000,
    externalAuthorities: [
      { protocol: "cfssl", url: "https://ca.example", options: { o: "p" }, certificate: "PEM" },
      { protocol: "cfssl", url: "https://cb.example", options: {}, certificate: "" },
    ],
    forceRotate: 4,
  },
  logDriver: { name: "json-file", options: { "max-size": "1m" } },
  autolock: true,
};

test("every member of a spec is kept, and shown as it was sent", () => {
  assert.deepEqual(read(whole), { spec: kept });
  assert.equal(JSON.stringify(shown(kept)), JSON.stringify(whole));
});

test("what is shown of a swarm can be sent back and changes nothing", () => {
  for (const spec of [cluster.spec, kept, { ...kept, taskHistoryLimit: 0 }])
    assert.deepEqual(read(JSON.parse(JSON.stringify(shown(spec)))), { spec });
});

test("absent, null and 0 mean Docker's defaults", () => {
  const nothing = {
    Name: "",
    Labels: null,
    Orchestration: {},
    Raft: { SnapshotInterval: 0, LogEntriesForSlowFollowers: 0, ElectionTick: 0, HeartbeatTick: 0 },
    Dispatcher: { HeartbeatPeriod: 0 },
    CAConfig: { NodeCertExpiry: 0, ExternalCAs: null, SigningCACert: "", SigningCAKey: "", ForceRotate: 0 },
    TaskDefaults: { LogDriver: null },
    EncryptionConfig: { AutoLockManagers: false },
  };
  const nulls = Object.fromEntries(Object.keys(nothing).map((key) => [key, null]));
  for (const body of [nothing, nulls, {}]) assert.deepEqual(read(body), { spec: cluster.spec });
  assert.deepEqual(readSpec(null), { spec: cluster.spec });
  assert.equal(read({ Orchestration: { TaskHistoryRetentionLimit: 0 } }).spec.taskHistoryLimit, 0);
});

test("a root that the user brings is handed on, and is no part of the spec", () => {
  const { spec, signingRoot } = read({ CAConfig: { SigningCACert: "CERT", SigningCAKey: "KEY" } });
  assert.deepEqual(signingRoot, { certificate: "CERT", key: "KEY" });
  assert.deepEqual(spec, cluster.spec);
  assert.deepEqual(read({ CAConfig: { SigningCACert: "CERT" } }).signingRoot, { certificate: "CERT" });
});

test("what cannot be is refused with Docker's texts", () => {
  const refused = (body: object, message: string, class_ = "invalid") =>
    assert.throws(() => read(body), { class: class_, message });
  refused({ Name: "other" }, 'swarm spec must be named "default"');
  refused({ Dispatcher: { HeartbeatPeriod: -second } }, "heartbeat time period cannot be a negative duration");
  refused(
    { Dispatcher: { HeartbeatPeriod: 604_801 * second } },
    "heartbeat time period cannot be longer than 168h0m0s",
  );
  refused({ Dispatcher: { HeartbeatPeriod: 1500 } }, "Dispatcher.HeartbeatPeriod must be whole milliseconds");
  refused({ CAConfig: { NodeCertExpiry: 3599 * second } }, "minimum certificate expiry time is: 1h0m0s");
  refused({ CAConfig: { NodeCertExpiry: -1_000_000 } }, "minimum certificate expiry time is: 1h0m0s");
  refused({ CAConfig: { ExternalCAs: [{ Protocol: "acme", URL: "https://x" }] } }, 'invalid protocol: "acme"');
  refused({ CAConfig: { ExternalCAs: [{}] } }, 'invalid protocol: ""');
  const alone = "if a signing CA key is provided, the signing CA cert must also be provided";
  refused({ CAConfig: { SigningCAKey: "KEY" } }, alone);
});

test("an hour and a week are not too short and not too long", () => {
  assert.equal(read({ CAConfig: { NodeCertExpiry: 3600 * second } }).spec.certificates.nodeExpiry, 3_600_000);
  assert.equal(read({ Dispatcher: { HeartbeatPeriod: 604_800 * second } }).spec.heartbeatPeriod, 604_800_000);
  const external = { CAConfig: { ExternalCAs: [null, { Protocol: "CFSSL", URL: "https://x" }] } };
  assert.equal(read(external).spec.certificates.externalAuthorities[0]?.protocol, "cfssl");
});
