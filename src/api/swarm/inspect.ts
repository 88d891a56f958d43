import type { ClusterDetail, TlsDetail } from "../../engine/engine.ts";
import type { Cluster, ClusterSpec } from "../../model/cluster.ts";
import { type Call, json, type Reply } from "../call.ts";
import { nanoseconds } from "./duration.ts";

/** `GET /swarm` */
export function inspectSwarm({ engine }: Call): Reply {
  const detail = engine.swarm.inspect();
  const { worker, manager } = detail.tokens;
  return json({ ...clusterJson(detail), JoinTokens: { Worker: worker, Manager: manager } });
}

/** A cluster without what lets others in: `ClusterInfo` of moby api/types/swarm (fields in Docker's order). */
export function clusterJson({ cluster, tls, rotating }: ClusterDetail): object {
  return {
    ID: cluster.id,
    ...metaJson(cluster),
    Spec: specJson(cluster.spec),
    TLSInfo: tlsJson(tls),
    RootRotationInProgress: rotating,
    DefaultAddrPool: cluster.addressPools,
    SubnetSize: cluster.subnetSize,
    DataPathPort: cluster.dataPathPort,
  };
}

/** What every object of a swarm begins with. Times are milliseconds since 1970. */
export const metaJson = (row: Pick<Cluster, "version" | "createdAt" | "updatedAt">) => ({
  Version: { Index: row.version },
  CreatedAt: new Date(row.createdAt).toISOString(),
  UpdatedAt: new Date(row.updatedAt).toISOString(),
});

/** Go writes bytes as base64. */
export const tlsJson = ({ roots, issuer }: TlsDetail) => ({
  TrustRoot: roots,
  CertIssuerSubject: issuer.subject.toString("base64"),
  CertIssuerPublicKey: issuer.publicKey.toString("base64"),
});

function specJson(spec: ClusterSpec): object {
  const { raft, logDriver } = spec;
  return {
    Name: spec.name,
    Labels: spec.labels,
    Orchestration: { TaskHistoryRetentionLimit: spec.taskHistoryLimit },
    Raft: {
      SnapshotInterval: raft.snapshotInterval,
      KeepOldSnapshots: raft.keepOldSnapshots,
      LogEntriesForSlowFollowers: raft.logEntriesForSlowFollowers,
      ElectionTick: raft.electionTick,
      HeartbeatTick: raft.heartbeatTick,
    },
    Dispatcher: { HeartbeatPeriod: nanoseconds(spec.heartbeatPeriod) },
    CAConfig: authorityJson(spec.certificates),
    TaskDefaults: logDriver === undefined ? {} : { LogDriver: { Name: logDriver.name, Options: logDriver.options } },
    EncryptionConfig: { AutoLockManagers: spec.autolock },
  };
}

function authorityJson({ nodeExpiry, externalAuthorities, forceRotate }: ClusterSpec["certificates"]): object {
  const external = externalAuthorities.map(({ protocol, url, options, certificate }) => ({
    Protocol: protocol,
    URL: url,
    ...(Object.keys(options).length > 0 && { Options: options }),
    CACert: certificate,
  }));
  return {
    NodeCertExpiry: nanoseconds(nodeExpiry),
    ...(external.length > 0 && { ExternalCAs: external }),
    ...(forceRotate > 0 && { ForceRotate: forceRotate }),
  };
}
