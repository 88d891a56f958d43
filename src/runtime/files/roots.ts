import type { ContainerId } from "../../model/ids.ts";
import { closeView, type View } from "./view.ts";

interface Open {
  readonly view: View;
  users: number;
  readonly ended: AbortController;
  readonly idle: PromiseWithResolvers<void>;
}
/** A hold on an open root. */
export interface Lease extends Disposable {
  readonly view: View;
  /** Aborted, with the reason, when the container's layers are needed by somebody else: let go at once. */
  readonly signal: AbortSignal;
  /** Lets go. May be called again. */
  [Symbol.dispose](): void;
}

/** Roots of containers that are copied from or to. Copies of one container share one, as its layers are mounted once. */
export class ContainerRoots {
  readonly #open = new Map<ContainerId, Open>();

  /** @param open makes the view when there is none */
  take(id: ContainerId, open: () => View): Lease {
    const root = this.#open.get(id) ?? {
      view: open(),
      users: 0,
      ended: new AbortController(),
      idle: Promise.withResolvers<void>(),
    };
    this.#open.set(id, root);
    root.users += 1;
    let held = true;
    return {
      view: root.view,
      signal: root.ended.signal,
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        root.users -= 1;
        if (root.users > 0) return;
        this.#open.delete(id);
        closeView(root.view);
        root.idle.resolve();
      },
    };
  }

  /** Resolves when nobody holds the root of a container; those that hold it after `patience` milliseconds are told to go. */
  async end(id: ContainerId, patience: number, reason: Error): Promise<void> {
    const root = this.#open.get(id);
    if (root === undefined) return;
    const timer = setTimeout(() => root.ended.abort(reason), patience);
    await root.idle.promise;
    clearTimeout(timer);
  }
}
