import type { HostPort, HostRoute } from "../model/network.ts";
import type { IpAddress } from "../model/ids.ts";
import type { BaseText, NamespaceName, PlanKind, PlanObject } from "../model/plan.ts";

/** What the kernel refused. `code` is the errno's name (`EEXIST`); `message` has the kernel's extended text when it gave one. */
export class KernelError extends Error {
  override readonly name = "KernelError";
  readonly code: string;
  /** Index of the refused step, when it came from `apply`. */
  step?: number;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** An object as found in the kernel. `owner` is absent when it carries no mark of ours and nobody asked for it here. */
export interface Found {
  readonly object: PlanObject;
  readonly owner?: string;
}

/** A step of an apply. `change` is sent when the key is the same and the object is not. */
export type Step =
  | { readonly verb: "create"; readonly object: PlanObject; readonly owner: string }
  | { readonly verb: "change"; readonly object: PlanObject; readonly was: PlanObject; readonly owner: string }
  | { readonly verb: "remove"; readonly object: PlanObject };

/** Something changed in the kernel, by whoever. `lost` means that events were missed: read everything again. */
export type KernelEvent =
  | { readonly kind: Exclude<PlanKind, "namespace">; readonly namespace: NamespaceName; readonly name: string }
  | { readonly kind: "lost" };

/** A link as it is, whoever made it. */
export interface LinkState {
  readonly name: string;
  /** Another one when the link was made anew. */
  readonly index: number;
  /** `bridge`, `vlan` …; `""` for hardware. */
  readonly type: string;
  readonly owner?: string;
  /** Set when it has the mark of another engine. */
  readonly otherEngine?: string;
  readonly up: boolean;
  /** False when the cable is out, or what it stands on is down. */
  readonly carrier: boolean;
  /** True when somebody asked for it. */
  readonly promiscuous: boolean;
  readonly mtu: number;
  readonly mac: string;
}

/** Which frames a socket hears: all of ARP, UDP to the DHCP client's port, or answers to neighbour solicitations. */
export type FrameFilter = "arp" | "dhcp" | "neighbour-advertisement";

/** Ethernet frames on one link, header and all, past the host's own protocols. */
export interface FrameSocket {
  /** @throws {KernelError} ENETDOWN, ENXIO … */
  send(frame: Buffer): void;
  /** True when the link went, too. */
  readonly closed: boolean;
  close(): void;
}

/**
 * The only door to Linux. Every call is synchronous: netlink, libnftables and /proc/sys answer in microseconds,
 * and a namespace may only be entered by a thread that does not give up control meanwhile.
 */
export interface Kernel {
  /**
   * Does the steps in order; consecutive chain and element steps of one namespace are one nft transaction.
   * Creating what exists as wished, and removing what is gone, succeed.
   * @returns how many steps were done: all of them.
   * @throws {KernelError} at the first step refused; `error.step` is its index, the steps before it are done.
   */
  apply(steps: readonly Step[]): void;
  /**
   * Everything of some kinds in a namespace that the daemon could have made: marked links, our routes, our table's chains. Kinds
   * that are listed together are read together: the links once for all of them.
   */
  list(namespace: NamespaceName, ...kinds: readonly PlanKind[]): Found[];
  /** Namespaces of sandboxes and networks whose file exists, by name. */
  namespaces(): NamespaceName[];
  /** One link by name, ours or not; undefined when there is none. */
  link(namespace: NamespaceName, name: string): LinkState | undefined;
  /** Routes and addresses of the host, those of our own links left out. */
  hostRoutes(): HostRoute[];
  /** Ports of the host on which programs, or Linux itself, wait for connections and datagrams from anybody. */
  waitingPorts(): HostPort[];
  /** True for an address of one of the host's links, ours or not. */
  hasAddress(address: IpAddress): boolean;
  /**
   * The tables `tombolo` of a namespace exist with all that the text has for it; makes what is missing. In a container's sandbox
   * only tables that are there are looked at. From then on a namespace gets what the text has for it before the first rule is
   * written there.
   * @param namespace absent: the host's
   */
  ensureBase(text: BaseText, namespace?: NamespaceName): void;
  /** Runs text of our own in the nft of a namespace (the resolver's redirect). One transaction. */
  nft(namespace: NamespaceName, text: string): void;
  /**
   * The addresses from which tracked connections of a namespace are answered that were begun to another one; and those of
   * IPVS destinations that were removed and not forgotten.
   */
  answering(namespace: NamespaceName): IpAddress[];
  /**
   * Forgets the tracked connections of a namespace that are answered from one of these addresses and were begun to another one:
   * the next packet of each is one of a new connection. IPVS destinations of these addresses that were removed go. Nothing where
   * there is no namespace.
   * @returns how many there were
   */
  forgetConnections(namespace: NamespaceName, from: readonly IpAddress[]): number;
  /** Sets a sysctl, dotted. @throws {KernelError} ENOENT when the kernel does not know it. */
  sysctl(namespace: NamespaceName, key: string, value?: string): string;
  /** Runs `body` with this thread inside the namespace. `body` must be synchronous (FFI and *Sync only). */
  inside<R>(namespace: NamespaceName, body: () => R): R;
  /** Path of the namespace file: `/proc/self/ns/net`, or the file that pins a sandbox's or a network's. */
  namespacePath(namespace: NamespaceName): string;
  /**
   * A socket that stays in the namespace in which it is made, whoever uses it.
   * @returns its file descriptor, non-blocking, bound to `address` and a port that the kernel chooses; TCP ones listen when `listen`
   */
  socket(
    namespace: NamespaceName,
    options: { readonly protocol: "udp" | "tcp"; readonly address: IpAddress; readonly listen?: boolean },
  ): number;
  /** True where the kernel has IPVS: its module is loaded, if that can be done. */
  hasIpvs(): boolean;
  /** True where the kernel has WireGuard itself: its module is loaded, if that can be done. */
  hasWireguard(): boolean;
  /**
   * The pair of keys of a WireGuard link of ours that an earlier process made: the private one is read back.
   * @returns the public key, base64; undefined where no such link is, or it does not answer
   */
  wireguardKey(link: string): string | undefined;
  /** Makes a pair of keys. The private one is in this process's memory until it is forgotten. @returns the public one, base64 */
  newWireguardKey(): string;
  forgetWireguardKey(publicKey: string): void;
  /** Public keys of the other hosts that have answered over a WireGuard link; empty when it does not answer itself. */
  wireguardAnswers(link: string): ReadonlySet<string>;
  /** Hears and sends frames on a link, of the host if not told. @throws {KernelError} ENODEV, EPERM … */
  frames(link: string, filter: FrameFilter, onFrame: (frame: Buffer) => void, namespace?: NamespaceName): FrameSocket;
  /** Chains of others that drop what they are not told to forward. */
  foreignDrops(): { readonly family: string; readonly table: string; readonly chain: string }[];
  /** Kernel events of the host's namespace and of networks', from now on. @returns a function that ends them. */
  events(onEvent: (event: KernelEvent) => void): () => void;
  close(): void;
}
