import { invalid } from "../../lib/errors.ts";

/** What an image is made for (OCI image specification, image-index.md). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** Other names that users know, and variants that go without saying (containerd platforms/database.go). */
const sameAs: Readonly<Record<string, Omit<Platform, "os">>> = {
  x86_64: { architecture: "amd64" },
  "x86-64": { architecture: "amd64" },
  "amd64/v1": { architecture: "amd64" },
  i386: { architecture: "386" },
  aarch64: { architecture: "arm64" },
  "aarch64/v8": { architecture: "arm64" },
  "arm64/v8": { architecture: "arm64" },
  arm: { architecture: "arm", variant: "v7" },
  armhf: { architecture: "arm", variant: "v7" },
  armel: { architecture: "arm", variant: "v6" },
};
const systems = ["linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "plan9", "aix", "android"];
/** Node's words for architectures. */
const nodeNames: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64", arm: "arm", ia32: "386" };
const own = nodeNames[process.arch] ?? process.arch;

function normal(os: string, architecture: string, variant: string | undefined): Platform {
  const name = variant === undefined || variant === "" ? architecture : `${architecture}/${variant}`;
  return { os, ...(sameAs[name] ?? { architecture, ...(variant && { variant }) }) };
}

/** `linux/arm64/v8`, `linux` or `arm64`; absent means this machine's. @throws {EngineError} invalid */
export function readPlatform(text: string | undefined): Platform {
  if (text === undefined || text === "") return normal("linux", own, undefined);
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3 || !parts.every((part) => /^[a-z0-9_.-]+$/.test(part)))
    throw invalid(`"${text}": unknown operating system or architecture: invalid argument`);
  const [os = "", architecture = own, variant] =
    parts.length > 1 || systems.includes(parts[0] ?? "") ? parts : ["linux", ...parts];
  return normal(os, architecture, variant);
}

/** True when what is made for `given` is what `wanted` asks for; who names no variant takes any. */
export function fits(given: Platform, wanted: Platform): boolean {
  const { os, architecture, variant } = normal(given.os, given.architecture, given.variant);
  return (
    os === wanted.os &&
    architecture === wanted.architecture &&
    (wanted.variant === undefined || variant === undefined || variant === wanted.variant)
  );
}

/** `linux/arm/v7`. */
export const platformText = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
