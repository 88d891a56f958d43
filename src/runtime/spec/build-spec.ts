import { existsSync } from "node:fs";
import { invalid } from "../../lib/errors.ts";
import { maskedPaths, readonlyPaths } from "../../model/system-paths.ts";
import type { StartRequest } from "../runtime.ts";
import { capabilitiesOf } from "./capabilities.ts";
import { hostDevices } from "./devices.ts";
import { mountsOf } from "./mounts.ts";
import type { OciMount, OciSpec } from "./oci.ts";
import { initPath, processOf } from "./process.ts";
import { resourcesOf } from "./resources.ts";
import { seccompFor } from "./seccomp.ts";
import { readSecurity } from "./security.ts";
import type { Layers } from "./user.ts";

const inits = ["/usr/bin/docker-init", "/usr/bin/tini-static", "/usr/libexec/docker/docker-init"];

/**
 * The OCI specification of a container that is about to start.
 * @param layers directories of its root file system, to find users in
 * @throws {EngineError} invalid for what cannot be honoured
 */
export function buildSpec(request: StartRequest, layers: Layers): OciSpec {
  const { container } = request;
  const { spec, id } = container;
  const cgroup2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const { seccomp } = readSecurity(spec.securityOptions);
  const open = spec.privileged || seccomp === "unconfined";
  const ownUts = request.uts === undefined && spec.hostname !== "";
  const mounts = mountsOf(spec, request.mounts, { cgroup2, hostIpc: request.ipc === "host" });
  return {
    ociVersion: "1.0.2",
    process: processOf(container, layers),
    root: { path: "rootfs", readonly: spec.readOnlyRoot },
    ...(ownUts && { hostname: spec.hostname }),
    mounts: spec.init ? [...mounts, initMount()] : mounts,
    linux: {
      namespaces: namespacesOf(request, cgroup2),
      resources: resourcesOf(spec),
      cgroupsPath: `/tombolo/${id}`,
      sysctl: sysctlsOf(request),
      maskedPaths: spec.privileged ? [] : maskedPaths,
      readonlyPaths: spec.privileged ? [] : readonlyPaths,
      ...(mounts.some((m) => m.options.some((o) => /shared|slave/.test(o))) && { rootfsPropagation: "rslave" }),
      ...(!open && {
        seccomp: seccompFor(
          capabilitiesOf(spec),
          seccomp === "default" ? undefined : (seccomp as { profile: string }).profile,
        ),
      }),
      devices: spec.privileged ? hostDevices() : [],
    },
  };
}

function initMount(): OciMount {
  const source = inits.find((path) => existsSync(path));
  if (source === undefined)
    throw invalid(`--init needs one of ${inits.join(", ")} on the host: install the package tini`);
  return { destination: initPath, type: "bind", source, options: ["bind", "ro"] };
}

function namespacesOf(request: StartRequest, cgroup2: boolean): { type: string; path?: string }[] {
  const of = (type: string, path: string | undefined) =>
    path === "host" ? [] : [{ type, ...(path !== undefined && { path }) }];
  return [
    { type: "mount" },
    ...of("network", request.network ?? "host"),
    ...of("pid", request.pid),
    ...of("ipc", request.ipc),
    ...of("uts", request.uts),
    ...(cgroup2 ? [{ type: "cgroup" }] : []),
  ];
}

/** Those of the container's own network are set in its sandbox, before its first interface. */
function sysctlsOf({ container, network }: StartRequest): Record<string, string> {
  const { sysctls, networkMode } = container.spec;
  const isJoined = networkMode.startsWith("container:");
  const own = Object.entries(sysctls).filter(([key]) => isJoined || !key.startsWith("net."));
  // Docker's defaults for containers with a network of their own: root's ports and pings are everybody's.
  const usual =
    network === undefined
      ? {}
      : { "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647" };
  const named = Object.keys(sysctls);
  return {
    ...Object.fromEntries(Object.entries(usual).filter(([key]) => !named.includes(key))),
    ...Object.fromEntries(own),
  };
}
