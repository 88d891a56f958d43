import { join } from "node:path";
import { createApiServer } from "../api/server.ts";
import { Membership } from "../cluster/node/membership.ts";
import { portsToTell } from "../cluster/node-ports.ts";
import { Replica } from "../cluster/node/replica.ts";
import type { Balancer } from "../balancers/balancer.ts";
import { balancerNamed } from "../balancers/index.ts";
import type { ReadTaskLog } from "../cluster/calls/task-logs.ts";
import { createDataplane } from "../dataplane/create-dataplane.ts";
import type { OnParent } from "../dataplane/parents.ts";
import { createResolver } from "../dns/resolver.ts";
import { drivers } from "../drivers/index.ts";
import { wayOutRoutes } from "../engine/attachments.ts";
import { publishCluster } from "../engine/cluster-events.ts";
import { createEngine } from "../engine/create-engine.ts";
import { EventBus } from "../engine/events.ts";
import type { Host, Log, Settings } from "../engine/parts.ts";
import { bipSubnet } from "../engine/predefined.ts";
import { taskLogReader } from "../engine/service-logs.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { EngineDriver, NodeWireguard, TakenPort } from "../model/cluster.ts";
import { type HostRoute, type Network, tunnelOverhead } from "../model/network.ts";
import { createKernel } from "../kernel/linux-kernel.ts";
import { createLan } from "../lan/lan.ts";
import { architecture } from "../lib/machine.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import { createRuntime } from "../runtime/create-runtime.ts";
import { openFileStore } from "../store/file-store.ts";
import type { Store } from "../store/store.ts";
import { type Config, ConfigError } from "./config.ts";
import { engineId, engineMark, groupId, makeRoots, writePidfile } from "./files.ts";
import { followHost } from "./follow-host.ts";
import { followPorts } from "./follow-ports.ts";
import { createHost } from "./host.ts";
import { createWireguard, type Wireguard } from "./wireguard.ts";

export interface Daemon {
  /** Stops listening, then every part in reverse. Containers go on. */
  stop(): Promise<void>;
}

/**
 * Constructs every part and starts them in order; the only place that does. What was started is stopped again when a
 * later part fails.
 * @throws {ConfigError}, {EngineError} when the user must change something; {StoreError} for a file that cannot be opened
 */
export async function startDaemon(config: Config, version: string, log: Log): Promise<Daemon> {
  await using parts = new AsyncDisposableStack();
  makeRoots(config.dataRoot, config.execRoot);
  parts.defer(writePidfile(config.pidfile));
  const store = parts.adopt(await openFileStore(join(config.dataRoot, "tombolo.db")), (s) => s.close());
  const settings = settingsOf(config, engineId(config.dataRoot), version);
  const netnsDir = join(config.execRoot, "netns");
  const kernel = parts.adopt(createKernel({ netnsDir, engine: engineMark(settings.id) }), (k) => k.close());
  checkBridge(kernel, config.bridge);
  if (config.bip !== undefined) bipSubnet(config.bip);
  const balancer = balancerOf(config, kernel);
  const host = createHost(kernel);
  const registry = new Map(Object.entries(drivers));
  const bus = new EventBus();
  const dataplane = createDataplane({
    store,
    kernel,
    driverFor: (name) => registry.get(name),
    balancer,
    log,
    onParent: parentTeller(bus, log, (networks) => engine.announce(networks)),
  });
  const lan = parts.adopt(createLan(kernel), (l) => l.stop());
  const runtime = runtimeOf(config, settings.id, log);
  const upstream = upstreamOf(config, host);
  const resolver = parts.adopt(createResolver({ store, kernel, log, upstream }), (r) => r.stop());
  const changed = () => membership.describe();
  const wireguard = createWireguard({ store, kernel, dataplane, log }, config, settings.id, changed);
  const replica = createReplica(store, host, wireguard);
  const membership = createMembership(config, host, {
    version,
    bus,
    log,
    replica,
    balancer: balancer.name,
    settled: (signal) => dataplane.balanced(store.snapshot().revision, signal),
    wireguard: wireguard.said,
    hostRoutes: () => [...host.routes(), ...wayOutRoutes(store.snapshot())],
    takenPorts: () => portsToTell(store.snapshot(), kernel.waitingPorts(), host.ephemeralPorts()),
    readTaskLog: taskLogReader({ store, runtime }),
  });
  parts.defer(followHost(kernel, { replica, membership, log }));
  parts.defer(followPorts(store, () => membership.describe()));
  const engine = createEngine({
    ...{ membership, replica, store, runtime, dataplane, resolver, host, lan, settings, bus, log },
    drivers: registry,
    balancerNamed,
    locks: new KeyedLock(),
  });
  let isReady = false;
  parts.defer(() => engine.stop());
  // A start that is refused leaves no program behind that it began; those that it found go on.
  parts.defer(() => runtime.stop({ end: !isReady }));
  parts.defer(() => dataplane.stop());
  await runtime.start();
  // Before the data plane, which would make the bridge of former settings once more.
  await engine.followSettings();
  await wireguard.keys.open();
  await dataplane.start();
  parts.defer(() => wireguard.stop());
  wireguard.start();
  await engine.ensurePredefined();
  await engine.recover();
  parts.defer(() => membership.stop());
  await membership.start();
  await engine.settleMembership();
  engine.beginRestarts();
  for (const warning of host.firewallWarnings()) log.warn({}, warning);
  const api = parts.adopt(createApiServer({ engine, log }), (a) => a.close());
  for (const target of config.hosts)
    await api.listen({ path: target.slice("unix://".length), mode: 0o660, gid: groupId(config.group) });
  isReady = true;
  log.info({ hosts: config.hosts, version }, "tombolod is ready");
  const started = parts.move();
  return { stop: () => started.disposeAsync() };
}

