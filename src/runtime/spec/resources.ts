import type { ContainerSpec } from "../../model/container.ts";
import type { OciResources } from "./oci.ts";

const period = 100_000; // microseconds: the time that a CPU quota is about

/** Character devices that every container may use (moby oci/defaults.go). */
const devices = [
  { type: "c", major: 1, minor: 5 }, // zero
  { type: "c", major: 1, minor: 3 }, // null
  { type: "c", major: 1, minor: 9 }, // urandom
  { type: "c", major: 1, minor: 8 }, // random
  { type: "c", major: 5, minor: 0 }, // tty
  { type: "c", major: 5, minor: 1 }, // console
  { type: "c", major: 5, minor: 2 }, // ptmx
  { type: "c", major: 136 }, // pts/*
];

/** Limits of a container's control group. Bytes, and the units of the OCI specification. */
export function resourcesOf(spec: ContainerSpec): OciResources {
  const { memory, memorySwap, nanoCpus, cpuShares, pidsLimit } = spec;
  const swap = memorySwap === 0 ? memory * 2 : memorySwap;
  const cpu = {
    ...(cpuShares > 0 && { shares: cpuShares }),
    ...(nanoCpus > 0 && { quota: Math.round((nanoCpus * period) / 1e9), period }),
  };
  return {
    devices: spec.privileged
      ? [{ allow: true, access: "rwm" }]
      : [
          { allow: false, access: "rwm" },
          { allow: true, type: "c", access: "m" },
          { allow: true, type: "b", access: "m" },
          ...devices.map((device) => ({ allow: true, access: "rwm", ...device })),
        ],
    ...(memory > 0 && { memory: { limit: memory, swap } }),
    ...(Object.keys(cpu).length > 0 && { cpu }),
    ...(pidsLimit > 0 && { pids: { limit: pidsLimit } }),
  };
}
