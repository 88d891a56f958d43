import { setTimeout as sleep } from "node:timers/promises";
import { system, unavailable } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import type { NodeDescription, NodeId, NodeRole, PublicCluster } from "../model/cluster.ts";
import type { Commit, Snapshot, Store } from "../store/store.ts";
import { type Addressing, isAny, placeText, readPlace } from "./addressing.ts";
import { attachedFromWire } from "./attachment-service.ts";
import type { Attached, AttachWish } from "./attachments.ts";
import type { EndpointId } from "../model/ids.ts";
import { Agent } from "./agent.ts";
import type { ManagerAddress } from "./certificates.ts";
import { ControlClient } from "./control-client.ts";
import type { Credentials } from "./control-server.ts";
import { peerUrlOf } from "./etcd-flags.ts";
import { removeEtcd } from "./etcd-process.ts";
import { createRequest, newKey } from "./identity/csr.ts";
import { keyOf, type NodeFiles, type NodeFolder, type NodeState } from "./identity/node-files.ts";
import { type Life, lifeOf, Renewal, renewalDefaults } from "./identity/renewal.ts";
import { parseUnlockKey, type Sealed, sealed, unsealed } from "./identity/seal.ts";
import {
  closeRunning,
  etcdOf,
  Manager,
  type ManagerIdentity,
  type ManagerParts,
  openStore,
  peerPortOf,
  type Running,
  writeManager,
} from "./manager.ts";
import type { HostRoute } from "../model/network.ts";
import type { Replica } from "./replica.ts";
import { readStoreKeys, storeKeysText } from "./store-keys.ts";
import { leaveWarning, texts } from "./texts.ts";
import { roleFromWire } from "./wire.ts";

/** What a node in a swarm stands on. */
export interface NodeParts extends ManagerParts {
  readonly folder: NodeFolder;
  readonly describe: (addresses: NodeDescription["addresses"]) => NodeDescription;
  /** What this host keeps of the cluster's rows. */
  readonly replica: Replica;
  readonly hostRoutes: () => readonly HostRoute[];
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

/** A node's state, as its files keep it. */
export const stateOf = (
  node: Pick<NodeState, "nodeId" | "clusterId" | "role" | "managers">,
  { listen, advertise, dataPath }: Addressing,
): NodeState => ({
  ...node,
  listenAddress: placeText(listen),
  advertiseAddress: placeText(advertise),
  dataPathAddress: dataPath,
});

export const identityIn = (state: NodeState): ManagerIdentity => ({
  nodeId: state.nodeId,
  clusterId: state.clusterId,
  listen: readPlace(state.listenAddress),
  advertise: readPlace(state.advertiseAddress),
});

const patience = { attach: 5000, detach: 2000, etcd: 10_000, leave: 2000, end: 2000, unlisted: 5000 } as const; // milliseconds
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
  readonly #stopped = new AbortController();
  #renewal: Renewal | undefined;
  #files: NodeFiles;
  #key: string;
  #unlockKey: Buffer | undefined;
  /** Of a cluster that has just begun here. */
  #running: Running | undefined;
  #wanted: NodeRole;
  #manager: Manager | undefined;
  #managers: readonly ManagerAddress[] = [];
  /** Since when the others say that this node is no manager. */
  #unlistedSince = Number.POSITIVE_INFINITY;
  #isConnected = false;
  #wasConnected = false;
  #error = "";
  #work: Promise<void> | undefined;
  #wake = () => {};
  #heard = Promise.withResolvers<void>();

