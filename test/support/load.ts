import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { environment } from "../../src/lab/command.ts";
import type { LoadResult, LoadWish } from "./load-client.ts";

const program = join(import.meta.dirname, "load-client.ts");

/** Requests that go on until they are told to end. */
export class Load {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #output: Promise<string>;

  /** @param enter what runs a command where the requests come from */
  constructor(enter: readonly string[], wish: LoadWish) {
    const [command = "", ...args] = [...enter, process.execPath, program, JSON.stringify(wish)];
    this.#process = spawn(command, args, { env: environment(), stdio: ["pipe", "pipe", "inherit"] });
    this.#process.stdin.on("error", () => {}); // it was killed
    this.#output = text(this.#process.stdout);
  }

  /** Ends it when the answers to all requests are there. @throws when it has ended by itself, or done nothing */
  async stop(): Promise<LoadResult> {
    this.#process.stdin.end();
    const output = await this.#output;
    assert.notEqual(output, "", "the requests have ended early");
    const result = JSON.parse(output) as LoadResult;
    assert.ok(result.sent > 0, "nothing was asked");
    return result;
  }
  kill(): void {
    this.#process.kill("SIGKILL");
  }
}

/** For the reader of a failed test: each cause, how often, and when first and last. */
export function describeFailures({ failures, sent, rate, took }: LoadResult): string {
  const causes = Map.groupBy(failures, ({ cause, target }) => `${target}: ${cause}`);
  const time = (at = 0) => new Date(at).toISOString().slice(11, 23);
  const lines = [...causes].map(
    ([cause, some]) =>
      `${some.length} × ${cause}, ${time(some[0]?.at)} to ${time(some.at(-1)?.at)} after ${Math.min(...some.map((one) => one.took))} ms`,
  );
  return [`${failures.length} of ${sent} at ${rate}/s, ${JSON.stringify(took)}`, ...lines].join("\n");
}
