import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountAt, unmountAt } from "../../kernel/files.ts";
import type { ContainerId } from "../../model/ids.ts";
import type { MemoryFile, MemoryFiles } from "../runtime.ts";
import { codeOf } from "./paths.ts";

/**
 * Files of containers on a file system that is in memory alone, and there as long as there are any.
 * @param root a directory for this alone
 */
export function createMemoryFiles(root: string): MemoryFiles {
  const directory = (id: ContainerId) => join(root, id);
  const clear = (id: ContainerId) => rmSync(directory(id), { recursive: true, force: true });
  const unmountIdle = () => {
    if (!existsSync(root) || namesIn(root).length > 0) return;
    unmountAt(root);
    rmSync(root, { recursive: true, force: true });
  };
  return {
    list: () => namesIn(root),
    write(id, files) {
      clear(id);
      if (namesIn(root).length === 0) mountMemory(root);
      mkdirSync(directory(id), { mode: 0o700 });
      for (const [index, file] of files.entries()) writeMemoryFile(join(directory(id), String(index)), file);
    },
    paths: (id) => namesIn(directory(id)).map((_, index) => join(directory(id), String(index))),
    remove(id) {
      clear(id);
      unmountIdle();
    },
    keepOnly(ids) {
      for (const id of namesIn(root)) if (!ids.has(id)) clear(id);
      unmountIdle();
    },
  };
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** Linux before 6.4 has no `noswap`: there what the host swaps out may come to its disk. */
function mountMemory(root: string): void {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  unmountAt(root); // what a killed daemon left
  const mount = (data: string) =>
    mountAt(root, ["noSuid", "noDevices", "noExec"], { source: "tmpfs", type: "tmpfs", data });
  try {
    mount("mode=0700,noswap");
  } catch (error) {
    if (codeOf(error) !== "EINVAL") throw error;
    mount("mode=0700");
  }
}

function writeMemoryFile(path: string, { data, uid, gid, mode }: MemoryFile): void {
  writeFileSync(path, data, { mode: 0o600, flag: "wx" });
  chownSync(path, uid, gid);
  chmodSync(path, mode);
}
