import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isLoopback } from "../lib/net.ts";
import type { Container } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";
import type { DnsConfig } from "../model/sandbox.ts";
import type { Parts } from "./parts.ts";

/** Paths of the files that a container sees as its own under /etc. */
export function pathsOf(parts: Parts, id: ContainerId) {
  const directory = join(parts.settings.dataRoot, "containers", id);
  return {
    directory,
    hosts: join(directory, "hosts"),
    hostname: join(directory, "hostname"),
    resolvConf: join(directory, "resolv.conf"),
    log: parts.runtime.processes.logPath(id),
  };
}

/** Name servers for a container: its own, the daemon's, the host's, in this order; the host's loopback ones are not for containers. */
export function dnsOf(parts: Parts, container: Container): DnsConfig {
  const host = parts.host.dns();
  const { dns, dnsSearch, dnsOptions } = container.spec;
  const first = (...lists: (readonly string[] | undefined)[]) =>
    lists.find((list) => list !== undefined && list.length > 0) ?? [];
  return {
    servers: first(dns, parts.settings.dns.servers, host.servers),
    search: first(dnsSearch, parts.settings.dns.search, host.search).filter((domain) => domain !== "."),
    options: first(dnsOptions, parts.settings.dns.options, host.options),
  };
}

/** Writes hosts, hostname and resolv.conf as the container's networks are now; the files keep their inodes, as they are mounted. */
export async function refreshFiles(parts: Parts, id: ContainerId): Promise<void> {
  const rows = parts.store.snapshot();
  const container = rows.get("containers", id);
  if (container === undefined) return;
  const paths = pathsOf(parts, id);
  await mkdir(paths.directory, { recursive: true, mode: 0o710 });
  const { hostname, domainname, extraHosts } = container.spec;
  const endpoints = rows.where("endpoints", "sandbox", id);
  const name = domainname === "" ? hostname : `${hostname}.${domainname} ${hostname}`;
  const own = endpoints.flatMap((e) => (e.isWayOut ? [] : e.addresses.map((a) => `${a.address}\t${name}\n`)));
  const gateway = endpoints.flatMap((e) => e.addresses).find((a) => a.gateway !== undefined)?.gateway ?? "127.0.0.1";
  const extra = extraHosts.map((line) => hostsLine(line, gateway));
  const sandbox = rows.get("sandboxes", id);
  await Promise.all([
    writeFile(paths.hosts, [fixedHosts, ...extra, ...own].join("")),
    writeFile(paths.hostname, `${hostname}\n`),
    writeFile(paths.resolvConf, resolvConf(sandbox?.dns ?? dnsOf(parts, container), sandbox?.resolver ?? false)),
  ]);
}

const fixedHosts =
  "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/** `name:address` or `name=address`; `host-gateway` stands for the host (Docker's documentation, `--add-host`). */
function hostsLine(line: string, gateway: string): string {
  const at = line.search(/[:=]/);
  const address = line.slice(at + 1).replace(/^\[(.*)\]$/, "$1");
  return `${address === "host-gateway" ? gateway : address}\t${line.slice(0, at)}\n`;
}

function resolvConf(dns: DnsConfig, resolver: boolean): string {
  const servers = resolver ? ["127.0.0.11"] : dns.servers.filter((s) => !isLoopback(s));
  const options =
    resolver && !dns.options.some((o) => o.startsWith("ndots:")) ? [...dns.options, "ndots:0"] : dns.options;
  const lines = [
    "# Written by tombolod; edits are lost at the next start.",
    ...servers.map((server) => `nameserver ${server}`),
    ...(dns.search.length > 0 ? [`search ${dns.search.join(" ")}`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
    ...(resolver ? [`# Other names are asked of: ${dns.servers.join(" ") || "nobody"}`] : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** Removes a container's directory. */
export const removeFiles = (parts: Parts, id: ContainerId) =>
  rm(pathsOf(parts, id).directory, { recursive: true, force: true });

/** Directories of containers that no row names: a create or a remove that broke off. */
export async function strayFiles(parts: Parts): Promise<string[]> {
  const names = await readdir(join(parts.settings.dataRoot, "containers")).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.filter((name) => parts.store.snapshot().get("containers", name) === undefined);
}

/** Removes what `strayFiles` finds. Only before the first call is served: a create in progress has no row yet. */
export async function sweepFiles(parts: Parts): Promise<void> {
  for (const name of await strayFiles(parts)) await removeFiles(parts, name);
}
