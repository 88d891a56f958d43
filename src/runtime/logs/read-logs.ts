import { type FileHandle, open } from "node:fs/promises";
import { watch } from "node:fs";
import type { LogLine, LogOptions } from "../runtime.ts";
import type { LogEntry } from "./json-file.ts";

const block = 64 << 10; // bytes read at once
const newline = 10;

/** Whether the container may still write, and a way to be told when it no longer does. */
export interface Writing {
  readonly done: () => boolean;
  readonly onDone: (tell: () => void) => () => void;
}

/**
 * The lines of a container's log, oldest first: those that are there when it is asked for. With `follow`, then those that come,
 * until the container has ended and everything was read.
 */
export async function* readLogs(
  path: string,
  options: LogOptions,
  writing: Writing,
  signal: AbortSignal,
): AsyncIterable<LogLine> {
  const file = await openLog(path, options.follow, writing, signal);
  if (file === undefined) return;
  try {
    const { size } = await file.stat();
    const start = options.tail === undefined ? 0 : await tailOffset(file, size, options.tail);
    const range = options.follow ? { start } : { start, end: size };
    for await (const text of linesFrom(file, path, range, writing, signal)) {
      const entry = parseEntry(text);
      if (entry === undefined) continue;
      const time = Date.parse(entry.time);
      if (options.until > 0 && time > options.until) return;
      if (time < options.since || !options[entry.stream]) continue;
      yield { stream: entry.stream, data: Buffer.from(entry.log), time: entry.time };
    }
  } finally {
    await file.close();
  }
}

/** A container that never ran has no log yet. */
async function openLog(
  path: string,
  follow: boolean,
  writing: Writing,
  signal: AbortSignal,
): Promise<FileHandle | undefined> {
  for (;;) {
    try {
      return await open(path, "r");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      if (!follow || writing.done() || signal.aborted) return undefined;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** A line that was torn by a power cut is left out. */
function parseEntry(text: string): LogEntry | undefined {
  try {
    return JSON.parse(text) as LogEntry;
  } catch {
    return undefined;
  }
}

/** Where the last `count` lines of the first `size` bytes begin, found from the end. */
async function tailOffset(file: FileHandle, size: number, count: number): Promise<number> {
  if (count === 0) return size;
  const bytes = Buffer.alloc(block);
  let seen = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - block);
    await file.read(bytes, 0, end - start, start);
    for (let at = end - start - 1; at >= 0; at -= 1) {
      if (bytes[at] !== newline || start + at === size - 1) continue;
      seen += 1;
      if (seen === count) return start + at + 1;
    }
    end = start;
  }
  return 0;
}

/** @param range in bytes; without an end: what comes, too */
async function* linesFrom(
  file: FileHandle,
  path: string,
  { start, end: last }: { readonly start: number; readonly end?: number },
  writing: Writing,
  signal: AbortSignal,
): AsyncIterable<string> {
  const bytes = Buffer.alloc(block);
  let at = start;
  let unfinished = Buffer.alloc(0);
  const news = last === undefined ? watchNews(path, writing, signal) : undefined;
  try {
    for (;;) {
      const over = writing.done(); // asked before reading: what was written before is then read
      const { bytesRead } = await file.read(bytes, 0, Math.min(block, (last ?? Infinity) - at), at);
      at += bytesRead;
      const chunk = Buffer.concat([unfinished, bytes.subarray(0, bytesRead)]);
      const end = chunk.lastIndexOf(newline) + 1;
      unfinished = Buffer.from(chunk.subarray(end));
      for (const line of chunk.toString("utf8", 0, end).split("\n")) if (line !== "") yield line;
      if (bytesRead > 0) continue;
      if (news === undefined || over || signal.aborted) return;
      await news.next();
    }
  } finally {
    news?.close();
  }
}

/** Wakes when the file grew, the container ended or the reader left. */
function watchNews(path: string, writing: Writing, signal: AbortSignal): { next(): Promise<void>; close(): void } {
  let wake = () => {};
  let fresh = false;
  const tell = () => {
    fresh = true;
    wake();
  };
  const watcher = watch(path, tell);
  const forget = writing.onDone(tell);
  signal.addEventListener("abort", tell);
  return {
    async next() {
      if (!fresh && !signal.aborted)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      fresh = false;
    },
    close() {
      watcher.close();
      forget();
      signal.removeEventListener("abort", tell);
    },
  };
}
