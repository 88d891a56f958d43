import { isDeepStrictEqual } from "node:util";
import { forgetNetwork } from "../ipam/forget-network.ts";
import { unavailable } from "../lib/errors.ts";
import { fromJsonBytes } from "../lib/json-bytes.ts";
import type { ClusterId, NodeId, PublicCluster } from "../model/cluster.ts";
import type { EndpointId, IpAddress, NetworkId } from "../model/ids.ts";
import { type Encryption, leastIpv6, type Network, type Tunnel } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import type { Snapshot, Store, Transaction } from "../store/store.ts";
import type { Tables } from "../store/tables.ts";
import type { Batch } from "./agent.ts";
import type { Attached } from "./attachments.ts";
import { texts } from "./texts.ts";
import { wireguardAddress } from "./encryption.ts";

/** The node that this host is. */
interface Self {
  readonly nodeId: NodeId;
  readonly clusterId: ClusterId;
  readonly dataPath: IpAddress;
}

export interface ReplicaParts {
  /** This host's own. */
  readonly store: Store;
  /** Bytes that a frame's payload may have in a tunnel that begins at an address of this host. */
  readonly tunnelMtu: (local: IpAddress) => number;
  /** Told of the cluster's row when it is there or has changed, after the rows that came with it; undefined: of none any more. */
  readonly onCluster: (cluster: PublicCluster | undefined) => void;
}

/** Tables of which nodes have rows. */
type Kept = "networks" | "pools" | "peers" | "ends";
const isKept = (table: string): table is Kept => ["networks", "pools", "peers", "ends"].includes(table);

/**
 * What this host keeps of the cluster: networks that its containers are on, and the endpoints that other hosts have there.
 * It stays while no manager answers, and while the daemon is away.
 */