/** @throws {ConfigError} where the kernel cannot do what the balancer plans */
function balancerOf({ balancer: name }: Config, kernel: Kernel): Balancer {
  if (name === "ipvs" && !kernel.hasIpvs())
    throw new ConfigError("balancer: this kernel has no IPVS (module ip_vs): install it, or use --balancer nft");
  return balancerNamed(name);
}

const upstreamOf =
  ({ dns }: Config, host: Host) =>
  () => {
    const found = host.dns();
    return { ...found, servers: dns.length > 0 ? dns : found.servers };
  };

/** Tells users what became of a link that networks stand on, and the LAN where containers are when it is back. */
const parentTeller =
  (bus: EventBus, log: Log, isBack: (networks: readonly Network[]) => void): OnParent =>
  (link, state, networks) => {
    log.warn({ link, state }, "a link on which networks stand has changed");
    for (const { id, spec } of networks)
      bus.publish({
        type: "network",
        action: "parent",
        id,
        attributes: { name: spec.name, type: spec.driver, parent: link, state },
      });
    if (state === "up") isBack(networks);
  };

/** As `docker node inspect` shows them. */
const engineDrivers: readonly EngineDriver[] = [
  { type: "Log", name: "json-file" },
  ...Object.keys(drivers).map((name) => ({ type: "Network", name: name === "none" ? "null" : name }) as const),
  { type: "Volume", name: "local" },
];

const runtimeOf = (config: Config, engine: string, log: Log) =>
  createRuntime({
    dataRoot: config.dataRoot,
    execRoot: config.execRoot,
    ...(config.containerd !== undefined && { containerdSocket: config.containerd }),
    namespace: `tombolo-${engineMark(engine)}`,
    log,
    insecureRegistries: config.insecureRegistries,
  });

const createReplica = (store: Store, host: Host, wireguard: Wireguard) =>
  new Replica({
    store,
    tunnelMtu: (local) => tunnelMtu(host, local),
    onCluster: (cluster) => wireguard.follow(cluster),
  });

const ethernet = 1500; // bytes, where the link is not known
/** What VXLAN leaves of a link's frames: over IPv6 its header is 20 bytes longer (RFC 7348 section 5). */
function tunnelMtu(host: Host, local: string): number {
  const link = host.addresses().find(({ address }) => address === local)?.link;
  const mtu = link === undefined ? undefined : host.linkMtu(link);
  return (mtu ?? ethernet) - tunnelOverhead[local.includes(":") ? "ip6" : "ip"];
}

const createMembership = (
  config: Config,
  host: Host,
  parts: {
    readonly version: string;
    readonly bus: EventBus;
    readonly log: Log;
    readonly replica: Replica;
    readonly settled: (signal: AbortSignal) => Promise<void>;
    readonly balancer: string;
    readonly wireguard: () => NodeWireguard;
    readonly hostRoutes: () => readonly HostRoute[];
    readonly takenPorts: () => TakenPort[];
    readonly readTaskLog: ReadTaskLog;
  },
) =>
  new Membership({
    dataDirectory: join(config.dataRoot, "swarm"),
    runDirectory: join(config.execRoot, "swarm"),
    ...(config.externalEtcd !== undefined && { externalEtcd: config.externalEtcd }),
    addresses: () => host.addresses(),
    describe: (addresses) => ({
      addresses,
      hostname: host.name,
      platform: { os: "linux", architecture },
      resources: { nanoCpus: host.cpus * 1e9, memoryBytes: host.memory },
      engineVersion: parts.version,
      engineLabels: Object.fromEntries(config.labels.map(pairOf)),
      drivers: engineDrivers,
      balancer: parts.balancer,
      wireguard: parts.wireguard(),
    }),
    hostRoutes: parts.hostRoutes,
    takenPorts: parts.takenPorts,
    readTaskLog: parts.readTaskLog,
    changed: (before, commit) => publishCluster(parts.bus, before, commit),
    replica: parts.replica,
    settled: parts.settled,
    log: parts.log,
  });

/** `disk=ssd` */
const pairOf = (label: string) => [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)] as const;

function settingsOf(config: Config, id: string, version: string): Settings {
  return {
    id,
    version,
    dataRoot: config.dataRoot,
    debug: config.logLevel === "debug",
    labels: config.labels,
    lenientCidr: config.lenientCidr,
    addressPools: config.addressPools,
    bridge: config.bridge,
    ...(config.bip !== undefined && { bridgeAddress: config.bip }),
    hostBinding: config.ip,
    dns: { servers: config.dns, search: config.dnsSearch, options: config.dnsOptions },
    insecureRegistries: config.insecureRegistries,
  };
}

/** Somebody else's bridge is never touched. @throws {ConfigError} with the way out */
function checkBridge(kernel: Kernel, name: string): void {
  const link = name === "none" ? undefined : kernel.link("host", name);
  if (link === undefined || link.owner !== undefined) return;
  const others = name === "docker0" ? "probably dockerd's" : "not made by this tombolod";
  const whose = link.otherEngine === undefined ? others : "another tombolod's";
  throw new ConfigError(
    `the interface ${name} is there already and ${whose} (${link.type || "no bridge"}). It is left as it is. ` +
      "Start with another name for the default bridge, and another address: tombolod --bridge tombolo0 --bip 172.31.0.1/16; or with none: --bridge none",
  );
}
