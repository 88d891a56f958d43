import type { ParentState } from "../dataplane/dataplane.ts";
import type { Cluster, ClusterNode, ClusterSpec, NodeId, NodeRole, TrustedRoot } from "../model/cluster.ts";
import type { Attachment, Container, ContainerSpec, Volume } from "../model/container.ts";
import type { Endpoint, EndpointAddress, PortBinding } from "../model/endpoint.ts";
import type { NetworkId } from "../model/ids.ts";
import type { Network, NetworkSpec } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import type {
  Backend,
  FileContent,
  Service,
  ServiceId,
  ServiceSpec,
  Task,
  TaskId,
  VirtualService,
} from "../model/service.ts";
import type { AddressPool } from "../model/address-pool.ts";
import type {
  ExecSpec,
  Image,
  Images,
  LogLine,
  LogOptions,
  PathStat,
  ProcessStreams,
  RegistryAuth,
  Usage,
} from "../runtime/runtime.ts";

import type { HealthReport } from "./health.ts";

/** `filters` of a list call: each key with its values; a row passes when each key has a value that fits. */
export type Filters = ReadonlyMap<string, readonly string[]>;

/** One network with what stands on it. */
export interface NetworkDetail {
  readonly network: Network;
  readonly pools: readonly AddressPool[];
  /** Endpoints of running containers, by container name. */
  readonly endpoints: readonly Endpoint[];
  /** Endpoints that other hosts have on a network of the cluster; on a manager that takes no part, all. */
  readonly peers: readonly Peer[];
  /** Services of the swarm on it, and the tasks that take connections. */
  readonly services: readonly { readonly service: VirtualService; readonly backends: readonly Backend[] }[];
  /** This host's node, on a network of the cluster in which it takes part. */
  readonly nodeId?: NodeId;
  readonly hostname?: string;
  /** The link of the host on which it stands, if on one that is not ours. */
  readonly parent?: { readonly link: string; readonly state: ParentState };
  /** What it could not get from the kernel, if anything. */
  readonly errors: readonly string[];
}

export interface Networks {
  create(spec: NetworkSpec, signal?: AbortSignal): Promise<{ readonly id: string; readonly warning: string }>;
  list(filters: Filters): NetworkDetail[];
  /** By name, id or unambiguous beginning of an id. @throws {EngineError} not-found */
  inspect(reference: string): NetworkDetail;
  remove(reference: string): Promise<void>;
  connect(reference: string, container: string, wish: Omit<Attachment, "network">): Promise<void>;
  disconnect(reference: string, container: string, force: boolean): Promise<void>;
  /** @returns the names of those removed */
  prune(filters: Filters): Promise<string[]>;
}

/** A create request, checked. `spec.imageId` is still empty; what the image says is merged in by the engine. */
export interface ContainerRequest {
  readonly name: string; // "" means: make one up
  readonly spec: ContainerSpec;
  readonly attachments: readonly Attachment[];
  readonly shown: Container["shown"];
  readonly platform: string;
  /** Of a service's task; no user's request has one. */
  readonly taskId?: TaskId;
}
export interface ContainerDetail {
  readonly container: Container;
  readonly image?: Image;
  /** For each attachment its network (when it exists) and endpoint (when running). */
  readonly networks: readonly {
    readonly attachment: Attachment;
    readonly network?: Network;
    readonly endpoint?: Endpoint;
  }[];
  /** Of all its endpoints, also of the one on `docker_gwbridge` that nobody asked for. */
  readonly ports: readonly PortBinding[];
  readonly execIds: readonly string[];
  /** What was found out of its health, if that is looked at. */
  readonly health: HealthReport;
  readonly paths: {
    readonly directory: string;
    readonly hosts: string;
    readonly hostname: string;
    readonly resolvConf: string;
    readonly log: string;
  };
  /** Host path of each mount's source, in the order of spec.mounts. */
  readonly mountSources: readonly string[];
  /** Path of the pinned network namespace, "" when not running. */
  readonly sandboxKey: string;
}
export type WaitCondition = "not-running" | "next-exit" | "removed";

