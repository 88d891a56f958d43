import type { Balancer } from "../balancers/balancer.ts";
import type { Membership } from "../cluster/node/membership.ts";
import type { Replica } from "../cluster/node/replica.ts";
import type { Dataplane, ParentState } from "../dataplane/dataplane.ts";
import type { NetworkDriver } from "../drivers/driver.ts";
import type { KeyedLock } from "../lib/keyed-lock.ts";
import type { Cidr, IpAddress, MacAddress, SandboxId } from "../model/ids.ts";
import type { Lan } from "../model/lan.ts";
import type { HostRoute } from "../model/network.ts";
import type { DnsConfig } from "../model/sandbox.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Store } from "../store/store.ts";
import type { EventBus } from "./events.ts";
import type { LanAddresses } from "./lan-addresses.ts";
import type { Overlays } from "./overlays.ts";

/** What the engine asks of the machine; `daemon.ts` supplies it. */
export interface Host {
  readonly name: string;
  readonly memory: number; // bytes
  readonly cpus: number;
  readonly kernelVersion: string;
  readonly operatingSystem: string;
  readonly osVersion: string;
  readonly cgroupVersion: "1" | "2";
  /** Routes and addresses that are not ours: no pool may overlap them unseen. */
  routes(): readonly HostRoute[];
  /** What a link of the host is like; a name that no link has is "gone". */
  linkState(name: string): ParentState;
  /** The name of a link, also when it was asked for by another name that it has (ip-link(8), altname). */
  linkName(name: string): string | undefined;
  /** MTU of a link in bytes; undefined when there is none of that name. */
  linkMtu(name: string): number | undefined;
  /** Addresses on links that are not ours, those for the link alone left out. */
  addresses(): readonly { readonly link: string; readonly address: IpAddress }[];
  /** True for the host's own addresses. */
  hasAddress(address: IpAddress): boolean;
  /** True for the MAC of one of the host's own links that has an address. */
  hasMac(mac: MacAddress): boolean;
  /** Why a bridge of this name cannot be ours, or undefined. */
  linkOwner(name: string): string | undefined;
  /** Why nobody can listen there, in the words of Linux; undefined when the port is free. */
  portTaken(protocol: string, address: IpAddress, port: number): Promise<string | undefined>;
  /** First and last port of `net.ipv4.ip_local_port_range`. */
  ephemeralPorts(): readonly [first: number, last: number];
  /** The host's resolv.conf. */
  dns(): DnsConfig;
  /** Path of the file that pins a sandbox's namespace. */
  namespacePath(id: SandboxId): string;
  /** What encrypts: the type of the WireGuard link of that name; undefined when there is none. */
  encryptedBy(link: string): "kernel" | "wireguard-go" | undefined;
  /** What in the host's firewall keeps containers from the network, with the mend. */
  firewallWarnings(): readonly string[];
}

/** The embedded DNS server of each sandbox. */
export interface Resolver {
  open(id: SandboxId): void | Promise<void>;
  close(id: SandboxId): void | Promise<void>;
}

export interface Settings {
  readonly id: string; // UUID of this daemon
  readonly version: string;
  readonly dataRoot: string;
  readonly debug: boolean;
  readonly labels: readonly string[];
  readonly lenientCidr: boolean;
  readonly addressPools: readonly { readonly base: Cidr; readonly size: number }[];
  /** `docker0`, or what `--bridge` says; "none" means no default bridge. */
  readonly bridge: string;
  readonly bridgeAddress?: Cidr; // `--bip`
  readonly hostBinding: IpAddress;
  readonly dns: Partial<DnsConfig>;
  readonly insecureRegistries: readonly string[];
}

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Everything the engine's verbs stand on. */
export interface Parts {
  readonly store: Store;
  readonly runtime: Runtime;
  readonly dataplane: Dataplane;
  readonly resolver: Resolver;
  readonly drivers: ReadonlyMap<string, NetworkDriver>;
  /** A node's, by what it says of itself: what it can do is all that is asked of it here. */
  readonly balancerNamed: (name: string | undefined) => Pick<Balancer, "name" | "ways">;
  readonly host: Host;
  readonly lan: Lan;
  readonly addresses: LanAddresses;
  readonly membership: Membership;
  readonly replica: Replica;
  readonly overlays: Overlays;
  readonly settings: Settings;
  readonly bus: EventBus;
  /** One verb at a time for each container, by its id, and for each volume (`makingVolumes`). */
  readonly locks: KeyedLock;
  readonly log: Log;
}
