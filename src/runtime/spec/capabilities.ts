import { readFileSync } from "node:fs";
import { capabilities, capabilityNamed } from "../../model/capabilities.ts";
import type { ContainerSpec } from "../../model/container.ts";

/** What containers have without a wish (Docker's documentation, Runtime privilege and Linux capabilities). */
const usual =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    .split(" ")
    .map((name) => `CAP_${name}`);

/** Capabilities of a container. @throws {EngineError} invalid for a name that Linux does not have */
export function capabilitiesOf(spec: Pick<ContainerSpec, "privileged" | "capAdd" | "capDrop">): string[] {
  const known = bounding();
  if (spec.privileged) return known;
  const add = spec.capAdd.map((name) => capabilityNamed(name, "CapAdd"));
  const drop = spec.capDrop.map((name) => capabilityNamed(name, "CapDrop"));
  const base = add.includes("ALL") ? known : drop.includes("ALL") ? [] : usual;
  const named = add.filter((name) => name !== "ALL");
  return [...new Set([...base.filter((name) => !drop.includes(name)), ...named])];
}

/** What this process could give away: a host that is itself confined has less than its kernel knows. */
function bounding(): string[] {
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`);
  return capabilities.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n);
}
