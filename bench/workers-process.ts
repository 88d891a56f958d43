import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Word } from "./workers.ts";

/** Many workers of a manager, in a process of their own. */
export class WorkersProcess implements Disposable {
  readonly #child: ChildProcess;
  readonly #awaited = new Map<Word, PromiseWithResolvers<number>>();

  /** @param namespace file of the network namespace that they are in @param address of the manager, `address:port` */
  constructor(namespace: string, address: string, token: string, count: number) {
    const script = join(import.meta.dirname, "workers.ts");
    const command = [`--net=${namespace}`, process.execPath, script, address, token, `${count}`];
    this.#child = spawn("nsenter", command, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child.on("message", ([word, value]: [Word, number]) => this.#awaited.get(word)?.resolve(value));
    this.#child.once("exit", () => this.#fail(new Error("the workers' process ended")));
  }

  /** Resolves with the answer, when it is done. */
  async ask(word: Word): Promise<number> {
    const answer = this.#said(word);
    this.#child.send(word);
    return await answer;
  }

  /** @returns milliseconds from the beginning until every worker has got rows */
  async untilAllHeard(begin: () => Promise<unknown>): Promise<number> {
    await this.ask("listen");
    const all = this.#said("all");
    const since = performance.now();
    await Promise.all([begin(), all]);
    return performance.now() - since;
  }

  #said(word: Word): Promise<number> {
    const awaited = Promise.withResolvers<number>();
    this.#awaited.set(word, awaited);
    return awaited.promise;
  }

  #fail(error: Error): void {
    for (const { reject } of this.#awaited.values()) reject(error);
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }
}
