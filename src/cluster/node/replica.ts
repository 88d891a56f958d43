import { isDeepStrictEqual } from "node:util";
import { forgetNetwork } from "../../ipam/forget-network.ts";
import { unavailable } from "../../lib/errors.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { fromJsonBytes } from "../../lib/json-bytes.ts";
import { SharedValues } from "../../lib/shared-values.ts";
import type { ClusterId, NodeId, PublicCluster } from "../../model/cluster.ts";
import type { EndpointId, IpAddress, NetworkId } from "../../model/ids.ts";
import { type Encryption, leastIpv6, type Network, type Tunnel } from "../../model/network.ts";
import { ingressSandbox } from "../../model/sandbox.ts";
import type { Peer } from "../../model/peer.ts";
import { compareStates, type FileContent, type Task, type TaskId } from "../../model/service.ts";
import type { Snapshot, Store, Transaction } from "../../store/store.ts";
import { keys, type Tables } from "../../store/tables.ts";
import type { Batch } from "./agent.ts";
import type { Attached } from "../attachments.ts";
import { forgetIngressSandbox } from "../ingress-sandbox.ts";
import { texts } from "../texts.ts";
import { wireguardAddress } from "../encryption.ts";

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

/** Tables of which this host keeps rows that go with their network. */
const ofNetwork = ["peers", "virtualServices", "backends"] as const;
/** Those of which a snapshot has all rows, apart from networks. */
const whole = [...ofNetwork, "ends", "tasks"] as const;
const kept = ["networks", "pools", ...whole] as const;
type Kept = (typeof kept)[number];
const isKept = (table: string): table is Kept => (kept as readonly string[]).includes(table);
/** Tables whose rows this host has in memory only. */
type FileTable = "secrets" | "configs";
const isFile = (table: string): table is FileTable => table === "secrets" || table === "configs";

/**
 * What this host keeps of the cluster: networks that its containers are on, the endpoints that other hosts have there, the
 * services that can be reached there, and its own tasks. It stays while no manager answers, and while the daemon is away;
 * secrets and configs come anew.
 */
export class Replica {
  readonly #parts: ReplicaParts;
  /** Endpoints that are being asked for, and the networks that they are for, once that is known. */
  readonly #held = new Map<EndpointId, NetworkId | undefined>();
  readonly #shared = new SharedValues();
  #self: Self | undefined;
  #udpPort = 4789;
  /** Told of endpoints of this host that the cluster does not know: it was begun again from what it was earlier. */
  onMissing: (ids: readonly EndpointId[]) => void = () => {};
  /** Takes this host's containers off the networks of the cluster. */
  onRemoved: () => Promise<void> = async () => {};
  /** Told that secrets or configs have come. */
  onFiles: () => void = () => {};
  readonly #files = new Map<string, FileContent>();
  /** What tasks show to the registry of their image: in memory only, too. */
  readonly #registryAuths = new Map<TaskId, string>();
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
    this.#takeFiles(all, isWhole);
    failpoint("overlay.rows.before-store");
    await this.#parts.store.update((tx) => this.#apply(tx, all, isWhole));
    failpoint("overlay.rows.after-store");
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

