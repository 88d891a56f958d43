import { readFileSync } from "node:fs";
import { invalid } from "../../lib/errors.ts";
import type { ContainerSpec } from "../../model/container.ts";

/** include/uapi/linux/capability.h, in the order of their numbers. */
const all = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
  "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
  "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
  "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);

/** What containers have without a wish (Docker's documentation, Runtime privilege and Linux capabilities). */
const usual =
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    .split(" ")
    .map((name) => `CAP_${name}`);

/** Capabilities of a container. @throws {EngineError} invalid for a name that Linux does not have */
export function capabilitiesOf(spec: Pick<ContainerSpec, "privileged" | "capAdd" | "capDrop">): string[] {
  const known = bounding();
  if (spec.privileged) return known;
  const add = spec.capAdd.map((name) => canonical(name, "CapAdd"));
  const drop = spec.capDrop.map((name) => canonical(name, "CapDrop"));
  const base = add.includes("ALL") ? known : drop.includes("ALL") ? [] : usual;
  const named = add.filter((name) => name !== "ALL");
  return [...new Set([...base.filter((name) => !drop.includes(name)), ...named])];
}

function canonical(text: string, field: string): string {
  const name = text.toUpperCase();
  if (name === "ALL") return name;
  const full = name.startsWith("CAP_") ? name : `CAP_${name}`;
  if (!all.includes(full)) throw invalid(`invalid ${field}: unknown capability: "${text}"`);
  return full;
}

/** What this process could give away: a host that is itself confined has less than its kernel knows. */
function bounding(): string[] {
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`);
  return all.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n);
}
