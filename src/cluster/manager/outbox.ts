import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Turns } from "../../lib/turns.ts";
import type { SessionResponseSchema } from "../gen/control_pb.ts";
import type { Wanted } from "./log-broker.ts";
import type { Shown } from "./views.ts";

export type Down = MessageInitShape<typeof SessionResponseSchema>;
type Notice = NonNullable<NonNullable<Down["body"]> & { readonly case: "registered" | "managers" | "standing" }>;

const most = 500; // rows of one message

/**
 * What is on its way to one node. Rows wait by their keys, the latest each, so a node that reads slowly costs no more than
 * the rows that it needs; they go out in the order of their last changes.
 */
export class Outbox {
  readonly #turns: Turns;
  readonly #rows = new Map<string, Shown>();
  readonly #notices = new Map<Notice["case"], Notice>();
  readonly #wanted: Wanted[] = [];
  #snapshot = true;
  #revision = 0;
  /** The last revision that the node is asked to acknowledge, whether that was sent or not, and the last that it has. */
  #asked = 0;
  #acknowledged = 0;
  #asks = false;
  #goOn = () => {};
  readonly #wake = () => this.#goOn();
  #end: { readonly error?: Error } | undefined;

  /** @param turns of all outboxes: what is told to all goes out to some after the other */
  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /**
   * The first time everything that the node needs, then what changed.
   * @param revision of the store's commit
   * @param asks true: the node is to say when its kernel has it
   */
  rows(changes: Iterable<Shown>, revision: number, asks = false): void {
    for (const change of changes) {
      const key = `${change.table}/${change.key}`;
      this.#rows.delete(key);
      this.#rows.set(key, change);
    }
    this.#revision = revision;
    if (asks) [this.#asks, this.#asked] = [true, revision];
    this.#turns.add(this.#wake);
  }

  /** The node's kernel has everything up to that revision. */
  acknowledged(revision: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(revision, this.#revision));
  }
  /** The revision up to which the node has taken all that it was asked to acknowledge. */
  get taken(): number {
    return this.#asked <= this.#acknowledged ? Infinity : this.#acknowledged;
  }

  /** The latest of each kind is sent. */
  notice(notice: Notice): void {
    this.#notices.set(notice.case, notice);
    this.#turns.add(this.#wake);
  }

  /** Each is sent. */
  wantLogs(wanted: Wanted): void {
    this.#wanted.push(wanted);
    this.#turns.add(this.#wake);
  }

  /** Nothing more is sent; with an error, the stream ends with it. */
  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#wake();
  }

  /** The messages until the end. */
  async *messages(signal: AbortSignal): AsyncIterable<Down> {
    const abort = () => this.end();
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    try {
      while (this.#end === undefined) {
        const messages = [...this.#take()];
        for (const message of messages) yield message;
        if (messages.length === 0)
          await new Promise<void>((resolve) => {
            this.#goOn = resolve;
          });
      }
      if (this.#end.error !== undefined) throw this.#end.error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  *#take(): Iterable<Down> {
    const notices = [...this.#notices.values()];
    const rows = [...this.#rows.values()];
    const [snapshot, revision, asks] = [this.#snapshot, BigInt(this.#revision), this.#asks];
    this.#asks = false;
    this.#notices.clear();
    this.#rows.clear();
    for (const body of notices) yield { body };
    for (const value of this.#wanted.splice(0)) yield { body: { case: "logsWanted", value } };
    if (rows.length === 0 && !snapshot) return;
    this.#snapshot = false;
    for (let from = 0; from === 0 || from < rows.length; from += most) {
      const value = {
        snapshot: snapshot && from === 0,
        more: from + most < rows.length,
        changes: rows.slice(from, from + most),
        revision,
        acknowledge: asks && from + most >= rows.length,
      };
      yield { body: { case: "changes", value } };
    }
  }
}
