import { closeSync, fstatSync } from "node:fs";
import { openInRoot, pathOnly } from "../../kernel/files.ts";
import { invalid } from "../../lib/errors.ts";
import type { ContainerFiles } from "../runtime.ts";
import { absolutePath, finalPath, openItself, statOpened, withOpen } from "./paths.ts";
import { exportTar, readTar } from "./read-tar.ts";
import type { Lease } from "./roots.ts";
import { type WriteOptions, writeTar } from "./write-tar.ts";

/** A container's files by a hold on its root, which ends with the one call, or when either signal says so. */
export function containerFiles(
  lease: Lease,
  ownerOf: (user: string) => NonNullable<WriteOptions["owner"]>,
  caller: AbortSignal,
): ContainerFiles {
  const { plain, whole } = lease.view;
  const signal = AbortSignal.any([caller, lease.signal]);
  return {
    stat(path) {
      using _ = lease;
      const absolute = absolutePath(path);
      return withOpen(openItself(whole, absolute), (fd) => statOpened(whole, absolute, fd));
    },
    read(path) {
      using held = new DisposableStack();
      held.use(lease);
      const absolute = absolutePath(path);
      const fd = held.adopt(openItself(whole, absolute), closeSync);
      const stat = statOpened(whole, absolute, fd);
      // In the root's archive names begin with a slash, as clients expect (moby pkg/archive, RebaseNames).
      const tar = readTar(fd, stat.name === "/" ? "" : stat.name);
      return { stat, tar: guarded(tar, signal, held.move()) };
    },
    async write(path, archive, { noOverwriteDirNonDir, user, check }) {
      using _ = lease;
      const directory = finalPath(whole, absolutePath(path));
      const isDirectory = withOpen(openInRoot(whole, directory, pathOnly), (fd) => fstatSync(fd).isDirectory());
      if (!isDirectory) throw invalid("extraction point is not a directory");
      check(directory);
      const options = { noOverwriteDirNonDir, ...(user !== undefined && { owner: ownerOf(user) }) };
      await writeTar(whole, directory, archive, options, signal);
    },
    export: () => guarded(exportTar(plain), signal, lease),
  };
}

/**
 * Passes an archive on, and ends it with an error when the signal comes: also while nobody reads on, as it holds
 * descriptors that somebody may wait for.
 */
function guarded(
  tar: AsyncGenerator<Uint8Array, void>,
  signal: AbortSignal,
  held: Disposable,
): AsyncIterable<Uint8Array> {
  const end = async () => {
    try {
      await tar.return();
    } finally {
      held[Symbol.dispose]();
    }
  };
  const stop = () => void end().catch(() => {}); // the reader is told why it ended
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop);
  return (async function* () {
    try {
      for (;;) {
        const next = await tar.next();
        signal.throwIfAborted();
        if (next.done) return;
        yield next.value;
      }
    } finally {
      signal.removeEventListener("abort", stop);
      await end();
    }
  })();
}
