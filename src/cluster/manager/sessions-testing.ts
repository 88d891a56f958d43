import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client, createClient, createRouterTransport } from "@connectrpc/connect";
import { explain } from "../calls/call-errors.ts";
import { Node, type SessionRequestSchema, type SessionResponse } from "../gen/control_pb.ts";
import type { NodeDescription } from "../../model/cluster.ts";
import type { Sessions } from "./sessions.ts";
import { description } from "../testing.ts";
import { descriptionToWire } from "../calls/wire.ts";

type Up = MessageInitShape<typeof SessionRequestSchema>;

/** A worker's end of a stream over memory. */
export class Worker {
  readonly received: SessionResponse["body"][] = [];
  readonly ended: Promise<void>;
  readonly #waiting: Up[] = [];
  readonly #end = new AbortController();
  #wake = () => {};

  /** @param wish what it says of itself besides what all do */
  constructor(client: Client<typeof Node>, heard: () => void = () => {}, wish: Partial<NodeDescription> = {}) {
    const up = this.#up();
    this.ended = (async () => {
      for await (const { body } of client.session(up, { signal: this.#end.signal })) {
        this.received.push(body);
        heard();
      }
    })();
    this.ended.catch(() => {});
    this.say({ body: { case: "register", value: { description: descriptionToWire({ ...description, ...wish }) } } });
  }
  say(message: Up): void {
    this.#waiting.push(message);
    this.#wake();
  }
  beat = () => this.say({ body: { case: "beat", value: {} } });
  end = () => this.#end.abort();
  /** The rows that came, in order; what was received so far is forgotten. */
  rows(): unknown[] {
    const changes = this.received.splice(0).flatMap((b) => (b.case === "changes" ? b.value.changes : []));
    return changes.map(({ table, key, row }) => [
      table,
      key,
      row === undefined ? undefined : JSON.parse(new TextDecoder().decode(row)),
    ]);
  }
  async *#up(): AsyncIterable<Up> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

/** @param address the call comes from it */
export const clientOf = (sessions: Sessions, nodeId: string, clusterId = "", address = "192.0.2.2") => {
  const caller = { identity: { nodeId, role: "worker" as const, clusterId }, address };
  const session = (up: Parameters<Sessions["serve"]>[1], { signal }: { signal: AbortSignal }) =>
    sessions.serve(caller, up, signal);
  return createClient(
    Node,
    createRouterTransport((router) => router.service(Node, { session }), {
      router: { interceptors: [explain(() => {})] },
    }),
  );
};
