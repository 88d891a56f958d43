import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { Command, CommanderError, Option } from "commander";
import { z } from "zod";
import { balancers, defaultBalancer } from "../balancers/index.ts";
import type { EtcdAddress } from "../store/etcd/client.ts";

/** A mistake in the command line or the configuration file. The message is for the user; the program ends with status 1. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

const balancerNames = Object.keys(balancers);
const levels = ["debug", "info", "warn", "error"] as const;

/** What the daemon was told, defaults filled in. Paths are absolute. */
export interface Config {
  readonly hosts: readonly string[];
  readonly group: string;
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly pidfile: string;
  /** Socket of a containerd that somebody else runs; absent means one of our own. */
  readonly containerd?: string;
  /** The etcd that the user runs for the swarm's managers; absent means one of our own on each. */
  readonly externalEtcd?: EtcdAddress;
  /** `docker0`, another name, or `none`. */
  readonly bridge: string;
  readonly bip?: string;
  readonly ip: string;
  /** What shares out connections to services: a name in `balancers`. */
  readonly balancer: string;
  readonly addressPools: readonly { readonly base: string; readonly size: number }[];
  readonly lenientCidr: boolean;
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly labels: readonly string[];
  readonly insecureRegistries: readonly string[];
  readonly logLevel: (typeof levels)[number];
}

/** Docker's default pools (moby libnetwork/ipamutils). */
const defaultPools = [
  ...Array.from({ length: 15 }, (_, i) => ({ base: `172.${17 + i}.0.0/16`, size: 16 })),
  { base: "192.168.0.0/16", size: 20 },
];
const defaultConfigFile = "/etc/tombolo/daemon.json";

/** Keys of the configuration file, as Docker names them (Docker's documentation, dockerd, daemon.json). */
const fileSchema = z.strictObject({
  hosts: z.array(z.string()).optional(),
  group: z.string().optional(),
  "data-root": z.string().optional(),
  "exec-root": z.string().optional(),
  pidfile: z.string().optional(),
  containerd: z.string().optional(),
  "external-etcd": z.array(z.string()).optional(),
  "external-etcd-ca": z.string().optional(),
  "external-etcd-cert": z.string().optional(),
  "external-etcd-key": z.string().optional(),
  bridge: z.string().optional(),
  bip: z.string().optional(),
  ip: z.string().optional(),
  balancer: z.enum(balancerNames).optional(),
  "default-address-pools": z.array(z.strictObject({ base: z.string(), size: z.number() })).optional(),
  "lenient-cidr": z.boolean().optional(),
  dns: z.array(z.string()).optional(),
  "dns-search": z.array(z.string()).optional(),
  "dns-opts": z.array(z.string()).optional(),
  labels: z.array(z.string()).optional(),
  "insecure-registries": z.array(z.string()).optional(),
  "log-level": z.enum(levels).optional(),
  debug: z.boolean().optional(),
});
type FileConfig = z.infer<typeof fileSchema>;
type Flags = FileConfig & { readonly "config-file"?: string };

const collect = (value: string, before: string[] = []) => [...before, value];

