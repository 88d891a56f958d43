import type { Store } from "./store.ts";

/** A store over another one, which writes only while there is no refusal. @param refusal asked at each write */
export const refusingStore = (store: Store, refusal: () => Error | undefined): Store => ({
  snapshot: () => store.snapshot(),
  watch: (signal) => store.watch(signal),
  close: () => store.close(),
  update(change, signal) {
    const error = refusal();
    return error === undefined ? store.update(change, signal) : Promise.reject(error);
  },
});
