import type { MessageInitShape } from "@bufbuild/protobuf";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { fromJsonBytes } from "../lib/json-bytes.ts";
import type { ClusterNode, NodeDescription, NodeRole, PublicCluster } from "../model/cluster.ts";
import type { ManagerAddress } from "./certificates.ts";
import type { Calls, ControlClient } from "./control-client.ts";
import type { EndpointId } from "../model/ids.ts";
import type { Change, SessionRequestSchema, SessionResponse } from "./gen/control_pb.ts";
import { availabilityFromWire, descriptionToWire, roleFromWire } from "./wire.ts";

type Up = MessageInitShape<typeof SessionRequestSchema>;

/** What a node says when its stream begins. */
export interface NodeFacts {
  readonly describe: () => NodeDescription;
  /** What containers have, or are about to have, on networks of the cluster. */
  readonly endpoints: () => Iterable<EndpointId>;
}

/** Rows that a node needs; with `snapshot` all of them, and `more` come. */
export interface Batch {
  readonly snapshot: boolean;
  readonly more: boolean;
  readonly changes: readonly Pick<Change, "table" | "key" | "row">[];
}

/** What a node hears of its swarm over its stream. */
export interface AgentEvents {
  managers(managers: readonly ManagerAddress[]): void;
  /** What the user wants the node to be. */
  standing(role: NodeRole, availability: ClusterNode["availability"]): void;
  cluster(cluster: PublicCluster): void;
  /** Resolves when they are kept. */
  rows(batch: Batch): Promise<void>;
  /** The stream is there, with all that the node needs; `error` says why it is not, when it is lost. */
  connected(): void;
  lost(error: unknown): void;
}

const pause = { least: 200, most: 5000 } as const; // milliseconds between two attempts, doubling

/** A node's side of its stream: it registers, beats, and hears what it needs. It looks for another manager as long as it runs. */
export class Agent {
  readonly #client: ControlClient;
  readonly #facts: NodeFacts;
  readonly #events: AgentEvents;
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #period = 5000; // milliseconds
  #failures = 0;
  #again = () => {};
  #beat = () => {};

  constructor(client: ControlClient, facts: NodeFacts, events: AgentEvents) {
    this.#client = client;
    this.#facts = facts;
    this.#events = events;
  }

  start(): void {
    this.#running = this.#run(this.#stopped.signal);
  }

  /** Says at once what has changed of what this node says of itself; it would be said with the next beat. */
  describe(): void {
    this.#beat();
  }

  /** Asks again at once: a manager has come. */
  look(): void {
    this.#again();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#client.use((calls) => this.#session(calls, signal), signal);
      } catch (error) {
        if (!signal.aborted) this.#events.lost(error);
      }
      const wait = Math.min(pause.least * 2 ** this.#failures, pause.most);
      this.#failures += 1;
      const again = new Promise<void>((resolve) => {
        this.#again = resolve;
      });
      await Promise.race([again, sleep(wait * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})]);
    }
  }

  async #session({ node }: Calls, signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    try {
      for await (const message of node.session(this.#up(either), { signal })) await this.#hear(message);
    } finally {
      ended.abort();
    }
  }

  async *#up(signal: AbortSignal): AsyncIterable<Up> {
    const { describe, endpoints } = this.#facts;
    let said = describe();
    yield {
      body: { case: "register", value: { description: descriptionToWire(said), endpointIds: [...endpoints()] } },
    };
    while (!signal.aborted) {
      const beat = new Promise<void>((resolve) => {
        this.#beat = resolve;
      });
      await Promise.race([beat, sleep(this.#period, undefined, { signal, ref: false }).catch(() => {})]);
      if (signal.aborted) return;
      const now = describe();
      const hasChanged = !isDeepStrictEqual(now, said);
      said = now;
      yield { body: hasChanged ? { case: "description", value: descriptionToWire(now) } : { case: "beat", value: {} } };
    }
  }

  async #hear({ body }: SessionResponse): Promise<void> {
    switch (body.case) {
      case "registered":
        this.#period = body.value.period;
        this.#beat(); // a shorter period begins now
        break;
      case "managers":
        this.#events.managers(body.value.managers.map(({ nodeId, address }) => ({ nodeId, address })));
        break;
      case "standing":
        this.#events.standing(roleFromWire(body.value.role), availabilityFromWire(body.value.availability));
        break;
      case "changes":
        for (const { table, row } of body.value.changes)
          if (table === "clusters" && row !== undefined) this.#events.cluster(fromJsonBytes<PublicCluster>(row));
        await this.#events.rows(body.value);
        if (body.value.snapshot) this.#failures = 0;
        if (!body.value.more) this.#events.connected();
        break;
      case undefined:
        break; // a newer manager's word
    }
  }
}
