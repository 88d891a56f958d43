import { EngineError, invalid, rpcError } from "../../lib/errors.ts";
import { parseTemplate, type Words } from "../../lib/text-template.ts";
import type { ContainerSpec, Mount } from "../../model/container.ts";
import type { TaskTemplate } from "../../model/service.ts";
import { filledIn } from "../../model/task-words.ts";
import type { CreateBody, MountBody } from "../containers/create-body.ts";
import { volumesToCreate } from "../containers/mounts.ts";
import { shownOf } from "../containers/shown.ts";
import { readCreateBody } from "../containers/wire.ts";
import { newest } from "../versions.ts";
import type { ContainerSpecBody, TaskTemplateBody } from "./spec-body.ts";

type Container = Pick<TaskTemplate, "container" | "volumes"> & {
  readonly shown: Pick<TaskTemplate["shown"], "config" | "hostConfig">;
};
const usualGrace = 10; // seconds

/**
 * What runs in each task: as a container's create request would have it, and read as one, so that services honour what
 * containers do, and refuse the rest with the same reasons. Words in `{{ }}` stay, and are checked.
 * @param words what they may be @throws {EngineError} invalid
 */
export function readContainer(template: TaskTemplateBody, words: Words): Container {
  const spec = template.ContainerSpec ?? {};
  if (!spec.Image) throw rpcError("InvalidArgument", "ContainerSpec: image reference must be provided");
  checkWords(spec, words);
  checkTargets(spec.Mounts ?? [], words);
  checkHealth(spec.Healthcheck ?? {});
  const body = createBodyOf(template, spec);
  const plain = plainMounts(spec.Mounts ?? []);
  const limits = template.Resources?.Limits ?? {};
  const container = read({ ...body, HostConfig: { ...body.HostConfig, Mounts: plain.mounts } });
  return {
    container: {
      ...container,
      mounts: container.mounts.map((one) => plain.restored(one)),
      nanoCpus: limits.NanoCPUs ?? 0, // the nodes have other numbers of CPUs than this one
      stopTimeout: graceOf(spec),
    },
    shown: shownOf({ ...body, HostConfig: { ...body.HostConfig, NanoCpus: limits.NanoCPUs ?? 0 } }, "default"),
    volumes: volumesToCreate(body.HostConfig ?? {}),
  };
}

/** What fields of a container are called in a service's spec. */
const fieldNames: readonly (readonly [ofContainer: string, ofService: string])[] = [
  ["HostConfig.LogConfig.Type", "LogDriver.Name"],
  ["HostConfig.LogConfig.Config", "LogDriver.Options"],
  ["HostConfig.Mounts", "ContainerSpec.Mounts"],
  ["HostConfig.Isolation", "ContainerSpec.Isolation"],
];

function read(body: CreateBody): ContainerSpec {
  try {
    return readCreateBody(body, { name: "", platform: "", version: newest, mountsOfOthers: [] }).request.spec;
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const { message } = error;
    const [from, to] = fieldNames.find(([field]) => message.startsWith(field)) ?? ["", ""];
    throw new EngineError(error.class, to + message.slice(from.length));
  }
}

/** Moby daemon/cluster/executor/container/container.go. */
function createBodyOf({ Resources, LogDriver }: TaskTemplateBody, spec: ContainerSpecBody): CreateBody {
  const { Limits } = Resources ?? {};
  return {
    Hostname: spec.Hostname,
    User: spec.User,
    Tty: spec.TTY,
    OpenStdin: spec.OpenStdin,
    Env: spec.Env,
    Cmd: spec.Args,
    Healthcheck: spec.Healthcheck,
    Image: spec.Image,
    WorkingDir: spec.Dir,
    Entrypoint: spec.Command,
    Labels: spec.Labels,
    StopSignal: spec.StopSignal,
    HostConfig: {
      Memory: Limits?.MemoryBytes,
      PidsLimit: Limits?.Pids,
      LogConfig: LogDriver && { Type: LogDriver.Name, Config: LogDriver.Options },
      CapAdd: spec.CapabilityAdd,
      CapDrop: spec.CapabilityDrop,
      Dns: spec.DNSConfig?.Nameservers,
      DnsOptions: spec.DNSConfig?.Options,
      DnsSearch: spec.DNSConfig?.Search,
      ExtraHosts: (spec.Hosts ?? []).flatMap(extraHosts),
      GroupAdd: spec.Groups,
      OomScoreAdj: spec.OomScoreAdj,
      ReadonlyRootfs: spec.ReadOnly,
      SecurityOpt: securityOptions(spec.Privileges ?? {}),
      Isolation: spec.Isolation,
      Sysctls: spec.Sysctls,
      Ulimits: spec.Ulimits,
      Mounts: spec.Mounts,
      Init: spec.Init,
    },
  };
}

/** A line of hosts(5): an address and its names. */
function extraHosts(line: string): string[] {
  const [address = "", ...names] = line.split(/\s+/).filter((word) => word !== "");
  if (names.length === 0) throw invalid(`ContainerSpec.Hosts: "${line}" is no address with a name`);
  return names.map((name) => `${name}:${address}`);
}

