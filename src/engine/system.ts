import type { Owner } from "../model/plan.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import { isRunning } from "./containers.ts";
import type { AuditLine, System } from "./engine.ts";
import { encryptionWarnings } from "./encryption.ts";
import type { Parts } from "./parts.ts";
import { strayFiles } from "./sandbox-files.ts";
import { strayVolumes } from "./volumes.ts";

/** What `docker info` and `tombolo audit` show. `startedAt` is RFC 3339. */
export function createSystem(parts: Parts, startedAt: string): System {
  const { settings, host, runtime, store } = parts;
  return {
    async info() {
      const containers = store.snapshot().list("containers");
      const count = (status: string) => containers.filter((c) => c.state.status === status).length;
      const [images, versions] = await Promise.all([runtime.images.list(), runtime.versions()]);
      return {
        id: settings.id,
        name: host.name,
        version: settings.version,
        containers: {
          total: containers.length,
          running: count("running"),
          paused: count("paused"),
          stopped: containers.filter((c) => !isRunning(c)).length,
        },
        images: images.length,
        dataRoot: settings.dataRoot,
        debug: settings.debug,
        labels: settings.labels,
        driverNames: [...parts.drivers.keys()].map((name) => (name === "none" ? "null" : name)).toSorted(),
        addressPools: settings.addressPools,
        warnings: [...host.firewallWarnings(), ...encryptionWarnings(parts), ...networkWarnings(parts)],
        insecureRegistries: settings.insecureRegistries,
        memory: host.memory,
        cpus: host.cpus,
        kernelVersion: host.kernelVersion,
        operatingSystem: host.operatingSystem,
        osVersion: host.osVersion,
        cgroupVersion: host.cgroupVersion,
        runtime: versions,
        startedAt,
      };
    },
    audit: () => audit(parts),
  };
}

function networkWarnings(parts: Parts): string[] {
  return parts.store
    .snapshot()
    .list("networks")
    .flatMap((network) => {
      const owner: Owner = `network:${network.id}`;
      const error = parts.dataplane.errorOf(owner);
      return error === undefined
        ? []
        : [`WARNING: network ${network.spec.name} is not as it should be: ${error.message}`];
    });
}

/** Desired against actual, in the kernel, in containerd, among the files and within the store. */
async function audit(parts: Parts): Promise<AuditLine[]> {
  const rows = parts.store.snapshot();
  const wanted = new Set(rows.list("containers").map((c) => c.id));
  const [kernel, containerd, files, volumes] = await Promise.all([
    parts.dataplane.audit(),
    parts.runtime.leftOvers(wanted),
    strayFiles(parts),
    strayVolumes(parts),
  ]);
  return [
    ...kernel.map(({ what, key, owner }) => ({
      where: "kernel" as const,
      what,
      key,
      ...(owner !== undefined && { owner }),
    })),
    ...containerd.map((line) => ({ where: "containerd" as const, ...line })),
    ...files.map((name) => leftOver("files", `containers/${name}`)),
    ...volumes.map((name) => leftOver("files", `volumes/${name}`)),
    ...parts.runtime.memoryFiles.list().flatMap((id) => (runs(parts, id) ? [] : leftOver("files", `memory/${id}`))),
    ...auditStore(parts),
  ];
}

const leftOver = (where: AuditLine["where"], key: string): AuditLine => ({ where, what: "left over", key });

/** Rows whose owner is gone, and containers that run without a sandbox or the other way round. */
function auditStore(parts: Parts): AuditLine[] {
  const rows = parts.store.snapshot();
  const owned = (owner: string) =>
    rows.get("endpoints", owner) !== undefined || rows.get("networks", owner) !== undefined;
  const stray = [
    ...rows
      .list("claims")
      .filter((c) => !owned(c.owner))
      .map((c) => `claims/${c.pool}|${c.address}`),
    ...rows
      .list("ports")
      .filter((p) => rows.get("endpoints", p.endpointId) === undefined)
      .map((p) => `ports/${p.protocol}|${p.hostIp}|${p.hostPort}`),
    ...rows
      .list("pools")
      .filter((p) => rows.get("networks", p.networkId) === undefined)
      .map((p) => `pools/${p.id}`),
    ...rows
      .list("endpoints")
      .filter((e) => rows.get("sandboxes", e.sandboxId) === undefined)
      .map((e) => `endpoints/${e.id}`),
    ...rows
      .list("sandboxes")
      .filter((s) => s.id !== ingressSandbox && !runs(parts, s.containerId))
      .map((s) => `sandboxes/${s.id}`),
    ...rows
      .list("leases")
      .filter((l) => rows.get("endpoints", l.endpointId) === undefined)
      .map((l) => `leases/${l.endpointId}`),
    ...rows
      .list("names")
      .filter((n) => rows.get(n.kind === "container" ? "containers" : "networks", n.id) === undefined)
      .map((n) => `names/${n.kind}|${n.name}`),
  ];
  return stray.map((key) => leftOver("store", key));
}

/** A sandbox without a process is right only while its container is being started, which holds the container's lock. */
function runs(parts: Parts, id: string): boolean {
  const container = parts.store.snapshot().get("containers", id);
  return container !== undefined && (isRunning(container) || parts.locks.busy(id));
}
