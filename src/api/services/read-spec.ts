import { invalid, notImplemented, rpcError } from "../../lib/errors.ts";
import type { NetworkId } from "../../model/ids.ts";
import type {
  FileReference,
  ServiceMode,
  ServicePort,
  ServiceSpec,
  TaskTemplate,
  UpdatePolicy,
} from "../../model/service.ts";
import { type LabelledPolicy, readServiceLabels } from "../../model/service-labels.ts";
import { serviceWords } from "../../model/task-words.ts";
import { milliseconds } from "../swarm/duration.ts";
import { readContainer } from "./container.ts";
import { shownSpec } from "./shown.ts";
import type {
  FileReferenceBody,
  ModeBody,
  PolicyBody,
  PortBody,
  ResourcesBody,
  ServiceSpecBody,
  TaskTemplateBody,
} from "./spec-body.ts";

const wrong = (text: string) => rpcError("InvalidArgument", text);
/** More tasks than a swarm of many nodes has. */
const mostTasks = 100_000;
const usual = { delay: 5000, monitor: 5000 } as const; // milliseconds (moby/swarmkit api/defaults/service.go)

/** The networks as a client names them, in their places. */
export const networksOf = (body: ServiceSpecBody) => {
  const own = body.TaskTemplate?.Networks ?? [];
  return own.length > 0 ? own : (body.Networks ?? []);
};

/**
 * The whole spec of a service: each field is honoured or refused.
 * @param networks ids of `networksOf` the body @param auth the client's login to a registry, as it was sent
 * @throws {EngineError} invalid, with the texts of Docker (daemon/cluster/convert) and swarmkit (manager/controlapi/service.go)
 */
export function readSpec(
  body: ServiceSpecBody,
  { name, networks, auth }: { readonly name: string; readonly networks: readonly NetworkId[]; readonly auth: string },
): ServiceSpec {
  const template = body.TaskTemplate ?? {};
  checkRuntime(template);
  const labels = body.Labels ?? {};
  const policy = readServiceLabels(labels);
  const mode = readMode(body.Mode ?? {});
  const placed = placeNetworks(body, networks);
  const shown = shownSpec({ ...placed, Name: name });
  const update = readPolicy("UpdateConfig", body.UpdateConfig);
  if (body.UpdateConfig && mode.kind.endsWith("-job")) throw wrong("Jobs may not have an update config");
  return {
    name,
    labels,
    mode,
    task: { ...readTemplate(placed.TaskTemplate ?? {}, name, labels), ...(auth !== "" && { registryAuth: auth }) },
    endpoint: readEndpoint(body, policy),
    update,
    rollback: readRollback(body.RollbackConfig),
    drain: policy.drain,
    balance: policy.balance,
    shown,
  };
}

function checkRuntime({ Runtime, ContainerSpec }: TaskTemplateBody): void {
  if (Runtime === "plugin") throw notImplemented("plugins are not supported: network drivers are part of tombolod");
  if (Runtime && Runtime !== "container") throw invalid("unsupported runtime");
  if (!ContainerSpec) throw invalid("mismatched Runtime and *Spec fields");
}

/** With the ids of the networks, and these where clients of today say them. */
function placeNetworks({ Networks: _, ...body }: ServiceSpecBody, ids: readonly NetworkId[]): ServiceSpecBody {
  const Networks = networksOf({ ...body, Networks: _ }).map((network, at) => ({ ...network, Target: ids[at] ?? "" }));
  return { ...body, TaskTemplate: { ...body.TaskTemplate, Networks } };
}

function readTemplate(template: TaskTemplateBody, name: string, labels: ServiceSpec["labels"]): TaskTemplate {
  const reservations = readReservations(template.Resources ?? {});
  const { shown, ...container } = readContainer(template, serviceWords(name, labels));
  const { ContainerSpec, Networks } = template;
  const { Runtime: _, ...task } = shownSpec({ TaskTemplate: template }).TaskTemplate as Record<string, unknown>;
  return {
    ...container,
    shown: { ...shown, task },
    serviceLabels: labels,
    networks: (Networks ?? []).map(({ Target, Aliases, DriverOpts }) => ({
      network: Target ?? "",
      aliases: Aliases ?? [],
      driverOptions: DriverOpts ?? {},
    })),
    secrets: readFiles(
      "secret",
      (ContainerSpec?.Secrets ?? []).map(({ SecretID: id, SecretName: name, ...rest }) => ({ ...rest, id, name })),
    ),
    configs: readFiles(
      "config",
      (ContainerSpec?.Configs ?? []).map(({ ConfigID: id, ConfigName: name, ...rest }) => ({ ...rest, id, name })),
    ),
    placement: readPlacement(template),
    restart: readRestart(template),
    reservations,
    forceUpdate: template.ForceUpdate ?? 0,
  };
}