export interface Containers {
  create(request: ContainerRequest): Promise<{ readonly id: string; readonly warnings: readonly string[] }>;
  start(reference: string): Promise<void>;
  /** `timeout` seconds before SIGKILL; negative waits for ever; undefined: the container's own, else 10. */
  stop(reference: string, options: { readonly timeout?: number; readonly signal?: string }): Promise<void>;
  restart(reference: string, options: { readonly timeout?: number; readonly signal?: string }): Promise<void>;
  kill(reference: string, signal: string): Promise<void>;
  pause(reference: string): Promise<void>;
  unpause(reference: string): Promise<void>;
  rename(reference: string, name: string): Promise<void>;
  update(
    reference: string,
    change: Partial<Pick<ContainerSpec, "memory" | "memorySwap" | "nanoCpus" | "cpuShares" | "pidsLimit" | "restart">>,
  ): Promise<readonly string[]>;
  remove(
    reference: string,
    options: { readonly force: boolean; readonly volumes: boolean; readonly link: boolean },
  ): Promise<void>;
  /** Registers at once (the returned promise of the outer call), answers later. */
  wait(
    reference: string,
    condition: WaitCondition,
  ): Promise<{ readonly done: Promise<{ readonly exitCode: number; readonly error: string }> }>;
  list(filters: Filters, options: { readonly all: boolean; readonly limit: number }): Promise<ContainerDetail[]>;
  inspect(reference: string): Promise<ContainerDetail>;
  attach(reference: string): Promise<ProcessStreams>;
  logs(
    reference: string,
    options: LogOptions,
    signal: AbortSignal,
  ): Promise<{ readonly tty: boolean; readonly lines: AsyncIterable<LogLine> }>;
  resize(reference: string, width: number, height: number): Promise<void>;
  /** Pids of the container's processes, as the host counts. */
  pids(reference: string): Promise<number[]>;
  usage(reference: string): Promise<{ readonly container: Container; readonly usage: Usage }>;
  /** What is at `path` in a container, running or not. @throws {EngineError} not-found, Docker's text */
  statPath(reference: string, path: string, signal: AbortSignal): Promise<PathStat>;
  /** A tar of it (`docker cp`). */
  readArchive(
    reference: string,
    path: string,
    signal: AbortSignal,
  ): Promise<{ readonly stat: PathStat; readonly tar: AsyncIterable<Uint8Array> }>;
  /** A tar, plain or compressed, is unpacked into the directory `path`. @throws {EngineError} with Docker's texts */
  writeArchive(
    reference: string,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options: {
      /** A directory is not replaced by anything else, nor anything else by a directory. */
      readonly noOverwriteDirNonDir: boolean;
      /** Everything belongs to the container's user, if it has one, instead of whom the tar names. */
      readonly copyUidGid: boolean;
    },
    signal: AbortSignal,
  ): Promise<void>;
  /** A tar of all its files but those of volumes and bind mounts. */
  export(reference: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** @returns ids removed */
  prune(filters: Filters): Promise<{ readonly ids: string[]; readonly freed: number }>;
}

export interface ExecDetail {
  readonly spec: ExecSpec;
  readonly running: boolean;
  readonly exitCode?: number;
  readonly pid: number;
  readonly detachKeys: string;
  readonly attach: { readonly stdout: boolean; readonly stderr: boolean };
}
export interface Execs {
  create(
    container: string,
    request: Omit<ExecSpec, "id" | "containerId"> & Pick<ExecDetail, "detachKeys" | "attach">,
  ): Promise<string>;
  start(
    id: string,
    options: { readonly detach: boolean; readonly size?: readonly [height: number, width: number] },
  ): Promise<ProcessStreams | undefined>;
  inspect(id: string): ExecDetail;
  resize(id: string, width: number, height: number): Promise<void>;
}

export interface VolumeDetail {
  readonly volume: Volume;
  readonly mountpoint: string;
  /** Names of containers that use it. */
  readonly users: readonly string[];
}
export interface Volumes {
  create(request: {
    readonly name: string;
    readonly driver: string;
    readonly labels: Volume["labels"];
    readonly options: Volume["options"];
  }): Promise<VolumeDetail>;
  list(filters: Filters): VolumeDetail[];
  inspect(name: string): VolumeDetail;
  remove(name: string, force: boolean): Promise<void>;
  prune(filters: Filters): Promise<{ readonly names: string[]; readonly freed: number }>;
}

/** An entry of `docker events`. */
export interface EngineEvent {
  readonly type: "container" | "image" | "network" | "volume" | "daemon" | "node" | "service" | "secret" | "config";
  readonly action: string;
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly scope: "local" | "swarm";
  readonly timeNano: bigint;
}
export interface Events {
  /** Past ones from `since`, then as they come until `until` or `signal`. Milliseconds since 1970. */
  subscribe(
    options: { readonly since?: number; readonly until?: number; readonly filters: Filters },
    signal: AbortSignal,
  ): AsyncIterable<EngineEvent>;
}

export interface SystemDetail {
  readonly id: string; // of this daemon, a UUID kept in the data root
  readonly name: string; // the host's
  readonly version: string; // of tombolod
  readonly containers: {
    readonly total: number;
    readonly running: number;
    readonly paused: number;
    readonly stopped: number;
  };
  readonly images: number;
  readonly dataRoot: string;
  readonly debug: boolean;
  readonly labels: readonly string[];
  readonly driverNames: readonly string[];
  readonly addressPools: readonly { readonly base: string; readonly size: number }[];
  readonly warnings: readonly string[];
  readonly insecureRegistries: readonly string[];
  readonly memory: number; // bytes
  readonly cpus: number;
  readonly kernelVersion: string;
  readonly operatingSystem: string;
  readonly osVersion: string;
  readonly cgroupVersion: "1" | "2";
  readonly runtime: { readonly containerd: string; readonly containerdCommit: string; readonly runc: string };
  readonly startedAt: string;
}
/** One line of `tombolo audit`. */
export interface AuditLine {
  readonly where: "kernel" | "store" | "containerd" | "files";
  readonly what: "missing" | "left over" | "different";
  readonly key: string;
  readonly owner?: string;
}
export interface System {
  info(): Promise<SystemDetail>;
  audit(): Promise<AuditLine[]>;
}

/** pending: it is joining. error: it is in a swarm and cannot take part. locked: its keys are sealed. */
export type SwarmState = "inactive" | "pending" | "active" | "error" | "locked";

/** This node's place in a swarm, as each node knows it. */
export interface SwarmStanding {
  readonly state: SwarmState;
  /** "" outside of a swarm, like the address. */
  readonly nodeId: NodeId;
  readonly nodeAddress: string;
  /** True on a manager that can be asked. */
  readonly controlAvailable: boolean;
  /** Why the state is pending, error or locked. */
  readonly error: string;
  readonly managers: readonly { readonly nodeId: NodeId; readonly address: string }[];
  /** Of managers that can be asked. */
  readonly control?: { readonly cluster: ClusterDetail; readonly nodes: number; readonly managers: number };
}

/** By what nodes trust each other (Docker's TLSInfo). */
export interface TlsDetail {
  readonly roots: string; // PEM
  /** Subject and public key of who issues certificates now, DER. */
  readonly issuer: { readonly subject: Buffer; readonly publicKey: Buffer };
}
export interface ClusterDetail {
  readonly cluster: Cluster;
  readonly tls: TlsDetail;
  /** `SWMTKN-1-…` by the role that they give. */
  readonly tokens: Readonly<Record<NodeRole, string>>;
  /** True until every node has a certificate of the new root. */
  readonly rotating: boolean;
}
export interface NodeDetail {
  readonly node: ClusterNode;
  readonly tls: TlsDetail;
}

/** Addresses as the user typed them: `192.0.2.1`, `eth0`, with or without `:2377`; "" is not said. */
export interface NodeAddressing {
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly dataPathAddress: string;
  readonly availability: ClusterNode["availability"];
}
export interface SwarmInit extends NodeAddressing {
  readonly spec: ClusterSpec;
  /** A root that the user brings; without its key, a CA outside of the swarm signs. */
  readonly signingRoot?: TrustedRoot;
  readonly addressPools: readonly string[];
  readonly subnetSize: number;
  readonly dataPathPort: number;
  readonly forceNewCluster: boolean;
}
export interface SwarmJoin extends NodeAddressing {
  /** `address:port`, one at least. */
  readonly remotes: readonly string[];
  readonly token: string;
}
export interface SwarmUpdate {
  /** That of the cluster which was changed: another one was written meanwhile when it differs. */
  readonly version: number;
  readonly spec: ClusterSpec;
  readonly signingRoot?: TrustedRoot;
  readonly rotate: { readonly worker: boolean; readonly manager: boolean; readonly unlockKey: boolean };
}

/** Names of hosts with new keys of WireGuard, and of those that get theirs when they are back. */
export interface KeyRotationResult {
  readonly generation: number;
  readonly nodes: readonly string[];
  readonly away: readonly string[];
}

/** `docker swarm`. What managers alone can do throws EngineError unavailable elsewhere, with Docker's text. */
export interface Swarm {
  standing(): SwarmStanding;
  /** @returns the node's id @throws {EngineError} unavailable in a swarm already; invalid for an address or a pool */
  init(request: SwarmInit): Promise<NodeId>;
  /** @throws {EngineError} what the manager says; unavailable after 20 s, while the joining goes on */
  join(request: SwarmJoin): Promise<void>;
  /** @throws {EngineError} unavailable outside of a swarm, and for a manager without `force` */
  leave(force: boolean): Promise<void>;
  inspect(): ClusterDetail;
  update(request: SwarmUpdate): Promise<void>;
  /** @returns "" when the swarm is not autolocked */
  unlockKey(): string;
  /** @throws {EngineError} conflict when it is not locked, unauthorized for another key */
  unlock(key: string): Promise<void>;
  /** @throws {EngineError} conflict while keys are being rotated; system, naming nodes, when it takes too long */
  rotateKeys(): Promise<KeyRotationResult>;
  /** @param every milliseconds; 0: never by themselves @throws {EngineError} invalid for less than a second */
  rotateKeysEvery(every: number): Promise<void>;
  /** Everything that the cluster has, for `restore`: its keys, too. */
  backup(): object;
  /** Begins the cluster of a backup again, on this node alone. @returns the node's id @throws {EngineError} invalid for what is none */
  restore(backup: unknown, addressing: NodeAddressing): Promise<NodeId>;
}

/** `docker node`, for managers alone. */
export interface Nodes {
  list(filters: Filters): NodeDetail[];
  /** By id, name, or unambiguous beginning of an id. @throws {EngineError} not-found, invalid when ambiguous */
  inspect(reference: string): NodeDetail;
  update(
    reference: string,
    change: { readonly version: number } & Pick<ClusterNode, "role" | "availability" | "labels">,
  ): Promise<void>;
  remove(reference: string, force: boolean): Promise<void>;
}

export interface ServiceStatus {
  readonly running: number;
  readonly desired: number;
  /** Of jobs: those that have done their work. */
  readonly completed: number;
}
export interface ServiceUpdate {
  /** That of the service which was changed: another one was written meanwhile when it differs. */
  readonly version: number;
  readonly spec: ServiceSpec;
  /** Where the login comes from when the spec has none. */
  readonly registryAuthFrom: "spec" | "previous-spec";
}
/** What is asked of the logs of tasks. */
export type TaskLogOptions = Omit<LogOptions, "until">;
/** A line of a task's log, and whose it is. */
export interface TaskLine extends LogLine {
  readonly taskId: TaskId;
  readonly serviceId: ServiceId;
  readonly nodeId: NodeId;
}
/** Logs of tasks, wherever they are. Reading throws EngineError system at the end when some could not be had. */
export interface TaskLogs {
  readonly tty: boolean;
  readonly lines: AsyncIterable<TaskLine>;
}

/** `docker service`, for managers alone. */
export interface Services {
  /** A name for a service that is given none. */
  newName(): string;
  /** The networks of the swarm that services can be on. @throws {EngineError} not-found; forbidden for one of this host */
  networkIds(references: readonly string[]): NetworkId[];
  /** @returns its id @throws {EngineError} with Docker's texts; nothing is left behind */
  create(spec: ServiceSpec): Promise<ServiceId>;
  list(filters: Filters, withStatus: boolean): { readonly service: Service; readonly status?: ServiceStatus }[];
  /** By id, name, or unambiguous beginning of an id. @throws {EngineError} not-found, invalid when ambiguous */
  inspect(reference: string): Service;
  update(reference: string, change: ServiceUpdate): Promise<void>;
  /** Goes back to the spec before the last update. @param version as with `update` */
  rollBack(reference: string, version: number): Promise<void>;
  remove(reference: string): Promise<void>;
  /** Of all its tasks; of those to come, too, when it is followed. @throws {EngineError} not-found */
  logs(reference: string, options: TaskLogOptions, signal: AbortSignal): TaskLogs;
}

/** A task, with the networks that it is on. */
export interface TaskDetail {
  readonly task: Task;
  readonly attachments: readonly {
    readonly network: Network;
    readonly pools: readonly AddressPool[];
    readonly addresses: readonly EndpointAddress[];
  }[];
}
export interface Tasks {
  list(filters: Filters): TaskDetail[];
  /** By id, name (`web.1.<id>`), or unambiguous beginning of an id. @throws {EngineError} not-found, invalid when ambiguous */
  inspect(reference: string): TaskDetail;
  /** @throws {EngineError} not-found */
  logs(reference: string, options: TaskLogOptions, signal: AbortSignal): TaskLogs;
}

/** `docker secret` and `docker config`, for managers alone. */
export interface FileContents {
  /** @returns its id @throws {EngineError} conflict for a name that is taken; invalid for a name, a size or a template */
  create(wish: Pick<FileContent, "name" | "labels" | "data" | "templating">): Promise<string>;
  list(filters: Filters): FileContent[];
  /** By id, name, or unambiguous beginning of an id. @throws {EngineError} not-found, invalid when ambiguous */
  inspect(reference: string): FileContent;
  /** Labels alone can be changed. @throws {EngineError} invalid for another name or data */
  update(
    reference: string,
    change: Pick<FileContent, "version" | "name" | "labels"> & { readonly data?: string },
  ): Promise<void>;
  /** @throws {EngineError} invalid while services use it, naming them */
  remove(reference: string): Promise<void>;
}

/** What the API speaks to: Docker's verbs without Docker's JSON. */
export interface Engine {
  readonly swarm: Swarm;
  readonly nodes: Nodes;
  readonly services: Services;
  readonly tasks: Tasks;
  readonly secrets: FileContents;
  readonly configs: FileContents;
  readonly networks: Networks;
  readonly containers: Containers;
  readonly execs: Execs;
  readonly volumes: Volumes;
  readonly images: Omit<Images, "remove" | "pull"> & {
    pull(
      reference: string,
      options: { readonly platform?: string; readonly auth?: RegistryAuth; readonly allTags?: boolean },
      onProgress: Parameters<Images["pull"]>[2],
      signal: AbortSignal,
    ): Promise<void>;
    remove(reference: string, force: boolean): ReturnType<Images["remove"]>;
    prune(filters: Filters): Promise<{ readonly done: Awaited<ReturnType<Images["remove"]>>; readonly freed: number }>;
  };
  readonly events: Events;
  readonly system: System;
}
