import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { system } from "../../lib/errors.ts";
import { lineReader, type LoggerReply, type LoggerRequest, outputReader } from "./protocol.ts";
import type { StreamName } from "./protocol.ts";

const [patience, pause] = [10_000, 50]; // milliseconds: one that was killed is back within a second
class LoggerAway extends Error {}

/** The daemon's side of the logger. */
export class LoggerClient {
  readonly #path: string;
  #connection: Socket | undefined;
  #isClosed = false;
  #waiting: { resolve(reply: LoggerReply): void; reject(error: Error): void }[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws {EngineError} system when the logger refuses, or stays away */
  async ask(request: LoggerRequest): Promise<readonly string[]> {
    const reply = await this.#patiently(() => this.#send(request));
    if ("error" in reply) throw system(`the logger refused: ${reply.error}`);
    return reply.ids;
  }

  /** Waits for a logger that is being started again: every request may be made twice. */
  async #patiently<R>(request: () => Promise<R>): Promise<R> {
    for (const late = Date.now() + patience; ; await sleep(pause))
      try {
        return await request();
      } catch (error) {
        if (!(error instanceof LoggerAway)) throw error;
        if (this.#isClosed || Date.now() > late) throw system(error.message);
      }
  }

  #send(request: LoggerRequest): Promise<LoggerReply> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#open().write(`${JSON.stringify(request)}\n`);
    });
  }

  #open(): Socket {
    if (this.#connection !== undefined) return this.#connection;
    const connection = connect(this.#path);
    connection.on(
      "data",
      lineReader((line) => this.#waiting.shift()?.resolve(JSON.parse(line) as LoggerReply)),
    );
    connection.on("error", () => connection.destroy());
    connection.on("close", () => {
      if (this.#connection === connection) this.#connection = undefined;
      for (const { reject } of this.#waiting.splice(0)) reject(new LoggerAway("the logger went away"));
    });
    this.#connection = connection;
    return connection;
  }

  /** Follows a container's output from now on. @returns the connection, to pause or destroy; `onEnd` is called once, whoever ends it */
  follow(id: string, onOutput: (stream: StreamName, data: Buffer) => void, onEnd: () => void): Promise<Socket> {
    return this.#patiently(
      () =>
        new Promise((resolve, reject) => {
          const connection = connect(this.#path);
          const frames = outputReader(onOutput);
          let answered = false;
          connection.on("error", () => connection.destroy());
          connection.on("close", () => (answered ? onEnd() : reject(new LoggerAway("the logger went away"))));
          connection.on("data", (chunk: Buffer) => {
            if (answered) return frames(chunk);
            // The answer is one line, the frames follow it, perhaps at once.
            answered = true;
            const end = chunk.indexOf(10);
            if (end + 1 < chunk.length) frames(chunk.subarray(end + 1));
            resolve(connection);
          });
          connection.write(`${JSON.stringify({ verb: "follow", id } satisfies LoggerRequest)}\n`);
        }),
    );
  }

  close(): void {
    this.#isClosed = true;
    this.#connection?.destroy();
  }
}