  /** @throws {EngineError} unauthorized when the files are sealed with another key */
  constructor(parts: NodeParts, files: NodeFiles, unlockKey?: Buffer, running?: Running) {
    this.#running = running;
    this.#parts = parts;
    this.#files = files;
    this.#unlockKey = unlockKey;
    this.#key = keyOf(files, unlockKey ?? Buffer.alloc(0));
    this.#wanted = files.state.role;
    this.#client = new ControlClient(
      files.state.managers.map((one) => this.#wayTo(one)),
      this.credentials,
    );
    const { nodeId, clusterId, dataPathAddress } = files.state;
    parts.replica.begin({ nodeId, clusterId, dataPath: dataPathAddress });
    const facts = { describe: () => this.#description(), endpoints: () => parts.replica.endpoints() };
    this.#agent = new Agent(this.#client, facts, {
      rows: (batch) => parts.replica.receive(batch),
      managers: (managers) => this.#meet(managers),
      standing: (role) => this.#want(role),
      cluster: (cluster) => void this.#trust(cluster).catch((error: unknown) => this.#fail(error)),
      connected: () => this.#tell(true, ""),
      lost: (error) => this.#tell(false, (error as Error).message),
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
    return this.#unlockKey;
  }
  /** What this node shows to others. */
  get credentials(): Credentials {
    return { key: this.#key, certificate: this.#files.certificate, roots: this.#files.roots };
  }
  /** The cluster's rows, while this node is a manager at work. */
  get store(): Store | undefined {
    return this.#manager?.store;
  }
  /** False while too few managers answer for anything to be written: what is read then may be old. */
  get hasMajority(): boolean {
    return this.#manager?.hasMajority ?? true;
  }
  /** Tells the managers what has changed of what this host says of itself. */
  describe(): void {
    this.#agent.describe();
  }
  /** Ends the connections of who is no node any more. */
  look(): void {
    this.#manager?.look();
  }

  start(): void {
    this.#renewal = new Renewal(lifeOf(this.#files.certificate), {
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

  /**
   * Claims addresses on a network of the cluster for a container of this node.
   * @throws {EngineError} what the manager said; unavailable when none answers in time
   */
  async attach(wish: AttachWish): Promise<Attached> {
    const late = AbortSignal.timeout(patience.attach);
    const { ipv4 = "", ipv6 = "", mac = "", names, ...others } = wish;
    const request = { ...others, names: [...names], ipv4, ipv6, mac };
    try {
      // What is asked for before the stream has begun could be taken for left over.
      await this.#connected(late);
      return attachedFromWire(await this.#client.use(({ node }) => node.attach(request, { signal: late }), late));
    } catch (error) {
      throw late.aborted && this.#isConnected ? system(texts.attachTimeout) : error;
    }
  }

  /** Gives back what was claimed. @throws {EngineError} unavailable when no manager answers in time: `Overlays` tries again */
  async detach(endpointIds: readonly EndpointId[]): Promise<void> {
    const late = AbortSignal.timeout(patience.detach);
    await this.#connected(late);
    await this.#client.use(({ node }) => node.detach({ endpointIds: [...endpointIds] }, { signal: late }), late);
  }

  async #connected(signal: AbortSignal): Promise<void> {
    const late = lateness(signal, () => this.#error || texts.noManager);
    while (!this.#isConnected) await Promise.race([this.#heard.promise, late]);
  }

  standing(): Standing {
    const { nodeId, advertiseAddress } = this.#files.state;
    const expired = lifeOf(this.#files.certificate).expires < Date.now();
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
    void this.#change((files) => ({ ...files, state: { ...files.state, managers: addresses } })).catch(
      (error: unknown) => this.#fail(error),
    );
  }

  /** True when the managers count this node among them. */
  #isListed(): boolean {
    return this.#managers.some(({ nodeId }) => nodeId === this.state.nodeId);
  }

  #want(role: NodeRole): void {
    this.#wanted = role;
    this.#wake();
  }

  async #change(change: (files: NodeFiles) => NodeFiles): Promise<void> {
    this.#files = await this.#parts.folder.update((files) => change(files ?? this.#files));
  }

  /** Another root is trusted at once; the own certificate follows it. */
  async #trust({ roots }: PublicCluster): Promise<void> {
    if (roots === this.#files.roots) return;
    this.#renewal?.now();
    await this.#change((files) => ({ ...files, roots }));
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
    const role = roleFromWire(given.role);
    await this.#change((files) => ({
      ...files,
      certificate,
      roots,
      key: sealed(key, this.#unlockKey),
      state: { ...files.state, role },
    }));
    this.#key = key;
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
    const isManager = this.#manager !== undefined || this.#files.etcd !== undefined;
    if (isManager && (this.#wanted === "worker" || this.#isLeftOut())) return this.#dismissed();
    if (this.#wanted !== this.role) {
      this.#renewal?.now(); // `#renew` goes on from there
      return true;
    }
    if (this.#wanted !== "manager" || this.#manager !== undefined) return true;
    await (this.#files.etcd === undefined ? this.#becomeManager(signal) : this.#openManager(this.#files.etcd, signal));
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
    return this.#files.etcd !== undefined && Date.now() - this.#unlistedSince > patience.unlisted;
  }

  /** Its vote is taken first: without it the others may have no majority. */
  async #dismissed(): Promise<boolean> {
    if (this.#managers.length === 0 || this.#isListed()) return true;
    const manager = this.#manager;
    this.#manager = undefined;
    await (manager?.leave() ?? removeEtcd(this.#parts.directories));
    await this.#change(({ etcd: _, ...files }) => files);
    return false;
  }

  /** The etcd of this host has a vote already. */
  async #openManager(sealedCredentials: string | Sealed, signal: AbortSignal): Promise<void> {
    const identity = identityIn(this.state);
    const running = this.#running ?? (await this.#openRunning(sealedCredentials, signal));
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

  async #openRunning(sealedCredentials: string | Sealed, signal: AbortSignal): Promise<Running> {
    const credentials = readStoreKeys(unsealed(sealedCredentials, this.#unlockKey));
    const identity = identityIn(this.state);
    const etcd = etcdOf(identity, this.#parts, credentials, { kind: "again" });
    try {
      await etcd.start();
      await etcd.ready(AbortSignal.any([signal, AbortSignal.timeout(patience.etcd)]));
      return { etcd, opened: await openStore(identity, this.#parts, credentials) };
    } catch (error) {
      await etcd.stop();
      throw error;
    }
  }

  /** Adds this host's etcd to the others': it learns, gets a vote, and is found by the row. Each part may be done twice. */
  async #becomeManager(signal: AbortSignal): Promise<void> {
    const identity = identityIn(this.state);
    const { advertise, nodeId } = identity;
    const key = newKey();
    const request = { peerUrl: peerUrlOf(advertise.address, peerPortOf(identity)), csr: createRequest(key) };
    const added = await this.#client.use(({ manager }) => manager.addMember(request, { signal }), signal);
    const { memberId, certificate, root } = added;
    const credentials = { certificate, key, root, dataKey: Buffer.from(added.dataKey) };
    const members = added.members.map(({ name, peerUrls }) => ({ name, peerUrls }));
    const etcd = etcdOf(identity, this.#parts, credentials, { kind: "join", members });
    try {
      failpoint("swarm.promote.before-etcd");
      await etcd.start();
      await this.#client.use(({ manager }) => manager.promoteMember({ memberId }, { signal }), signal);
      await etcd.ready(AbortSignal.any([signal, AbortSignal.timeout(patience.etcd)]));
      failpoint("swarm.promote.after-etcd");
      const { client, store } = await openStore(identity, this.#parts, credentials);
      const row = { nodeId, advertise: placeText(advertise) };
      await store.update((tx) => writeManager(tx, row, memberId, Date.now()), signal);
      await store.close();
      client.close();
    } finally {
      await etcd.stop();
    }
    failpoint("swarm.promote.before-files");
    this.#unlistedSince = Number.POSITIVE_INFINITY; // they are about to say otherwise
    await this.#change((files) => ({ ...files, etcd: sealed(storeKeysText(credentials), this.#unlockKey) }));
  }

  async #follow(store: Store, signal: AbortSignal): Promise<void> {
    let before: Snapshot | undefined;
    for await (const commit of store.watch(signal)) {
      const { snapshot, changed } = commit;
      if (before !== undefined) this.#parts.changed(before, commit);
      before = snapshot;
      if (!changed.some(({ table }) => table === "clusters")) continue;
      const text = snapshot.list("clusters")[0]?.unlockKey;
      await this.#lock(text === undefined ? undefined : parseUnlockKey(text)).catch((error: unknown) =>
        this.#fail(error),
      );
    }
  }

  /** The keys on this manager's disk are sealed with the unlock key that the cluster has. */
  async #lock(key: Buffer | undefined): Promise<void> {
    const isSame = key === undefined ? this.#unlockKey === undefined : this.#unlockKey?.equals(key) === true;
    if (isSame) return;
    const etcd = this.#files.etcd === undefined ? undefined : unsealed(this.#files.etcd, this.#unlockKey);
    this.#unlockKey = key;
    await this.#change((files) => ({
      ...files,
      key: sealed(this.#key, key),
      ...(etcd !== undefined && { etcd: sealed(etcd, key) }),
    }));
  }
}
