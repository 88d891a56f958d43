import type { Store } from "../store/store.ts";

const settling = 100; // milliseconds: a container has several

/** Calls when containers of this host have published other ports than before. @returns what ends it */
export function followPorts(store: Store, call: () => void): () => void {
  const stopped = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const follow = async () => {
    for await (const { changed } of store.watch(stopped.signal))
      if (changed.some(({ table }) => table === "ports"))
        timer ??= setTimeout(() => {
          timer = undefined;
          call();
        }, settling).unref();
  };
  void follow();
  return () => {
    stopped.abort();
    clearTimeout(timer);
  };
}
