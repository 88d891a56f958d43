import { chmodSync, unlinkSync } from "node:fs";
import koffi from "koffi";
import { calls, check } from "./libc.ts";

const mkfifo = koffi.load("libc.so.6").func("int mkfifo(const char*, uint)");
const detach = 2; // MNT_DETACH

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

/** One mount, as containerd describes it: read-only here, whatever it says. @throws {KernelError} */
export function mountReadOnly(
  mount: { readonly type: string; readonly source: string; readonly options: readonly string[] },
  target: string,
): void {
  const readOnly = 1; // MS_RDONLY
  const words = new Set(["rw", "ro", "rbind", "bind"]);
  const data = mount.options.filter((o) => !words.has(o)).join(",");
  check(`mount ${target}`, calls.mount(mount.source, target, mount.type, readOnly, data));
}
/** @throws {KernelError} */
export const unmount = (target: string): void => void check(`umount ${target}`, calls.umount2(target, detach));
