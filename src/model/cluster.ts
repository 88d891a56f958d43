import { invalid } from "../lib/errors.ts";
import type { IpAddress } from "./ids.ts";
import type { HostRoute } from "./network.ts";
import type { Encryptor, WireguardKeys } from "./wireguard.ts";

/** A node's or a cluster's id: 25 base-36 digits, as Docker's swarm objects have. */
export type NodeId = string;
export type ClusterId = string;
export type NodeRole = "worker" | "manager";

export interface Versioned {
  /**
   * Grows with each change of what the user has said; who changes that says which version was read (Docker's
   * `Version.Index`). What is observed does not count: a node's beat would be in its user's way.
   */
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A root CA, PEM. Without its private key (PKCS #8), CAs outside of the swarm sign in its name. */
export interface TrustedRoot {
  readonly certificate: string;
  readonly key?: string;
}
/** One whose key is there. */
export interface Root extends TrustedRoot {
  readonly key: string;
}
/**
 * A CA, PEM. While its root is being rotated `next` signs, and `crossSigned` is its certificate signed by `root`: nodes that trust
 * only one of the two trust every node.
 */
export interface Authority {
  readonly root: TrustedRoot;
  readonly next?: TrustedRoot;
  readonly crossSigned?: string;
}

/** A CA outside of the swarm, `--external-ca` (moby api/types/swarm/swarm.go, ExternalCA). */
export interface ExternalAuthority {
  readonly protocol: string;
  readonly url: string;
  readonly options: Readonly<Record<string, string>>;
  /** PEM of the root in whose name it signs. */
  readonly certificate: string;
}

const leastExpiry = 3_600_000; // milliseconds
/** How long nodes' certificates hold: 90 days, in milliseconds (moby/swarmkit ca/certificates.go, DefaultNodeCertExpiration). */
export const defaultExpiry = 2160 * 3_600_000;

/** @param expiry milliseconds @throws {EngineError} invalid, with Docker's text (moby/swarmkit manager/controlapi/cluster.go): one hour is the least */
export function checkExpiry(expiry: number): void {
  if (!(expiry >= leastExpiry)) throw invalid("minimum certificate expiry time is: 1h0m0s");
}

/** What the user can set (moby api/types/swarm/swarm.go, Spec), in our names. Durations are milliseconds. */
export interface ClusterSpec {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** How many ended tasks are kept for each slot; negative: all. */
  readonly taskHistoryLimit: number;
  /** Kept for the API only: etcd has settings of its own. */
  readonly raft: {
    readonly snapshotInterval: number;
    readonly keepOldSnapshots: number;
    readonly logEntriesForSlowFollowers: number;
    readonly electionTick: number;
    readonly heartbeatTick: number;
  };
  readonly heartbeatPeriod: number;
  readonly certificates: {
    readonly nodeExpiry: number;
    readonly externalAuthorities: readonly ExternalAuthority[];
    /** A higher number than before asks for a rotation of the root. */
    readonly forceRotate: number;
  };
  readonly logDriver?: { readonly name: string; readonly options: Readonly<Record<string, string>> };
  readonly autolock: boolean;
}

/** How far the hosts are with their keys of WireGuard. */
export interface KeyRotation {
  /** Of the keys that every host is to have; grows by one. */
  readonly generation: number;
  /** True when every node at work has said its key of that generation. */
  readonly isKnown: boolean;
  /** When it was begun, milliseconds since 1970. */
  readonly since: number;
  /** How long keys are used, milliseconds; 0: until somebody asks for others. */
  readonly every: number;
}

/** What a cluster has once. The row holds secrets: managers alone have it, workers get `publicPart`. */
export interface Cluster extends Versioned {
  readonly id: ClusterId;
  readonly spec: ClusterSpec;
  /** Subnets that overlay networks are cut from, `10.0.0.0/8`. */
  readonly addressPools: readonly string[];
  /** Prefix length of one network's subnet. */
  readonly subnetSize: number;
  /** UDP port of VXLAN. */
  readonly dataPathPort: number;
  /** Secrets of the join tokens by the role that they give. */
  readonly tokens: Readonly<Record<NodeRole, string>>;
  readonly authority: Authority;
  /** The CA of etcd's ports: only managers have certificates of it. */
  readonly etcdAuthority: Root;
  readonly keyRotation: KeyRotation;
  /** `SWMKEY-1-…`; present when the spec says autolock. */
  readonly unlockKey?: string;
}

/** What every node may know of its cluster. */
export interface PublicCluster {
  readonly id: ClusterId;
  readonly version: number;
  readonly addressPools: readonly string[];
  readonly subnetSize: number;
  readonly dataPathPort: number;
  readonly heartbeatPeriod: number;
  readonly autolock: boolean;
  readonly logDriver?: ClusterSpec["logDriver"];
  /** Absent: from a manager of an earlier version, which knows of no generations. */
  readonly keyRotation?: Pick<KeyRotation, "generation" | "isKnown">;
  /** PEM of the roots to trust, the present one first. */
  readonly roots: string;
}

/** The part of a cluster without secrets: named field by field, so that a new field stays with the managers. */
export function publicPart({ spec, authority: { root, next }, ...cluster }: Cluster): PublicCluster {
  const { id, version, addressPools, subnetSize, dataPathPort } = cluster;
  const { generation, isKnown } = cluster.keyRotation;
  const { heartbeatPeriod, autolock, logDriver } = spec;
  const roots = root.certificate + (next?.certificate ?? "");
  const others = logDriver === undefined ? {} : { logDriver };
  const keyRotation = { generation, isKnown };
  return {
    id,
    version,
    addressPools,
    subnetSize,
    dataPathPort,
    keyRotation,
    heartbeatPeriod,
    autolock,
    roots,
    ...others,
  };
}

/** unknown: not heard of yet; disconnected: its stream broke and its last beat is young. */
export type NodeState = "unknown" | "down" | "ready" | "disconnected";

/** A driver of a node's engine, in the API's words: `Network`, `bridge`. */
export interface EngineDriver {
  readonly type: "Log" | "Network" | "Volume";
  readonly name: string;
}

export interface NodeWireguard extends WireguardKeys {
  readonly by: Encryptor;
}

/** A port of a node's host that is not for services. */
export interface TakenPort {
  readonly protocol: string;
  /** The host's; `0.0.0.0` and `::` stand for all. */
  readonly address: IpAddress;
  readonly port: number;
  /** The name of the one that has published it; absent: a program of the host waits there. */
  readonly container?: string;
}

/** What a node says of itself when it registers, and when that has changed. */
export interface NodeDescription {
  readonly hostname: string;
  readonly platform: { readonly os: string; readonly architecture: string };
  readonly resources: { readonly nanoCpus: number; readonly memoryBytes: number };
  readonly engineVersion: string;
  /** Of its daemon (`--label`): constraints can ask for them. */
  readonly engineLabels: Readonly<Record<string, string>>;
  /** What its engine has drivers for. */
  readonly drivers: readonly EngineDriver[];
  readonly addresses: { readonly advertise: IpAddress; readonly dataPath: IpAddress };
  /** What it routes elsewhere than to its networks, as far as others must know; absent: nothing. */
  readonly routes?: readonly HostRoute[];
  /** Ports of the host that its programs and containers have, but services' tasks; absent: none. */
  readonly takenPorts?: readonly TakenPort[];
  /** Its host's, but loopback, to which ports can be bound; absent, as with an older version: nobody knows. */
  readonly hostAddresses?: readonly IpAddress[];
  /** What shares out connections to services there; absent, as with an older version: `nft`. */
  readonly balancer?: string;
  /** Its WireGuard; absent, as with an older version: encrypted networks do not reach it. */
  readonly wireguard?: NodeWireguard;
}

/** A host of the cluster. Who has no row is no node: removing the row refuses the certificate. */
export interface ClusterNode extends NodeDescription, Versioned {
  readonly id: NodeId;
  /** As the user wishes it; the certificate follows. */
  readonly role: NodeRole;
  readonly availability: "active" | "pause" | "drain";
  readonly labels: Readonly<Record<string, string>>;
  readonly membership: "pending" | "accepted";
  /** Of the certificate that was issued last. */
  readonly certificate: {
    readonly fingerprint: string; // SHA-256, hex
    readonly role: NodeRole;
    /** Of the root that signed it. */
    readonly root: string; // SHA-256, hex
    readonly expiresAt: number; // milliseconds since 1970
  };
  readonly status: {
    readonly state: NodeState;
    readonly message: string;
    /** Where the node's stream comes from; "" before the first. */
    readonly address: string;
    /** The manager that has the node's stream, and the stream: one that was followed by another says nothing more. */
    readonly holder?: NodeId;
    readonly session?: string;
  };
  /** Of managers only. */
  readonly manager?: {
    /** `address:port` of its control port. */
    readonly address: string;
    readonly reachability: "unknown" | "unreachable" | "reachable";
    readonly leader: boolean;
    /** etcd's id of the member, hex. */
    readonly memberId: string;
  };
}

/** The row with something that was observed at `now`. */
export const observed = <R extends Versioned>(row: R, change: Partial<R>, now: number): R => ({
  ...row,
  ...change,
  updatedAt: now,
});

/** What is known of a node, without what holds only while it says so. */
export function unsaid<N extends NodeDescription>(node: N): Omit<N, "wireguard" | "routes" | "takenPorts"> {
  const { wireguard: _, routes: _routes, takenPorts: _ports, ...others } = node;
  return others;
}

/** A node that is down until it is heard of, and no manager until it is promoted again. */
export function dismissed({ manager: _, ...node }: ClusterNode, message: string): ClusterNode {
  const status = { state: "down", message, address: node.status.address } as const;
  return { ...unsaid(node), role: "worker", status };
}

/** The row after a user's change at `now`: a version more. */
export const revised = <R extends Versioned>(row: R, change: Partial<R>, now: number): R => ({
  ...row,
  ...change,
  version: row.version + 1,
  updatedAt: now,
});
