import { join } from "node:path";
import { conflict, invalid, isUnavailable, unavailable } from "../../lib/errors.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { KeyedLock } from "../../lib/keyed-lock.ts";
import type { ClusterNode, NodeDescription, NodeId, TakenPort } from "../../model/cluster.ts";
import type { EndpointId } from "../../model/ids.ts";
import type { EtcdAddress } from "../../store/etcd/client.ts";
import { type Commit, type Snapshot, type Store, StoreError, type Transaction } from "../../store/store.ts";
import type { Attached, AttachWish } from "../attachments.ts";
import { type Addressing, type AddressWish, type HostAddress, resolveAddresses } from "../addressing.ts";
import { availabilityToWire, descriptionToWire, roleFromWire } from "../calls/wire.ts";
import { joinCalls } from "../calls/control-client.ts";
import { fromWire } from "../calls/call-errors.ts";
import { addressesToTell } from "../host-addresses.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import { disk } from "../identity/disk.ts";
import { type NodeFiles, NodeFolder } from "../identity/node-files.ts";
import { parseUnlockKey } from "../identity/seal.ts";
import { parseToken } from "../identity/token.ts";
import { type Backup, type Seed, seedOf } from "../manager/backup.ts";
import { beginCluster, type ClusterWish, finishRecovery, newCluster, recoverCluster, sweepEtcd } from "./begin.ts";
import type { Log } from "../etcd/etcd-process.ts";
import type { LogSelection, TaskLine } from "../manager/log-broker.ts";
import type { ReadTaskLog, TaskLogOptions } from "../calls/task-logs.ts";
import { closeRunning, type Running } from "../manager/manager.ts";
import { LocalNode, type NodeParts, type Standing } from "./local-node.ts";
import { stateOf } from "./node-state.ts";
import type { HostRoute } from "../../model/network.ts";
import type { Replica } from "./replica.ts";
import { routesToTell } from "../routes.ts";
import { texts } from "../texts.ts";

export interface MembershipParts {
  /** Where the node's files and etcd's data lie. */
  readonly dataDirectory: string;
  /** In memory, for keys in use. */
  readonly runDirectory: string;
  /** The etcd that the user runs, in place of one of ours. */
  readonly externalEtcd?: EtcdAddress;
  /** Addresses of the host on links that are not ours. */
  addresses(): readonly HostAddress[];
  /** What this host says of itself, at these addresses. */
  describe(addresses: NodeDescription["addresses"]): Omit<NodeDescription, "routes" | "takenPorts" | "hostAddresses">;
  readonly replica: Replica;
  /** Routes of this host that are not ours. */
  hostRoutes(): readonly HostRoute[];
  /** Ports of this host that are not for services. */
  takenPorts(): readonly TakenPort[];
  /** What tasks of this host have said. */
  readonly readTaskLog: ReadTaskLog;
  /** Resolves when the kernel has what the replica has. */
  settled(signal: AbortSignal): Promise<void>;
  /** Told of the changes of the cluster's rows, on a manager; `before` has the rows as they were. */
  changed?(before: Snapshot, commit: Commit): void;
  readonly log: Log;
}

/** What the user says of this node. */
export interface NodeWish extends AddressWish {
  readonly availability: ClusterNode["availability"];
}
export interface InitWish extends NodeWish, ClusterWish {
  readonly forceNewCluster: boolean;
}
export interface JoinWish extends NodeWish {
  /** `address:port`. */
  readonly remotes: readonly string[];
  readonly token: string;
}

interface Asking {
  readonly wish: JoinWish;
  readonly addressing: Addressing;
  readonly key: string;
  readonly signal: AbortSignal;
  /** Whether a manager was asked for a certificate. */
  isSent: boolean;
}

const joinPatience = 20_000; // milliseconds (moby daemon/cluster/cluster.go, swarmConnectTimeout)
const outside: Standing = { state: "inactive", nodeId: "", address: "", error: "", managers: [] };

