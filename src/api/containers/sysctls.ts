import { invalid } from "../../lib/errors.ts";
import type { HostConfigBody } from "./create-body.ts";

const ofIpc = /^(fs\.mqueue\.|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$)/;
const ofNetwork = /^net\./;
const ofContainers = /^kernel\.domainname$/;

/**
 * A container may set those of the namespaces that it has for itself, or shares with another container (sysctl(8)).
 * @throws {EngineError} invalid, with the text with which runc refuses the others when a container starts
 */
export function checkSysctls({ Sysctls, NetworkMode, IpcMode }: HostConfigBody): void {
  for (const key of Object.keys(Sysctls ?? {}).map(dotted)) {
    const isOfNetwork = ofNetwork.test(key);
    const isOfIpc = ofIpc.test(key);
    if (isOfNetwork && NetworkMode === "host") throw invalid(`sysctl "${key}" not allowed in host network namespace`);
    if (isOfIpc && IpcMode === "host") throw invalid(`sysctl "${key}" is not allowed in the hosts ipc namespace`);
    if (!isOfNetwork && !isOfIpc && !ofContainers.test(key))
      throw invalid(`sysctl "${key}" is not in a separate kernel namespace`);
  }
}

/** `net/ipv4/conf/eth0.1/forwarding` is `net.ipv4.conf.eth0/1.forwarding`: what parts the first word parts all of them (sysctl(8)). */
const dotted = (key: string) =>
  /^[^.]*\//.test(key) ? key.replace(/[./]/g, (part) => (part === "/" ? "." : "/")) : key;
