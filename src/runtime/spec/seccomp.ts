import { readFileSync } from "node:fs";
import { release } from "node:os";
import { invalid, system } from "../../lib/errors.ts";

/** Docker's default profile, in Docker's format, as Debian's golang-github-containers-common ships it. */
const defaultProfile = "/usr/share/containers/seccomp.json";

interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?:
    | readonly { readonly index: number; readonly value: number; readonly valueTwo?: number; readonly op: string }[]
    | null;
  readonly includes?: Condition;
  readonly excludes?: Condition;
}
interface Condition {
  readonly caps?: readonly string[];
  readonly arches?: readonly string[];
  readonly minKernel?: string;
}
interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly archMap?: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[];
  readonly architectures?: readonly string[];
  readonly syscalls: readonly Rule[];
}

const architecture = (
  { x64: { native: "SCMP_ARCH_X86_64", go: "amd64" }, arm64: { native: "SCMP_ARCH_AARCH64", go: "arm64" } } as Readonly<
    Record<string, { readonly native: string; readonly go: string }>
  >
)[process.arch];

let usual: Profile | undefined;

/**
 * The filter of system calls for a container with these capabilities.
 * @param text a profile of the user's, in Docker's format; absent means the default one
 * @throws {EngineError} invalid for a text that is no profile; system when the default one is not installed
 */
export function seccompFor(capabilities: readonly string[], text?: string): object {
  const profile = text === undefined ? (usual ??= readDefault()) : parse(text);
  const { native = "", go = "" } = architecture ?? {};
  const map = profile.archMap?.find((m) => m.architecture === native);
  const holds = (condition: Condition | undefined, whenEmpty: boolean): boolean => {
    const { caps = [], arches = [], minKernel = "" } = condition ?? {};
    if (caps.length === 0 && arches.length === 0 && minKernel === "") return whenEmpty;
    return (
      caps.every((c) => capabilities.includes(c)) &&
      (arches.length === 0 || arches.includes(go)) &&
      (minKernel === "" || kernelAtLeast(minKernel))
    );
  };
  const excluded = ({ excludes = {} }: Rule) =>
    (excludes.caps ?? []).some((c) => capabilities.includes(c)) || (excludes.arches ?? []).includes(go);
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: map === undefined ? (profile.architectures ?? []) : [native, ...map.subArchitectures],
    syscalls: profile.syscalls
      .filter((rule) => holds(rule.includes, true) && !excluded(rule))
      .map(({ names, action, errnoRet, args }) => ({
        names,
        action,
        ...(errnoRet !== undefined && { errnoRet }),
        ...(args && args.length > 0 && { args }),
      })),
  };
}

function readDefault(): Profile {
  try {
    return JSON.parse(readFileSync(defaultProfile, "utf8")) as Profile;
  } catch (error) {
    throw system(
      `the default seccomp profile is missing (${(error as Error).message}): install golang-github-containers-common`,
      error,
    );
  }
}

function parse(text: string): Profile {
  try {
    const profile = JSON.parse(text) as Profile;
    if (typeof profile.defaultAction === "string" && Array.isArray(profile.syscalls)) return profile;
  } catch {
    // said below
  }
  throw invalid("Decoding seccomp profile failed: it is not a profile in JSON");
}

function kernelAtLeast(wanted: string): boolean {
  const numbers = (text: string) => text.split(".").map((part) => Number.parseInt(part, 10));
  const [major = 0, minor = 0] = numbers(release());
  const [wantedMajor = 0, wantedMinor = 0] = numbers(wanted);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