/** This host's being in a swarm, or in none: its files say which, and a `LocalNode` does the rest. */
export class Membership {
  readonly #parts: MembershipParts;
  readonly #folder: NodeFolder;
  readonly #nodeParts: NodeParts;
  readonly #lock = new KeyedLock();
  #node: LocalNode | undefined;
  /** In place of a node: files that cannot be used, and why. */
  #trouble: { readonly state: "locked" | "error" | "pending"; readonly error: string } | undefined;

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    const { dataDirectory: data, runDirectory: run } = parts;
    this.#folder = new NodeFolder(join(data, "node"));
    this.#nodeParts = {
      folder: this.#folder,
      directories: { dataDirectory: join(data, "etcd"), runDirectory: run },
      ...(parts.externalEtcd !== undefined && { externalEtcd: parts.externalEtcd }),
      describe: (addresses) => ({
        ...parts.describe(addresses),
        routes: routesToTell(parts.hostRoutes()),
        takenPorts: parts.takenPorts(),
        hostAddresses: addressesToTell(parts.addresses()),
      }),
      replica: parts.replica,
      readTaskLog: (task, options, signal) => parts.readTaskLog(task, options, signal),
      settled: (signal) => parts.settled(signal),
      changed: (before, commit) => parts.changed?.(before, commit),
      log: parts.log,
    };
  }

  /** Goes on where the last daemon ended. What a broken-off `init` has left goes. */
  async start(): Promise<void> {
    try {
      await finishRecovery(this.#nodeParts);
      const files = await this.#folder.read();
      if (files === undefined) return await sweepEtcd(this.#nodeParts);
      if (typeof files.key !== "string") this.#trouble = { state: "locked", error: texts.locked };
      else this.#begin(files);
    } catch (error) {
      this.#parts.log.warn({ err: error }, "the node cannot take part in its swarm");
      this.#trouble = { state: "error", error: (error as Error).message };
    }
  }

  async stop(): Promise<void> {
    await this.#node?.stop();
  }

  /** What this host says of itself may have changed. */
  describe(): void {
    this.#node?.describe();
  }

  standing(): Standing {
    if (this.#node !== undefined) return this.#node.standing();
    return this.#trouble === undefined ? outside : { ...outside, ...this.#trouble };
  }

  /** The cluster's rows. @throws {EngineError} unavailable on a node that is no manager, or none that works, with Docker's texts */
  control(): { readonly store: Store; readonly node: LocalNode } {
    const store = this.#node?.store;
    if (this.#node !== undefined && store !== undefined) return { store, node: this.#node };
    if (this.#trouble?.state === "locked") throw unavailable(texts.locked);
    if (this.#node === undefined) throw unavailable(texts.notInSwarm);
    throw unavailable(this.#node.role === "manager" ? texts.preparing : texts.worker);
  }

  /** The cluster's rows as they are now. @throws {EngineError} as `control`; unavailable, with Docker's text, without a majority */
  current(): Snapshot {
    const { store, node } = this.control();
    if (!node.hasMajority) throw unavailable(texts.noLeader);
    return store.snapshot();
  }

  /** What tasks have said, wherever they are. @throws {EngineError} as `control`; at the end, as `LogBroker.read` */
  logs(selection: LogSelection, options: TaskLogOptions, signal: AbortSignal): AsyncIterable<TaskLine> {
    const { logs } = this.control().node;
    if (logs === undefined) throw unavailable(texts.preparing);
    return logs.read(selection, options, signal);
  }

  /** "" outside of a swarm. */
  get nodeId(): NodeId {
    return this.#node?.state.nodeId ?? "";
  }

  /** True on a node, whatever state it is in. */
  get isInSwarm(): boolean {
    return this.#node !== undefined || this.#trouble !== undefined;
  }

  /** @throws {EngineError} as `AttachmentClient.attach`; unavailable outside of a swarm */
  attach(wish: AttachWish): Promise<Attached> {
    if (this.#node === undefined) throw unavailable(texts.notPart);
    return this.#node.attachments.attach(wish);
  }

  /** @throws {EngineError} as `AttachmentClient.detach`. Outside of a swarm nothing is claimed. */
  async detach(ids: readonly EndpointId[]): Promise<void> {
    await this.#node?.attachments.detach(ids);
  }

  /** Changes the cluster's rows. @throws {EngineError} as `control`; unavailable, with Docker's text, without a majority of managers */
  async update<R>(change: (tx: Transaction) => R): Promise<R> {
    try {
      return (await this.control().store.update(change)).result;
    } catch (error) {
      if (error instanceof StoreError && error.code === "UNAVAILABLE") throw unavailable(texts.noLeader);
      throw error;
    }
  }

  /** @returns the node's id @throws {EngineError} unavailable in a swarm, invalid for an address */
  init(wish: InitWish): Promise<NodeId> {
    return this.#lock.run("", async () => {
      if (wish.forceNewCluster && this.#node !== undefined) return this.#forceNew();
      return this.#beginCluster(wish, { cluster: newCluster(wish, Date.now()), rows: [] });
    });
  }

  /** Begins a cluster again from what `backup` has kept. @returns the node's id @throws {EngineError} as `init` */
  restore(backup: Backup, wish: NodeWish): Promise<NodeId> {
    return this.#lock.run("", () => this.#beginCluster(wish, seedOf(backup)));
  }

  async #beginCluster(wish: NodeWish, seed: Seed): Promise<NodeId> {
    this.#mustBeOutside();
    const addressing = resolveAddresses(wish, this.#parts.addresses());
    await sweepEtcd(this.#nodeParts);
    failpoint("swarm.init.begin");
    const { availability } = wish;
    const begun = await beginCluster(this.#nodeParts, addressing, { ...seed, availability });
    const { files, unlockKey, running } = begun;
    try {
      failpoint("swarm.init.before-files");
      await this.#folder.update(() => files);
    } catch (error) {
      await closeRunning(running);
      throw error;
    }
    failpoint("swarm.init.after-files");
    return this.#beginAndWait(files, unlockKey, running);
  }

  async #beginAndWait(files: NodeFiles, unlockKey: Buffer | undefined, running?: Running): Promise<NodeId> {
    await this.#begin(files, unlockKey, running).ready(AbortSignal.timeout(joinPatience));
    return files.state.nodeId;
  }

  async #forceNew(): Promise<NodeId> {
    const files = await this.#folder.read();
    if (files === undefined || this.#node?.role !== "manager") throw unavailable(texts.alreadyPart);
    const { unlockKey } = this.#node;
    await this.#node.stop();
    await recoverCluster(this.#nodeParts, files, unlockKey);
    const alone = { ...files, state: { ...files.state, managers: [files.state.advertiseAddress] } };
    await this.#folder.update(() => alone);
    return this.#beginAndWait(alone, unlockKey);
  }

  /** @throws {EngineError} what the manager says; unavailable after 20 s, while the joining goes on */
  join(wish: JoinWish): Promise<void> {
    return this.#lock.run("", async () => {
      this.#mustBeOutside();
      const late = AbortSignal.timeout(joinPatience);
      const files = await this.#admitted(wish, late);
      failpoint("swarm.join.before-files");
      await this.#folder.update(() => files);
      await disk.remove(this.#joiningKey);
      failpoint("swarm.join.after-files");
      const node = this.#begin(files);
      await node.ready(late).catch((error: unknown) => {
        throw late.aborted ? unavailable(texts.joinTimeout) : error;
      });
    });
  }

  /** Asks one manager after the other for a certificate. @throws {EngineError} what the last one said */
  async #admitted(wish: JoinWish, signal: AbortSignal): Promise<NodeFiles> {
    const { digest } = parseToken(wish.token);
    for (const remote of wish.remotes)
      if (!/^(\[[0-9a-fA-F:.]+\]|[^\s:/]+):([1-9]\d{0,4})$/.test(remote) || Number(remote.split(":").at(-1)) > 65_535)
        throw invalid(`invalid remote address ${remote}: an address and a port are wanted, like 192.0.2.1:2377`);
    const addressing = resolveAddresses(wish, this.#parts.addresses());
    const key = await this.#newKey();
    const asked = { wish, addressing, key, signal, isSent: false };
    let failure: unknown = unavailable("at least 1 RemoteAddr is required to join");
    for (const remote of wish.remotes) {
      try {
        return await this.#ask(remote, digest, asked);
      } catch (error) {
        failure = error;
        if (!isUnavailable(error)) break;
      }
    }
    if (signal.aborted) throw unavailable(texts.joinTimeout);
    // Whose answer was lost may be a node already: it asks with the same key the next time.
    if (!asked.isSent || !isUnavailable(failure)) await disk.remove(this.#joiningKey);
    throw failure;
  }

  async #ask(remote: string, digest: string, asking: Asking): Promise<NodeFiles> {
    const { wish, addressing, key, signal } = asking;
    const { advertise, dataPath } = addressing;
    const request = {
      token: wish.token,
      csr: createRequest(key),
      description: descriptionToWire(this.#nodeParts.describe({ advertise: advertise.address, dataPath })),
      availability: availabilityToWire[wish.availability],
    };
    const { calls, close } = await joinCalls(remote, digest, signal);
    try {
      asking.isSent = true;
      const given = await calls.issueCertificate(request, { signal });
      const { nodeId, clusterId, certificate, roots } = given;
      const managers = [...new Set([...given.managers, remote])];
      const state = stateOf({ nodeId, clusterId, role: roleFromWire(given.role), managers }, addressing);
      return { state, certificate, key, roots };
    } catch (error) {
      throw fromWire(error);
    } finally {
      close();
    }
  }

  get #joiningKey(): string {
    return join(this.#parts.dataDirectory, "joining.key");
  }

  async #newKey(): Promise<string> {
    try {
      return (await disk.read(this.#joiningKey)).toString("utf8");
    } catch {
      const key = newKey();
      await disk.makeDirectory(this.#parts.dataDirectory);
      await disk.create(this.#joiningKey, key);
      return key;
    }
  }

  /** @throws {EngineError} unavailable outside of a swarm; of a manager without `force`, with Docker's texts */
  leave(force: boolean): Promise<void> {
    return this.#lock.run("", async () => {
      if (this.#node === undefined && this.#trouble === undefined) throw unavailable(texts.notPart);
      if (!force && this.#trouble?.state === "locked") throw unavailable(texts.leaveLocked);
      if (!force) this.#node?.mayLeave();
      await this.#node?.leave();
      failpoint("swarm.leave.before-files");
      await this.#folder.remove();
      failpoint("swarm.leave.after-files");
      await sweepEtcd(this.#nodeParts);
      this.#node = undefined;
      this.#trouble = undefined;
      await this.#parts.replica.clear();
    });
  }

  /** @throws {EngineError} conflict when it is not locked; unauthorized, invalid for another key */
  unlock(text: string): Promise<void> {
    return this.#lock.run("", async () => {
      if (this.#trouble?.state !== "locked") throw conflict(texts.notLocked);
      const files = await this.#folder.read();
      if (files === undefined) throw unavailable(texts.notPart);
      this.#begin(files, parseUnlockKey(text));
    });
  }

  #begin(files: NodeFiles, unlockKey?: Buffer, running?: Running): LocalNode {
    const node = new LocalNode(this.#nodeParts, files, unlockKey, running);
    this.#node = node;
    this.#trouble = undefined;
    node.start();
    return node;
  }

  #mustBeOutside(): void {
    if (this.#node !== undefined || this.#trouble !== undefined) throw unavailable(texts.alreadyPart);
  }
}
