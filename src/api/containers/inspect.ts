import type { ContainerDetail } from "../../engine/engine.ts";
import { maskedPaths, readonlyPaths } from "../../model/system-paths.ts";
import { type Call, json, type Reply } from "../call.ts";
import { flag, param } from "../query.ts";
import { healthCheckJson } from "./health-check.ts";
import { networkSettingsJson } from "./network-settings.ts";
import { stateJson } from "./status.ts";

/** `GET /containers/{name}/json` */
export async function inspectContainer(call: Call): Promise<Reply> {
  const detail = await call.engine.containers.inspect(param(call, "name"));
  return json(containerJson(detail, call.version, flag(call.query, "size")));
}

/** A container as inspect shows it (fields in Docker's order). */
export function containerJson(detail: ContainerDetail, version: number, withSize: boolean): object {
  const { container, paths, execIds } = detail;
  const [path = "", ...args] = [...container.spec.entrypoint, ...container.spec.cmd];
  return {
    Id: container.id,
    Created: container.createdAt,
    Path: path,
    Args: args,
    State: stateJson(container.state, detail.health),
    Image: container.spec.imageId,
    ResolvConfPath: paths.resolvConf,
    HostnamePath: paths.hostname,
    HostsPath: paths.hosts,
    LogPath: paths.log,
    Name: `/${container.name}`,
    RestartCount: container.state.restartCount,
    Driver: "overlayfs",
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: "",
    ExecIDs: execIds.length > 0 ? execIds : null,
    HostConfig: hostConfigJson(detail),
    GraphDriver: { Data: null, Name: "overlayfs" },
    ...(withSize && { SizeRw: 0, SizeRootFs: detail.image?.size ?? 0 }),
    Mounts: mountsJson(detail),
    Config: configJson(detail, version),
    NetworkSettings: networkSettingsJson(detail),
  };
}

/** What was asked for, with what `docker update` changed since. */
function hostConfigJson({ container }: ContainerDetail): object {
  const { spec, shown } = container;
  return {
    ...shown.hostConfig,
    RestartPolicy: { Name: spec.restart.name, MaximumRetryCount: spec.restart.maximumRetryCount },
    CpuShares: spec.cpuShares,
    Memory: spec.memory,
    NanoCpus: shown.hostConfig.CpuQuota ? shown.hostConfig.NanoCpus : spec.nanoCpus,
    MemorySwap: spec.memorySwap === 0 ? 2 * spec.memory : spec.memorySwap,
    PidsLimit: spec.pidsLimit > 0 ? spec.pidsLimit : null,
    MaskedPaths: spec.privileged ? null : maskedPaths,
    ReadonlyPaths: spec.privileged ? null : readonlyPaths,
  };
}

/** What was asked for, with what the image adds. */
function configJson({ container, networks }: ContainerDetail, version: number): object {
  const { spec, shown } = container;
  const exposed = Object.fromEntries(spec.exposed.map((e) => [`${e.port}/${e.protocol}`, {}]));
  const main = networks.find((n) => n.attachment.network === spec.networkMode) ?? networks[0];
  return {
    ...shown.config,
    Hostname: spec.hostname,
    User: spec.user,
    ...(spec.exposed.length > 0 && { ExposedPorts: exposed }),
    Env: spec.env,
    Cmd: spec.cmd.length > 0 ? spec.cmd : null,
    ...(spec.healthCheck !== undefined && { Healthcheck: healthCheckJson(spec.healthCheck) }),
    WorkingDir: spec.workingDir,
    Entrypoint: spec.entrypoint.length > 0 ? spec.entrypoint : null,
    ...(version < 44 && { MacAddress: main?.endpoint?.mac ?? main?.attachment.mac ?? "" }),
    Labels: spec.labels,
    ...(spec.stopSignal !== "" && { StopSignal: spec.stopSignal }),
  };
}

/** `Mounts`, without those of a tmpfs given by `--tmpfs`, as Docker does. */
export function mountsJson({ container, mountSources }: ContainerDetail): object[] {
  const byOption = Object.keys((container.shown.hostConfig.Tmpfs as object | undefined) ?? {});
  return container.spec.mounts.flatMap((mount, index) => {
    if (mount.type === "tmpfs" && byOption.includes(mount.target)) return [];
    const isVolume = mount.type === "volume";
    return {
      Type: mount.type,
      ...(isVolume && { Name: mount.source }),
      Source: mountSources[index] ?? "",
      Destination: mount.target,
      ...(isVolume && { Driver: "local" }),
      Mode: mount.type === "bind" && mount.createSource ? mount.options : isVolume ? "z" : "",
      RW: !mount.readOnly,
      Propagation: mount.type === "bind" ? mount.propagation || "rprivate" : "",
    };
  });
}
