import { chmodSync, unlinkSync } from "node:fs";
import koffi from "koffi";
import { check } from "./libc.ts";

const mkfifo = koffi.load("libc.so.6").func("int mkfifo(const char*, uint)");

/** Makes a FIFO that only root may open. One that was there is made anew. @throws {KernelError} */
export function makeFifo(path: string): void {
  removeFile(path);
  check(`mkfifo ${path}`, mkfifo(path, 0o600));
  chmodSync(path, 0o600);
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
