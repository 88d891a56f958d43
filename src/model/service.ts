import type { NodeId, Versioned } from "./cluster.ts";
import type { ContainerSpec, Volume } from "./container.ts";
import type { EndpointAddress, PortBinding } from "./endpoint.ts";
import type { IpAddress, NetworkId } from "./ids.ts";

/** 25 base-36 digits each, as Docker's swarm objects have. */
export type ServiceId = string;
export type TaskId = string;
export type SecretId = string;
export type ConfigId = string;

/** How many tasks a service has, and whether they end. */
export type ServiceMode =
  | { readonly kind: "replicated"; readonly replicas: number }
  /** One task on every node that fits. */
  | { readonly kind: "global" }
  /** `total` tasks that end, at most `concurrent` at once. */
  | { readonly kind: "replicated-job"; readonly total: number; readonly concurrent: number }
  | { readonly kind: "global-job" };

/** How tasks are replaced by new ones. Durations are milliseconds. */
export interface UpdatePolicy {
  /** So many at once; 0: all. */
  readonly parallelism: number;
  /** From the end of one replacement to the beginning of the next. */
  readonly delay: number;
  readonly failureAction: "pause" | "continue" | "rollback";
  /** So long after its start the end of a new task counts as a failure of the update. */
  readonly monitor: number;
  /** Of the new tasks, 0 to 1: a larger part of failures is answered by `failureAction`. */
  readonly maxFailureRatio: number;
  readonly order: "stop-first" | "start-first";
}

/** Whether a task that has ended is followed by another. Durations are milliseconds. */
export interface TaskRestart {
  readonly condition: "none" | "on-failure" | "any";
  readonly delay: number;
  /** Within `window`; 0: without end. */
  readonly maxAttempts: number;
  /** 0: ever. */
  readonly window: number;
}

export interface Placement {
  /** `node.role==manager`, as typed; all must hold. */
  readonly constraints: readonly string[];
  /** Keys whose values tasks are spread over, the first first: `node.labels.dc`. */
  readonly spread: readonly string[];
  /** 0: without limit. */
  readonly maxPerNode: number;
  /** Empty: any. An empty word fits all. */
  readonly platforms: readonly { readonly os: string; readonly architecture: string }[];
}

export interface ServicePort {
  readonly name: string;
  readonly protocol: PortBinding["protocol"];
  readonly target: number;
  /** In a spec 0 means any; in a service's row it is the number that was chosen. */
  readonly published: number;
  /** ingress: on every node. host: on the task's node only. */
  readonly mode: "ingress" | "host";
  /** The host's address that it is bound to; absent: all. */
  readonly address?: IpAddress;
}

export interface ServiceNetwork {
  readonly network: NetworkId;
  readonly aliases: readonly string[];
  readonly driverOptions: Readonly<Record<string, string>>;
}

/** A secret or a config as a file of a task. */
export interface FileReference {
  readonly id: SecretId | ConfigId;
  readonly name: string;
  /** Absolute, or below `/run/secrets` (secrets) or `/` (configs). */
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits. */
  readonly mode: number;
}

/** What every task of a service is made from. */
export interface TaskTemplate {
  /** Words in `{{ }}` of env, hostname and mounts are still to be filled in. */
  readonly container: ContainerSpec;
  /** The same as `docker inspect` shows it, before the words are filled in; and all of the template, as a task shows it. */
  readonly shown: {
    readonly config: Readonly<Record<string, unknown>>;
    readonly hostConfig: Readonly<Record<string, unknown>>;
    readonly task: Readonly<Record<string, unknown>>;
  };
  /** Volumes that want labels of their own when they are made; words in `{{ }}` of these, too. */
  readonly volumes: readonly Pick<Volume, "name" | "labels">[];
  /** The service's own, for words in `{{ }}` and for lists by label. */
  readonly serviceLabels: Readonly<Record<string, string>>;
  readonly networks: readonly ServiceNetwork[];
  readonly secrets: readonly FileReference[];
  readonly configs: readonly FileReference[];
  readonly placement: Placement;
  readonly restart: TaskRestart;
  readonly reservations: { readonly nanoCpus: number; readonly memory: number }; // memory in bytes
  /** A higher number replaces tasks that are the same otherwise. */
  readonly forceUpdate: number;
  /** Base64 JSON of the registry's user, for private images; as the client has sent it. */
  readonly registryAuth?: string;
}

