import { failpoint } from "../lib/failpoint.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Owner, PlanObject } from "../model/plan.ts";
import type { Snapshot, Store } from "../store/store.ts";
import { audit, readSysctl } from "./audit.ts";
import { baseText, neighbourLimits } from "./base.ts";
import { Believed, readKinds } from "./believed.ts";
import type { Dataplane, Difference } from "./dataplane.ts";
import { diff, withoutImplied } from "./diff.ts";
import { inOrder, type OwnedStep } from "./order.ts";
import { RepairTimer } from "./repairs.ts";
import { allOwners, type DriverFor, ownersOf, planOf } from "./views.ts";

interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
export interface DataplaneParts {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly driverFor: DriverFor;
  readonly log: Log;
}

interface Waiter {
  readonly owner: Owner;
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}
interface Failure {
  readonly error: Error;
  readonly pause: number;
  readonly timer: NodeJS.Timeout;
}
const firstPause = 100; // milliseconds until an owner that the kernel refused is tried again; doubles
const lastPause = 30_000;

/** The loop that makes the kernel match the plans, over a store, a kernel and the drivers. */
export const createDataplane = (parts: DataplaneParts): Dataplane => new Loop(parts);

class Loop implements Dataplane {
  readonly #parts: DataplaneParts;
  readonly #believed = new Believed();
  readonly #failures = new Map<Owner, Failure>();
  readonly #end = new AbortController();
  readonly #repairs: RepairTimer;
  #waiters: Waiter[] = [];
  #rows: Snapshot;
  #revision = -1;
  #raised: Readonly<Record<string, string>> = {};
  #unlisten = () => {};

