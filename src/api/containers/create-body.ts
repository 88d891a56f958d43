import { z } from "zod";
import { endpointSettings } from "../networks/endpoint-settings.ts";
import { boolean, keySet, number, text, textMap, texts, words } from "../schemas.ts";
import { healthCheck } from "./health-check.ts";

const portBinding = z.looseObject({ HostIp: text, HostPort: text });
/** A mount, in a container's and a service's words (moby api/types/mount). */
export const mount = z.looseObject({
  Type: text,
  Source: text,
  Target: text,
  ReadOnly: boolean,
  Consistency: text,
  BindOptions: z
    .looseObject({
      Propagation: text,
      NonRecursive: boolean,
      CreateMountpoint: boolean,
      ReadOnlyNonRecursive: boolean,
      ReadOnlyForceRecursive: boolean,
    })
    .nullish(),
  VolumeOptions: z
    .looseObject({
      NoCopy: boolean,
      Labels: textMap,
      Subpath: text,
      DriverConfig: z.looseObject({ Name: text, Options: textMap }).nullish(),
    })
    .nullish(),
  TmpfsOptions: z.looseObject({ SizeBytes: number, Mode: number, Options: z.array(texts).nullish() }).nullish(),
});
export type MountBody = z.infer<typeof mount>;

export const restartPolicy = z.looseObject({ Name: text, MaximumRetryCount: number });

/** Limits, as create and update take them. */
export const resources = {
  Memory: number,
  MemorySwap: number,
  NanoCpus: number,
  CpuShares: number,
  CpuPeriod: number,
  CpuQuota: number,
  PidsLimit: number,
  RestartPolicy: restartPolicy.nullish(),
};

/** `HostConfig`: the fields that are honoured. `refusals.ts` looks at the others. */
export const hostConfig = z.looseObject({
  ...resources,
  Binds: texts,
  ContainerIDFile: text,
  LogConfig: z.looseObject({ Type: text, Config: textMap }).nullish(),
  NetworkMode: text,
  PortBindings: z.record(z.string(), z.array(portBinding.nullish()).nullish()).nullish(),
  AutoRemove: boolean,
  VolumesFrom: texts,
  ConsoleSize: z.array(number).nullish(),
  CapAdd: words,
  CapDrop: words,
  Dns: texts,
  DnsOptions: texts,
  DnsSearch: texts,
  ExtraHosts: texts,
  GroupAdd: texts,
  IpcMode: text,
  Links: texts,
  OomScoreAdj: number,
  PidMode: text,
  Privileged: boolean,
  PublishAllPorts: boolean,
  ReadonlyRootfs: boolean,
  SecurityOpt: texts,
  Tmpfs: textMap,
  ShmSize: number,
  Sysctls: textMap,
  Ulimits: z.array(z.looseObject({ Name: text, Soft: number, Hard: number })).nullish(),
  Mounts: z.array(mount).nullish(),
  Init: boolean,
});
export type HostConfigBody = z.infer<typeof hostConfig>;

/** `Config`, with the other two inside it as `POST /containers/create` has them. */
export const createBody = z.looseObject({
  Hostname: text,
  Domainname: text,
  User: text,
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  ExposedPorts: keySet,
  Tty: boolean,
  OpenStdin: boolean,
  StdinOnce: boolean,
  Env: texts,
  Cmd: words,
  Healthcheck: healthCheck.nullish(),
  Image: text,
  Volumes: keySet,
  WorkingDir: text,
  Entrypoint: words,
  MacAddress: text,
  OnBuild: texts,
  Labels: textMap,
  StopSignal: text,
  StopTimeout: number,
  Shell: words,
  HostConfig: hostConfig.nullish(),
  NetworkingConfig: z
    .looseObject({ EndpointsConfig: z.record(z.string(), endpointSettings.nullish()).nullish() })
    .nullish(),
});
export type CreateBody = z.infer<typeof createBody>;
