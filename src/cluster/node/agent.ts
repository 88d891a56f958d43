import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { fromJsonBytes } from "../../lib/json-bytes.ts";
import type { ClusterNode, NodeDescription, NodeRole, PublicCluster } from "../../model/cluster.ts";
import type { ManagerAddress } from "../certificates.ts";
import type { Calls, ControlClient } from "../calls/control-client.ts";
import type { EndpointId } from "../../model/ids.ts";
import type { Task } from "../../model/service.ts";
import type { Change, Changes, LogsWanted, SessionResponse } from "../gen/control_pb.ts";
import { NodeMessages } from "./node-messages.ts";
import { availabilityFromWire, descriptionToWire, roleFromWire } from "../calls/wire.ts";

/** What a node says of itself. */
export interface NodeFacts {
  readonly describe: () => NodeDescription;
  /** What containers have, or are about to have, on networks of the cluster. */
  readonly endpoints: () => Iterable<EndpointId>;
  /** Its tasks: all, then each that has become another way, until the signal. */
  readonly tasks: (signal: AbortSignal) => AsyncIterable<Task>;
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
  /** Resolves when all of it is told. */
  logsWanted(wanted: LogsWanted): Promise<void>;
  /** Resolves when what was kept is in the kernel. */
  settled(signal: AbortSignal): Promise<void>;
  /** The stream is there, with all that the node needs. */
  connected(): void;
  /** It is not, and why. No other is begun until that is dealt with. */
  lost(error: unknown): Promise<void>;
}

const pause = { least: 200, most: 2000 } as const; // milliseconds between two attempts, doubling

/** A node's side of its stream: it registers, beats, and hears what it needs. It looks for another manager as long as it runs. */
export class Agent {
  readonly #client: ControlClient;
  readonly #facts: NodeFacts;
  readonly #events: AgentEvents;
  readonly #stopped = new AbortController();
  #running: Promise<void> | undefined;
  #failures = 0;
  /** Whether a manager waits for what has come so far of a batch. */
  #owes = false;
  #again = () => {};
  /** Says the node's description, if it is another one than the stream has said last. */
  #describe = () => {};

  constructor(client: ControlClient, facts: NodeFacts, events: AgentEvents) {
    this.#client = client;
    this.#facts = facts;
    this.#events = events;
  }

  start(): void {
    this.#running = this.#run(this.#stopped.signal);
  }

  /** What the node says of itself may be another thing than before: if so it is said, or else with the next beat. */
  describe(): void {
    this.#describe();
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
        if (!signal.aborted) await this.#events.lost(error);
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
    const { describe, endpoints } = this.#facts;
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    const up = new NodeMessages(() => this.#describe());
    let said = descriptionToWire(describe());
    const value = { description: said, endpointIds: [...endpoints()] };
    const messages = up.from({ body: { case: "register", value } }, either);
    this.#describe = () => {
      const description = descriptionToWire(describe());
      if (!isDeepStrictEqual(description, said)) up.description((said = description));
    };
    this.#owes = false;
    void this.#report(up, either).catch(() => {}); // the stream has ended
    try {
      for await (const message of node.session(messages, { signal })) await this.#hear(message, up, either);
    } finally {
      ended.abort();
    }
  }

  /** Each stream begins with all tasks: what was said on the one before may not have come. */
  async #report(up: NodeMessages, signal: AbortSignal): Promise<void> {
    for await (const task of this.#facts.tasks(signal)) up.task(task);
  }

  async #acknowledge(revision: bigint, up: NodeMessages, signal: AbortSignal): Promise<void> {
    await this.#events.settled(signal);
    up.applied(revision);
  }

  async #hear({ body }: SessionResponse, up: NodeMessages, signal: AbortSignal): Promise<void> {
    switch (body.case) {
      case "registered":
        up.beatEvery(body.value.period);
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
        await this.#take(body.value, up, signal);
        break;
      case "logsWanted":
        // As long as it takes: the stream goes on meanwhile.
        void this.#events.logsWanted(body.value).catch(() => {});
        break;
      case undefined:
        break; // a newer manager's word
    }
  }

  async #take(batch: Changes, up: NodeMessages, signal: AbortSignal): Promise<void> {
    await this.#events.rows(batch);
    if (batch.snapshot) this.#failures = 0;
    this.#owes ||= batch.acknowledge;
    if (batch.more) return;
    this.#events.connected();
    if (!this.#owes) return;
    this.#owes = false;
    void this.#acknowledge(batch.revision, up, signal).catch(() => {}); // the stream has ended
  }
}