  constructor(parts: DataplaneParts) {
    this.#parts = parts;
    this.#rows = parts.store.snapshot();
    this.#repairs = new RepairTimer(
      (kinds) => this.#repair(kinds),
      () =>
        parts.log.warn(
          {},
          "another program keeps changing what is ours in the kernel: it is put right more slowly now",
        ),
    );
  }

  async start(): Promise<void> {
    const { kernel } = this.#parts;
    this.#raised = tooLow(kernel);
    kernel.ensureBase(baseText);
    this.#unlisten = kernel.events((event) => this.#repairs.note(event));
    this.#believed.readAll(kernel);
    const commits = this.#parts.store.watch(this.#end.signal)[Symbol.asyncIterator]();
    const first = await commits.next();
    if (first.done) return;
    this.#rows = first.value.snapshot;
    const owners = new Set([...allOwners(this.#rows), ...this.#believed.owners()]);
    this.#believeSysctls(owners);
    this.#round(owners);
    this.#answer(this.#rows.revision);
    void this.#follow(commits);
  }

  async #follow(
    commits: AsyncIterator<{ snapshot: Snapshot; changed: Parameters<typeof ownersOf>[1] }>,
  ): Promise<void> {
    for (;;) {
      const next = await commits.next();
      if (next.done) return;
      this.#rows = next.value.snapshot;
      this.#round(new Set(ownersOf(this.#rows, next.value.changed)));
      this.#answer(this.#rows.revision);
    }
  }

  async stop(): Promise<void> {
    this.#end.abort();
    this.#unlisten();
    this.#repairs.stop();
    for (const { timer } of this.#failures.values()) clearTimeout(timer);
    for (const waiter of this.#waiters) waiter.reject(new Error("the data plane was stopped"));
    this.#waiters = [];
  }

  settled(owner: Owner, revision: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      this.#waiters.push({ owner, revision, resolve, reject });
      this.#answer(this.#revision);
    });
  }

  errorOf(owner: Owner): Error | undefined {
    return this.#failures.get(owner)?.error;
  }

  async audit(): Promise<Difference[]> {
    return audit(this.#parts.kernel, this.#parts.store.snapshot(), this.#parts.driverFor, this.#raised);
  }

  #answer(revision: number): void {
    this.#revision = revision;
    const ready = this.#waiters.filter((w) => w.revision <= revision);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter((w) => w.revision > revision);
    for (const { owner, resolve, reject } of ready) {
      const error = this.errorOf(owner);
      if (error === undefined) resolve();
      else reject(error);
    }
  }

  /** Plans these owners anew and applies what differs, all in one go; one by one when the kernel refuses something. */
  #round(owners: ReadonlySet<Owner>): void {
    const steps: OwnedStep[] = [];
    for (const owner of owners) {
      this.#forgive(owner);
      try {
        const wished = planOf(this.#rows, owner, this.#parts.driverFor, this.#raised);
        steps.push(...diff(owner, wished, this.#believed.of(owner)));
      } catch (error) {
        this.#fail(owner, error as Error);
      }
    }
    if (steps.length === 0) return;
    failpoint("dataplane.apply.before");
    try {
      this.#apply(steps);
    } catch {
      this.#readBack(steps);
      this.#applyEach(owners);
    }
    failpoint("dataplane.apply.after");
  }

  #apply(steps: readonly OwnedStep[]): void {
    const ordered = inOrder(withoutImplied(steps));
    this.#parts.kernel.apply(ordered);
    const removed = steps.flatMap((s) => (s.verb === "remove" ? [s.object] : []));
    this.#believed.done(inOrder(steps));
    if (removed.some((o) => o.kind === "namespace" || o.kind === "link"))
      this.#believed.forgetWith(removed, new Set(steps.map((s) => s.owner)));
  }

  /** Removals of all first, then owner by owner: who fails, fails alone. */
  #applyEach(owners: ReadonlySet<Owner>): void {
    const gone = (owner: Owner) => this.#plan(owner).length === 0;
    for (const owner of [...owners].toSorted((a, b) => Number(gone(b)) - Number(gone(a)))) {
      if (this.#failures.has(owner)) continue;
      const steps = diff(owner, this.#plan(owner), this.#believed.of(owner));
      try {
        if (steps.length > 0) this.#apply(steps);
      } catch (error) {
        this.#readBack(steps);
        this.#fail(owner, error as Error);
      }
    }
  }

  #plan(owner: Owner): readonly PlanObject[] {
    try {
      return planOf(this.#rows, owner, this.#parts.driverFor, this.#raised);
    } catch {
      return []; // it has failed, and is left out
    }
  }

  /** After a refusal nobody knows how far the kernel came. */
  #readBack(steps: readonly OwnedStep[]): void {
    const { kernel } = this.#parts;
    const there = new Set(kernel.namespaces());
    for (const namespace of new Set(steps.map((s) => s.object.namespace))) {
      if (namespace === "host" || there.has(namespace))
        for (const kind of readKinds) this.#believed.reread(kernel, namespace, kind);
      if (namespace === "host") continue;
      if (there.has(namespace)) this.#believed.set(namespace, { kind: "namespace", namespace });
      else this.#believed.forgetWith([{ kind: "namespace", namespace }]);
      if (!there.has(namespace)) this.#believed.delete(namespace, `namespace|${namespace}`);
    }
  }

  #fail(owner: Owner, error: Error): void {
    const before = this.#failures.get(owner)?.pause ?? this.#pauses.get(owner);
    const pause = Math.min(before === undefined ? firstPause : before * 2, lastPause);
    this.#pauses.set(owner, pause);
    if (pause >= 1000) this.#parts.log.warn({ err: error, owner }, "the kernel is not as planned; it is tried again");
    const timer = setTimeout(() => this.#round(new Set([owner])), pause);
    this.#failures.set(owner, { error, pause, timer });
  }
  readonly #pauses = new Map<Owner, number>();

  /** An owner that is planned anew gets a new chance. Its pauses go on growing until it succeeds. */
  #forgive(owner: Owner): void {
    const failure = this.#failures.get(owner);
    if (failure === undefined) this.#pauses.delete(owner);
    clearTimeout(failure?.timer);
    this.#failures.delete(owner);
  }

  /** Reads what events were about; what differs from what was believed is put right. */
  #repair(kinds: ReadonlySet<(typeof readKinds)[number]> | "all"): void {
    const { kernel, log } = this.#parts;
    if (kinds === "all" || kinds.has("chain") || kinds.has("element")) kernel.ensureBase(baseText);
    const differing = new Set<Owner>();
    const read = (kind: (typeof readKinds)[number]) => {
      const found = this.#believed.reread(kernel, "host", kind);
      for (const owner of found) differing.add(owner);
      return found.size > 0;
    };
    const link = (kinds === "all" || kinds.has("link")) && read("link");
    // A link that went took along what was on it, also in tables that send no event of their own.
    for (const kind of readKinds) if (kind !== "link" && (kinds === "all" || link || kinds.has(kind))) read(kind);
    if (differing.size === 0) return;
    this.#repairs.mended();
    log.info({ owners: differing.size }, "something of ours was changed in the kernel: putting it right");
    this.#believeSysctls(differing);
    this.#round(differing);
  }

  /** Sysctls that have their value already need no writing: a restart touches nothing that is right. */
  #believeSysctls(owners: Iterable<Owner>): void {
    for (const owner of owners)
      for (const object of this.#plan(owner)) {
        if (object.kind !== "sysctl") continue;
        const found = readSysctl(this.#parts.kernel, object);
        if (found !== undefined) this.#believed.set(owner, found);
      }
  }
}

/** Limits of this host's first namespace that are below ours; other namespaces do not have them. They are only ever raised. */
function tooLow(kernel: Kernel): Record<string, string> {
  const low: Record<string, string> = {};
  for (const [key, limit] of Object.entries(neighbourLimits)) {
    const found = readSysctl(kernel, { kind: "sysctl", namespace: "host", key, value: "" });
    if (found?.kind === "sysctl" && Number(found.value) < limit) low[key] = String(limit);
  }
  return low;
}
