import { setTimeout as sleep } from "node:timers/promises";
import { unavailable } from "../../lib/errors.ts";
import { failpoint } from "../../lib/failpoint.ts";
import type { NodeDescription, NodeId, NodeRole, PublicCluster } from "../../model/cluster.ts";
import type { Commit, Snapshot, Store } from "../../store/store.ts";
import { isAny, placeText, readPlace } from "../addressing.ts";
import { AttachmentClient } from "./attachment-client.ts";
import { Agent } from "./agent.ts";
import type { ManagerAddress } from "../certificates.ts";
import { ControlClient } from "../calls/control-client.ts";
import type { Credentials } from "../calls/control-server.ts";
import { removeEtcd } from "../etcd/etcd-process.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import type { NodeFiles, NodeFolder, NodeState } from "../identity/node-files.ts";
import { type Life, lifeOf, Renewal, renewalDefaults } from "../identity/renewal.ts";
import { parseUnlockKey } from "../identity/seal.ts";
import type { LogBroker } from "../manager/log-broker.ts";
import type { ReadTaskLog } from "../calls/task-logs.ts";
import { publishLogs } from "./log-publisher.ts";
import { closeRunning, Manager, type ManagerParts, type Running } from "../manager/manager.ts";
import { identityIn } from "./node-state.ts";
import { OwnFiles } from "./own-files.ts";
import { gainVote, openAgain } from "./own-manager.ts";
import { removedNode, saysRemoved } from "../removal.ts";
import type { Replica } from "./replica.ts";
import { leaveWarning, texts } from "../texts.ts";
import { roleFromWire } from "../calls/wire.ts";

/** What a node in a swarm stands on. */
export interface NodeParts extends ManagerParts {
  readonly folder: NodeFolder;
  readonly describe: (addresses: NodeDescription["addresses"]) => NodeDescription;
  /** What this host keeps of the cluster's rows. */
  readonly replica: Replica;
  /** What tasks of this host have said. */
  readonly readTaskLog: ReadTaskLog;
  /** Resolves when the kernel has what the replica has. */
  readonly settled: (signal: AbortSignal) => Promise<void>;
  /** Told of the changes of the cluster's rows, on a manager. */
  readonly changed: (before: Snapshot, commit: Commit) => void;
}

/** pending: it is joining, or starting. error: it is in a swarm and has no part in it. */
export interface Standing {
  readonly state: "inactive" | "pending" | "active" | "error" | "locked";
  readonly nodeId: NodeId;
  readonly address: string;
  readonly error: string;
  readonly managers: readonly ManagerAddress[];
}

const patience = { leave: 2000, end: 2000, unlisted: 5000 } as const; // milliseconds
const retry = 1000; // milliseconds

/** Rejects at the signal. @throws {EngineError} unavailable */
function lateness(signal: AbortSignal, why: () => string): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(unavailable(why())));
  promise.catch(() => {}); // when nobody waits any more
  return promise;
}

/**
 * This node in its swarm: its stream, its certificate, and, as long as the user wants it to be a manager, its manager. What
 * the user wants comes over the stream; one thing is done after the other until all is so.
 */
export class LocalNode {
  readonly #parts: NodeParts;
  readonly #client: ControlClient;
  readonly #agent: Agent;
  /** What its containers ask of networks of the cluster. */
  readonly attachments: AttachmentClient;
  readonly #stopped = new AbortController();
  #renewal: Renewal | undefined;
  readonly #files: OwnFiles;
  /** Of a cluster that has just begun here. */
  #running: Running | undefined;
  #wanted: NodeRole;
  #manager: Manager | undefined;
  #managers: readonly ManagerAddress[] = [];
  /** Since when the others say that this node is no manager. */
  #unlistedSince = Number.POSITIVE_INFINITY;
  #isConnected = false;
  #wasConnected = false;
  /** What a manager has said, until another one says otherwise. */
  #wasRemoved = false;
  #isLeaving = false;
  #error = "";
  #work: Promise<void> | undefined;
  #wake = () => {};
  #heard = Promise.withResolvers<void>();

