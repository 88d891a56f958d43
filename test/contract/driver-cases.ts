import type { EndpointView, NetworkDriver, NetworkView, PeerView } from "../../src/drivers/driver.ts";
import { planParent } from "../../src/drivers/parent.ts";
import { planUnderlay, planUnderlayPeer } from "../../src/drivers/underlay.ts";
import { encryptedUnderlay, type LinkObject, type Owner, type PlanObject } from "../../src/model/plan.ts";
import type { OwnEnd } from "../../src/model/wireguard.ts";
import {
  endpointRow,
  endRow,
  type EndpointWish,
  networkRows,
  type NetworkWish,
  peerRow,
  type PeerWish,
  sandboxRow,
} from "../support/rows.ts";

/** What a user asks of a driver; its name and its number are the suite's. */
export type DriverWish = Omit<NetworkWish, "number" | "driver">;

/** One network with its containers, as the suite plans it. */
export interface DriverCase {
  /** Its heading in `plan.golden`. */
  readonly title: string;
  readonly network: DriverWish;
  readonly endpoints: readonly EndpointWish[];
  /** Endpoints of other hosts. */
  readonly peers?: readonly PeerWish[];
  /** This host's keys of WireGuard. */
  readonly own?: OwnEnd;
  /** Links of the host that somebody else made: those that the options name. */
  readonly there?: readonly LinkObject[];
  /** A kind of link that not every kernel has, as `vlan`: Linux gets the case where `TOMBOLO_KERNEL_HAS` names it. */
  readonly needs?: string;
}

/** What a driver is tried with: `export const fixture` of the `testing.ts` in its folder. */
export interface DriverFixture {
  /** Every key of `-o` that it honours: each must be in a case, or in what is refused. */
  readonly optionKeys: readonly string[];
  /** The first is the plainest with everything in it: the golden shows the others by what they change of it. */
  readonly cases: readonly DriverCase[];
  /** What `readOptions` refuses, with its exact text. */
  readonly refused: readonly (readonly [wish: DriverWish, message: string])[];
}

export interface Views {
  readonly network: NetworkView;
  readonly endpoints: readonly EndpointView[];
  readonly peers: readonly PeerView[];
}

/**
 * The rows of a case, as a driver is shown them. Each container has its default routes through this network.
 * @param number of the network, 1 to 99: two numbers are two networks with other containers, of which the first publishes
 */
export function viewsOf(driver: NetworkDriver, { network, endpoints, peers = [] }: DriverCase, number = 1): Views {
  const all = networkRows({ ...network, number, driver: driver.name });
  const rows = driver.hasPools ? all : { network: { ...all.network, pools: [] }, pools: [] };
  const views = endpoints.map((wish) => {
    // A published port belongs to one container of the host: the engine refuses a second one.
    const other = number === 1 ? {} : { container: number * 100 + wish.member, ports: [] };
    const endpoint = endpointRow(rows, { ...wish, ...other });
    const container = other.container ?? wish.container ?? wish.member;
    return { ...rows, endpoint, sandbox: sandboxRow(container, endpoint) };
  });
  return { network: rows, endpoints: views, peers: peers.map((wish) => ({ ...rows, peer: peerRow(rows, wish) })) };
}

/** Everything that is wanted for a case, by owner: what the network stands on first. */
export function plansOf(driver: NetworkDriver, one: DriverCase, number = 1): Map<Owner, readonly PlanObject[]> {
  const { network, endpoints, peers } = viewsOf(driver, one, number);
  const options = driver.readOptions(network.network.spec);
  const parent = driver.lan?.parentOf(options);
  const ends = new Map((one.peers ?? []).map((wish) => [wish.dataPath, endRow(wish)]));
  const encryption = network.network.tunnel?.encryption;
  const leaves = new Set(endpoints.flatMap(({ endpoint }) => endpoint.leaf ?? []));
  return new Map<Owner, readonly PlanObject[]>([
    ...(parent === undefined ? [] : [[`parent:${parent.link}`, planParent(parent.link, [parent])] as const]),
    ...(encryption === undefined ? [] : [[encryptedUnderlay, planUnderlay(encryption, one.own)] as const]),
    [`network:${network.network.id}`, driver.planNetwork(network, options)],
    ...[...leaves].map(
      (leaf) => [`leaf:${network.network.id}|${leaf}`, driver.planLeaf?.({ ...network, leaf }, options) ?? []] as const,
    ),
    ...endpoints.map((view) => [`endpoint:${view.endpoint.id}`, driver.planEndpoint(view, options)] as const),
    ...peers.map((view) => [`peer:${view.peer.id}`, driver.planPeer?.(view, options) ?? []] as const),
    ...[...ends].map(([address, end]) => {
      const view = { ...network, address, ...(end !== undefined && { wireguardAddress: end.address }) };
      const isReached = encryption !== undefined && one.own !== undefined && end !== undefined;
      const peer = isReached ? planUnderlayPeer(one.own, end, address) : [];
      return [`tunnel:${address}`, [...peer, ...(driver.planTunnelEnd?.(view, options) ?? [])]] as const;
    }),
  ]);
}

/** The same without owners. */
export const objectsOf = (driver: NetworkDriver, one: DriverCase, number = 1): PlanObject[] =>
  [...plansOf(driver, one, number).values()].flat();