function readReservations({ Limits, Reservations }: ResourcesBody): TaskTemplate["reservations"] {
  for (const { NanoCPUs, MemoryBytes } of [Limits ?? {}, Reservations ?? {}]) {
    if (NanoCPUs && NanoCPUs < 1e6) throw wrong(`invalid cpu value ${NanoCPUs / 1e9}: Must be at least 0.001`);
    if (MemoryBytes && MemoryBytes < 4 << 20) throw wrong(`invalid memory value ${MemoryBytes}: Must be at least 4MiB`);
  }
  if ((Reservations?.GenericResources ?? []).length > 0)
    throw invalid("Resources.Reservations.GenericResources is not supported: nodes have none to give");
  return { nanoCpus: Reservations?.NanoCPUs ?? 0, memory: Reservations?.MemoryBytes ?? 0 };
}

function readRestart({ RestartPolicy: body }: TaskTemplateBody): TaskTemplate["restart"] {
  const condition = body?.Condition || "any";
  if (condition !== "none" && condition !== "on-failure" && condition !== "any")
    throw invalid(`invalid RestartCondition: ${JSON.stringify(condition)}`);
  if ((body?.Delay ?? 0) < 0) throw wrong("TaskSpec: restart-delay cannot be negative");
  if ((body?.Window ?? 0) < 0) throw wrong("TaskSpec: restart-window cannot be negative");
  const hasDelay = typeof body?.Delay === "number";
  return {
    condition,
    delay: hasDelay ? milliseconds("RestartPolicy.Delay", body.Delay) : usual.delay,
    maxAttempts: body?.MaxAttempts ?? 0,
    window: milliseconds("RestartPolicy.Window", body?.Window),
  };
}

function readPlacement({ Placement: body }: TaskTemplateBody): TaskTemplate["placement"] {
  const spread = (body?.Preferences ?? []).map(({ Spread }) => Spread?.SpreadDescriptor ?? "");
  if (spread.includes("")) throw invalid("Placement.Preferences: a preference has no SpreadDescriptor");
  return {
    constraints: body?.Constraints ?? [],
    spread,
    maxPerNode: body?.MaxReplicas ?? 0,
    platforms: (body?.Platforms ?? []).map(({ OS, Architecture }) => ({
      os: OS ?? "",
      architecture: Architecture ?? "",
    })),
  };
}

/** A reference, whatever it refers to. */
type Reference = Pick<FileReferenceBody, "File" | "Runtime"> & {
  readonly id: string | null | undefined;
  readonly name: string | null | undefined;
};

function readFiles(kind: "secret" | "config", references: readonly Reference[]): FileReference[] {
  const targets = new Map<string, string>();
  return references.map((reference) => {
    const file = readFile(kind, reference);
    const other = targets.get(file.target);
    if (other !== undefined)
      throw wrong(`${kind} references '${other}' and '${file.name}' have a conflicting target: '${file.target}'`);
    targets.set(file.target, file.name);
    return file;
  });
}

function readFile(kind: "secret" | "config", reference: Reference): FileReference {
  const { id, name, File, Runtime } = reference;
  if (Runtime) throw invalid("a config can only be a file: Runtime is for Windows containers");
  if (kind === "config" && !File) throw invalid("invalid Config: either File or Runtime should be set");
  if (!id || !name) throw wrong(`malformed ${kind} reference`);
  if (!File) throw wrong(`malformed ${kind} reference, no target provided`);
  if (!File.Name) throw wrong(`malformed file ${kind} reference, invalid target file name provided`);
  const number = (field: "UID" | "GID") => {
    const text = File[field] || "0";
    if (!/^\d{1,10}$/.test(text)) throw invalid(`${kind} ${name}: ${field} "${text}" is no number`);
    return Number(text);
  };
  return { id, name, target: File.Name, uid: number("UID"), gid: number("GID"), mode: (File.Mode ?? 0) & 0o7777 };
}

