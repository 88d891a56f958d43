import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { AttachWish } from "../cluster/attachments.ts";
import { endpointsIn } from "../cluster/node/replica.ts";
import { EngineError, isUnavailable, notFound } from "../lib/errors.ts";
import { type Changed, changesOf } from "../store/changes.ts";
import { failpoint } from "../lib/failpoint.ts";
import { rowNamed, rowsNamed } from "../store/named.ts";
import type { Snapshot } from "../store/store.ts";
import type { Attachment, Container } from "../model/container.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { ContainerId, EndpointId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Claim } from "../model/peer.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import { namesOf } from "./attachments.ts";
import { addressWish, ingressWish } from "./ingress.ts";
import { publishArrivals } from "./network-events.ts";
import type { Parts } from "./parts.ts";

type OverlayParts = Pick<Parts, "store" | "membership" | "replica" | "bus" | "log">;

/** What it does by verbs of the engine. */
export interface Verbs {
  /** Makes the network by which containers reach the outside, if it is missing. */
  ensureWayOut(): Promise<void>;
  disconnect(network: Network, container: ContainerId): Promise<void>;
}

/** Characters of an id as Docker prints it; what is shorter may also be the name of a network that this host does not know. */
const shortId = 12;
const retry = 1000; // milliseconds
const patience = 2000; // milliseconds that a caller waits for what is given back

/**
 * Containers of this host on networks of the cluster. Before a container starts its addresses are claimed of a manager; what
 * it has had is given back when its endpoint is gone from this host's rows, however that came.
 */
export class Overlays {
  readonly #parts: OverlayParts;
  readonly #stopped = new AbortController();
  /** What is to be given back, and what is to be asked for again: its names, or all of it. */
  readonly #gone = new Set<EndpointId>();
  readonly #again = new Set<EndpointId>();
  readonly #verbs: Verbs;
  /** Resolves when something of that was done. */
  #turn = Promise.withResolvers<void>();
  #wake = () => {};

  constructor(parts: OverlayParts, verbs: Verbs) {
    this.#parts = parts;
    this.#verbs = verbs;
    parts.replica.onMissing = (ids) => this.#askAgain(ids);
    parts.replica.onRemoved = () => this.#disconnectAll();
  }

