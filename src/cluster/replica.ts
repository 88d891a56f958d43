import { isDeepStrictEqual } from "node:util";
import { forgetNetwork } from "../ipam/forget-network.ts";
import { unavailable } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import { fromJsonBytes } from "../lib/json-bytes.ts";
import { SharedValues } from "../lib/shared-values.ts";
import type { ClusterId, NodeId, PublicCluster } from "../model/cluster.ts";
import type { EndpointId, IpAddress, NetworkId } from "../model/ids.ts";
import { type Encryption, leastIpv6, type Network, type Tunnel } from "../model/network.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import { compareStates, type FileContent, type Task, type TaskId } from "../model/service.ts";
import type { Snapshot, Store, Transaction } from "../store/store.ts";
import { keys, type Tables } from "../store/tables.ts";
import type { Batch } from "./agent.ts";
import type { Attached } from "./attachments.ts";
import { forgetIngressSandbox } from "./ingress-sandbox.ts";
import { texts } from "./texts.ts";
import { wireguardAddress, wireguardPort, wireguardRange } from "./encryption.ts";

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
  /** This host's WireGuard. */
  readonly wireguard: {
    readonly link: string;
    /** The public key. */
    readonly key: () => string;
    readonly isFor: (network: Network) => boolean;
  };
}

/** Tables of which this host keeps rows that go with their network. */
const ofNetwork = ["peers", "virtualServices", "backends"] as const;
const kept = ["networks", "pools", ...ofNetwork, "tasks"] as const;
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
    for (const { table, row } of all)
      if (table === "clusters" && row !== undefined) this.#udpPort = fromJsonBytes<PublicCluster>(row).dataPathPort;
    this.#takeFiles(all, isWhole);
    failpoint("overlay.rows.before-store");
    await this.#parts.store.update((tx) => this.#apply(tx, all, isWhole));
    failpoint("overlay.rows.after-store");
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
    const encryption = this.#parts.wireguard.isFor(network) ? this.#encryption(tunnel.mtu) : undefined;
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

  /** Forgets its tasks, and all networks of the cluster that no container is on. */
  async clear(): Promise<void> {
    this.#self = undefined;
    this.#files.clear();
    this.#registryAuths.clear();
    await this.#parts.store.update((tx) => {
      for (const { id } of tx.list("tasks")) tx.delete("tasks", id);
      for (const { id } of networksIn(tx)) this.#drop(tx, id);
    });
  }

  #apply(tx: Transaction, changes: Batch["changes"], isWhole: boolean): void {
    const seen = new Set<string>();
    for (const { table, key, row } of changes) {
      if (!isKept(table)) continue;
      seen.add(`${table}|${key}`);
      if (row === undefined) this.#remove(tx, table, key);
      else this.#put(tx, table, row);
    }
    if (!isWhole) return;
    for (const table of [...ofNetwork, "tasks"] as const)
      for (const row of tx.list(table))
        if (!seen.has(`${table}|${keyOf(table, row)}`)) tx.delete(table, keyOf(table, row));
    for (const { id } of networksIn(tx)) if (!seen.has(`networks|${id}`)) this.#drop(tx, id);
  }

  #remove(tx: Transaction, table: Kept, key: string): void {
    if (table === "networks") this.#drop(tx, key);
    else if (table !== "pools") tx.delete(table, key); // pools go with their network
    if (table === "tasks") this.#registryAuths.delete(key);
  }

  /** A network that this host needs no more; while containers are on it, or come, it stays, whatever a manager says. */
  #drop(tx: Transaction, id: NetworkId): void {
    if (![...this.#held.values()].includes(id)) drop(tx, id);
  }

  #put(tx: Transaction, table: Kept, row: Uint8Array): void {
    if (table === "networks") return this.#putNetwork(tx, fromJsonBytes(row));
    if (table === "tasks") return this.#putTask(tx, fromJsonBytes(row));
    if (table !== "peers") return put(tx, table, fromJsonBytes(row));
    const peer = fromJsonBytes<Tables["peers"]>(row);
    // The own ones are endpoints here.
    if (peer.nodeId !== this.#self?.nodeId) put(tx, table, { ...peer, ...this.#placeOf(peer) });
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
    const { link, key } = this.#parts.wireguard;
    return {
      link,
      publicKey: key(),
      udpPort: wireguardPort(this.#udpPort),
      address: wireguardAddress(clusterId, nodeId),
      range: wireguardRange(clusterId),
      mtu: Math.max(tunnelMtu - lessForWireguard, leastIpv6),
    };
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

const keyOf = <T extends Kept>(table: T, row: Tables[T]) => (keys[table] as (of: Tables[T]) => string)(row);
function put<T extends Kept>(tx: Transaction, table: T, row: Tables[T]): void {
  if (!isDeepStrictEqual(tx.get(table, keyOf(table, row)), row)) tx.put(table, row);
}
const isOfIngress = ({ sandboxId }: Tables["endpoints"]) => sandboxId === ingressSandbox;
function drop(tx: Transaction, id: NetworkId): void {
  const network = tx.get("networks", id);
  if (network === undefined) return;
  // Where published ports come in nobody is waited for.
  if (network.spec.ingress && tx.where("endpoints", "network", id).every(isOfIngress)) forgetIngressSandbox(tx);
  if (tx.where("endpoints", "network", id).length > 0) return;
  for (const table of ofNetwork) for (const row of tx.where(table, "network", id)) tx.delete(table, keyOf(table, row));
  forgetNetwork(tx, id);
}
