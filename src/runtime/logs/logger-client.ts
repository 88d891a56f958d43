import { connect, type Socket } from "node:net";
import { system } from "../../lib/errors.ts";
import { lineReader, type LoggerReply, type LoggerRequest, outputReader } from "./protocol.ts";
import type { StreamName } from "./protocol.ts";

/** The daemon's side of the logger. */
export class LoggerClient {
  readonly #path: string;
  #connection: Socket | undefined;
  #waiting: { resolve(reply: LoggerReply): void; reject(error: Error): void }[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws {EngineError} system when the logger refuses or is away */
  async ask(request: LoggerRequest): Promise<readonly string[]> {
    const reply = await new Promise<LoggerReply>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#open().write(`${JSON.stringify(request)}\n`);
    });
    if ("error" in reply) throw system(`the logger refused: ${reply.error}`);
    return reply.ids;
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
      for (const { reject } of this.#waiting.splice(0)) reject(system("the logger went away"));
    });
    this.#connection = connection;
    return connection;
  }

  /** Follows a container's output from now on. @returns the connection, to pause or destroy; `onEnd` is called once, whoever ends it */
  async follow(id: string, onOutput: (stream: StreamName, data: Buffer) => void, onEnd: () => void): Promise<Socket> {
    const connection = connect(this.#path);
    connection.on("error", () => connection.destroy());
    connection.on("close", onEnd);
    connection.write(`${JSON.stringify({ verb: "follow", id } satisfies LoggerRequest)}\n`);
    await new Promise<void>((resolve, reject) => {
      const frames = outputReader(onOutput);
      let answered = false;
      connection.once("close", () => reject(system("the logger went away")));
      connection.on("data", (chunk: Buffer) => {
        if (answered) return frames(chunk);
        // The answer is one line, the frames follow it, perhaps at once.
        answered = true;
        const end = chunk.indexOf(10);
        if (end + 1 < chunk.length) frames(chunk.subarray(end + 1));
        resolve();
      });
    });
    return connection;
  }

  close(): void {
    this.#connection?.destroy();
  }
}
