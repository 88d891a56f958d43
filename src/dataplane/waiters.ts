import type { Owner } from "../model/plan.ts";

interface Waiter {
  readonly owner: Owner;
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}
type ErrorOf = (owner: Owner) => Error | undefined;

/** Who waits for a revision to be in the kernel. */
export class Waiters {
  #waiting = new Set<Waiter>();
  #reached = -1;
  #ended: Error | undefined;

  /** @throws what the owner could not get; the signal's reason; or why nothing will come any more */
  wait(owner: Owner, revision: number, errorOf: ErrorOf, signal?: AbortSignal): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const abort = () => settle(() => reject(signal?.reason as Error));
      const settle = (end: () => void) => {
        this.#waiting.delete(waiter);
        signal?.removeEventListener("abort", abort);
        end();
      };
      const waiter = {
        owner,
        revision,
        resolve: () => settle(resolve),
        reject: (error: Error) => settle(() => reject(error)),
      };
      signal?.addEventListener("abort", abort);
      if (signal?.aborted === true) abort();
      else if (revision <= this.#reached) answer(waiter, errorOf);
      else this.#waiting.add(waiter);
    });
  }

  /** Everything up to `revision` was tried. */
  reach(revision: number, errorOf: ErrorOf): void {
    this.#reached = revision;
    for (const waiter of this.#waiting) if (waiter.revision <= revision) answer(waiter, errorOf);
  }

  stop(reason: Error): void {
    this.#ended = reason;
    for (const waiter of this.#waiting) waiter.reject(reason);
  }
}

function answer({ owner, resolve, reject }: Waiter, errorOf: ErrorOf): void {
  const error = errorOf(owner);
  if (error === undefined) resolve();
  else reject(error);
}
