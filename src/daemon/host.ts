import { createSocket } from "node:dgram";
import { existsSync, readFileSync } from "node:fs";
import { createServer, isIPv6 } from "node:net";
import { cpus, hostname, networkInterfaces, release, totalmem } from "node:os";
import { parentState } from "../dataplane/parents.ts";
import type { Host } from "../engine/parts.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { encryptedUnderlay } from "../model/plan.ts";
import type { DnsConfig } from "../model/sandbox.ts";

/** What the engine wants to know of this machine. */
export function createHost(kernel: Kernel): Host {
  const system = osRelease();
  return {
    name: hostname(),
    memory: totalmem(),
    cpus: cpus().length,
    kernelVersion: release(),
    operatingSystem: system.PRETTY_NAME ?? "Linux",
    osVersion: system.VERSION_ID ?? "",
    cgroupVersion: existsSync("/sys/fs/cgroup/cgroup.controllers") ? "2" : "1",
    routes: () => kernel.hostRoutes(),
    linkState: (name) => parentState(kernel, name),
    linkName: (name) => kernel.link("host", name)?.name,
    linkMtu: (name) => kernel.link("host", name)?.mtu,
    addresses: () => hostAddresses((link) => kernel.link("host", link)?.owner !== undefined),
    hasAddress: (address) => kernel.hasAddress(address),
    hasMac: (mac) => Object.values(networkInterfaces()).some((link) => link?.some((one) => one.mac === mac)),
    linkOwner(name) {
      const link = kernel.link("host", name);
      return link === undefined || link.owner !== undefined
        ? undefined
        : `a ${link.type || "network"} interface that is not ours`;
    },
    portTaken,
    ephemeralPorts() {
      const [first = 32768, last = 60999] = kernel
        .sysctl("host", "net.ipv4.ip_local_port_range")
        .trim()
        .split(/\s+/)
        .map(Number);
      return [first, last];
    },
    dns: () => readResolvConf(read("/etc/resolv.conf")),
    namespacePath: (id) => kernel.namespacePath(`sandbox:${id}`),
    encryptedBy(link) {
      const type = kernel.link(encryptedUnderlay, link)?.type;
      return type === undefined ? undefined : type === "wireguard" ? "kernel" : "wireguard-go";
    },
    firewallWarnings: () =>
      kernel.foreignDrops().map(({ family, table, chain }) => {
        const place = `${family} ${table} ${chain}`;
        return `WARNING: another firewall drops what containers forward: nftables chain "${place}" has policy drop. To let them through: nft 'insert rule ${place} meta iifkind "bridge" accept; insert rule ${place} meta oifkind "bridge" accept'`;
      }),
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** os-release(5) */
function osRelease(): Partial<Record<string, string>> {
  const lines = read("/etc/os-release").matchAll(/^(\w+)=(?:"(.*)"|(.*))$/gm);
  return Object.fromEntries([...lines].map(([, key, quoted, plain]) => [key ?? "", quoted ?? plain ?? ""]));
}

/** resolv.conf(5): the last `search` counts; comments and other keywords are left out. */
export function readResolvConf(text: string): DnsConfig {
  const lines = text.split("\n").map((line) =>
    line
      .replace(/[#;].*/, "")
      .trim()
      .split(/\s+/),
  );
  const of = (keyword: string) => lines.filter(([first]) => first === keyword);
  return {
    servers: of("nameserver").flatMap(([, address]) => (address === undefined ? [] : [address])),
    search: of("search").at(-1)?.slice(1) ?? of("domain").at(-1)?.slice(1) ?? [],
    options: of("options").flatMap((line) => line.slice(1)),
  };
}

/** Binds and lets go again: the only question about a port that the kernel answers truly. SCTP is not asked. */
function portTaken(protocol: string, address: string, port: number): Promise<string | undefined> {
  const why = ({ code }: NodeJS.ErrnoException) =>
    code === "EADDRNOTAVAIL" ? "cannot assign requested address" : "address already in use";
  return new Promise((resolve) => {
    if (protocol === "tcp") {
      const server = createServer();
      server.once("error", (error) => resolve(why(error)));
      server.listen({ host: address, port, ipv6Only: isIPv6(address) }, () => server.close(() => resolve(undefined)));
    } else if (protocol === "udp") {
      const socket = createSocket({ type: isIPv6(address) ? "udp6" : "udp4", ipv6Only: isIPv6(address) });
      socket.once("error", (error) => {
        socket.close();
        resolve(why(error));
      });
      socket.bind(port, address, () => socket.close(() => resolve(undefined)));
    } else resolve(undefined);
  });
}

/** Not link-local: those mean nothing without their link. */
function hostAddresses(isOurs: (link: string) => boolean): { link: string; address: string }[] {
  return Object.entries(networkInterfaces()).flatMap(([link, addresses = []]) =>
    isOurs(link)
      ? []
      : addresses
          .filter(({ address }) => !/^fe[89ab].:|^169\.254\./.test(address))
          .map(({ address }) => ({ link, address })),
  );
}
