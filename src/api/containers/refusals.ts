import { isDeepStrictEqual } from "node:util";
import { invalid } from "../../lib/errors.ts";
import { maskedPaths, readonlyPaths } from "../../model/system-paths.ts";
import { isNeutral } from "../schemas.ts";
import { type CreateBody, createBody, type HostConfigBody, hostConfig } from "./create-body.ts";

/** Why a field is not honoured; `accepted` are values that ask for what happens anyway. */
interface Refusal {
  readonly reason: string;
  readonly accepted?: readonly unknown[];
}
const cgroups = { reason: "only memory, CPU time, CPU shares and the number of processes can be limited" };
const devices = { reason: "giving devices to a container is not supported" };
const blockIo = { reason: "limits of block input and output are not supported" };
const windows = { reason: "it is for Windows containers" };
const kernelMemory = { reason: "limits of kernel memory are gone from Docker, too" };

const hostRefusals: Readonly<Record<string, Refusal>> = {
  VolumeDriver: { reason: 'the only volume driver is "local"', accepted: ["local"] },
  Annotations: { reason: "annotations for the runtime are not supported" },
  CgroupnsMode: { reason: "a container's cgroup namespace cannot be chosen" },
  Cgroup: { reason: "a container's cgroup namespace cannot be chosen" },
  CgroupParent: { reason: "a container's parent cgroup cannot be chosen" },
  StorageOpt: { reason: "a container's layer has no options" },
  UTSMode: { reason: "sharing the host's name is not supported" },
  UsernsMode: { reason: "user namespaces are not supported", accepted: ["host"] },
  Runtime: { reason: 'the only runtime is "runc"', accepted: ["runc", "io.containerd.runc.v2"] },
  Isolation: { ...windows, accepted: ["default"] },
  BlkioWeight: blockIo,
  BlkioWeightDevice: blockIo,
  BlkioDeviceReadBps: blockIo,
  BlkioDeviceWriteBps: blockIo,
  BlkioDeviceReadIOps: blockIo,
  BlkioDeviceWriteIOps: blockIo,
  CpuRealtimePeriod: cgroups,
  CpuRealtimeRuntime: cgroups,
  CpusetCpus: cgroups,
  CpusetMems: cgroups,
  MemoryReservation: cgroups,
  MemorySwappiness: { ...cgroups, accepted: [-1] },
  OomKillDisable: cgroups,
  KernelMemory: kernelMemory,
  KernelMemoryTCP: kernelMemory,
  Devices: devices,
  DeviceCgroupRules: devices,
  DeviceRequests: devices,
  CpuCount: windows,
  CpuPercent: windows,
  IOMaximumIOps: windows,
  IOMaximumBandwidth: windows,
  DiskQuota: windows,
};
const configRefusals: Readonly<Record<string, Refusal>> = {
  NetworkDisabled: { reason: 'set HostConfig.NetworkMode to "none" instead' },
  ArgsEscaped: windows,
};

function refuseOthers(
  prefix: string,
  body: Readonly<Record<string, unknown>>,
  honoured: object,
  refusals: Readonly<Record<string, Refusal>>,
): void {
  for (const [field, value] of Object.entries(body)) {
    if (field in honoured || isNeutral(value)) continue;
    const { reason = "this field is not known", accepted = [] } = refusals[field] ?? {};
    if (!accepted.includes(value)) throw invalid(`${prefix}${field} is not supported: ${reason}`);
  }
}

/**
 * Nothing a client asks for is passed over in silence.
 * @throws {EngineError} invalid, naming the field and the reason
 */
export function refuseUnsupported(body: CreateBody): void {
  refuseOthers("", body, createBody.shape, configRefusals);
  refuseHostConfig(body.HostConfig ?? {});
}

const systemPaths = { MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths };

/** The same for `HostConfig`. @throws {EngineError} invalid */
export function refuseHostConfig(body: HostConfigBody): void {
  refuseOthers("HostConfig.", body, { ...hostConfig.shape, ...systemPaths }, hostRefusals);
  // An empty list asks for something: that nothing be hidden. The usual ones are what inspect shows.
  for (const [field, usual] of Object.entries(systemPaths))
    if (Array.isArray(body[field]) && (body.Privileged || !isDeepStrictEqual(body[field], usual)))
      throw invalid(`HostConfig.${field} is not supported: which paths of /proc and /sys are hidden cannot be chosen`);
  refuseLogging(body.LogConfig ?? {});
  if (body.IpcMode === "none") throw invalid("HostConfig.IpcMode is not supported: every container has a /dev/shm");
}

function refuseLogging({ Type, Config }: NonNullable<HostConfigBody["LogConfig"]>): void {
  if (Type && Type !== "json-file")
    throw invalid(`HostConfig.LogConfig.Type is not supported: the only logging driver is "json-file"`);
  const [option] = Object.keys(Config ?? {});
  if (option !== undefined)
    throw invalid(`HostConfig.LogConfig.Config is not supported: the log has no option "${option}"`);
}
