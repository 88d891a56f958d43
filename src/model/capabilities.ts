import { invalid } from "../lib/errors.ts";

/** The capabilities of Linux (include/uapi/linux/capability.h), in the order of their numbers. */
export const capabilities: readonly string[] = (
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE " +
  "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN " +
  "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE " +
  "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
  .split(" ")
  .map((name) => `CAP_${name}`);

/** `ALL`, or the capability that is meant by `net_admin` or `CAP_NET_ADMIN`. @throws {EngineError} invalid, with Docker's text */
export function capabilityNamed(text: string, field: "CapAdd" | "CapDrop"): string {
  const name = text.toUpperCase();
  if (name === "ALL") return name;
  const full = name.startsWith("CAP_") ? name : `CAP_${name}`;
  if (!capabilities.includes(full)) throw invalid(`invalid ${field}: unknown capability: "${full}"`);
  return full;
}