  /** All endpoints of this host on networks of the cluster, and those that are kept for containers which are restarting. */
  endpoints(): Set<EndpointId> {
    const rows = this.#parts.store.snapshot();
    const kept = rows.list("containers").flatMap(({ claims = [] }) => claims.map(({ id }) => id));
    return new Set([...endpointsIn(rows), ...kept, ...this.#held.keys()]);
  }

  /** A secret or a config that one of this host's tasks names; undefined until it has come. */
  file(table: FileTable, id: FileContent["id"]): FileContent | undefined {
    return this.#files.get(`${table}/${id}`);
  }

  /** What a task shows to the registry, if it shows anything; undefined until it has come. */
  registryAuth(id: TaskId): string | undefined {
    return this.#registryAuths.get(id);
  }

  #takeFiles(changes: Batch["changes"], isWhole: boolean): void {
    if (isWhole) for (const held of [this.#files, this.#registryAuths]) held.clear();
    let came = false;
    for (const { table, key, row } of changes) {
      if (!isFile(table)) continue;
      if (row === undefined) this.#files.delete(`${table}/${key}`);
      else this.#files.set(`${table}/${key}`, fromJsonBytes(row));
      came ||= row !== undefined;
    }
    if (came) this.onFiles();
  }

  /** This host's tasks: those that it has something to say of, then each of which it says something else, until the signal. */
  async *tasks(signal: AbortSignal): AsyncIterable<Task> {
    let before: Snapshot | undefined;
    for await (const { snapshot, changed } of this.#parts.store.watch(signal)) {
      for (const { table, key } of changed) {
        const [old, row] = table === "tasks" ? [before?.get(table, key), snapshot.get(table, key)] : [];
        if (row !== undefined && compareStates(row.status.state, "assigned") > 0 && !isSameReport(old, row)) yield row;
      }
      before = snapshot;
    }
  }

  /** This host is in no swarm any more. It forgets its tasks, and all networks of the cluster that no container is on. */
  async clear(): Promise<void> {
    this.#self = undefined;
    await this.#forget();
  }

  /**
   * Managers count this host among their nodes no more: it keeps nothing of the cluster.
   * @param signal it leaves, too: what comes here from then on may be another swarm's
   */
  async removed(signal: AbortSignal): Promise<void> {
    await this.onRemoved();
    if (!signal.aborted) await this.#forget();
  }

  async #forget(): Promise<void> {
    this.#files.clear();
    this.#registryAuths.clear();
    this.#held.clear(); // what is still being asked for is another swarm's
    await this.#parts.store.update((tx) => {
      for (const { id } of tx.list("tasks")) tx.delete("tasks", id);
      forgetEnds(
        tx,
        networksIn(tx).flatMap(({ id }) => drop(tx, id)),
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
    if (isWhole) gone.push(...this.#removeUnseen(tx, seen));
    forgetEnds(tx, gone);
  }

  /** What a snapshot does not have is gone. @returns the peers that went */
  #removeUnseen(tx: Transaction, seen: ReadonlySet<string>): readonly Peer[] {
    const unseen = <T extends Kept>(table: T) =>
      tx.list(table).flatMap((row) => (seen.has(`${table}|${keyOf(table, row)}`) ? [] : keyOf(table, row)));
    const peers = whole.flatMap((table) => unseen(table).flatMap((key) => this.#remove(tx, table, key)));
    const networks = networksIn(tx).filter(({ id }) => !seen.has(`networks|${id}`));
    return [...peers, ...networks.flatMap(({ id }) => this.#drop(tx, id))];
  }

  /** @returns the peers that went */
  #remove(tx: Transaction, table: Kept, key: string): readonly Peer[] {
    if (table === "networks") return this.#drop(tx, key);
    if (table === "pools") return []; // they go with their network
    const peer = table === "peers" ? tx.get(table, key) : undefined;
    tx.delete(table, key);
    if (table === "tasks") this.#registryAuths.delete(key);
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
    if (table === "tasks") return this.#putTask(tx, fromJsonBytes(row));
    const nodeId = this.#self?.nodeId;
    if (table === "ends") {
      const end = fromJsonBytes<Tables["ends"]>(row);
      if (end.id !== nodeId) put(tx, table, end);
      return;
    }
    if (table !== "peers") return put(tx, table, fromJsonBytes(row));
    const peer = fromJsonBytes<Tables["peers"]>(row);
    // The own ones are endpoints here.
    if (peer.nodeId !== nodeId) put(tx, table, { ...peer, ...this.#placeOf(peer) });
  }

  /** Of a host and a network there are many: what they say of both is kept once. */
  #placeOf({ networkId, nodeId, hostname, dataPath }: Tables["peers"]): Partial<Tables["peers"]> {
    return this.#shared.of({ networkId, nodeId, hostname, dataPath }) as Partial<Tables["peers"]>;
  }

  /** How a task is, its node knows better than the manager to which it has said so. */
  #putTask(tx: Transaction, row: Task): void {
    const { registryAuth } = row.template;
    if (registryAuth !== undefined) this.#registryAuths.set(row.id, registryAuth);
    const template = registryAuth === undefined ? row.template : { ...row.template, registryAuth: "" };
    const { status, attachments } = tx.get("tasks", row.id) ?? row;
    put(tx, "tasks", { ...row, template, status, attachments });
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

const isSameReport = (old: Task | undefined, row: Task) =>
  isDeepStrictEqual([old?.status, old?.attachments], [row.status, row.attachments]);

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

const keyOf = <T extends Kept>(table: T, row: Tables[T]) => (keys[table] as (of: Tables[T]) => string)(row);
function put<T extends Kept>(tx: Transaction, table: T, row: Tables[T]): void {
  if (!isDeepStrictEqual(tx.get(table, keyOf(table, row)), row)) tx.put(table, row);
}
const isOfIngress = ({ sandboxId }: Tables["endpoints"]) => sandboxId === ingressSandbox;
function drop(tx: Transaction, id: NetworkId): readonly Peer[] {
  const network = tx.get("networks", id);
  if (network === undefined) return [];
  // Where published ports come in nobody is waited for.
  if (network.spec.ingress && tx.where("endpoints", "network", id).every(isOfIngress)) forgetIngressSandbox(tx);
  if (tx.where("endpoints", "network", id).length > 0) return [];
  const peers = tx.where("peers", "network", id);
  for (const table of ofNetwork) for (const row of tx.where(table, "network", id)) tx.delete(table, keyOf(table, row));
  forgetNetwork(tx, id);
  return peers;
}
