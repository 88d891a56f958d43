import { invalid } from "../../lib/errors.ts";

/** What `--security-opt` says, read. */
export interface Security {
  readonly noNewPrivileges: boolean;
  readonly seccomp: "default" | "unconfined" | { readonly profile: string };
}

/** @throws {EngineError} invalid for what nobody would honour */
export function readSecurity(options: readonly string[]): Security {
  let security: Security = { noNewPrivileges: false, seccomp: "default" };
  for (const option of options) {
    const [, key = "", value] = /^([^=:]+)[=:]?([\s\S]*)$/.exec(option) ?? [];
    if (key === "no-new-privileges") security = { ...security, noNewPrivileges: value === "" || value === "true" };
    else if (key === "seccomp")
      security = {
        ...security,
        seccomp: value === "unconfined" ? value : value === "builtin" ? "default" : { profile: value ?? "" },
      };
    else if (!(key === "apparmor" && value === "unconfined") && !(key === "label" && value === "disable"))
      throw invalid(
        `invalid --security-opt: "${option}": known are no-new-privileges and seccomp; this host's containers have no AppArmor or SELinux profile`,
      );
  }
  return security;
}
