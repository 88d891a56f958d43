import type { SwarmStanding, SystemDetail } from "../../engine/engine.ts";
import { architecture } from "../../lib/machine.ts";
import { type Call, json, type Reply } from "../call.ts";
import { swarmInfoJson, swarmWarnings } from "../swarm/info.ts";

/** `GET /info`: what `docker info` prints, old clients and new. */
export async function showInfo({ engine, version }: Call): Promise<Reply> {
  const detail = await engine.system.info();
  const parts = partsJson(detail, engine.swarm.standing(), version);
  return json({ ...countsJson(detail), ...featuresJson(detail), ...hostJson(detail), ...parts });
}

function countsJson({ id, containers, images }: SystemDetail): object {
  return {
    ID: id,
    Containers: containers.total,
    ContainersRunning: containers.running,
    ContainersPaused: containers.paused,
    ContainersStopped: containers.stopped,
    Images: images,
    Driver: "overlayfs",
    DriverStatus: [["driver-type", "io.containerd.snapshotter.v1"]],
    SystemStatus: null,
  };
}

function featuresJson({ cgroupVersion, driverNames, debug }: SystemDetail): object {
  const network = driverNames.map((name) => (name === "none" ? "null" : name));
  return {
    Plugins: { Volume: ["local"], Network: network, Authorization: null, Log: ["json-file"] },
    MemoryLimit: true,
    SwapLimit: true,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: false,
    PidsLimit: true,
    IPv4Forwarding: true,
    BridgeNfIptables: false,
    BridgeNfIp6tables: false,
    Debug: debug,
    NFd: 0,
    OomKillDisable: false,
    NGoroutines: 0,
    SystemTime: new Date().toISOString(),
    LoggingDriver: "json-file",
    CgroupDriver: "cgroupfs",
    CgroupVersion: cgroupVersion,
    NEventsListener: 0,
  };
}

function hostJson(detail: SystemDetail): object {
  const insecure = Object.fromEntries(
    detail.insecureRegistries
      .filter((name) => !name.includes("/"))
      .map((name) => [name, { Name: name, Mirrors: [], Secure: false, Official: false }]),
  );
  const official = { Name: "docker.io", Mirrors: [], Secure: true, Official: true };
  return {
    KernelVersion: detail.kernelVersion,
    OperatingSystem: detail.operatingSystem,
    OSVersion: detail.osVersion,
    OSType: "linux",
    Architecture: architecture,
    IndexServerAddress: "https://index.docker.io/v1/",
    RegistryConfig: {
      AllowNondistributableArtifactsCIDRs: null,
      AllowNondistributableArtifactsHostnames: null,
      InsecureRegistryCIDRs: [
        "::1/128",
        "127.0.0.0/8",
        ...detail.insecureRegistries.filter((name) => name.includes("/")),
      ],
      IndexConfigs: { "docker.io": official, ...insecure },
      Mirrors: null,
    },
    NCPU: detail.cpus,
    MemTotal: detail.memory,
    GenericResources: null,
    DockerRootDir: detail.dataRoot,
    HttpProxy: "",
    HttpsProxy: "",
    NoProxy: "",
    Name: detail.name,
    Labels: detail.labels,
    ExperimentalBuild: false,
    ServerVersion: detail.version,
  };
}

function partsJson({ runtime, addressPools, ...rest }: SystemDetail, standing: SwarmStanding, version: number): object {
  const warnings = [...rest.warnings, ...swarmWarnings(standing)]; // clients show no others
  const commit = (id: string) => ({ ID: id, ...(version < 49 && { Expected: id }) });
  return {
    Runtimes: { runc: { path: "runc" } },
    DefaultRuntime: "runc",
    Swarm: swarmInfoJson(standing),
    LiveRestoreEnabled: true,
    Isolation: "",
    InitBinary: "",
    ContainerdCommit: commit(runtime.containerdCommit),
    RuncCommit: commit(runtime.runc),
    InitCommit: commit(""),
    SecurityOptions: ["name=seccomp,profile=builtin"],
    DefaultAddressPools: addressPools.map(({ base, size }) => ({ Base: base, Size: size })),
    CDISpecDirs: [],
    Warnings: warnings.length > 0 ? warnings : null,
  };
}