function securityOptions(privileges: NonNullable<ContainerSpecBody["Privileges"]>): string[] {
  const { CredentialSpec, SELinuxContext, Seccomp, AppArmor, NoNewPrivileges } = privileges;
  const refused = (field: string, reason: string) => invalid(`Privileges.${field} is not supported: ${reason}`);
  if (Object.values(CredentialSpec ?? {}).some(Boolean))
    throw refused("CredentialSpec", "it is for Windows containers");
  const { Disable, ...labels } = SELinuxContext ?? {};
  if (Object.values(labels).some(Boolean)) throw refused("SELinuxContext", "containers have no SELinux profile");
  if (AppArmor?.Mode && !["default", "disabled"].includes(AppArmor.Mode))
    throw refused("AppArmor.Mode", "it is none of default and disabled");
  return [
    ...(Disable ? ["label=disable"] : []),
    ...seccompOptions(Seccomp ?? {}),
    ...(AppArmor?.Mode === "disabled" ? ["apparmor=unconfined"] : []),
    ...(NoNewPrivileges ? ["no-new-privileges=true"] : []),
  ];
}

/** The profile is JSON in base64, as Go writes bytes. */
function seccompOptions({
  Mode,
  Profile,
}: {
  readonly Mode?: string | null | undefined;
  readonly Profile?: string | null | undefined;
}): string[] {
  if (Mode && !["default", "unconfined", "custom"].includes(Mode))
    throw invalid("Privileges.Seccomp.Mode is none of default, unconfined and custom");
  if (Mode === "unconfined") return ["seccomp=unconfined"];
  if (Mode !== "custom") return [];
  const profile = Buffer.from(Profile ?? "", "base64").toString("utf8");
  try {
    JSON.parse(profile);
  } catch {
    throw invalid("Privileges.Seccomp.Profile is no JSON");
  }
  return [`seccomp=${profile}`];
}

function graceOf({ StopGracePeriod }: ContainerSpecBody): number {
  if ((StopGracePeriod ?? 0) < 0) throw invalid("ContainerSpec.StopGracePeriod cannot be negative");
  return typeof StopGracePeriod === "number" ? StopGracePeriod / 1e9 : usualGrace;
}

/** @throws {EngineError} invalid, with swarmkit's words around what is wrong (template/expand.go) */
function checkWords({ Env, Hostname, Mounts }: ContainerSpecBody, words: Words): void {
  const check = (text: string | null | undefined, what: string) => {
    try {
      filledIn(text ?? "", words);
    } catch (error) {
      throw rpcError("InvalidArgument", `${what}: ${(error as Error).message}`);
    }
  };
  for (const entry of Env ?? [])
    check(entry.slice(entry.indexOf("=") + 1), `expanding env failed: expanding env ${JSON.stringify(entry)}`);
  for (const { Source, Target, VolumeOptions } of Mounts ?? []) {
    check(Source, `expanding mounts failed: expanding mount source ${JSON.stringify(Source)}`);
    check(Target, `expanding mounts failed: expanding mount target ${JSON.stringify(Target)}`);
    for (const value of Object.values(VolumeOptions?.Labels ?? {})) check(value, "expanding volume labels failed");
  }
  check(Hostname, "expanding hostname failed");
}

function checkTargets(mounts: readonly MountBody[], words: Words): void {
  const targets = mounts.map(({ Target }) => filledIn(Target ?? "", words));
  const twice = targets.find((target, at) => targets.indexOf(target) !== at);
  if (twice !== undefined) throw rpcError("InvalidArgument", `ContainerSpec: duplicate mount point: ${twice}`);
}

/** Swarmkit manager/controlapi/service.go, validateHealthCheck. */
function checkHealth(check: NonNullable<ContainerSpecBody["Healthcheck"]>): void {
  for (const field of ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const) {
    const value = check[field] ?? 0;
    if (value !== 0 && value < 1e6)
      throw rpcError("InvalidArgument", `ContainerSpec: ${field} in HealthConfig cannot be less than 1ms`);
  }
  if ((check.Retries ?? 0) < 0)
    throw rpcError("InvalidArgument", "ContainerSpec: Retries in HealthConfig cannot be negative");
}

/** The mounts with a plain word for each of those in `{{ }}`, which no name of a volume may have; and the way back. */
function plainMounts(mounts: readonly MountBody[]) {
  const actions: string[] = [];
  const all = JSON.stringify(mounts);
  let mark = "word";
  while (all.includes(mark)) mark += "x";
  const plain = (text: string | null | undefined) =>
    text?.includes("{{")
      ? parseTemplate(text)
          .map((part) => (typeof part === "string" ? part : `${mark}${actions.push(part.source) - 1}${mark}`))
          .join("")
      : text;
  const restore = (text: string) =>
    text.replaceAll(new RegExp(`${mark}(\\d+)${mark}`, "g"), (_, at: string) => actions[Number(at)] ?? "");
  return {
    mounts: mounts.map((one) => ({ ...one, Source: plain(one.Source), Target: plain(one.Target) })),
    restored: (one: Mount): Mount => ({ ...one, source: restore(one.source), target: restore(one.target) }),
  };
}
