import { isDeepStrictEqual } from "node:util";
import { forbidden, invalid } from "../../lib/errors.ts";
import { isLoopback } from "../../lib/net.ts";
import { type ClusterNode, type NodeDescription, type NodeId, observed, unsaid } from "../../model/cluster.ts";
import type { EndpointId, IpAddress } from "../../model/ids.ts";
import type { Snapshot, Store, Transaction } from "../../store/store.ts";
import { Acknowledgements } from "./acknowledgements.ts";
import { keepOnly, movePeers } from "../attachments.ts";
import type { CallerFacts } from "../calls/control-server.ts";
import { Feed, periodIn } from "./feed.ts";
import type { Report, SessionRequest } from "../gen/control_pb.ts";
import { newSwarmId } from "../identity/names.ts";
import type { Wanted } from "./log-broker.ts";
import type { Down, Outbox } from "./outbox.ts";
import { removedNode } from "../removal.ts";
import { descriptionFromWire } from "../calls/wire.ts";

export interface SessionsParts {
  readonly store: Store;
  /** The manager's own id: it holds the sessions. */
  readonly self: NodeId;
  /** @returns milliseconds since 1970 */
  readonly now: () => number;
  /** @returns what calls it off */
  readonly after: (milliseconds: number, call: () => void) => () => void;
  /** Told of what a node has observed. */
  readonly report?: (node: NodeId, report: Report) => void;
  /** Told of writes that failed; they are tried again. */
  readonly failed: (error: unknown) => void;
}

/** So many periods without a beat make a node down (moby/swarmkit manager/dispatcher: 3 of 5 s). */
const grace = 3;
/** What is said of a node that left. */
export const hasLeft = "it has left";
const retryAfter = 1000; // milliseconds
type Status = ClusterNode["status"];

/**
 * Where a node's tunnels end is an address of its own: the one that its stream comes from, or one that no other node at work
 * has. @throws {EngineError} forbidden, naming the other node
 */
function checkDataPath(rows: Snapshot, node: NodeId, dataPath: IpAddress, from: IpAddress): void {
  if (dataPath === from) return;
  if (isLoopback(dataPath) && !isLoopback(from))
    throw forbidden(`data path address ${dataPath} is no other node's way`);
  const other = rows
    .list("nodes")
    .find(
      ({ id, status, addresses }) =>
        id !== node &&
        status.state === "ready" &&
        [status.address, addresses.advertise, addresses.dataPath].includes(dataPath),
    );
  if (other !== undefined)
    throw forbidden(
      `data path address ${dataPath} is node ${other.id}'s (${other.hostname}): say another --data-path-addr`,
    );
}

/**
 * With a key that another node has, that one would not be reached any more. Of a node that is down it may be had by who comes from
 * where it was: that may be itself, as another node. @throws {EngineError} forbidden, naming it
 */
function checkKeys(rows: Snapshot, node: NodeId, { wireguard }: NodeDescription, from: IpAddress): void {
  const keys = new Set(wireguard?.keys.map(({ publicKey }) => publicKey));
  if (isDeepStrictEqual(wireguard?.keys, rows.get("nodes", node)?.wireguard?.keys)) return;
  const other = rows
    .list("nodes")
    .find(
      ({ id, status, wireguard: its }) =>
        id !== node &&
        (status.state === "ready" || status.address !== from) &&
        its?.keys.some(({ publicKey }) => keys.has(publicKey)),
    );
  if (other !== undefined) throw forbidden(`the WireGuard key is node ${other.id}'s (${other.hostname})`);
}

/**
 * What a node was before it came as another one, at the same address: nobody is at work there. That it says so is not enough: its
 * stream comes from where that one's came.
 */
const formerSelves = (rows: Snapshot, node: NodeId, { addresses }: NodeDescription, from: IpAddress): NodeId[] =>
  rows
    .where("nodes", "dataPath", addresses.dataPath)
    .flatMap(({ id, status }) => (id !== node && status.state !== "ready" && status.address === from ? id : []));

/** What a node says when it registers, and where it calls from. */
type Facts = readonly [description: NodeDescription, endpoints: readonly EndpointId[], address: IpAddress];
/**
 * Writes what a node says of itself, and its endpoints' place after it.
 * @param row with the node's status @throws {EngineError} forbidden for what is another node's
 */
