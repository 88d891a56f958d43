import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { StreamName } from "./protocol.ts";

/** An entry of a log, as Docker's driver json-file writes it: `log` ends with a newline, unless a line is longer than 16 KiB. */
export interface LogEntry {
  readonly log: string;
  readonly stream: StreamName;
  readonly time: string;
}
const longest = 16 << 10; // bytes of one entry (moby daemon/logger/copier.go)
const newline = 10;

/** Appends output to a log, line by line. */
export class JsonFile {
  readonly #fd: number;
  readonly #unfinished: Record<StreamName, Buffer> = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };

  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o710 });
    this.#fd = openSync(path, "a", 0o640);
  }

  write(stream: StreamName, data: Buffer): void {
    let rest = this.#unfinished[stream].length === 0 ? data : Buffer.concat([this.#unfinished[stream], data]);
    let text = "";
    for (;;) {
      const end = rest.subarray(0, longest).indexOf(newline);
      if (end < 0 && rest.length < longest) break;
      const size = end < 0 ? longest : end + 1;
      text += entry(stream, rest.subarray(0, size));
      rest = rest.subarray(size);
    }
    this.#unfinished[stream] = Buffer.from(rest);
    if (text !== "") writeSync(this.#fd, text);
  }

  close(): void {
    for (const stream of ["stdout", "stderr"] as const)
      if (this.#unfinished[stream].length > 0) writeSync(this.#fd, entry(stream, this.#unfinished[stream]));
    closeSync(this.#fd);
  }
}

function entry(stream: StreamName, data: Buffer): string {
  const line: LogEntry = { log: data.toString("utf8"), stream, time: new Date().toISOString() };
  return `${JSON.stringify(line)}\n`;
}
