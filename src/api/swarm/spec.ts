import { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import type { ClusterSpec, TrustedRoot } from "../../model/cluster.ts";
import { boolean, count, number, only, text, textMap } from "../schemas.ts";
import { authorityConfig, readCertificates, readSigningRoot } from "./certificates.ts";
import { duration, milliseconds } from "./duration.ts";

const raftConfig = only({
  SnapshotInterval: count,
  KeepOldSnapshots: count,
  LogEntriesForSlowFollowers: count,
  ElectionTick: count,
  HeartbeatTick: count,
});

/** `Spec` of a swarm: in the body of `POST /swarm/init`, and the whole body of `POST /swarm/update`. */
export const specBody = only({
  Name: text,
  Labels: textMap,
  Orchestration: only({ TaskHistoryRetentionLimit: number }).nullish(),
  Raft: raftConfig.nullish(),
  Dispatcher: only({ HeartbeatPeriod: duration }).nullish(),
  CAConfig: authorityConfig.nullish(),
  TaskDefaults: only({ LogDriver: only({ Name: text, Options: textMap }).nullish() }).nullish(),
  EncryptionConfig: only({ AutoLockManagers: boolean }).nullish(),
});

/**
 * What a client wishes of the whole swarm. 0 and absent mean Docker's defaults (moby/swarmkit api/defaults,
 * manager/state/raft/raft.go); the limit of ended tasks and the number of old snapshots may be 0.
 * @throws {EngineError} invalid, with Docker's texts (swarmkit manager/controlapi/cluster.go, validateClusterSpec)
 */
export function readSpec(body: z.infer<typeof specBody> | null | undefined): {
  readonly spec: ClusterSpec;
  readonly signingRoot?: TrustedRoot;
} {
  if (body?.Name && body.Name !== "default") throw invalid('swarm spec must be named "default"');
  const logDriver = body?.TaskDefaults?.LogDriver;
  const signingRoot = readSigningRoot(body?.CAConfig ?? {});
  const spec = {
    name: "default",
    labels: body?.Labels ?? {},
    taskHistoryLimit: body?.Orchestration?.TaskHistoryRetentionLimit ?? 5,
    raft: readRaft(body?.Raft ?? {}),
    heartbeatPeriod: readHeartbeat(body?.Dispatcher?.HeartbeatPeriod),
    certificates: readCertificates(body?.CAConfig ?? {}),
    ...(logDriver && { logDriver: { name: logDriver.Name ?? "", options: logDriver.Options ?? {} } }),
    autolock: body?.EncryptionConfig?.AutoLockManagers ?? false,
  };
  return { spec, ...(signingRoot && { signingRoot }) };
}

const readRaft = (raft: z.infer<typeof raftConfig>): ClusterSpec["raft"] => ({
  snapshotInterval: raft.SnapshotInterval || 10_000,
  keepOldSnapshots: raft.KeepOldSnapshots ?? 0,
  logEntriesForSlowFollowers: raft.LogEntriesForSlowFollowers || 500,
  electionTick: raft.ElectionTick || 10,
  heartbeatTick: raft.HeartbeatTick || 1,
});

const longestHeartbeat = 7 * 24 * 3_600_000; // milliseconds; three of them fit a timer of 31 bits

function readHeartbeat(nanoseconds: number | null | undefined): number {
  const period = milliseconds("Dispatcher.HeartbeatPeriod", nanoseconds) || 5000;
  if (period < 0) throw invalid("heartbeat time period cannot be a negative duration");
  if (period > longestHeartbeat) throw invalid("heartbeat time period cannot be longer than 168h0m0s");
  return period;
}
