import type { ContainerSpec } from "../../model/container.ts";
import type { ResolvedMount } from "../runtime.ts";
import type { OciMount } from "./oci.ts";

/** File systems that every container has (moby oci/defaults.go); the user's own mounts take the place of these. */
export function mountsOf(
  spec: ContainerSpec,
  mounts: readonly ResolvedMount[],
  options: { readonly cgroup2: boolean; readonly hostIpc: boolean },
): OciMount[] {
  const own = mounts.map(ociMount);
  const taken = new Set(own.map((m) => m.destination));
  const usual: OciMount[] = [
    { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
      destination: "/sys",
      type: "sysfs",
      source: "sysfs",
      options: ["nosuid", "noexec", "nodev", spec.privileged ? "rw" : "ro"],
    },
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", spec.privileged ? "rw" : "ro"],
    },
    options.hostIpc
      ? {
          destination: "/dev/mqueue",
          type: "bind",
          source: "/dev/mqueue",
          options: ["rbind", "nosuid", "noexec", "nodev"],
        }
      : { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    options.hostIpc
      ? { destination: "/dev/shm", type: "bind", source: "/dev/shm", options: ["rbind", "nosuid", "noexec", "nodev"] }
      : {
          destination: "/dev/shm",
          type: "tmpfs",
          source: "shm",
          options: ["nosuid", "noexec", "nodev", "mode=1777", `size=${spec.shmSize}`],
        },
  ];
  // Parents before what is mounted inside them.
  const depth = (m: OciMount) => m.destination.split("/").length;
  return [...usual.filter((m) => !taken.has(m.destination)), ...own.toSorted((a, b) => depth(a) - depth(b))];
}

function ociMount(mount: ResolvedMount): OciMount {
  const destination = mount.target;
  if (mount.type === "tmpfs") {
    const given = mount.options === "" ? [] : mount.options.split(",");
    return {
      destination,
      type: "tmpfs",
      source: "tmpfs",
      options: [
        "noexec",
        "nosuid",
        "nodev",
        ...given.filter((o) => o !== "defaults"),
        ...(mount.readOnly ? ["ro"] : []),
      ],
    };
  }
  return {
    destination,
    type: "bind",
    source: mount.source,
    options: ["rbind", mount.propagation || "rprivate", mount.readOnly ? "ro" : "rw"],
  };
}
