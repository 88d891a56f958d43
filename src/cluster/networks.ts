import { forgetNetwork } from "../ipam/forget-network.ts";
import { openPools } from "../ipam/pools.ts";
import { conflict, forbidden, invalid, rpcError } from "../lib/errors.ts";
import type { Cidr, IpAddress, NetworkId } from "../model/ids.ts";
import { type Network, type NetworkSpec, plainSpec } from "../model/network.ts";
import { ingressEnds } from "./ingress-sandbox.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import { clusterIn } from "./certificates.ts";
import { newSwarmId } from "./identity/names.ts";
import { routesOfNodes } from "./routes.ts";

/** A network of the cluster that is to be made. */
export interface NetworkWish {
  readonly spec: NetworkSpec;
  /** True when the driver takes several subnets of one family. */
  readonly severalSubnets: boolean;
  /** VXLAN network identifier; absent: the lowest free one. */
  readonly vni?: number;
  readonly isEncrypted?: boolean;
  /** Blocks that are not to be used, and what has them, besides networks and nodes' addresses. */
  readonly others: readonly { readonly to: Cidr; readonly name: string }[];
  readonly lenientCidr: boolean;
  /** RFC 3339. */
  readonly createdAt: string;
}

/** Docker's first one, and the last of 24 bits. */
const vnis = { first: 4096, last: 2 ** 24 - 1 } as const;

/**
 * Makes a network of the cluster: its name, its identifier on the wire, its subnets and their gateways are claimed.
 * @throws {EngineError} conflict for a name, and for a second ingress network; forbidden for an overlap or an identifier that is taken, naming the other;
 *   invalid for what the user typed
 */
export function openNetwork(tx: Transaction, wish: NetworkWish): Network {
  const { spec, severalSubnets, others, lenientCidr, createdAt } = wish;
  const cluster = clusterIn(tx);
  if (tx.get("names", `network|${spec.name}`) !== undefined)
    throw conflict(`network with name ${spec.name} already exists`);
  const ingress = spec.ingress ? ingressIn(tx) : undefined;
  // moby/swarmkit manager/controlapi/network.go
  if (ingress !== undefined) throw conflict(`ingress network (${ingress.id}) is already present`);
  const id = newSwarmId();
  const opened = openPools(tx, {
    networkId: id,
    spec,
    severalSubnets,
    defaultPools: cluster.addressPools.map((base) => ({ base, size: cluster.subnetSize })),
    daemonId: cluster.id,
    hostRoutes: [],
    others: [...nodesIn(tx), ...others],
    lenientCidr,
  });
  const vni = claimVni(tx, id, wish.vni);
  tx.insert("names", { kind: "network", name: spec.name, id });
  const network: Network = {
    id,
    scope: "cluster",
    spec: { ...spec, labels: { ...spec.labels, ...opened.labels } },
    pools: opened.pools.map((pool) => pool.id),
    predefined: false,
    vni,
    ...(wish.isEncrypted === true && { isEncrypted: true }),
    createdAt,
  };
  tx.insert("networks", network);
  return network;
}

/** @throws {EngineError} invalid while services need it, with swarmkit's text, or containers are on it, naming them */
export function closeNetwork(tx: Transaction, id: NetworkId): void {
  const network = tx.get("networks", id);
  if (network === undefined) return;
  const [service] = tx.where("virtualServices", "network", id);
  if (service !== undefined)
    throw rpcError(
      "FailedPrecondition",
      network.spec.ingress
        ? `ingress network cannot be removed because service ${service.serviceId} depends on it`
        : `network ${id} is in use by service ${service.serviceId}`,
    );
  const ends = new Set(ingressEnds(tx, id));
  const used = tx
    .where("peers", "network", id)
    .filter((peer) => !ends.has(peer))
    .map((p) => `name:"${p.containerName}" id:"${p.id.slice(0, 12)}" on ${p.hostname}`);
  if (used.length > 0)
    throw invalid(
      `error while removing network: network ${network.spec.name} has active endpoints (${used.join(", ")})`,
    );
  if (network.vni !== undefined) tx.delete("names", `vni|${network.vni}`);
  for (const end of ends) tx.delete("peers", end.id);
  forgetNetwork(tx, id);
}

/**
 * Makes the network by which published ports of services come in. Where all pools are the nodes' own routes, as in a LAN
 * that is 10.0.0.0/8, it has the first subnet nevertheless: it only hides that much of the LAN from tasks.
 */
export function openIngress(tx: Transaction, now: number): void {
  if (ingressIn(tx) !== undefined) return;
  const createdAt = new Date(now).toISOString();
  const wish = { spec: ingressSpec, severalSubnets: false, lenientCidr: false, createdAt };
  try {
    openNetwork(tx, { ...wish, others: routesOfNodes(tx) });
  } catch {
    openNetwork(tx, { ...wish, others: [] });
  }
}

/** The network by which published ports of services come in. */
export const ingressIn = (rows: Snapshot) => rows.where("networks", "isIngress", "true")[0];

/** Its name and flags in Docker (moby daemon/cluster). */
const ingressSpec: NetworkSpec = { ...plainSpec, name: "ingress", driver: "overlay", ingress: true };

/** A subnet with a node's address in it would cut the node off from its containers. */
const nodesIn = (rows: Snapshot) =>
  rows.list("nodes").flatMap(({ hostname, addresses }) =>
    [...new Set([addresses.advertise, addresses.dataPath])].map((address: IpAddress) => ({
      to: `${address}/${address.includes(":") ? 128 : 32}`,
      name: `node ${hostname}'s address ${address}`,
    })),
  );

function claimVni(tx: Transaction, id: NetworkId, wish: number | undefined): number {
  const holder = (vni: number) => tx.get("names", `vni|${vni}`);
  let vni: number = wish ?? vnis.first;
  if (wish === undefined) while (holder(vni) !== undefined && vni <= vnis.last) vni += 1;
  if (vni < 1 || vni > vnis.last) throw invalid(`VXLAN network identifier ${vni} is not between 1 and ${vnis.last}`);
  const other = holder(vni);
  if (other !== undefined)
    throw forbidden(
      `VXLAN network identifier ${vni} is network ${tx.get("networks", other.id)?.spec.name ?? other.id}'s`,
    );
  tx.insert("names", { kind: "vni", name: String(vni), id });
  return vni;
}
