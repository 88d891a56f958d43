import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NamespaceName } from "../model/plan.ts";
import { KernelError } from "./kernel.ts";
import { calls, check } from "./libc.ts";

const newNet = 0x40000000; // CLONE_NEWNET
const mountFlags = { bind: 4096, recursive: 16384, shared: 1 << 20 } as const; // MS_*
const detach = 2; // MNT_DETACH
const ownFile = "/proc/thread-self/ns/net";

/** A sandbox's file is its id; a network's has this before its own. */
const networkPrefix = "network-";

/** Name of the file that pins a namespace. */
export function fileOf(namespace: Exclude<NamespaceName, "host">): string {
  const id = namespace.slice(namespace.indexOf(":") + 1);
  return namespace.startsWith("network:") ? `${networkPrefix}${id}` : id;
}
const namespaceOf = (file: string): NamespaceName =>
  file.startsWith(networkPrefix) ? `network:${file.slice(networkPrefix.length)}` : `sandbox:${file}`;

/** Network namespaces by name: the one in which this was made is `host`, a sandbox's or a network's is pinned by a file. */
export interface Namespaces {
  /** The thread must come back from `body` without having given up control: what ran meanwhile would run in there. */
  inside<R>(namespace: NamespaceName, body: () => R): R;
  path(namespace: NamespaceName): string;
  /** Opens the namespace's file; the caller closes it. @throws {KernelError} ENOENT */
  open(namespace: NamespaceName): number;
  /** A number that is another one when the namespace was made anew; undefined when there is none. */
  identity(namespace: NamespaceName): number | undefined;
  /** Makes and pins a namespace. It lives until `unpin`, whatever becomes of this process. */
  pin(namespace: NamespaceName): void;
  unpin(namespace: NamespaceName): void;
  names(): NamespaceName[];
  close(): void;
}

/** @param directory where the files are; it becomes a shared mount, so that an unmount reaches every copy of the mount table */
export function createNamespaces(directory: string): Namespaces {
  const home = openSync(ownFile, "r");
  let current = home;
  const path = (namespace: NamespaceName) =>
    namespace === "host" ? "/proc/self/ns/net" : join(directory, fileOf(namespace));
  const identity = (namespace: NamespaceName) => (namespace === "host" ? 0 : pinned(directory, path(namespace)));

  function open(namespace: NamespaceName): number {
    if (namespace === "host") return openFile(`/proc/self/fd/${home}`);
    if (identity(namespace) === undefined) throw new KernelError("ENOENT", `no network namespace ${namespace}`);
    return openFile(path(namespace));
  }

  function enter(fd: number): void {
    check("setns", calls.setns(fd, newNet));
    current = fd;
  }
  /** A thread that is left in a foreign namespace would work on the wrong machine's network: better none. */
  function leave(to: number): void {
    if (calls.setns(to, newNet) !== 0) process.abort();
    current = to;
  }

  return {
    path,
    open,
    identity,
    inside(namespace, body) {
      const before = current;
      if (namespace === "host" && before === home) return body();
      const fd = open(namespace);
      try {
        enter(fd);
        return body();
      } finally {
        leave(before);
        closeSync(fd);
      }
    },
    pin(namespace) {
      if (identity(namespace) !== undefined) return;
      shareDirectory(directory);
      writeFileSync(path(namespace), "");
      const before = current;
      try {
        check("unshare", calls.unshare(newNet));
        check(`pin ${namespace}`, calls.mount(ownFile, path(namespace), "none", mountFlags.bind, null));
      } catch (error) {
        rmSync(path(namespace), { force: true });
        throw error;
      } finally {
        leave(before);
      }
    },
    unpin(namespace) {
      if (identity(namespace) !== undefined) check(`unpin ${namespace}`, calls.umount2(path(namespace), detach));
      rmSync(path(namespace), { force: true });
    },
    names: () =>
      listDirectory(directory)
        .map(namespaceOf)
        .filter((name) => identity(name) !== undefined)
        .toSorted(),
    close: () => closeSync(home),
  };
}

function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    const { code = "EIO", message } = error as NodeJS.ErrnoException;
    throw new KernelError(code, message);
  }
}

/** A file that pins nothing (left by a crash, or from before a reboot) is on its directory's own device. */
function pinned(directory: string, file: string): number | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined || found.dev === statSync(directory).dev ? undefined : found.ino;
}

function listDirectory(directory: string): string[] {
  return statSync(directory, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(directory);
}

function shareDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const flag = mountFlags.shared | mountFlags.recursive;
  if (calls.mount("none", directory, "none", flag, null) === 0) return;
  // It is no mount of its own yet: mount it onto itself.
  check(`mount ${directory}`, calls.mount(directory, directory, "none", mountFlags.bind | mountFlags.recursive, null));
  check(`share ${directory}`, calls.mount("none", directory, "none", flag, null));
}
