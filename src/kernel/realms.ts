import type { NamespaceName } from "../model/plan.ts";
import { KernelError } from "./kernel.ts";
import type { Namespaces } from "./namespaces.ts";
import { type AddressInfo, dumpAddresses, readAddress } from "./netlink/addresses.ts";
import { dumpLinks, getLink, type LinkInfo, readLink } from "./netlink/links.ts";
import { dumpRoutes, readRoute, type RouteInfo } from "./netlink/routes.ts";
import { RouteSocket } from "./netlink/socket.ts";
import { contextsLeft, Nft } from "./nft/nft.ts";

/** What is kept open for one namespace. Open sockets keep the namespace alive, so `forget` closes them before it goes. */
export interface Realm {
  readonly route: RouteSocket;
  /** Generic netlink; opened at the first use. */
  generic(): RouteSocket;
  /** Netfilter's netlink: tracked connections; opened at the first use. */
  netfilter(): RouteSocket;
  /** libnftables of this namespace; made at the first use. */
  nft(): Nft;
  /** One link by name or index. */
  link(by: { readonly name: string } | { readonly index: number }): LinkInfo | undefined;
  links(): LinkInfo[];
  addresses(): AddressInfo[];
  /** Ordinary routes, and those that lead nowhere, of all tables, in both families. @param protocol absent: whoever made them */
  routes(protocol?: number): RouteInfo[];
  /** @throws {KernelError} ENODEV */
  need(link: string): LinkInfo;
  /** @throws {KernelError} ENODEV */
  indexOf(link: string): number;
  close(): void;
}

const idle = 1000; // milliseconds after which a sandbox's libnftables is let go: right after a transaction it would wait

export interface Realms {
  readonly namespaces: Namespaces;
  /** undefined when the namespace does not exist. */
  find(namespace: NamespaceName): Realm | undefined;
  /** @throws {KernelError} ENOENT when the namespace does not exist */
  get(namespace: NamespaceName): Realm;
  forget(namespace: NamespaceName): void;
  close(): void;
}

export function createRealms(namespaces: Namespaces): Realms {
  const open = new Map<NamespaceName, { readonly identity: number; readonly realm: Realm }>();
  function forget(namespace: NamespaceName): void {
    open.get(namespace)?.realm.close();
    open.delete(namespace);
  }
  function find(namespace: NamespaceName): Realm | undefined {
    const identity = namespaces.identity(namespace);
    const known = open.get(namespace);
    if (known !== undefined && known.identity === identity) return known.realm;
    forget(namespace);
    if (identity === undefined) return undefined;
    const realm = openRealm(namespaces, namespace);
    open.set(namespace, { identity, realm });
    return realm;
  }
  return {
    namespaces,
    find,
    forget,
    get(namespace) {
      const realm = find(namespace);
      if (realm === undefined) throw new KernelError("ENOENT", `no network namespace ${namespace}`);
      return realm;
    },
    close() {
      for (const namespace of open.keys()) forget(namespace);
    },
  };
}

/** How to close each sandbox's context, the oldest first. */
const restingContexts = new Set<() => void>();
function closeOldest(): void {
  const [oldest] = restingContexts;
  oldest?.();
}

function openRealm(namespaces: Namespaces, namespace: NamespaceName): Realm {
  const route = namespaces.inside(namespace, () => new RouteSocket());
  let generic: RouteSocket | undefined;
  let netfilter: RouteSocket | undefined;
  let nft: Nft | undefined;
  let resting: NodeJS.Timeout | undefined;
  const closeNft = () => {
    clearTimeout(resting);
    restingContexts.delete(closeNft);
    nft?.close();
    nft = undefined;
  };
  const link: Realm["link"] = (by) => {
    try {
      const reply = route.exchange(getLink(by))[0];
      return reply === undefined ? undefined : readLink(reply.body);
    } catch (error) {
      if (error instanceof KernelError && error.code === "ENODEV") return undefined;
      throw error;
    }
  };
  const need = (name: string) => {
    const found = link({ name });
    if (found === undefined) throw new KernelError("ENODEV", `no link ${name} in ${namespace}`);
    return found;
  };
  return {
    route,
    generic: () => (generic ??= namespaces.inside(namespace, () => new RouteSocket(16))),
    netfilter: () => (netfilter ??= namespaces.inside(namespace, () => new RouteSocket(12))),
    nft() {
      if (nft === undefined && contextsLeft() === 0) closeOldest();
      nft ??= namespaces.inside(namespace, () => new Nft());
      clearTimeout(resting);
      // A context is about a megabyte, and a sandbox needs its rules once.
      if (namespace !== "host") {
        restingContexts.add(closeNft);
        resting = setTimeout(closeNft, idle).unref();
      }
      return nft;
    },
    link,
    links: () => route.dump(dumpLinks).map((reply) => readLink(reply.body)),
    addresses: () => route.dump(dumpAddresses).map((reply) => readAddress(reply.body)),
    routes: (protocol) =>
      ([2, 10] as const)
        .flatMap((family) => route.dump(dumpRoutes(family, protocol)))
        .flatMap((reply) => readRoute(reply.body) ?? []),
    need,
    indexOf: (name) => need(name).index,
    close() {
      route.close();
      generic?.close();
      netfilter?.close();
      closeNft();
    },
  };
}

/** Does `body`; the errors named mean that there is nothing left to do. */
export function tolerate(codes: readonly string[], body: () => void): void {
  try {
    body();
  } catch (error) {
    if (!(error instanceof KernelError) || !codes.includes(error.code)) throw error;
  }
}
