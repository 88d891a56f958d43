import type { Container } from "../../model/container.ts";
import type { CreateBody } from "./create-body.ts";

/** `Config` and `HostConfig` with Docker's defaults, in Docker's order. */
const configDefaults = {
  Hostname: "",
  Domainname: "",
  User: "",
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  ExposedPorts: undefined,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: null,
  Cmd: null,
  Healthcheck: undefined,
  Image: "",
  Volumes: null,
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: {},
  StopSignal: undefined,
  StopTimeout: undefined,
  Shell: undefined,
};
const hostDefaults = {
  Binds: null,
  ContainerIDFile: "",
  LogConfig: { Type: "json-file", Config: {} },
  NetworkMode: "bridge",
  PortBindings: {},
  RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
  AutoRemove: false,
  VolumeDriver: "",
  VolumesFrom: null,
  ConsoleSize: [0, 0],
  CapAdd: null,
  CapDrop: null,
  CgroupnsMode: "",
  Dns: [],
  DnsOptions: [],
  DnsSearch: [],
  ExtraHosts: null,
  GroupAdd: null,
  IpcMode: "private",
  Cgroup: "",
  Links: null,
  OomScoreAdj: 0,
  PidMode: "",
  Privileged: false,
  PublishAllPorts: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  Tmpfs: undefined,
  UTSMode: "",
  UsernsMode: "",
  ShmSize: 67_108_864,
  Sysctls: undefined,
  Runtime: "runc",
  Isolation: "",
  CpuShares: 0,
  Memory: 0,
  NanoCpus: 0,
  CgroupParent: "",
  BlkioWeight: 0,
  BlkioWeightDevice: [],
  BlkioDeviceReadBps: [],
  BlkioDeviceWriteBps: [],
  BlkioDeviceReadIOps: [],
  BlkioDeviceWriteIOps: [],
  CpuPeriod: 0,
  CpuQuota: 0,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpusetCpus: "",
  CpusetMems: "",
  Devices: [],
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  OomKillDisable: null,
  PidsLimit: null,
  Ulimits: [],
  CpuCount: 0,
  CpuPercent: 0,
  IOMaximumIOps: 0,
  IOMaximumBandwidth: 0,
  Mounts: undefined,
  MaskedPaths: null,
  ReadonlyPaths: null,
  Init: undefined,
};
/** Texts and records that a client leaves empty where Docker shows its default. */
const neverEmpty = ["LogConfig", "NetworkMode", "RestartPolicy", "IpcMode", "Runtime", "ShmSize"];

function filled(defaults: Readonly<Record<string, unknown>>, given: Readonly<Record<string, unknown>>) {
  const entries = Object.entries(defaults).map(([key, standard]) => {
    const value = given[key];
    const unset = value === null || value === undefined || ((value === "" || value === 0) && neverEmpty.includes(key));
    return [key, unset ? standard : value] as const;
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** What inspect shows of a request: its words, with the defaults of what it left out. */
export function shownOf(body: CreateBody, networkMode: string): Container["shown"] {
  const host = body.HostConfig ?? {};
  const hostConfig = filled(hostDefaults, host);
  return {
    config: filled(configDefaults, body),
    hostConfig: {
      ...hostConfig,
      NetworkMode: networkMode,
      LogConfig: hostDefaults.LogConfig,
      MemorySwappiness: null, // -1 from old clients means the same
      PortBindings: bindingsJson(host.PortBindings ?? {}),
    },
  };
}

function bindingsJson(bindings: NonNullable<NonNullable<CreateBody["HostConfig"]>["PortBindings"]>): object {
  const entries = Object.entries(bindings).map(([key, list]) => {
    const shown = (list ?? []).map((b) => ({ HostIp: b?.HostIp ?? "", HostPort: b?.HostPort ?? "" }));
    return [key.includes("/") ? key : `${key}/tcp`, shown];
  });
  return Object.fromEntries(entries);
}
