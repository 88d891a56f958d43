import { invalid } from "../../lib/errors.ts";

/** A name of an image, read (github.com/distribution/reference, grammar in reference.go). */
export interface Reference {
  /** `docker.io`, `localhost:5000`. */
  readonly domain: string;
  /** `library/busybox`. */
  readonly path: string;
  readonly tag?: string;
  readonly digest?: string;
}

const defaultDomain = "docker.io";
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const pathPattern = new RegExp(`^${component}(?:/${component})*$`);
const domainPattern =
  /^(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::\d+)?$|^\[[a-fA-F0-9:]+\](?::\d+)?$/;
const longestName = 255;

/** Reads a name as the user types it. @throws {EngineError} invalid, Docker's text */
export function parseReference(text: string): Reference {
  const wrong = () => invalid(`invalid reference format`);
  const [name = "", digest, ...rest] = text.split("@");
  if (rest.length > 0 || (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))) throw wrong();
  const colon = name.lastIndexOf(":");
  const tagged = colon > name.lastIndexOf("/");
  const tag = tagged ? name.slice(colon + 1) : undefined;
  if (tag !== undefined && !/^\w[\w.-]{0,127}$/.test(tag)) throw wrong();
  const { domain, path } = splitDomain(tagged ? name.slice(0, colon) : name);
  if (/^[0-9a-f]{64}$/.test(path) && domain === defaultDomain)
    throw invalid(`invalid repository name (${path}), cannot specify 64-byte hexadecimal strings`);
  if (path.toLowerCase() !== path)
    throw invalid(`invalid reference format: repository name (${path}) must be lowercase`);
  if (!pathPattern.test(path) || !domainPattern.test(domain) || path.length > longestName) throw wrong();
  return { domain, path, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
}

/** The first part is a registry when it looks like a host: `localhost`, or with a dot, a colon or a capital letter. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = first === "localhost" || /[.:[]/.test(first) || first.toLowerCase() !== first;
  const domain = isHost ? first : defaultDomain;
  const path = isHost ? name.slice(slash + 1) : name;
  if (domain !== defaultDomain && domain !== "index.docker.io") return { domain, path };
  return { domain: defaultDomain, path: path.includes("/") ? path : `library/${path}` };
}

/** With the tag `latest` where there is neither tag nor digest. */
export const withTag = (reference: Reference): Reference =>
  reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: "latest" } : reference;

/** `docker.io/library/busybox`. */
export const repositoryOf = ({ domain, path }: Reference) => `${domain}/${path}`;

/** The name under which containerd keeps it: `docker.io/library/busybox:latest`. A digest stands in place of the tag. */
export function fullName(reference: Reference): string {
  const { tag, digest } = withTag(reference);
  return `${repositoryOf(reference)}${digest === undefined ? `:${tag}` : `@${digest}`}`;
}

/** `busybox` for `docker.io/library/busybox`: what Docker shows. */
export function familiar(repository: string): string {
  return repository.replace(/^docker\.io\/(library\/(?=[^/]+$))?/, "");
}