/** Each flag with the key of the configuration file that says the same. */
const flags: readonly (readonly [option: Option, key: keyof Flags])[] = [
  [new Option("-H, --host <socket>", "unix:// socket to listen on").argParser(collect), "hosts"],
  [new Option("-G, --group <name>", "group of the socket"), "group"],
  [new Option("--data-root <dir>", "where what must last is kept"), "data-root"],
  [new Option("--exec-root <dir>", "where what lasts until the next boot is kept"), "exec-root"],
  [new Option("-p, --pidfile <file>", "file with the daemon's pid"), "pidfile"],
  [new Option("--config-file <file>", "configuration file"), "config-file"],
  [new Option("--containerd <socket>", "use this containerd, not one of our own"), "containerd"],
  [
    new Option("--external-etcd <url,…>", "the swarm's managers use this etcd, not one of their own").argParser(
      (text) => text.split(","),
    ),
    "external-etcd",
  ],
  [new Option("--external-etcd-ca <file>", "CA of that etcd, PEM"), "external-etcd-ca"],
  [new Option("--external-etcd-cert <file>", "certificate for that etcd, PEM"), "external-etcd-cert"],
  [new Option("--external-etcd-key <file>", "key of that certificate, PEM"), "external-etcd-key"],
  [new Option("-b, --bridge <name>", "name of the default bridge, or none"), "bridge"],
  [new Option("--bip <cidr>", "address of the default bridge: 172.17.0.1/16"), "bip"],
  [new Option("--ip <address>", "host address of published ports that name none"), "ip"],
  [new Option("--balancer <name>", "what shares out connections to services").choices(balancerNames), "balancer"],
  [
    new Option("--default-address-pool <base=…,size=…>", "where subnets come from").argParser(
      (text, before: FileConfig["default-address-pools"] = []) => [...before, readPool(text)],
    ),
    "default-address-pools",
  ],
  [new Option("--lenient-cidr", "mask a subnet that has host bits, as Docker did before 25"), "lenient-cidr"],
  [new Option("--dns <address>", "name server for containers").argParser(collect), "dns"],
  [new Option("--dns-search <domain>", "search domain for containers").argParser(collect), "dns-search"],
  [new Option("--dns-opt <option>", "resolver option for containers").argParser(collect), "dns-opts"],
  [new Option("--label <key=value>", "label of this daemon").argParser(collect), "labels"],
  [new Option("--insecure-registry <host>", "registry without TLS").argParser(collect), "insecure-registries"],
  [new Option("-l, --log-level <level>", "least severe message to log").choices(levels), "log-level"],
  [new Option("-D, --debug", "same as --log-level debug"), "debug"],
];

/**
 * Reads command line and configuration file.
 * @returns undefined when `--help` or `--version` was all that was wanted
 * @throws {ConfigError}
 */
export function readConfig(argv: readonly string[], version: string): Config | undefined {
  const given = readFlags(argv, version);
  if (given === undefined) return undefined;
  const file = readFile(given["config-file"]);
  const twice = Object.keys(file).filter((key) => Object.hasOwn(given, key));
  if (twice.length > 0)
    throw new ConfigError(
      `the following directives are specified both as a flag and in the configuration file: ${twice.join(", ")}`,
    );
  return complete({ ...file, ...given });
}

