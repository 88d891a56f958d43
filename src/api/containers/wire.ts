import { isIP } from "node:net";
import type { ContainerRequest } from "../../engine/engine.ts";
import { invalid } from "../../lib/errors.ts";
import { signalNumber } from "../../lib/signals.ts";
import { capabilityNamed } from "../../model/capabilities.ts";
import type { ContainerSpec, Mount } from "../../model/container.ts";
import type { CreateBody, HostConfigBody } from "./create-body.ts";
import { readHealthCheck } from "./health-check.ts";
import { readMounts } from "./mounts.ts";
import { type Networking, readNetworking } from "./networking.ts";
import { readPorts } from "./ports.ts";
import { refuseUnsupported } from "./refusals.ts";
import { readLimits, readRestart, readUlimits } from "./resources.ts";
import { shownOf } from "./shown.ts";
import { checkSysctls } from "./sysctls.ts";

const shmSize = 64 << 20; // bytes, Docker's default

/** What `create.ts` looked up in the engine for a request. */
export interface Surroundings {
  readonly name: string;
  readonly platform: string;
  readonly version: number;
  /** Mounts of the containers that `VolumesFrom` names. */
  readonly mountsOfOthers: readonly Mount[];
}

/**
 * A create request in the engine's words: each field is honoured or refused.
 * @throws {EngineError} invalid, with Docker's texts where Docker has one
 */
export function readCreateBody(
  body: CreateBody,
  around: Surroundings,
): { readonly request: ContainerRequest; readonly warnings: readonly string[] } {
  if (!body.Image) throw invalid("config cannot be empty in order to create a container");
  refuseUnsupported(body);
  const networking = readNetworking(body, around.version);
  const host = body.HostConfig ?? {};
  checkSimpleFields(body, host);
  const healthCheck = readHealthCheck(body.Healthcheck);
  const spec: ContainerSpec = {
    ...processFields(body),
    ...securityFields(host),
    ...hostFields(host),
    ...readLimits(host),
    ...readPorts(body),
    ...(healthCheck !== undefined && { healthCheck }),
    ...((body.Shell ?? []).length > 0 && { shell: body.Shell ?? [] }),
    mounts: readMounts(body, around.mountsOfOthers),
    hostname: networking.hostname,
    networkMode: networking.networkMode,
    sysctls: networking.sysctls,
    autoRemove: around.version >= 25 && (host.AutoRemove ?? false),
  };
  if (spec.autoRemove && spec.restart.name !== "no")
    throw invalid("can't create 'AutoRemove' container with restart policy");
  return { request: requestOf(body, around, spec, networking), warnings: networking.warnings };
}

function requestOf(body: CreateBody, around: Surroundings, spec: ContainerSpec, net: Networking): ContainerRequest {
  return {
    name: around.name.replace(/^\//, ""),
    spec,
    attachments: net.attachments,
    shown: shownOf(body, net.networkMode),
    platform: around.platform,
  };
}

type ProcessFields = Pick<
  ContainerSpec,
  | ("image" | "imageId" | "domainname" | "user" | "env" | "entrypoint" | "cmd" | "workingDir" | "labels")
  | ("tty" | "openStdin" | "stdinOnce" | "stopSignal" | "stopTimeout")
>;
function processFields(body: CreateBody): ProcessFields {
  return {
    image: body.Image ?? "",
    imageId: "",
    domainname: body.Domainname ?? "",
    user: body.User ?? "",
    env: body.Env ?? [],
    entrypoint: body.Entrypoint ?? [],
    cmd: body.Cmd ?? [],
    workingDir: body.WorkingDir ?? "",
    labels: body.Labels ?? {},
    tty: body.Tty ?? false,
    openStdin: body.OpenStdin ?? false,
    stdinOnce: body.StdinOnce ?? false,
    stopSignal: body.StopSignal ?? "",
    ...(typeof body.StopTimeout === "number" && { stopTimeout: body.StopTimeout }),
  };
}

type SecurityFields = Pick<
  ContainerSpec,
  | ("privileged" | "capAdd" | "capDrop" | "securityOptions" | "readOnlyRoot" | "groupAdd" | "oomScoreAdj")
  | ("pidMode" | "ipcMode" | "ulimits")
>;
function securityFields(host: HostConfigBody): SecurityFields {
  return {
    privileged: host.Privileged ?? false,
    capAdd: host.CapAdd ?? [],
    capDrop: host.CapDrop ?? [],
    securityOptions: host.SecurityOpt ?? [],
    readOnlyRoot: host.ReadonlyRootfs ?? false,
    groupAdd: host.GroupAdd ?? [],
    oomScoreAdj: host.OomScoreAdj ?? 0,
    pidMode: host.PidMode ?? "",
    ipcMode: host.IpcMode ?? "",
    ulimits: readUlimits(host.Ulimits),
  };
}

type HostFields = Pick<
  ContainerSpec,
  "init" | "shmSize" | "extraHosts" | "dns" | "dnsSearch" | "dnsOptions" | "restart" | "publishAll"
>;
function hostFields(host: HostConfigBody): HostFields {
  return {
    init: host.Init ?? false,
    shmSize: host.ShmSize || shmSize,
    extraHosts: host.ExtraHosts ?? [],
    dns: host.Dns ?? [],
    dnsSearch: host.DnsSearch ?? [],
    dnsOptions: host.DnsOptions ?? [],
    restart: readRestart(host.RestartPolicy),
    publishAll: host.PublishAllPorts ?? false,
  };
}

/** Moby daemon/container.go and opts: the checks that need nothing but the value. */
function checkSimpleFields(body: CreateBody, host: HostConfigBody): void {
  if (body.WorkingDir && !body.WorkingDir.startsWith("/"))
    throw invalid(`the working directory '${body.WorkingDir}' is invalid, it needs to be an absolute path`);
  for (const entry of body.Env ?? [])
    if (entry === "" || entry.startsWith("=")) throw invalid(`invalid environment variable: ${entry}`);
  if (body.StopSignal) signalNumber(body.StopSignal);
  if ((host.ShmSize ?? 0) < 0) throw invalid("SHM size can not be less than 0");
  const score = host.OomScoreAdj ?? 0;
  if (score < -1000 || score > 1000) throw invalid(`Invalid value ${score}, range for oom score adj is [-1000, 1000]`);
  for (const line of host.ExtraHosts ?? []) checkExtraHost(line);
  for (const server of host.Dns ?? []) if (isIP(server) === 0) throw invalid(`${server} is not an ip address`);
  for (const name of host.CapAdd ?? []) capabilityNamed(name, "CapAdd");
  for (const name of host.CapDrop ?? []) capabilityNamed(name, "CapDrop");
  checkSysctls(host);
  checkMode("PID", host.PidMode ?? "", ["", "host"]);
  checkMode("IPC", host.IpcMode ?? "", ["", "host", "private", "shareable"]);
}

/** `name:address` or `name=address`. */
function checkExtraHost(line: string): void {
  const at = line.search(/[:=]/);
  if (at < 1) throw invalid(`bad format for add-host: "${line}"`);
  const address = line.slice(at + 1).replace(/^\[(.*)\]$/, "$1");
  if (address !== "host-gateway" && isIP(address) === 0) throw invalid(`invalid IP address in add-host: "${address}"`);
}

function checkMode(kind: string, mode: string, known: readonly string[]): void {
  if (!known.includes(mode) && !/^container:.+/.test(mode)) throw invalid(`invalid ${kind} mode: ${mode}`);
}