  /** @throws {EngineError} unauthorized when the files are sealed with another key */
  constructor(parts: NodeParts, files: NodeFiles, unlockKey?: Buffer, running?: Running) {
    this.#running = running;
    this.#parts = parts;
    this.#files = new OwnFiles(parts.folder, files, unlockKey);
    this.#wanted = files.state.role;
    this.#client = new ControlClient(
      files.state.managers.map((one) => this.#wayTo(one)),
      this.credentials,
    );
    const { nodeId, clusterId, dataPathAddress } = files.state;
    this.attachments = new AttachmentClient(this.#client, nodeId, (signal) => this.#connected(signal));
    parts.replica.begin({ nodeId, clusterId, dataPath: dataPathAddress });
    const facts = {
      describe: () => this.#description(),
      endpoints: () => parts.replica.endpoints(),
      tasks: (signal: AbortSignal) => parts.replica.tasks(signal),
    };
    this.#agent = new Agent(this.#client, facts, {
      rows: (batch) => parts.replica.receive(batch),
      settled: (signal) => parts.settled(signal),
      managers: (managers) => this.#meet(managers),
      logsWanted: (wanted) => {
        const how = { address: this.#wayTo(wanted.manager), credentials: this.credentials, read: parts.readTaskLog };
        return publishLogs(wanted, how, this.#stopped.signal);
      },
      standing: (role) => this.#want(role),
      cluster: (cluster) => void this.#trust(cluster).catch((error: unknown) => this.#fail(error)),
      connected: () => {
        this.#wasRemoved = false;
        this.#tell(true, "");
        this.#wake();
      },
      lost: (error) => this.#lose(error),
    });
  }

  get role(): NodeRole {
    return this.#files.state.role;
  }
  get state(): NodeState {
    return this.#files.state;
  }
  /** By which the keys on the disk are sealed, if they are. */
  get unlockKey(): Buffer | undefined {
    return this.#files.unlockKey;
  }
  /** What this node shows to others. */
  get credentials(): Credentials {
    return this.#files.credentials;
  }
  /** The cluster's rows, while this node is a manager at work. */
  get store(): Store | undefined {
    return this.#manager?.store;
  }
  /** What tasks of all nodes have said, while this node is a manager at work. */
  get logs(): LogBroker | undefined {
    return this.#manager?.logs;
  }
  /** False while too few managers answer for anything to be written: what is read then may be old. */
  get hasMajority(): boolean {
    return this.#manager?.hasMajority ?? true;
  }
  /** Ends the connections of who is no node any more. */
  look(): void {
    this.#manager?.look();
  }

  /** What this node says of itself may have changed. */
  describe(): void {
    this.#agent.describe();
  }

  start(): void {
    this.#renewal = new Renewal(lifeOf(this.credentials.certificate), {
      ...renewalDefaults,
      renew: (signal) => this.#renew(signal),
      failed: (err, pause) => this.#parts.log.warn({ err, pause }, "the node's certificate was not renewed"),
    });
    this.#work = this.#run(this.#stopped.signal);
    this.#agent.start();
  }

  /** Takes no part any longer; etcd goes on. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wake();
    this.#renewal?.stop();
    this.#client.close();
    await Promise.race([Promise.all([this.#agent.stop(), this.#work]), sleep(patience.end)]);
    await this.#manager?.stop();
    this.#manager = undefined;
  }

  /** Resolves when the node has its stream and, as a manager, the rows. @throws {EngineError} unavailable at the signal, with the reason */
  async ready(signal: AbortSignal): Promise<void> {
    const late = lateness(signal, () => this.#error || texts.preparing);
    while (!this.#isConnected || (this.#wanted === "manager" && this.#manager === undefined))
      await Promise.race([this.#heard.promise, late]);
  }

  async #connected(signal: AbortSignal): Promise<void> {
    const late = lateness(signal, () => this.#error || texts.noManager);
    while (!this.#isConnected) {
      if (this.#wasRemoved) throw removedNode(this.state.nodeId);
      await Promise.race([this.#heard.promise, late]);
    }
  }

  standing(): Standing {
    const { nodeId, advertiseAddress } = this.#files.state;
    const expired = lifeOf(this.credentials.certificate).expires < Date.now();
    const state = expired ? "error" : this.#wasConnected ? "active" : "pending";
    return {
      state,
      nodeId,
      address: readPlace(advertiseAddress).address,
      error: expired ? texts.expired : this.hasMajority ? this.#error : texts.noLeader,
      managers: this.#managers,
    };
  }

  /** @throws {EngineError} unavailable for a manager, with what that would do */
  mayLeave(): void {
    if (this.role !== "manager") return;
    const managers = this.store?.snapshot().where("nodes", "role", "manager") ?? [];
    const reachable = managers.filter(({ status }) => status.state === "ready").length;
    throw unavailable(leaveWarning(reachable, managers.length - reachable));
  }

  /** Says good-bye, if anybody hears it, and ends everything of the swarm on this host but the files. */
  async leave(): Promise<void> {
    const { log } = this.#parts;
    const late = AbortSignal.timeout(patience.leave);
    this.#isLeaving = true;
    try {
      if (this.#manager !== undefined) await this.#manager.resign(this.state.nodeId);
      else await this.#client.use(({ node }) => node.leave({}, { signal: late }), late);
    } catch (err) {
      log.warn({ err }, "the other managers were not told that the node leaves");
    }
    const manager = this.#manager;
    this.#manager = undefined;
    await manager?.leave();
    await this.stop();
  }

  #description(): NodeDescription {
    const { advertiseAddress, dataPathAddress } = this.state;
    const advertise = readPlace(advertiseAddress).address;
    return this.#parts.describe({ advertise, dataPath: dataPathAddress });
  }

  #tell(isConnected: boolean, error: string): void {
    this.#isConnected = isConnected;
    this.#wasConnected ||= isConnected;
    this.#error = error;
    if (!isConnected) this.#parts.log.warn({ error }, "the node has lost its manager: it looks for another");
    this.#notify();
  }
  /** Who was removed keeps nothing of the swarm but its place, until it is told to leave; it asks on. */
  async #lose(error: unknown): Promise<void> {
    const isRemoved = saysRemoved(error, this.state.nodeId);
    this.#wasRemoved ||= isRemoved;
    this.#tell(false, (error as Error).message);
    if (isRemoved) await this.#parts.replica.removed(this.#stopped.signal).catch((err: unknown) => this.#fail(err));
  }
  #notify(): void {
    const { resolve } = this.#heard;
    this.#heard = Promise.withResolvers();
    resolve();
  }

  #fail(error: unknown): void {
    if (this.#stopped.signal.aborted) return;
    this.#error = (error as Error).message;
    this.#parts.log.warn({ err: error }, "the node is not in its swarm as it should be yet");
  }

  /**
   * Where managers are, for this time and the next. One manager holds another one's stream, if there is another: so it is
   * noticed when it is gone.
   */
  #meet(managers: readonly ManagerAddress[]): void {
    this.#managers = managers;
    const others = managers.filter(({ nodeId }) => nodeId !== this.state.nodeId);
    const addresses = (others.length > 0 ? others : managers).map(({ address }) => address);
    this.#client.setManagers(addresses.map((one) => this.#wayTo(one)));
    if (this.#isListed()) this.#unlistedSince = Number.POSITIVE_INFINITY;
    else this.#unlistedSince = Math.min(this.#unlistedSince, Date.now());
    this.#wake();
    if (addresses.length === 0 || addresses.join() === this.state.managers.join()) return;
    void this.#files.setManagers(addresses).catch((error: unknown) => this.#fail(error));
  }

  /** True when the managers count this node among them. */
  #isListed(): boolean {
    return this.#managers.some(({ nodeId }) => nodeId === this.state.nodeId);
  }

  #want(role: NodeRole): void {
    this.#wanted = role;
    this.#wake();
  }

  /** Another root is trusted at once; the own certificate follows it. */
  async #trust({ roots }: PublicCluster): Promise<void> {
    if (roots === this.credentials.roots) return;
    this.#renewal?.now();
    await this.#files.setRoots(roots);
    this.#exchange();
  }

  #exchange(): void {
    this.#client.setCredentials(this.credentials);
    this.#manager?.exchange(this.credentials);
  }

  async #renew(signal: AbortSignal): Promise<Life> {
    const key = newKey();
    const request = { csr: createRequest(key) };
    const given = await this.#client.use(({ node }) => node.renewCertificate(request, { signal }), signal);
    const { certificate, roots } = given;
    await this.#files.renew({ key, certificate, roots }, roleFromWire(given.role));
    this.#exchange();
    this.#wake();
    return lifeOf(certificate);
  }

  /** Does what is to be done, and waits until something else is. */
  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      let isDone = true;
      try {
        isDone = await this.#step(signal);
        this.#notify();
      } catch (error) {
        isDone = false;
        this.#fail(error);
        await sleep(retry, undefined, { signal }).catch(() => {});
      }
      // Once a while it looks by itself: being left out shows with time.
      if (isDone && !signal.aborted) await Promise.race([woken, sleep(patience.unlisted, undefined, { ref: false })]);
    }
  }

  /** One step to what the user wants. @returns true when all is so, or something has to be heard first */
  async #step(signal: AbortSignal): Promise<boolean> {
    if (this.#isLeaving) return true; // its row says worker before its vote is taken: etcd is not to be ended on that
    const isManager = this.#manager !== undefined || this.#files.hasStoreKeys;
    if (isManager && (this.#wanted === "worker" || this.#isLeftOut())) return this.#dismissed();
    if (this.#wanted !== this.role) {
      this.#renewal?.now(); // `#renew` goes on from there
      return true;
    }
    if (this.#wanted !== "manager" || this.#manager !== undefined) return true;
    if (this.#wasRemoved) return true; // the others' etcd knows this one's no more
    await (this.#files.hasStoreKeys ? this.#openManager(signal) : this.#becomeManager(signal));
    return false;
  }

  /** Its own control port a manager finds where it listens: what it tells others may be another host's port that leads here. */
  #wayTo(manager: string): string {
    if (manager !== this.state.advertiseAddress) return manager;
    const { listen, advertise } = identityIn(this.state);
    return placeText({ address: isAny(listen.address) ? advertise.address : listen.address, port: listen.port });
  }

  /** True when the managers have gone on without this one's member, while it was away. */
  #isLeftOut(): boolean {
    return this.#files.hasStoreKeys && Date.now() - this.#unlistedSince > patience.unlisted;
  }

  /** Its vote is taken first: without it the others may have no majority. */
  async #dismissed(): Promise<boolean> {
    if (this.#managers.length === 0 || this.#isListed()) return true;
    const manager = this.#manager;
    this.#manager = undefined;
    await (manager?.leave() ?? removeEtcd(this.#parts.directories));
    await this.#files.dropStoreKeys();
    return false;
  }

  /** The etcd of this host has a vote already. */
  async #openManager(signal: AbortSignal): Promise<void> {
    const identity = identityIn(this.state);
    const running = this.#running ?? (await openAgain(identity, this.#parts, this.#files.storeKeys, signal));
    this.#running = undefined;
    try {
      this.#manager = await Manager.open(identity, this.#parts, running, this.credentials);
    } catch (error) {
      await closeRunning(running);
      throw error;
    }
    this.#agent.look();
    void this.#follow(this.#manager.store, signal).catch((error: unknown) => this.#fail(error));
  }

  async #becomeManager(signal: AbortSignal): Promise<void> {
    const keys = await gainVote(identityIn(this.state), this.#parts, this.#client, signal);
    failpoint("swarm.promote.before-files");
    this.#unlistedSince = Number.POSITIVE_INFINITY; // they are about to say otherwise
    await this.#files.setStoreKeys(keys);
  }

  async #follow(store: Store, signal: AbortSignal): Promise<void> {
    let before: Snapshot | undefined;
    for await (const commit of store.watch(signal)) {
      const { snapshot, changed } = commit;
      if (before !== undefined) this.#parts.changed(before, commit);
      before = snapshot;
      if (!changed.some(({ table }) => table === "clusters")) continue;
      const text = snapshot.list("clusters")[0]?.unlockKey;
      await this.#files
        .lock(text === undefined ? undefined : parseUnlockKey(text))
        .catch((error: unknown) => this.#fail(error));
    }
  }
}
