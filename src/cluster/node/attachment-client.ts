import { setTimeout as sleep } from "node:timers/promises";
import { type EngineError, isUnavailable, unavailable } from "../../lib/errors.ts";
import { fromJsonBytes } from "../../lib/json-bytes.ts";
import type { NodeId } from "../../model/cluster.ts";
import type { EndpointId } from "../../model/ids.ts";
import type { Attached, AttachWish } from "../attachments.ts";
import type { ControlClient } from "../calls/control-client.ts";
import type { AttachResponse } from "../gen/control_pb.ts";
import { saysRemoved } from "../removal.ts";
import { texts } from "../texts.ts";

const patience = { attach: 5000, again: 100, detach: 2000 } as const; // milliseconds

/** A node's calls to managers for its containers that come onto networks of the cluster, or leave them. */
export class AttachmentClient {
  readonly #client: ControlClient;
  readonly #nodeId: NodeId;
  readonly #connected: (signal: AbortSignal) => Promise<void>;

  /**
   * @param connected resolves when the node has its stream: what is asked for before could be taken for left over; rejects as
   *   managers do when the node was removed
   */
  constructor(client: ControlClient, nodeId: NodeId, connected: (signal: AbortSignal) => Promise<void>) {
    this.#client = client;
    this.#nodeId = nodeId;
    this.#connected = connected;
  }

  /**
   * Claims addresses on a network of the cluster for a container of this node. What breaks off is asked for again: it is the
   * same endpoint, whether a manager has heard of it or not.
   * @throws {EngineError} what the manager said; unavailable when none answers within five seconds
   */
  async attach(wish: AttachWish): Promise<Attached> {
    const late = AbortSignal.timeout(patience.attach);
    let failure: EngineError | undefined;
    while (!late.aborted) {
      try {
        return await this.#attachOnce(wish, late);
      } catch (error) {
        if (!late.aborted && !isUnavailable(error)) throw error;
        if (isUnavailable(error)) failure = error;
        await sleep(patience.again, undefined, { signal: late }).catch(() => {});
      }
    }
    throw failure ?? unavailable(texts.attachTimeout);
  }

  async #attachOnce(wish: AttachWish, signal: AbortSignal): Promise<Attached> {
    await this.#connected(signal);
    const { ipv4 = "", ipv6 = "", mac = "", names, taskId = "", isIngressSandbox = false, ...others } = wish;
    const request = { ...others, names: [...names], ipv4, ipv6, mac, taskId, ingressSandbox: isIngressSandbox };
    return this.#client.use(async ({ node }) => attachedFromWire(await node.attach(request, { signal })), signal);
  }

  /**
   * Gives back what was claimed. Of a node that was removed nothing is.
   * @throws {EngineError} unavailable when no manager answers in time: `Overlays` tries again
   */
  async detach(endpointIds: readonly EndpointId[]): Promise<void> {
    const late = AbortSignal.timeout(patience.detach);
    try {
      await this.#connected(late);
      await this.#client.use(({ node }) => node.detach({ endpointIds: [...endpointIds] }, { signal: late }), late);
    } catch (error) {
      if (!saysRemoved(error, this.#nodeId)) throw error;
    }
  }
}

/** The rows of an answer, as a manager has written them. */
const attachedFromWire = ({ network, pools, peer }: AttachResponse): Attached => ({
  network: fromJsonBytes(network),
  pools: pools.map((pool) => fromJsonBytes(pool)),
  peer: fromJsonBytes(peer),
});
