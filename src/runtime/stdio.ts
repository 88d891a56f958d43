import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { makeFifo } from "../kernel/files.ts";

/** Paths of the FIFOs between containerd's shim and us, for one process. */
export interface Fifos {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Makes the FIFOs that a process needs; with a terminal there is no standard error. "" for those that are not there. */
export function makeFifos(
  directory: string,
  name: string,
  wants: { readonly tty: boolean; readonly stdin: boolean },
): Fifos {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const fifos = fifosOf(directory, name, wants);
  for (const path of Object.values(fifos)) if (path !== "") makeFifo(path);
  return fifos;
}

export function fifosOf(
  directory: string,
  name: string,
  { tty, stdin }: { readonly tty: boolean; readonly stdin: boolean },
): Fifos {
  const path = (stream: string) => join(directory, `${name}.${stream}`);
  return { stdin: stdin ? path("in") : "", stdout: path("out"), stderr: tty ? "" : path("err") };
}

/** Those of a process's output that there are: standard output, and error where there is no terminal. */
export const outputFifos = (directory: string, name: string): string[] =>
  ["out", "err"].map((stream) => join(directory, `${name}.${stream}`)).filter((path) => existsSync(path));

/** Names of all processes that have FIFOs. */
export function namesIn(directory: string): string[] {
  const files = existsSync(directory) ? readdirSync(directory) : [];
  return [...new Set(files.map((file) => file.replace(/\.[^.]*$/, "")))];
}

/** Keeps what is in a process's output FIFOs when nobody else has them open any more. */
export function holdFifos(directory: string, name: string): Disposable {
  const held = outputFifos(directory, name).map((path) => openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
  return { [Symbol.dispose]: () => held.forEach((fd) => closeSync(fd)) };
}

export function removeFifos(directory: string, name: string): void {
  for (const stream of ["in", "out", "err"]) rmSync(join(directory, `${name}.${stream}`), { force: true });
}

/** Our end of a process's standard input. Until `close` the process does not see an end of file. */
export class Stdin {
  readonly #socket: Socket;

  constructor(path: string) {
    const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      this.#socket = new Socket({ fd, readable: false, writable: true });
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.#socket.on("error", () => this.#socket.destroy());
  }

  /** Resolves when there is room for more, or nobody to read it. */
  write(data: Uint8Array): Promise<void> {
    if (this.#socket.destroyed || this.#socket.write(data)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#socket.once("drain", resolve).once("close", resolve);
    });
  }

  /** Lets go when everything was read. Resolves then. */
  async close(): Promise<void> {
    if (this.#socket.destroyed) return;
    await new Promise<void>((resolve) => {
      this.#socket.once("close", () => resolve());
      this.#socket.end(() => this.#socket.destroy());
    });
  }

  /** Lets go at once. */
  destroy(): void {
    this.#socket.destroy();
  }
}