function readMode(body: ModeBody): ServiceMode {
  const { Replicated, Global, ReplicatedJob, GlobalJob } = body;
  if ([Replicated, Global, ReplicatedJob, GlobalJob].filter(Boolean).length > 1)
    throw invalid("must specify only one service mode");
  if (Global) return { kind: "global" };
  if (GlobalJob) return { kind: "global-job" };
  if (!ReplicatedJob) return { kind: "replicated", replicas: tasks("Replicated.Replicas", Replicated?.Replicas ?? 1) };
  const concurrent = tasks("ReplicatedJob.MaxConcurrent", ReplicatedJob.MaxConcurrent ?? 1);
  const total = tasks("ReplicatedJob.TotalCompletions", ReplicatedJob.TotalCompletions ?? concurrent);
  return { kind: "replicated-job", total, concurrent };
}

function tasks(field: string, count: number): number {
  if (count > mostTasks) throw invalid(`Mode.${field} is ${count}: a service has ${mostTasks} tasks at most`);
  return count;
}

const readRollback = (body: PolicyBody | null | undefined): UpdatePolicy => {
  const policy = readPolicy("RollbackConfig", body);
  if (policy.failureAction === "rollback")
    throw invalid("RollbackConfig.FailureAction is rollback: a rollback that fails is not rolled back");
  return policy;
};

/** @throws {EngineError} invalid, with texts that name the update, as swarmkit's do */
function readPolicy(field: string, body: PolicyBody | null | undefined): UpdatePolicy {
  const { FailureAction, Order, MaxFailureRatio } = body ?? {};
  const action = FailureAction || "pause";
  if (action !== "pause" && action !== "continue" && action !== "rollback")
    throw invalid(`unrecognized update failure action ${action}`);
  const order = Order || "stop-first";
  if (order !== "stop-first" && order !== "start-first") throw invalid(`unrecognized update order ${order}`);
  const ratio = MaxFailureRatio ?? 0;
  if ((body?.Delay ?? 0) < 0) throw wrong("TaskSpec: update-delay cannot be negative");
  if ((body?.Monitor ?? 0) < 0) throw wrong("TaskSpec: update-monitor cannot be negative");
  if (ratio < 0 || ratio > 1) throw wrong("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1");
  return {
    parallelism: body ? (body.Parallelism ?? 0) : 1,
    delay: milliseconds(`${field}.Delay`, body?.Delay),
    failureAction: action,
    monitor: milliseconds(`${field}.Monitor`, body?.Monitor) || usual.monitor,
    maxFailureRatio: ratio,
    order,
  };
}

function readEndpoint({ EndpointSpec: body }: ServiceSpecBody, { address }: LabelledPolicy): ServiceSpec["endpoint"] {
  const mode = body?.Mode || "vip";
  if (mode !== "vip" && mode !== "dnsrr") throw invalid(`invalid resolution mode: ${JSON.stringify(mode)}`);
  const ports = (body?.Ports ?? []).map((port) => readPort(port, address));
  if (mode === "dnsrr" && ports.some((port) => port.mode === "ingress"))
    throw wrong("EndpointSpec: port published with ingress mode can't be used with dnsrr mode");
  const numbers = ports.filter(({ published }) => published !== 0).map((port) => `${port.protocol} ${port.published}`);
  if (new Set(numbers).size < numbers.length) throw wrong("EndpointSpec: duplicate published ports provided");
  return { mode, ports };
}

function readPort({ Name, Protocol, TargetPort, PublishedPort, PublishMode }: PortBody, address?: string): ServicePort {
  const protocol = Protocol || "tcp";
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp")
    throw invalid(`EndpointSpec: protocol ${JSON.stringify(protocol)} is none of tcp, udp and sctp`);
  const mode = PublishMode || "ingress";
  if (mode !== "ingress" && mode !== "host")
    throw invalid(`EndpointSpec: publish mode ${JSON.stringify(mode)} is none of ingress and host`);
  const [target, published] = [TargetPort ?? 0, PublishedPort ?? 0];
  if (target < 1 || target > 65_535) throw invalid(`EndpointSpec: target port ${target} is not between 1 and 65535`);
  if (published > 65_535) throw invalid(`EndpointSpec: published port ${published} is larger than 65535`);
  return { name: Name ?? "", protocol, target, published, mode, ...(address !== undefined && { address }) };
}