  /**
   * Claims what a container needs on networks of the cluster, and brings their rows here. What one that is restarting has kept
   * it has without asking.
   * @returns one for each attachment; undefined where the network is this host's own
   * @throws {EngineError} what the manager said; nothing is claimed then
   */
  async claim(container: Container, attachments: readonly Attachment[]): Promise<readonly (Claim | undefined)[]> {
    const results = await Promise.allSettled(attachments.map((one) => this.#claimOne(container, one)));
    const claims = results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
    const failure = results.find((result) => result.status === "rejected");
    if (failure === undefined) return claims;
    this.release(container.id, claims);
    throw failure.reason;
  }

  /** Gives claims back that no endpoint came of, and that are not kept. */
  release(container: ContainerId, claims: readonly (Claim | undefined)[]): void {
    const rows = this.#parts.store.snapshot();
    for (const claim of claims) if (claim !== undefined && !isHeld(rows, claim.id, container)) this.giveUp(claim.id);
  }

  /** Gives back what was asked for and may have been given. */
  giveUp(id: EndpointId): void {
    this.#parts.replica.letGo(id);
    this.#gone.add(id);
    this.#wake();
  }

  /** Tells the cluster of a container's names, within two seconds if a manager answers, else when one does. */
  async renew(id: ContainerId): Promise<void> {
    const rows = this.#parts.store.snapshot();
    const own = new Set(endpointsIn(rows));
    const ids = rows
      .where("endpoints", "container", id)
      .flatMap((endpoint) => (own.has(endpoint.id) ? endpoint.id : []));
    this.#askAgain(ids);
    await this.#done(ids);
  }

  /** This host is in no swarm any more: its containers leave networks that were the cluster's. */
  async leave(): Promise<void> {
    await this.#disconnectAll();
    await this.#parts.replica.clear();
  }

  /** Resolves when the cluster has these endpoints back, or after two seconds. */
  released(ids: readonly EndpointId[]): Promise<void> {
    return this.#done(ids);
  }

  async #done(ids: readonly EndpointId[]): Promise<void> {
    const late = sleep(patience, true, { ref: false });
    const isOpen = () => ids.some((id) => this.#gone.has(id) || this.#again.has(id));
    while (isOpen()) if (await Promise.race([this.#turn.promise.then(() => false), late])) return;
  }

  start(): void {
    void this.#watch(this.#stopped.signal);
    void this.#work(this.#stopped.signal);
  }

  stop(): void {
    this.#stopped.abort();
    this.#wake();
  }

  async #claimOne(container: Container, attachment: Attachment): Promise<Claim | undefined> {
    const { store, membership, replica } = this.#parts;
    const [rows, reference] = [store.snapshot(), attachment.network];
    const kept = container.claims?.find((claim) => fits(claim, attachment));
    if (kept !== undefined && rows.get("networks", kept.networkId) !== undefined) return kept;
    const [alike] = rowsNamed(rows, "networks", reference);
    const here = reference.length < shortId ? rowNamed(rows, "networks", reference) : alike;
    if (here === undefined ? !membership.isInSwarm : here.scope === "local") return undefined;
    const { ipv4, ipv6, mac } = attachment;
    const endpointId = randomBytes(32).toString("hex");
    replica.hold(endpointId);
    try {
      failpoint("overlay.attach.before-call");
      const attached = await membership.attach({
        network: here?.id ?? reference,
        endpointId,
        containerId: container.id,
        containerName: container.name,
        names: namesOf(container, attachment),
        ...(ipv4 !== undefined && { ipv4 }),
        ...(ipv6 !== undefined && { ipv6 }),
        ...(mac !== undefined && { mac }),
        ...(container.taskId !== undefined && { taskId: container.taskId }),
      });
      failpoint("overlay.attach.after-call");
      replica.hold(endpointId, attached.network.id);
      await store.update((tx) => replica.keep(tx, attached));
      failpoint("overlay.attach.after-store");
      if (!attached.network.spec.internal) await this.#verbs.ensureWayOut();
      return attached.peer;
    } catch (error) {
      this.giveUp(endpointId); // the manager may have done what it could not say any more
      const isUnknown = error instanceof EngineError && error.class === "not-found";
      if (isUnknown && alike?.scope === "local") return undefined;
      throw isUnknown ? notFound(`network ${reference} not found`) : error;
    }
  }

  /** One that cannot be had yet keeps no other waiting. @throws why the first of them cannot */
  async #claimAllAgain(): Promise<void> {
    const failures: unknown[] = [];
    for (const id of [...this.#again]) {
      this.#again.delete(id); // what becomes of it from now on is told once more
      try {
        await this.#claimAgain(id);
      } catch (err) {
        this.#again.add(id);
        failures.push(err);
        if (isUnavailable(err)) break; // nobody answers the others either
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** What the cluster has given to others meanwhile, or has no network for, is taken off. */
  async #claimAgain(id: EndpointId): Promise<void> {
    const { store, membership, log } = this.#parts;
    const endpoint = store.snapshot().get("endpoints", id);
    if (endpoint === undefined) return;
    try {
      const taskId = store.snapshot().get("containers", endpoint.containerId)?.taskId;
      await membership.attach({ ...wishOf(endpoint), ...(taskId !== undefined && { taskId }) });
    } catch (err) {
      if (!(err instanceof EngineError) || ["unavailable", "system"].includes(err.class)) throw err;
      log.warn({ err, container: endpoint.containerName }, "an address could not be claimed again");
      await this.#disconnect([id]);
    }
    // It ended meanwhile: what was given back before is there again.
    if (store.snapshot().get("endpoints", id) === undefined) this.giveUp(id);
  }

  #disconnectAll = () => this.#disconnect(endpointsIn(this.#parts.store.snapshot()));

  async #disconnect(ids: readonly EndpointId[]): Promise<void> {
    const { store, log } = this.#parts;
    for (const id of ids) {
      const rows = store.snapshot();
      const endpoint = rows.get("endpoints", id);
      const network = endpoint && rows.get("networks", endpoint.networkId);
      if (endpoint === undefined || network === undefined) continue;
      await this.#verbs
        .disconnect(network, endpoint.containerId)
        .catch((err: unknown) =>
          log.warn({ err, container: endpoint.containerName }, "a container could not be taken off its network"),
        );
    }
  }

  /** Whatever removes an endpoint: its claim goes back, unless it is kept. */
  async #watch(signal: AbortSignal): Promise<void> {
    let before: Snapshot | undefined;
    for await (const commit of this.#parts.store.watch(signal)) {
      const { snapshot } = commit;
      const rows = before ?? snapshot;
      if (before !== undefined) publishArrivals(this.#parts, before, commit);
      for (const { key, old } of changesOf("containers", rows, commit))
        for (const { id } of old?.claims ?? []) if (!isHeld(snapshot, id, key)) this.#gone.add(id);
      for (const change of changesOf("endpoints", rows, commit)) this.#lookAt(change, rows, snapshot);
      before = snapshot;
      if (this.#gone.size + this.#again.size > 0) this.#wake();
    }
  }

  #lookAt({ key: id, old, row }: Changed<"endpoints">, before: Snapshot, after: Snapshot): void {
    if (row !== undefined) {
      this.#parts.replica.letGo(id);
      const kept = before.get("containers", row.containerId)?.claims ?? [];
      // No manager was asked: one may know better.
      if (kept.some((claim) => claim.id === id)) this.#again.add(id);
    } else if (old !== undefined && !isHeld(after, id, old.containerId))
      if (isOfCluster(before.get("networks", old.networkId))) this.#gone.add(id);
  }

  #askAgain(ids: readonly EndpointId[]): void {
    for (const id of ids) this.#again.add(id);
    this.#wake();
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if (this.#gone.size + this.#again.size === 0) await woken;
      else await this.#workOff(signal);
      this.#turn.resolve();
      this.#turn = Promise.withResolvers();
    }
  }

  async #detach(ids: readonly EndpointId[]): Promise<void> {
    failpoint("overlay.detach.before-call");
    await this.#parts.membership.detach(ids);
    failpoint("overlay.detach.after-call");
  }

  async #workOff(signal: AbortSignal): Promise<void> {
    const ids = [...this.#gone];
    try {
      if (ids.length > 0) await this.#detach(ids);
      for (const id of ids) this.#gone.delete(id);
      await this.#claimAllAgain();
    } catch (err) {
      const waiting = this.#gone.size + this.#again.size;
      this.#parts.log.warn({ err, waiting }, "endpoints could not be told to the cluster yet");
      await sleep(retry, undefined, { signal }).catch(() => {});
    }
  }
}

const wishOf = (endpoint: Endpoint): AttachWish => {
  const { networkId, id, containerId, containerName, names, addresses, mac } = endpoint;
  if (endpoint.sandboxId === ingressSandbox) return ingressWish(networkId, id, addresses);
  return {
    network: networkId,
    endpointId: id,
    containerId,
    containerName,
    names,
    mac,
    ...addressWish(addresses),
  };
};
/** True when it is in an endpoint, or kept for its container. */
const isHeld = (rows: Snapshot, id: EndpointId, container: ContainerId) =>
  rows.get("endpoints", id) !== undefined ||
  rows.get("containers", container)?.claims?.some((claim) => claim.id === id) === true;
const fits = ({ networkId, addresses, mac }: Claim, { network, ...wish }: Attachment) =>
  networkId === network &&
  (wish.mac ?? mac) === mac &&
  [wish.ipv4, wish.ipv6].every((wished) => wished === undefined || addresses.some(({ address }) => address === wished));
const isOfCluster = (network: Network | undefined) => network?.scope === "cluster";