/** Labels of a service that say what Docker has no words for. */
export const serviceLabels = {
  /** rr (default), random, least, source; `local` before the comma prefers tasks of the own node: `local,rr`. */
  balance: "tombolo.lb",
  /** `snat`: tasks see an address of the node for the client's, as in Docker. */
  mesh: "tombolo.mesh",
  /** How long a task that gets no new connections any more may end its old ones, as `10s`. */
  drain: "tombolo.drain",
  /** After how long an idle connection is forgotten, as `900s`; the kernel's default is five days. */
  idle: "tombolo.idle",
  /** Host address that published ports are bound to. */
  address: "tombolo.publish-address",
} as const;

/** How connections are shared out. */
export interface BalancePolicy {
  readonly by: "rr" | "random" | "least" | "source";
  /** Tasks of the own node first. */
  readonly local: boolean;
}

export interface ServiceSpec {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly mode: ServiceMode;
  readonly task: TaskTemplate;
  readonly endpoint: { readonly mode: "vip" | "dnsrr"; readonly ports: readonly ServicePort[] };
  readonly update: UpdatePolicy;
  readonly rollback: UpdatePolicy;
  /** Milliseconds (`serviceLabels.drain`). */
  readonly drain: number;
  readonly balance: BalancePolicy;
  /** The spec as the client sent it: what it reads before it changes something. */
  readonly shown: Readonly<Record<string, unknown>>;
}

export interface UpdateStatus {
  readonly state: "updating" | "paused" | "completed" | "rollback_started" | "rollback_paused" | "rollback_completed";
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly completedAt?: number;
  readonly message: string;
  /** Tasks that it has made and that ended within `monitor`. */
  readonly failed?: readonly TaskId[];
}

export interface Service extends Versioned {
  readonly id: ServiceId;
  readonly spec: ServiceSpec;
  /**
   * The row's `version` when what tasks are made from, `spec.task` and ports of mode `host`, became another: tasks of another
   * number are to be replaced. Where tasks are placed does not count: those that fit stay.
   */
  readonly templateVersion: number;
  /** What was before the last update; rollback goes there. */
  readonly previous?: { readonly spec: ServiceSpec; readonly templateVersion: number };
  /** Of mode vip: an address of each family on each network, ingress included when a port is published there. */
  readonly virtualAddresses: readonly {
    readonly network: NetworkId;
    readonly addresses: readonly EndpointAddress[];
  }[];
  /** With the numbers that were chosen. */
  readonly ports: readonly ServicePort[];
  readonly update?: UpdateStatus;
  /** Of jobs: which run of it this is, and since when. */
  readonly job?: { readonly iteration: number; readonly startedAt: number };
}

/** In the order of a task's life; a task only goes to the right (moby/swarmkit api/types.proto, TaskState). */
export const taskStates = [
  "new",
  "allocated",
  "pending",
  "assigned",
  "accepted",
  "preparing",
  "ready",
  "starting",
  "running",
  "complete",
  "shutdown",
  "failed",
  "rejected",
  "remove",
  "orphaned",
] as const;
export type TaskState = (typeof taskStates)[number];
/** Negative when `a` comes before `b`. */
export const compareStates = (a: TaskState, b: TaskState): number => taskStates.indexOf(a) - taskStates.indexOf(b);
/** True when the task's process has ended, or never will begin. */
export const hasEnded = (state: TaskState): boolean => compareStates(state, "running") > 0;

/** What the task's node says of it; before it is on a node, what the scheduler says. */
export interface TaskStatus {
  readonly state: TaskState;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly message: string;
  /** "" when there is none. */
  readonly error: string;
  readonly container?: { readonly id: string; readonly pid: number; readonly exitCode: number };
  /** Its ports of mode `host`, with the numbers that the node has given. */
  readonly ports?: readonly ServicePort[];
}

