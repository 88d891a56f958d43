import { invalid } from "../../lib/errors.ts";

/** Those of the namespaces that a container has for itself (sysctl(8); runc refuses the others when the container starts). */
const ofContainers =
  /^(net[./]|fs[./]mqueue[./]|kernel[./](msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced|domainname)$)/;

/** @throws {EngineError} invalid, with runc's text, for a setting of the whole host */
export function checkSysctls(sysctls: Readonly<Record<string, string>>): void {
  const stray = Object.keys(sysctls).find((key) => !ofContainers.test(key));
  if (stray !== undefined) throw invalid(`sysctl "${stray}" is not in a separate kernel namespace`);
}
