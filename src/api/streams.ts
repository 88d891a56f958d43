import type { Readable, Writable } from "node:stream";
import { DetachKeys } from "../lib/detach-keys.ts";
import type { ProcessStreams } from "../runtime/runtime.ts";
import type { Talk } from "./call.ts";

const numbers = { stdout: 1, stderr: 2, trouble: 3 } as const;

/** One frame of Docker's multiplexed stream: stream number, three zeros, length, bytes (Docker API, "Stream format"). */
export function frame(stream: keyof typeof numbers, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = numbers[stream];
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

/** Writes and waits until there is room for more, or nobody left to read. */
export async function write(output: Writable, chunk: string | Uint8Array): Promise<void> {
  if (output.destroyed || output.write(chunk)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      output.off("drain", done).off("close", done);
      resolve();
    };
    output.on("drain", done).on("close", done);
  });
}

/** Carries a talk from a client's connection to a process and back; resolves when either side or `signal` ends it. */
export async function converse(talk: Talk, input: Readable, output: Writable, signal: AbortSignal): Promise<void> {
  const { streams } = talk;
  const leave = () => streams.close();
  signal.addEventListener("abort", leave);
  output.on("close", leave).on("error", leave);
  input.on("error", leave);
  if (output.destroyed || signal.aborted) leave();
  if (talk.stdin) feed(talk, input).catch(leave);
  else input.resume();
  try {
    for await (const chunk of talk.before ?? []) await write(output, chunk);
    for await (const { stream, data } of streams.output) {
      if (output.destroyed) break;
      if (talk[stream]) await write(output, talk.tty ? data : frame(stream, data));
    }
  } finally {
    leave();
    output.end();
  }
}

async function* nothing() {}
/** Streams of a process that is not there. */
export const endedStreams: ProcessStreams = {
  output: { [Symbol.asyncIterator]: nothing },
  write: async () => {},
  closeStdin: () => {},
  close: () => {},
};

/**
 * What the client types. At its end a process without a terminal loses its standard input if it was opened for one
 * client; otherwise the client is let go (moby container/stream/attach.go).
 */
async function feed(talk: Talk, input: Readable): Promise<void> {
  const { streams, tty } = talk;
  const keys = new DetachKeys(tty ? talk.detachKeys : new Uint8Array());
  for await (const data of input.iterator({ destroyOnReturn: false })) {
    const { pass, detached } = keys.read(data as Uint8Array);
    if (pass.length > 0) await streams.write(pass);
    if (detached) return streams.close();
  }
  if (talk.closeStdin && !tty) streams.closeStdin();
  else streams.close();
}
