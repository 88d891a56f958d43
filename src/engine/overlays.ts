import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { AttachWish } from "../cluster/attachments.ts";
import { endpointsIn } from "../cluster/replica.ts";
import { EngineError, notFound } from "../lib/errors.ts";
import { rowNamed, rowsNamed } from "../store/named.ts";
import type { Snapshot } from "../store/store.ts";
import type { Attachment, Container } from "../model/container.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { ContainerId, EndpointId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Peer } from "../model/peer.ts";
import { namesOf } from "./attachments.ts";
import type { Parts } from "./parts.ts";

type OverlayParts = Pick<Parts, "store" | "membership" | "replica" | "log">;

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
  readonly #gone = new Set<EndpointId>();
  readonly #verbs: Verbs;
  #returned = Promise.withResolvers<void>();
  #wake = () => {};

  constructor(parts: OverlayParts, verbs: Verbs) {
    this.#parts = parts;
    this.#verbs = verbs;
    parts.replica.onMissing = (ids) => void this.#claimAgain(ids);
  }

  /**
   * Claims what a container needs on networks of the cluster, and brings their rows here.
   * @returns one for each attachment; undefined where the network is this host's own
   * @throws {EngineError} what the manager said; nothing is claimed then
   */
  async claim(container: Container, attachments: readonly Attachment[]): Promise<readonly (Peer | undefined)[]> {
    const results = await Promise.allSettled(attachments.map((one) => this.#claimOne(container, one)));
    const claims = results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
    const failure = results.find((result) => result.status === "rejected");
    if (failure === undefined) return claims;
    this.release(claims);
    throw failure.reason;
  }

  /** Gives claims back that no endpoint came of. */
  release(claims: readonly (Peer | undefined)[]): void {
    for (const claim of claims) if (claim !== undefined) this.#gone.add(claim.id);
    this.#wake();
  }

  /** Tells the cluster of a container's names. */
  async renew(id: ContainerId): Promise<void> {
    const rows = this.#parts.store.snapshot();
    const own = new Set(endpointsIn(rows));
    for (const endpoint of rows.where("endpoints", "container", id))
      if (own.has(endpoint.id)) await this.#parts.membership.attach(wishOf(endpoint));
  }

  /** This host is in no swarm any more: its containers leave networks that were the cluster's. */
  async leave(): Promise<void> {
    const { store, replica } = this.#parts;
    await this.#disconnect(endpointsIn(store.snapshot()));
    await replica.clear();
  }

  /** Resolves when the cluster has back what is gone, or after two seconds. */
  async released(): Promise<void> {
    if (this.#gone.size > 0) await Promise.race([this.#returned.promise, sleep(patience, undefined, { ref: false })]);
  }

  start(): void {
    void this.#watch(this.#stopped.signal);
    void this.#giveBack(this.#stopped.signal);
  }

  stop(): void {
    this.#stopped.abort();
    this.#wake();
  }

  async #claimOne(container: Container, attachment: Attachment): Promise<Peer | undefined> {
    const { store, membership, replica } = this.#parts;
    const [rows, reference] = [store.snapshot(), attachment.network];
    const [alike] = rowsNamed(rows, "networks", reference);
    const here = reference.length < shortId ? rowNamed(rows, "networks", reference) : alike;
    if (here === undefined ? !membership.isInSwarm : here.scope === "local") return undefined;
    const { ipv4, ipv6, mac } = attachment;
    try {
      const attached = await membership.attach({
        network: here?.id ?? reference,
        endpointId: randomBytes(32).toString("hex"),
        containerId: container.id,
        containerName: container.name,
        names: namesOf(container, attachment),
        ...(ipv4 !== undefined && { ipv4 }),
        ...(ipv6 !== undefined && { ipv6 }),
        ...(mac !== undefined && { mac }),
      });
      await store.update((tx) => replica.keep(tx, attached));
      if (!attached.network.spec.internal) await this.#verbs.ensureWayOut();
      return attached.peer;
    } catch (error) {
      if (!(error instanceof EngineError && error.class === "not-found")) throw error;
      if (here === undefined && alike?.scope === "local") return undefined;
      throw notFound(`network ${reference} not found`);
    }
  }

  /** What the cluster has given to others meanwhile, or has no network for, is taken off. */
  async #claimAgain(ids: readonly EndpointId[]): Promise<void> {
    const { store, membership, log } = this.#parts;
    for (const id of ids) {
      const endpoint = store.snapshot().get("endpoints", id);
      if (endpoint === undefined) continue;
      try {
        await membership.attach(wishOf(endpoint));
      } catch (err) {
        const isRefused = err instanceof EngineError && !["unavailable", "system"].includes(err.class);
        log.warn({ err, container: endpoint.containerName }, "an address could not be claimed again");
        if (isRefused) await this.#disconnect([id]);
      }
    }
  }

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

  /** Whatever removes an endpoint: its claim goes back. */
  async #watch(signal: AbortSignal): Promise<void> {
    let before: Snapshot | undefined;
    for await (const { snapshot, changed } of this.#parts.store.watch(signal)) {
      for (const { table, key } of changed) {
        const old = table === "endpoints" ? before?.get(table, key) : undefined;
        if (old === undefined || snapshot.get("endpoints", key) !== undefined) continue;
        if (isOfCluster(before?.get("networks", old.networkId) ?? snapshot.get("networks", old.networkId)))
          this.#gone.add(key);
      }
      before = snapshot;
      if (this.#gone.size > 0) this.#wake();
    }
  }

  async #giveBack(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const ids = [...this.#gone];
      if (ids.length === 0) await woken;
      else await this.#giveBackThese(ids, signal);
    }
  }

  async #giveBackThese(ids: readonly EndpointId[], signal: AbortSignal): Promise<void> {
    try {
      await this.#parts.membership.detach(ids);
    } catch (err) {
      this.#parts.log.warn({ err, endpoints: ids.length }, "addresses could not be given back to the cluster yet");
      await sleep(retry, undefined, { signal }).catch(() => {});
      return;
    }
    for (const id of ids) this.#gone.delete(id);
    if (this.#gone.size > 0) return;
    this.#returned.resolve();
    this.#returned = Promise.withResolvers();
  }
}

const wishOf = ({ networkId, id, containerId, containerName, names, addresses, mac }: Endpoint): AttachWish => {
  const [ipv4, ipv6] = [false, true].map(
    (six) => addresses.find(({ address }) => address.includes(":") === six)?.address,
  );
  return {
    network: networkId,
    endpointId: id,
    containerId,
    containerName,
    names,
    mac,
    ...(ipv4 !== undefined && { ipv4 }),
    ...(ipv6 !== undefined && { ipv6 }),
  };
};
const isOfCluster = (network: Network | undefined) => network?.scope === "cluster";