export class Replica {
  readonly #parts: ReplicaParts;
  /** Endpoints that are being asked for, and the networks that they are for, once that is known. */
  readonly #held = new Map<EndpointId, NetworkId | undefined>();
  #self: Self | undefined;
  #udpPort = 4789;
  /** Told of endpoints of this host that the cluster does not know: it was begun again from what it was earlier. */
  onMissing: (ids: readonly EndpointId[]) => void = () => {};
  #batch: Batch["changes"][number][] = [];
  #isWhole = false;

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
  }

  /** From now on this host is that node. */
  begin(self: Self): void {
    this.#self = self;
    this.#batch = [];
  }

  /** Rows from a manager, in order. Resolves when this host's store has them. */
  async receive({ snapshot, more, changes }: Batch): Promise<void> {
    if (snapshot) [this.#batch, this.#isWhole] = [[], true];
    this.#batch.push(...changes);
    if (more) return;
    const [all, isWhole] = [this.#batch, this.#isWhole];
    [this.#batch, this.#isWhole] = [[], false];
    const bytes = all.findLast(({ table, row }) => table === "clusters" && row !== undefined)?.row;
    const cluster = bytes && fromJsonBytes<PublicCluster>(bytes);
    if (cluster !== undefined) this.#udpPort = cluster.dataPathPort;
    await this.#parts.store.update((tx) => this.#apply(tx, all, isWhole));
    if (cluster !== undefined) this.#parts.onCluster(cluster);
    if (!isWhole) return;
    const known = new Set(all.flatMap(({ table, key }) => (table === "peers" ? key : [])));
    const missing = endpointsIn(this.#parts.store.snapshot()).filter((id) => !known.has(id) && !this.#held.has(id));
    if (missing.length > 0) this.onMissing(missing);
  }

  /** Writes the rows of a network that a container comes onto. @throws {EngineError} unavailable when the swarm was left meanwhile */
  keep(tx: Transaction, { network, pools }: Omit<Attached, "peer">): void {
    if (this.#self === undefined) throw unavailable(texts.notPart);
    this.#putNetwork(tx, network);
    for (const pool of pools) put(tx, "pools", pool);
  }

  /** A link may carry more or less than before. */
  async measure(): Promise<void> {
    const { store } = this.#parts;
    const isSame = (network: Network) => isDeepStrictEqual(network.tunnel, this.#measured(network));
    if (this.#self === undefined || networksIn(store.snapshot()).every(isSame)) return;
    await store.update((tx) => {
      for (const network of networksIn(tx)) put(tx, "networks", { ...network, tunnel: this.#measured(network) });
    });
  }

  /** The port stays as it is: no manager may have said another yet. */
  #measured = (network: Network): Tunnel => ({
    ...this.#tunnelOf(network),
    udpPort: network.tunnel?.udpPort ?? this.#udpPort,
  });

  #tunnelOf(network: Network): Tunnel {
    const local = this.#self?.dataPath ?? "";
    const tunnel = { udpPort: this.#udpPort, local, mtu: this.#parts.tunnelMtu(local) };
    const encryption = network.isEncrypted ? this.#encryption(tunnel.mtu) : undefined;
    return { ...tunnel, ...(encryption !== undefined && { encryption }) };
  }

  /** An endpoint that is being asked for counts as there, and its network stays, until it is let go: its row is there, or not to come. */
  hold(id: EndpointId, network?: NetworkId): void {
    this.#held.set(id, network);
  }
  letGo(id: EndpointId): void {
    this.#held.delete(id);
  }

  /** All endpoints of this host on networks of the cluster. */
  endpoints(): Set<EndpointId> {
    return new Set([...endpointsIn(this.#parts.store.snapshot()), ...this.#held.keys()]);
  }

  /** Forgets all networks of the cluster that no container is on. */
  async clear(): Promise<void> {
    this.#self = undefined;
    await this.#parts.store.update((tx) => {
      forgetEnds(
        tx,
        networksIn(tx).flatMap(({ id }) => this.#drop(tx, id)),
      );
    });
    this.#parts.onCluster(undefined);
  }

  #apply(tx: Transaction, changes: Batch["changes"], isWhole: boolean): void {
    const seen = new Set<string>();
    const gone: Peer[] = [];
    for (const { table, key, row } of changes) {
      if (!isKept(table)) continue;
      seen.add(`${table}|${key}`);
      if (row === undefined) gone.push(...this.#remove(tx, table, key));
      else this.#put(tx, table, row);
    }
    if (isWhole) {
      for (const { id } of tx.list("peers")) if (!seen.has(`peers|${id}`)) gone.push(...this.#remove(tx, "peers", id));
      for (const { id } of tx.list("ends")) if (!seen.has(`ends|${id}`)) tx.delete("ends", id);
      for (const { id } of networksIn(tx)) if (!seen.has(`networks|${id}`)) gone.push(...this.#drop(tx, id));
    }
    forgetEnds(tx, gone);
  }

  /** @returns the peers that went */
  #remove(tx: Transaction, table: Kept, key: string): readonly Peer[] {
    if (table === "networks") return this.#drop(tx, key);
    if (table === "pools") return [];
    const peer = table === "peers" ? tx.get(table, key) : undefined;
    tx.delete(table, key);
    return peer === undefined ? [] : [peer];
  }

  /**
   * A network that this host needs no more; while containers are on it, or come, it stays, whatever a manager says.
   * @returns the peers that went with it
   */
  #drop(tx: Transaction, id: NetworkId): readonly Peer[] {
    return [...this.#held.values()].includes(id) ? [] : drop(tx, id);
  }

  #put(tx: Transaction, table: Kept, row: Uint8Array): void {
    if (table === "networks") return this.#putNetwork(tx, fromJsonBytes(row));
    if (table === "pools") return put(tx, table, fromJsonBytes(row));
    const nodeId = this.#self?.nodeId;
    if (table === "ends") {
      const end = fromJsonBytes<Tables["ends"]>(row);
      if (end.id !== nodeId) put(tx, table, end);
      return;
    }
    const peer = fromJsonBytes<Tables["peers"]>(row);
    // The own ones are endpoints here.
    if (peer.nodeId !== nodeId) put(tx, table, peer);
  }

  #encryption(tunnelMtu: number): Encryption | undefined {
    if (this.#self === undefined) return undefined;
    const { clusterId, nodeId } = this.#self;
    const mtu = Math.max(tunnelMtu - lessForWireguard, leastIpv6);
    return { address: wireguardAddress(clusterId, nodeId), mtu };
  }

  #putNetwork(tx: Transaction, network: Network): void {
    put(tx, "networks", { ...network, tunnel: this.#tunnelOf(network) });
    const name = `network|${network.spec.name}`;
    // A network of this host that has the name keeps it: the other one is found by its id.
    if (tx.get("names", name) === undefined)
      tx.insert("names", { kind: "network", name: network.spec.name, id: network.id });
  }
}

const lessForWireguard = 10; // bytes: WireGuard takes 60 or 80 of a packet where VXLAN takes 50 or 70

const networksIn = (rows: Snapshot) => rows.list("networks").filter(({ scope }) => scope === "cluster");

/** @returns the endpoints of this host on networks of the cluster */
export const endpointsIn = (rows: Snapshot): EndpointId[] =>
  networksIn(rows).flatMap(({ id }) => rows.where("endpoints", "network", id).map((endpoint) => endpoint.id));

/** With its last endpoint on networks of this host another one's end of WireGuard goes. */
function forgetEnds(tx: Transaction, gone: readonly Peer[]): void {
  for (const node of new Set(gone.map(({ nodeId }) => nodeId)))
    if (tx.where("peers", "node", node).length === 0) tx.delete("ends", node);
}

function put<T extends Kept>(tx: Transaction, table: T, row: Tables[T]): void {
  if (!isDeepStrictEqual(tx.get(table, row.id), row)) tx.put(table, row);
}
function drop(tx: Transaction, id: NetworkId): readonly Peer[] {
  if (tx.get("networks", id) === undefined || tx.where("endpoints", "network", id).length > 0) return [];
  const peers = tx.where("peers", "network", id);
  for (const peer of peers) tx.delete("peers", peer.id);
  forgetNetwork(tx, id);
  return peers;
}
