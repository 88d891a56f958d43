import type { KernelEvent } from "../kernel/kernel.ts";
import type { readKinds } from "./believed.ts";

type ReadKind = (typeof readKinds)[number];

const quiet = 40; // milliseconds: events come in bursts, one reading answers for all
const patience = 400; // milliseconds after which a burst is not waited for any longer
const window = 10_000; // milliseconds in which `tooMany` repairs mean that somebody undoes them
const tooMany = 20;
const truce = 5000; // milliseconds between repairs then

/** Gathers kernel events into few readings, and slows down when another program keeps undoing the repairs. */
export class RepairTimer {
  readonly #read: (kinds: ReadonlySet<ReadKind> | "all") => void;
  readonly #warn: () => void;
  #kinds: Set<ReadKind> | "all" = new Set();
  #timer: NodeJS.Timeout | undefined;
  #since = 0;
  #repairs: number[] = [];
  #fighting = false;

  constructor(read: (kinds: ReadonlySet<ReadKind> | "all") => void, warn: () => void) {
    this.#read = read;
    this.#warn = warn;
  }

  note(event: KernelEvent): void {
    if (event.kind === "lost") this.#kinds = "all";
    else if (event.kind !== "sysctl" && this.#kinds !== "all") this.#kinds.add(event.kind);
    const now = Date.now();
    if (this.#timer === undefined) this.#since = now;
    else if (this.#fighting || now - this.#since > patience - quiet) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fire(), this.#fighting ? truce : quiet);
  }

  #fire(): void {
    const kinds = this.#kinds;
    this.#kinds = new Set();
    this.#timer = undefined;
    this.#read(kinds);
  }

  /** A reading found something to mend. */
  mended(): void {
    const now = Date.now();
    this.#repairs = [...this.#repairs.filter((t) => now - t < window), now];
    const fighting = this.#repairs.length > tooMany;
    if (fighting && !this.#fighting) this.#warn();
    this.#fighting = fighting;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