/** One run of one replica. */
export interface Task extends Versioned {
  readonly id: TaskId;
  readonly serviceId: ServiceId;
  readonly serviceName: string;
  /** 1 or more; 0 in global services, which have one a node. */
  readonly slot: number;
  /** Of global services from the beginning; otherwise written by the scheduler, once. */
  readonly nodeId?: NodeId;
  readonly template: TaskTemplate;
  readonly templateVersion: number;
  /** Of mode `host`: the node publishes them. */
  readonly hostPorts: readonly ServicePort[];
  /** True when a port of mode `ingress` is published: the task is on the ingress network too. */
  readonly isOnIngress: boolean;
  /** ready, running, shutdown, remove; complete for jobs. Written by the leader; a task only goes to the right. */
  readonly desired: TaskState;
  /** Written by the task's node, through its manager. */
  readonly status: TaskStatus;
  /** Addresses on the service's networks, once the node has claimed them. */
  readonly attachments: readonly { readonly network: NetworkId; readonly addresses: readonly EndpointAddress[] }[];
  /** True when an update has made it in the place of an older one: its failure is one of the update's. */
  readonly isReplacement?: true;
  /** Milliseconds since 1970 by the clock of a manager; absent until it runs. */
  readonly runningSince?: number;
  /** It is to get no new connections any more since then; it is told to stop when its drain time is over. */
  readonly drainingSince?: number;
  /** Every node has acknowledged that: its drain time begins. */
  readonly acknowledgedAt?: number;
  /** What it is told then. */
  readonly drainsTo?: "shutdown" | "remove";
  /** Milliseconds since 1970 before which `desired` stays ready: the restart delay. */
  readonly startAfter?: number;
  readonly jobIteration?: number;
}

/**
 * The number of a task in its name; 0: its node's id is there. Docker counts a job's from 0, and names its first by its node, too:
 * clients wait for that. One of a global service that fits on no node has no node's id.
 */
export function shownSlot({ slot, nodeId, jobIteration }: Pick<Task, "slot" | "nodeId" | "jobIteration">): number {
  if (slot === 0) return nodeId === undefined ? 1 : 0;
  return jobIteration === undefined ? slot : slot - 1;
}

/** `web.1.<task id>`, of global services `web.<node id>.<task id>`: the name of the task's container (moby daemon/cluster/executor/container). */
export const taskName = (task: Task): string =>
  `${task.serviceName}.${shownSlot(task) || (task.nodeId ?? "")}.${task.id}`;

/** A service as clients on one network see it. Nodes on that network have it; those of the ingress network all nodes. */
export interface VirtualService {
  readonly serviceId: ServiceId;
  readonly networkId: NetworkId;
  readonly name: string;
  readonly aliases: readonly string[];
  /** Virtual addresses; none with dnsrr, where the name leads to the tasks. */
  readonly addresses: readonly IpAddress[];
  /** On the ingress network: what is published there. */
  readonly ports: readonly ServicePort[];
  readonly balance: BalancePolicy;
  /** True: tasks see the client's address (default). */
  readonly keepsClient: boolean;
  /** Milliseconds after which an idle connection is forgotten; absent: the kernel's default. */
  readonly idle?: number;
}

/** A task that takes connections on one network. When the row is gone it gets no new ones. */
export interface Backend {
  readonly taskId: TaskId;
  readonly serviceId: ServiceId;
  readonly networkId: NetworkId;
  readonly nodeId: NodeId;
  /** `web.1.<task id>`. */
  readonly name: string;
  readonly addresses: readonly IpAddress[];
  /** Its node is down: it gets no new connections, and nobody answers those that it has. */
  readonly isLost?: true;
}

/** A secret or a config: bytes that tasks get as a file. */
export interface FileContent extends Versioned {
  readonly id: SecretId | ConfigId;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Base64. */
  readonly data: string;
  /** `golang`: words in `{{ }}` are filled in for each task. */
  readonly templating?: string;
}

/**
 * Of the tasks that are being drained, those to which no node sends new connections any more, as far as this manager has the
 * nodes' streams. There only while something is drained.
 */
export interface Acknowledgement {
  readonly managerId: NodeId;
  readonly tasks: readonly TaskId[];
}