function readFlags(argv: readonly string[], version: string): Flags | undefined {
  const program = new Command("tombolod").description("container networks for the docker command").version(version);
  for (const [option] of flags) program.addOption(option);
  program.exitOverride().configureOutput({ writeErr: () => {} });
  try {
    program.parse(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw new ConfigError(error.message.replace(/^error: /, ""));
  }
  if (program.args.length > 0) throw new ConfigError(`unknown argument: ${program.args[0]}`);
  const options = program.opts<Record<string, unknown>>();
  return Object.fromEntries(
    flags.flatMap(([option, key]) => {
      const value = options[option.attributeName()];
      return value === undefined ? [] : [[key, value]];
    }),
  ) as Flags;
}

function readFile(path: string | undefined): FileConfig {
  let text: string;
  try {
    text = readFileSync(path ?? defaultConfigFile, "utf8");
  } catch (error) {
    if (path === undefined && (error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new ConfigError(`the configuration file cannot be read: ${(error as Error).message}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(
      `the configuration file ${path ?? defaultConfigFile} is not JSON: ${(error as Error).message}`,
    );
  }
  const result = fileSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  if (issue?.code === "unrecognized_keys")
    throw new ConfigError(`the following directives don't match any configuration option: ${issue.keys.join(", ")}`);
  throw new ConfigError(`configuration file, ${issue?.path.join(".")}: ${issue?.message}`);
}

function complete(given: Flags): Config {
  const dataRoot = absolute("data-root", given["data-root"] ?? "/var/lib/tombolo");
  const execRoot = absolute("exec-root", given["exec-root"] ?? "/run/tombolo");
  const external = externalEtcd(given);
  const config: Config = {
    ...(external !== undefined && { externalEtcd: external }),
    hosts: given.hosts ?? [`unix://${execRoot}/docker.sock`],
    group: given.group ?? "docker",
    dataRoot,
    execRoot,
    pidfile: absolute("pidfile", given.pidfile ?? `${execRoot}/tombolod.pid`),
    ...(given.containerd !== undefined && { containerd: absolute("containerd", given.containerd) }),
    bridge: given.bridge ?? "docker0",
    ...(given.bip !== undefined && { bip: given.bip }),
    ip: given.ip ?? "0.0.0.0",
    balancer: given.balancer ?? defaultBalancer.name,
    addressPools: given["default-address-pools"] ?? defaultPools,
    lenientCidr: given["lenient-cidr"] ?? false,
    dns: given.dns ?? [],
    dnsSearch: given["dns-search"] ?? [],
    dnsOptions: given["dns-opts"] ?? [],
    labels: given.labels ?? [],
    insecureRegistries: given["insecure-registries"] ?? [],
    logLevel: given.debug ? "debug" : (given["log-level"] ?? "info"),
  };
  check(config);
  return config;
}

/** @throws {ConfigError} for a URL that is none, and for one in clear to another host */
function externalEtcd(given: Flags): EtcdAddress | undefined {
  const urls = given["external-etcd"];
  const files = (["ca", "cert", "key"] as const).map((name) => given[`external-etcd-${name}`]);
  if (urls === undefined) {
    if (files.some((file) => file !== undefined)) throw new ConfigError("external-etcd-…: --external-etcd is missing");
    return undefined;
  }
  const parsed = urls.map((text) => {
    const url = URL.parse(text);
    if (url === null || url.port === "" || !["http:", "https:"].includes(url.protocol))
      throw new ConfigError(`external-etcd: ${text} is not like https://192.0.2.1:2379`);
    return url;
  });
  const endpoints = parsed.map(({ host }) => host);
  if (parsed.every(({ protocol, hostname }) => protocol === "http:" && /^(127\.|\[::1\]$|localhost$)/.test(hostname)))
    return { endpoints };
  if (parsed.some(({ protocol }) => protocol === "http:"))
    throw new ConfigError("external-etcd: only an etcd of this host may be spoken with in clear; use https");
  const [ca, cert, key] = files.map((file) => (file === undefined ? undefined : readText(file)));
  if (ca === undefined || cert === undefined || key === undefined)
    throw new ConfigError(
      "external-etcd: https needs --external-etcd-ca, --external-etcd-cert and --external-etcd-key",
    );
  return { endpoints, tls: { ca, cert, key } };
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`external-etcd: ${(error as Error).message}`);
  }
}

function absolute(key: string, path: string): string {
  if (!path.startsWith("/")) throw new ConfigError(`${key}: ${path} is not an absolute path`);
  return path.replace(/(.)\/+$/, "$1");
}

function check(config: Config): void {
  for (const host of config.hosts)
    if (!/^unix:\/\/\/./.test(host))
      throw new ConfigError(
        `host ${host}: only unix:///path is listened on; for another machine use \`docker -H ssh://…\``,
      );
  if (config.bridge !== "none" && !/^[^\s/:%]{1,15}$/.test(config.bridge))
    throw new ConfigError(`bridge: "${config.bridge}" is not an interface name`);
  if (config.bridge === "none" && config.bip !== undefined)
    throw new ConfigError("bip: there is no default bridge with --bridge none");
  if (isIP(config.ip) === 0) throw new ConfigError(`ip: ${config.ip} is not an IP address`);
  for (const server of config.dns) if (isIP(server) === 0) throw new ConfigError(`dns: ${server} is not an IP address`);
  for (const label of config.labels)
    if (!/^[^=]+=/.test(label)) throw new ConfigError(`bad attribute format: ${label}`);
  for (const pool of config.addressPools) checkPool(pool);
}

/** `base=10.0.0.0/8,size=24` */
function readPool(text: string): { base: string; size: number } {
  const pairs = new Map(text.split(",").map((pair) => pair.split("=", 2) as [string, string | undefined]));
  const base = pairs.get("base");
  const size = pairs.get("size");
  if (base === undefined || size === undefined || pairs.size !== 2)
    throw new ConfigError(`invalid argument "${text}" for "--default-address-pool": wants base=CIDR,size=BITS`);
  return { base, size: Number(size) };
}

function checkPool({ base, size }: { readonly base: string; readonly size: number }): void {
  const [address = "", length = ""] = base.split("/");
  const bits = isIP(address) === 6 ? 128 : 32;
  if (isIP(address) === 0 || !/^\d+$/.test(length) || Number(length) > bits)
    throw new ConfigError(`default-address-pool: invalid CIDR address: ${base}`);
  if (!Number.isInteger(size) || size < Number(length) || size > bits)
    throw new ConfigError(`default-address-pool: size ${size} does not fit into ${base}`);
}
