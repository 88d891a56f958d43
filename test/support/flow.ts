import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { environment } from "../../src/lab/command.ts";
import type { FlowWish } from "./flow-client.ts";

const program = join(import.meta.dirname, "flow-client.ts");

/** A connection that stays, or one socket that sends datagrams to one place. It lives until it is ended. */
export class Flow {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #answers: AsyncIterator<string>;

  constructor(enter: readonly string[], wish: FlowWish) {
    const words = [...enter, process.execPath, program, JSON.stringify(wish)];
    this.#process = spawn(words[0] ?? "", words.slice(1), { env: environment(), stdio: ["pipe", "pipe", "inherit"] });
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async heard(): Promise<string> {
    const { value, done } = await this.#answers.next();
    assert.ok(done !== true, "the flow has ended");
    return value;
  }

  /** @returns what came back while it was waited for; `silence` when nothing did */
  say(line: string): Promise<string> {
    this.#process.stdin.write(`${line}\n`);
    return this.heard();
  }

  end(): void {
    this.#process.kill("SIGKILL");
  }
}
