import { closeSync, openSync } from "node:fs";
import { KernelError } from "../kernel.ts";

const limit = 1024; // FD_SETSIZE: libnftables waits with select(2), and a descriptor from here on ends the process
const kept = 128;
const slack = 8; // more than the threads of the pool that may open a file at the same moment

/** Keeps low descriptors free for libnftables, however many sockets the process has. */
export class LowDescriptors {
  readonly #held: number[] = [];

  constructor() {
    while (this.#held.length < kept) this.#hold();
  }

  #hold(): void {
    const fd = openSync("/dev/null", "r");
    if (fd < limit) this.#held.push(fd);
    else closeSync(fd);
  }

  /** How many more may be lent. */
  get left(): number {
    return Math.max(0, this.#held.length - slack);
  }

  /** Runs `body`, which opens one descriptor and gets a low one. @throws {KernelError} EMFILE when none is left */
  lend<R>(body: () => R): R {
    if (this.left === 0) throw new KernelError("EMFILE", "nftables: too many namespaces are worked on at a time");
    const free = this.#held.splice(-slack);
    for (const fd of free) closeSync(fd);
    try {
      return body();
    } finally {
      for (let again = 1; again < free.length; again += 1) this.#hold();
    }
  }

  /** What was lent is closed. */
  giveBack(): void {
    this.#hold();
  }
}
