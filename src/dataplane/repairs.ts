import { isWatched, type NamespaceName } from "../model/plan.ts";
import type { ReadKind } from "./believed.ts";
import type { OwnedStep } from "./order.ts";
import { eventName } from "./places.ts";

const soon = 40; // milliseconds: events come in bursts, one reading answers for all
const later = 400; // milliseconds until a reading that is most likely about our own steps
const echo = 200; // milliseconds in which events may come from our own steps
const share = 20; // a reading may take one part in so many of the time
const long = 250; // milliseconds that a reading takes where there is very much: for echoes alone it is not worth more of the time
const window = 10_000; // milliseconds in which `tooMany` repairs mean that somebody undoes them
const tooMany = 10;
const truce = 900; // milliseconds between repairs then; others' changes are looked for sooner than that

/** What to read, by namespace. */
export type Reading = ReadonlyMap<NamespaceName, ReadonlySet<ReadKind>>;

/** When to read the kernel again: few readings for many events, rarer ones when they take long or lead to nothing. */
export class RepairTimer {
  readonly #read: (reading: Reading) => boolean;
  readonly #warn: () => void;
  #wanted = new Map<NamespaceName, Set<ReadKind>>();
  #timer: NodeJS.Timeout | undefined;
  #due = 0;
  /** When the next reading may be: an urgent one, and another. */
  #rest = { urgent: 0, usual: 0 };
  #repairs: number[] = [];
  #fighting = false;

  /**
   * @param read reads this, and puts right what differs @returns true when something did
   * @param warn another program keeps undoing the repairs
   */
  constructor(read: (reading: Reading) => boolean, warn: () => void) {
    this.#read = read;
    this.#warn = warn;
  }

  /** Reads these kinds within 40 ms when `urgent`, else within 400 ms; later when the last readings say so. */
  note(kinds: Iterable<ReadKind>, urgent: boolean, namespace: NamespaceName = "host"): void {
    this.#wanted.set(namespace, new Set([...(this.#wanted.get(namespace) ?? []), ...kinds]));
    const now = performance.now();
    const due = urgent ? Math.max(now + soon, this.#rest.urgent) : Math.max(now + later, this.#rest.usual);
    if (this.#timer !== undefined && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.#fire(), due - now);
  }

  #fire(): void {
    const wanted = this.#wanted;
    this.#wanted = new Map();
    this.#timer = undefined;
    const start = performance.now();
    if (this.#read(wanted)) this.#count();
    const now = performance.now();
    const took = now - start;
    const urgent = now + (this.#fighting ? truce : Math.min(took * share, truce));
    this.#rest = { urgent, usual: took > long ? now + took * share : urgent };
  }

  #count(): void {
    const now = performance.now();
    this.#repairs = [...this.#repairs.filter((t) => now - t < window), now];
    const fighting = this.#repairs.length > tooMany;
    if (fighting && !this.#fighting) this.#warn();
    this.#fighting = fighting;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Remembers for a while what our own steps touched: events about that are most likely their echo. */
export class Echo {
  readonly #until = new Map<string, number>();

  note(steps: readonly OwnedStep[]): void {
    const now = performance.now();
    for (const [name, until] of this.#until) {
      if (until > now) break;
      this.#until.delete(name);
    }
    for (const { object } of steps) {
      // A container's interface on a parent makes the parent tell of itself.
      if (object.kind === "link" && "parent" in object) this.#hold("host", object.parent, now);
      const { namespace } = object;
      if (!isWatched(namespace)) continue;
      const names = [eventName(object)];
      if (object.kind === "link" && "port" in object && object.port !== undefined) names.push(object.port.bridge);
      if (object.kind === "link" && object.type === "veth" && object.peer.port !== undefined)
        names.push(object.peer.name, object.peer.port.bridge);
      for (const name of names) this.#hold(namespace, name, now);
    }
  }

  #hold(namespace: NamespaceName, name: string, now: number): void {
    const key = `${namespace}|${name}`;
    this.#until.delete(key);
    this.#until.set(key, now + echo);
  }

  has(name: string, namespace: NamespaceName = "host"): boolean {
    return (this.#until.get(`${namespace}|${name}`) ?? 0) > performance.now();
  }
}