function describe(
  tx: Transaction,
  row: ClusterNode,
  description: NodeDescription,
  { others, now }: { readonly others: Snapshot; readonly now: number },
): void {
  checkDataPath(others, row.id, description.addresses.dataPath, row.status.address);
  checkKeys(others, row.id, description, row.status.address);
  // Addresses and balancer hold while a node is away, but not when it is back and says nothing of them.
  const { hostAddresses: _, balancer: _balancer, ...before } = unsaid(row);
  const described = observed<ClusterNode>(before, description, now);
  tx.put("nodes", described);
  movePeers(tx, described);
}

/** A stream of a node, and the time after it until the node is down. */
interface Session {
  readonly id: string;
  readonly node: NodeId;
  period: number;
  lastBeat: number;
  isDown: boolean;
  cancel: () => void;
}

/**
 * A manager's side of the nodes' streams. Who has a stream says in the node's row that it holds it; a later stream, here or
 * at another manager, is in the row instead, and what is known of the earlier one counts no more.
 */
export class Sessions {
  readonly #parts: SessionsParts;
  readonly #feed: Feed;
  readonly #acknowledgements: Acknowledgements;
  readonly #sessions = new Map<NodeId, Session>();
  #hasEnded = false;

  constructor(parts: SessionsParts) {
    this.#parts = parts;
    this.#feed = new Feed(parts.store.snapshot());
    const { store, self, failed } = parts;
    this.#acknowledgements = new Acknowledgements({
      store,
      self,
      takenBy: (node) => this.#feed.takenBy(node),
      failed: (error) => this.#hasEnded || failed(error),
    });
  }

  /** Follows the store until the signal. Nodes whose streams an earlier process of this manager held have time to come back. */
  async run(signal: AbortSignal): Promise<void> {
    this.inherit((holder) => holder === this.#parts.self);
    try {
      let isFirst = true;
      for await (const commit of this.#parts.store.watch(signal)) {
        const all = isFirst ? this.#feed.sinceThen(commit) : commit;
        this.#feed.pass(all);
        this.#acknowledgements.note(all);
        isFirst = false;
      }
    } finally {
      this.#hasEnded = signal.aborted;
      for (const { cancel } of this.#sessions.values()) cancel();
    }
  }

  /**
   * Watches over the nodes of managers that are gone: those that come to no other manager in time are down. For the leader,
   * when it begins and whenever a manager is lost.
   */
  inherit(isGone: (holder: NodeId) => boolean): void {
    for (const { id: node, status } of this.#parts.store.snapshot().list("nodes")) {
      const { state, session: id, holder } = status;
      if (state !== "ready" || id === undefined || holder === undefined || !isGone(holder)) continue;
      if (this.#sessions.get(node)?.id !== id) this.#keep({ ...this.#begun(node), id });
    }
  }

  /**
   * One stream, to its end.
   * @throws {EngineError} invalid when it does not begin with a registration, forbidden for who is no node
   */
  async *serve(caller: CallerFacts, up: AsyncIterable<SessionRequest>, signal: AbortSignal): AsyncIterable<Down> {
    const node = caller.identity?.nodeId ?? "";
    const messages = up[Symbol.asyncIterator]();
    const first = await messages.next();
    const body = first.done === true ? undefined : first.value.body;
    if (body?.case !== "register") throw invalid("a session must begin with a registration");
    const session = this.#begun(node);
    const { description, endpointIds } = body.value;
    const outbox = await this.#open(session, descriptionFromWire(description), endpointIds, caller.address);
    void this.#read(session, messages, outbox);
    try {
      yield* outbox.messages(signal);
    } finally {
      this.#feed.close(node, outbox);
    }
  }

  /** Tells a node that logs of its tasks are wanted. @returns false when it has no stream here */
  wantLogs(node: NodeId, wanted: Wanted): boolean {
    return this.#feed.wantLogs(node, wanted);
  }

  async #open(session: Session, ...facts: Facts): Promise<Outbox> {
    const isThere = this.#acknowledgements.expect();
    try {
      await this.#register(session, ...facts);
      this.#keep(session);
      return this.#feed.open(session.node, this.#acknowledgements.isNeeded);
    } finally {
      isThere();
    }
  }

  /** The node goes: nobody has to wait for its beats. Of one that was about to be a manager the leader takes the vote. */
  async leave(node: NodeId): Promise<void> {
    const { store, now } = this.#parts;
    await store.update((tx) => {
      const row = tx.get("nodes", node);
      if (row === undefined) return;
      const status: Status = { state: "down", message: hasLeft, address: row.status.address };
      tx.put("nodes", observed(unsaid(row), { status, role: "worker" }, now()));
      keepOnly(tx, node, new Set());
    });
  }

  #begun(node: NodeId): Session {
    const { now, store } = this.#parts;
    const period = periodIn(store.snapshot());
    return { id: newSwarmId(), node, period, lastBeat: now(), isDown: false, cancel: () => {} };
  }

  /** What the node has claimed, and does not have any more, is given back. */
  async #register({ id, node }: Session, ...[description, endpoints, address]: Facts): Promise<void> {
    const { self, now, store } = this.#parts;
    await store.update((tx) => {
      const row = tx.get("nodes", node);
      if (row === undefined) throw removedNode(node);
      // Not of the transaction: it would be at odds with every other write of a node.
      const others = store.snapshot();
      for (const former of formerSelves(others, node, description, address)) keepOnly(tx, former, new Set());
      const status: Status = { state: "ready", message: "", address, holder: self, session: id };
      this.#acknowledgements.retract(tx);
      keepOnly(tx, node, new Set(endpoints));
      describe(tx, { ...row, status }, description, { others, now: now() });
    });
  }

  /** What a node says of itself from now on; of no stream but its last one. */
  async #describe({ id, node }: Session, description: NodeDescription): Promise<void> {
    const { now, store } = this.#parts;
    await store.update((tx) => {
      const row = tx.get("nodes", node);
      if (row?.status.session === id) describe(tx, row, description, { others: store.snapshot(), now: now() });
    });
  }

  async #read(session: Session, messages: AsyncIterator<SessionRequest>, outbox: Outbox): Promise<void> {
    try {
      for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
        const { body } = next.value;
        if (body.case === "beat") this.#beat(session);
        if (body.case === "report") this.#parts.report?.(session.node, body.value);
        if (body.case === "applied") this.#hear(outbox, Number(body.value.revision));
        if (body.case === "description") await this.#describe(session, descriptionFromWire(body.value));
      }
      outbox.end();
    } catch (error) {
      // A stream that breaks ends here too: the node has its time to come back.
      outbox.end(error as Error);
    }
  }

  #hear(outbox: Outbox, revision: number): void {
    outbox.acknowledged(revision);
    if (this.#acknowledgements.isNeeded) this.#acknowledgements.look();
  }

  /** A node that was told another period follows it from its next beat on. */
  #beat(session: Session): void {
    session.lastBeat = this.#parts.now();
    session.period = periodIn(this.#parts.store.snapshot());
    if (session.isDown) void this.#mark(session, "ready", "");
  }

  #keep(session: Session): void {
    this.#sessions.get(session.node)?.cancel();
    this.#sessions.set(session.node, session);
    this.#wait(session);
  }

  #deadline({ lastBeat, period }: Session): number {
    return lastBeat + grace * Math.max(period, periodIn(this.#parts.store.snapshot()));
  }

  #wait(session: Session): void {
    if (this.#hasEnded) return;
    const left = this.#deadline(session) - this.#parts.now();
    session.cancel = this.#parts.after(left, () => {
      if (this.#parts.now() < this.#deadline(session)) this.#wait(session);
      else void this.#mark(session, "down", "heartbeat failure"); // moby/swarmkit manager/dispatcher, its text
    });
  }

  /** Writes the state, if the stream is still the node's last. */
  async #mark(session: Session, state: "ready" | "down", message: string): Promise<void> {
    const { store, now, after, failed } = this.#parts;
    session.cancel();
    session.isDown = state === "down";
    try {
      const { result: isLast } = await store.update((tx) => {
        const row = tx.get("nodes", session.node);
        if (row?.status.session !== session.id) return false;
        const status: Status = { ...row.status, state, message };
        if (row.status.state !== state) tx.put("nodes", observed(row, { status }, now()));
        return true;
      });
      if (!isLast && this.#sessions.get(session.node) === session) this.#sessions.delete(session.node);
      if (isLast && state === "ready") this.#wait(session);
    } catch (error) {
      if (this.#hasEnded) return;
      failed(error);
      session.cancel = after(retryAfter, () => void this.#mark(session, state, message));
    }
  }
}
