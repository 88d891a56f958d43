import type { Container } from "../../model/container.ts";
import type { ExecSpec } from "../runtime.ts";
import { capabilitiesOf } from "./capabilities.ts";
import type { OciProcess } from "./oci.ts";
import { readSecurity } from "./security.ts";
import { findUser, type Layers } from "./user.ts";

const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
export const initPath = "/sbin/docker-init";

/** The container's own process. @throws {EngineError} invalid for an unknown user or capability */
export function processOf({ spec }: Container, layers: Layers): OciProcess {
  const { ids, home } = findUser(layers, spec.user, spec.groupAdd);
  const command = [...spec.entrypoint, ...spec.cmd];
  return {
    ...shared(spec, ids),
    terminal: spec.tty,
    args: spec.init ? [initPath, "--", ...command] : command,
    env: withDefaults(spec.env, [
      path,
      `HOSTNAME=${spec.hostname}`,
      ...(spec.tty ? ["TERM=xterm"] : []),
      `HOME=${home}`,
    ]),
    cwd: spec.workingDir || "/",
  };
}

/** A further process in a running container. */
export function execProcessOf({ spec }: Container, exec: ExecSpec, layers: Layers): OciProcess {
  const { ids, home } = findUser(layers, exec.user || spec.user, spec.groupAdd);
  const env = withDefaults(exec.env, withDefaults(spec.env, [path, `HOSTNAME=${spec.hostname}`]));
  return {
    ...shared({ ...spec, privileged: spec.privileged || exec.privileged }, ids),
    terminal: exec.tty,
    args: exec.args,
    env: withDefaults(env, [...(exec.tty ? ["TERM=xterm"] : []), `HOME=${home}`]),
    cwd: exec.workingDir || spec.workingDir || "/",
  };
}

function shared(spec: Container["spec"], user: OciProcess["user"]) {
  const capabilities = capabilitiesOf(spec);
  // Who is not root has what programs give it, nothing from the start (capabilities(7)).
  const held = user.uid === 0 ? capabilities : [];
  return {
    user,
    capabilities: { bounding: capabilities, effective: held, permitted: held },
    rlimits: spec.ulimits.map(({ name, soft, hard }) => ({ type: `RLIMIT_${name.toUpperCase()}`, soft, hard })),
    noNewPrivileges: readSecurity(spec.securityOptions).noNewPrivileges,
    ...(spec.oomScoreAdj !== 0 && { oomScoreAdj: spec.oomScoreAdj }),
  };
}

/** Defaults first, then what is named, without the defaults that it names too. */
function withDefaults(env: readonly string[], defaults: readonly string[]): string[] {
  const named = new Set(env.map((e) => e.split("=", 1)[0]));
  return [...defaults.filter((e) => !named.has(e.split("=", 1)[0])), ...env];
}
