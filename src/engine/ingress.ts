import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Attached, AttachWish } from "../cluster/attachments.ts";
import { forgetIngressSandbox } from "../cluster/ingress-sandbox.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { EndpointId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Owner } from "../model/plan.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import { changesOf } from "../store/changes.ts";
import type { Commit, Snapshot, Transaction } from "../store/store.ts";
import { insertWayOut, wayOutOf } from "./attachments.ts";
import { leafFor } from "./leaves.ts";
import type { Parts } from "./parts.ts";
import { removalSettled } from "./sandboxes.ts";

/** What `docker network inspect` calls the sandbox, and its ends (moby libnetwork, daemon/cluster). */
export const ingressContainer = "ingress-sbox";
const ends = { inside: "ingress-endpoint", outside: `gateway_${ingressContainer}` } as const;
const retry = 1000; // milliseconds

/** What is claimed of a manager for the sandbox's end of the ingress network; its MAC the manager chooses. */
export function ingressWish(
  network: string,
  endpointId: EndpointId,
  addresses: Endpoint["addresses"] = [],
): AttachWish {
  return {
    network,
    endpointId,
    containerId: createHash("sha256").update(`ingress sandbox ${endpointId}`).digest("hex"),
    containerName: ends.inside,
    names: [],
    isIngressSandbox: true,
    ...addressWish(addresses),
  };
}

/** The addresses that an endpoint has, as they are asked for. */
export function addressWish(addresses: Endpoint["addresses"]): Pick<AttachWish, "ipv4" | "ipv6"> {
  const [ipv4, ipv6] = [false, true].map((six) => addresses.find(({ address }) => address.includes(":") === six));
  return { ...(ipv4 !== undefined && { ipv4: ipv4.address }), ...(ipv6 !== undefined && { ipv6: ipv6.address }) };
}

/**
 * The sandbox in which published ports of services come in: there from the moment at which this host knows of the swarm's
 * ingress network until that network goes, or the host leaves. It has no process, and outlives the daemon's.
 */
export class Ingress {
  readonly #parts: Parts;
  readonly #ensureWayOut: () => Promise<void>;
  readonly #stopped = new AbortController();
  #isDirty = true;
  #wake = () => {};

  /** @param ensureWayOut makes the network by which it is reached from the host, if it is missing */
  constructor(parts: Parts, ensureWayOut: () => Promise<void>) {
    [this.#parts, this.#ensureWayOut] = [parts, ensureWayOut];
  }

  start(): void {
    void this.#watch(this.#stopped.signal);
    void this.#work(this.#stopped.signal);
  }
  stop(): void {
    this.#stopped.abort();
    this.#wake();
  }

  /** Takes it away, and waits until the kernel has lost it. */
  async drop(): Promise<void> {
    const { result: ids, revision } = await this.#parts.store.update(forgetIngressSandbox);
    const owners = [`sandbox:${ingressSandbox}`, ...ids.map((id) => `endpoint:${id}`)] as Owner[];
    await removalSettled(this.#parts, owners, revision);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    let before: Snapshot | undefined;
    for await (const commit of this.#parts.store.watch(signal)) {
      if (before === undefined || concerns(before, commit)) {
        this.#isDirty = true;
        this.#wake();
      }
      before = commit.snapshot;
    }
  }

  async #work(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      if (!this.#isDirty) await woken;
      if (signal.aborted) return;
      this.#isDirty = false;
      await this.#settle().catch(async (err: unknown) => {
        this.#isDirty = true;
        this.#parts.log.warn({ err }, "published ports do not come in on this host yet");
        await sleep(retry, undefined, { signal }).catch(() => {});
      });
    }
  }

  async #settle(): Promise<void> {
    const { store, membership } = this.#parts;
    const rows = store.snapshot();
    const network = membership.isInSwarm ? rows.list("networks").find(isIngress) : undefined;
    const legs = rows.where("endpoints", "sandbox", ingressSandbox);
    if (network !== undefined && legs.some(({ networkId }) => networkId === network.id)) return;
    if (rows.get("sandboxes", ingressSandbox) !== undefined) await this.drop();
    if (network !== undefined) await this.#open(network);
  }

  async #open(network: Network): Promise<void> {
    const { store, membership, replica, overlays, dataplane } = this.#parts;
    const id = randomBytes(32).toString("hex");
    replica.hold(id, network.id);
    try {
      await this.#ensureWayOut();
      const attached = await membership.attach(ingressWish(network.id, id));
      const { revision } = await store.update((tx) => {
        replica.keep(tx, attached);
        open(tx, attached);
      });
      await dataplane.settled(`endpoint:${id}`, revision);
    } catch (error) {
      // The manager may have done what it could not say any more; what has a row here stays.
      if (store.snapshot().get("endpoints", id) === undefined) overlays.giveUp(id);
      throw error;
    }
  }
}

const isIngress = ({ scope, spec }: Network) => scope === "cluster" && spec.ingress;

/** True when there may be something to do: most commits are about others. */
function concerns(before: Snapshot, commit: Commit): boolean {
  const networks = changesOf("networks", before, commit);
  const endpoints = changesOf("endpoints", before, commit);
  return (
    networks.some(({ old, row }) => [old, row].some((network) => network !== undefined && isIngress(network))) ||
    endpoints.some(({ old, row }) => row === undefined && old?.sandboxId === ingressSandbox)
  );
}

function open(tx: Transaction, { network, peer }: Attached): void {
  const wayOut = wayOutOf(tx);
  if (wayOut === undefined) throw new Error("the network docker_gwbridge is gone");
  const leaf = leafFor(tx, network);
  const place = { sandboxId: ingressSandbox, containerId: ingressContainer };
  tx.insert("endpoints", {
    id: peer.id,
    networkId: network.id,
    ...place,
    containerName: ends.inside,
    mac: peer.mac,
    interfaceName: "eth0",
    addresses: peer.addresses,
    linkLocal: [],
    names: [],
    ports: [],
    sysctls: {},
    gatewayPriority: 0,
    ...(leaf !== undefined && { leaf }),
  });
  const outside = insertWayOut(tx, wayOut, { ...place, containerName: ends.outside, interfaceName: "eth1" });
  const leads = (six: boolean) =>
    outside.addresses.some(({ address, gateway }) => address.includes(":") === six && gateway !== undefined);
  tx.insert("sandboxes", {
    id: ingressSandbox,
    containerId: ingressContainer,
    ...(leads(false) && { gateway4: outside.id }),
    ...(leads(true) && { gateway6: outside.id }),
    resolver: false,
    dns: { servers: [], search: [], options: [] },
    sysctls: {},
  });
}
