import { setTimeout as sleep } from "node:timers/promises";
import type { KernelEvent } from "../kernel/kernel.ts";
import { KernelError } from "../kernel/kernel.ts";
import { isWatched, type NamespaceName, type Owner, type Plan, type PlanKind, type PlanObject } from "../model/plan.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import { audit, readSysctl } from "./audit.ts";
import { baseText, type Fitting, fittingSysctls } from "./base.ts";
import { Believed, type ReadKind, readKinds } from "./believed.ts";
import { Connections } from "./connections.ts";
import type { DataplaneParts } from "./create-dataplane.ts";
import type { Dataplane, Difference } from "./dataplane.ts";
import { diff } from "./diff.ts";
import { execute } from "./execute.ts";
import type { OwnedStep } from "./order.ts";
import { Parents } from "./parents.ts";
import { Echo, type Reading, RepairTimer } from "./repairs.ts";
import { Retries } from "./retries.ts";
import { allOwners, ownersOf, planOf } from "./views.ts";
import { Waiters } from "./waiters.ts";

/** Milliseconds between full readings, for what the kernel sends no event of. */
const fullReading = 60_000;
/** Milliseconds between readings of the host's own sysctls: a handful, and most of them tell nobody when they change. */
const sysctlReading = 900;
const balancePause = 100; // milliseconds between looks at what was refused
const balancePatience = 3000; // milliseconds; what is refused for longer shall not hold up each end of a task on this host
/** True for owners whose plans send connections to tasks. */
const isBalanced = (owner: Owner) => /^(?:service|sandbox):/.test(owner);
const ruleKinds: readonly ReadKind[] = ["timeout", "chain", "element"];
/** With an address go routes over its link, and the sources of others. */
const goesWith: Partial<Record<PlanKind, readonly ReadKind[]>> = { address: ["address", "route"] };

/** Rows in, kernel out. One round at a time, and none of it waits: plan, compare, apply. */
export class Loop implements Dataplane {
  readonly #parts: DataplaneParts;
  readonly #believed = new Believed();
  readonly #waiters = new Waiters();
  readonly #retries = new Retries((owner) => this.#round([owner]));
  readonly #echo = new Echo();
  readonly #repairs: RepairTimer;
  readonly #parents: Parents;
  readonly #connections: Connections;
  readonly #end = new AbortController();
  #rows: Snapshot;
  #fitting: Fitting = { host: {}, networks: {} };
  #following: Promise<void> | undefined;
  #unlisten = () => {};

  constructor(parts: DataplaneParts) {
    this.#parts = parts;
    this.#rows = parts.store.snapshot();
    this.#connections = new Connections(parts.kernel);
    this.#parents = new Parents(parts.kernel, parts.driverFor, parts.onParent ?? (() => {}));
    const slower = "another program keeps changing what is ours in the kernel: it is put right more slowly now";
    this.#repairs = new RepairTimer(
      (reading) => this.#repair(reading),
      () => parts.log.warn({}, slower),
    );
  }

  async start(): Promise<void> {
    const { kernel, store } = this.#parts;
    const dockerd = kernel.link("host", "docker0");
    const alone = dockerd === undefined || dockerd.owner !== undefined;
    this.#fitting = fittingSysctls((key) => kernel.sysctl("host", key), alone);
    kernel.ensureBase(baseText);
    for (const namespace of kernel.namespaces()) kernel.ensureBase(baseText, namespace);
    this.#unlisten = kernel.events((event) => this.#hear(event));
    this.#believed.readAll(kernel);
    const commits = store.watch(this.#end.signal)[Symbol.asyncIterator]();
    const first = await commits.next();
    if (first.done) return;
    this.#rows = first.value.snapshot;
    const owners = new Set([...allOwners(this.#rows, this.#parts.driverFor), ...this.#believed.owners()]);
    this.#parents.follow(this.#rows);
    this.#readSysctls(owners);
    this.#round(owners);
    this.#forgetConnections(() => this.#connections.sweep(this.#rows));
    this.#waiters.reach(this.#rows.revision, (owner) => this.errorOf(owner));
    this.#following = this.#follow(commits);
    const timers = [
      setInterval(() => this.#noteAll(false), fullReading),
      setInterval(() => this.#putRight(this.#readSysctls(["host"])), sysctlReading),
    ];
    this.#end.signal.addEventListener("abort", () => timers.forEach(clearInterval));
  }

  async #follow(commits: AsyncIterator<Commit>): Promise<void> {
    for (let next = await commits.next(); next.done !== true; next = await commits.next()) {
      const { snapshot, changed } = next.value;
      const before = this.#rows;
      const owners = new Set(ownersOf(this.#rows, snapshot, changed, this.#parts.driverFor));
      for (const link of this.#parents.wantedUp(this.#rows, snapshot, changed)) owners.add(this.#believeDown(link));
      this.#rows = snapshot;
      if (changed.some(({ table }) => table === "networks")) this.#parents.follow(snapshot);
      // A limit that is higher already is not to be lowered: what it is must be known before it is planned anew.
      if (owners.has("host")) this.#readSysctls(["host"]);
      this.#round(owners);
      this.#forgetConnections(() => this.#connections.follow(before, next.value));
      this.#waiters.reach(this.#rows.revision, (owner) => this.errorOf(owner));
    }
  }

  #forgetConnections(forget: () => void): void {
    try {
      forget();
    } catch (err) {
      this.#parts.log.warn({ err }, "connections to tasks that are gone could not be forgotten");
    }
  }

  /** A parent that its administrator took down stays so until somebody new wants to stand on it. */
  #believeDown(link: string): Owner {
    this.#believed.delete({ kind: "parent", namespace: "host", link, promiscuous: false });
    return `parent:${link}`;
  }

  bringUp(link: string): void {
    this.#round([this.#believeDown(link)]);
  }

  tryAgain(): void {
    this.#round(this.#retries.owners());
  }

  async stop(): Promise<void> {
    this.#end.abort();
    this.#unlisten();
    this.#repairs.stop();
    this.#retries.stop();
    await this.#following;
    this.#waiters.stop(new Error("the data plane was stopped"));
  }

  settled(owner: Owner, revision: number, signal?: AbortSignal): Promise<void> {
    return this.#waiters.wait(owner, revision, (of) => this.errorOf(of), signal);
  }

  async balanced(revision: number, signal: AbortSignal): Promise<void> {
    await this.#waiters.wait("host", revision, () => undefined, signal);
    while (this.#retries.youngerThan(balancePatience).some(isBalanced))
      await sleep(balancePause, undefined, { signal, ref: false });
  }

  errorOf(owner: Owner): Error | undefined {
    return this.#retries.errorOf(owner);
  }

  async audit(): Promise<Difference[]> {
    const rows = this.#parts.store.snapshot();
    return audit(this.#parts.kernel, this.#plans(allOwners(rows, this.#parts.driverFor), rows));
  }

  /** The plans that can be made. @param failed gets the others */
  *#plans(owners: Iterable<Owner>, rows = this.#rows, failed = new Map<Owner, Error>()): Iterable<Plan> {
    for (const owner of owners) {
      let objects: readonly PlanObject[];
      try {
        objects = planOf(rows, owner, this.#parts, this.#fitting);
      } catch (error) {
        failed.set(owner, error as Error);
        continue;
      }
      yield { owner, objects };
    }
  }

  /**
   * Plans these owners anew and does what differs, in one go. After a refusal the kernel is read again, for it may be that
   * somebody else took away what was believed to be there; who is refused twice is tried again later.
   */
  #round(owners: Iterable<Owner>): void {
    if (this.#end.signal.aborted) return;
    const dirty = new Set(owners);
    let failed = this.#attempt(dirty);
    const again = new Set([...failed].flatMap(([owner, error]) => (error instanceof KernelError ? owner : [])));
    if (again.size > 0) {
      for (const owner of this.#readAgain(this.#everythingOf(again))) {
        again.add(owner);
        dirty.add(owner);
      }
      const others = [...failed].filter(([owner]) => !again.has(owner));
      failed = new Map([...others, ...this.#attempt(again)]);
    }
    for (const owner of dirty) if (!failed.has(owner)) this.#retries.clear(owner);
    for (const [owner, error] of failed) {
      const pause = this.#retries.fail(owner, error);
      if (pause > 500) this.#parts.log.warn({ err: error, owner, pause }, "the kernel is not as planned yet");
    }
  }

  #attempt(owners: ReadonlySet<Owner>): Map<Owner, Error> {
    const failed = new Map<Owner, Error>();
    const plans = [...this.#plans(owners, this.#rows, failed)];
    const { steps, taken } = diff(new Map(plans.map(({ owner, objects }) => [owner, objects])), this.#believed);
    for (const { owner, object } of taken) this.#believed.set(owner, object);
    for (const [owner, error] of this.#execute(steps)) failed.set(owner, error);
    return failed;
  }

  #execute(steps: readonly OwnedStep[]): Map<Owner, Error> {
    const failed = execute(this.#parts.kernel, this.#believed, steps);
    this.#echo.note(steps);
    return failed;
  }

  /** Most events are echoes of our own steps, or about what is none of our business. */
  #hear(event: KernelEvent): void {
    if (event.kind === "lost") {
      this.#parents.touchAll();
      return this.#noteAll(true);
    }
    const { kind, namespace, name } = event;
    const isRule = kind === "chain" || kind === "element";
    const isParent = kind === "link" && namespace === "host" && this.#parents.touch(name);
    const isRenamed = () => kind === "link" && this.#parts.kernel.link(namespace, name)?.owner !== undefined;
    if (!isRule && !isParent && !this.#believed.has(namespace, kind, name) && !isRenamed()) return;
    // Sysctls are not read by kind: any reading of the links looks at them too.
    const kinds = isRule ? ruleKinds : kind === "sysctl" || kind === "link" ? readKinds : (goesWith[kind] ?? [kind]);
    this.#repairs.note(kinds, !this.#echo.has(name, namespace), namespace);
  }

  /** Of rules in networks' namespaces the kernel tells all, and an nftables context for each is a megabyte. */
  #noteAll(lost: boolean): void {
    const others = lost ? readKinds : readKinds.filter((kind) => !ruleKinds.includes(kind));
    this.#repairs.note(readKinds, lost);
    for (const namespace of this.#believed.watched()) this.#repairs.note(others, lost, namespace);
  }

  /** Reads what events were about, and puts right what differs. @returns true when something did */
  #repair(reading: Reading): boolean {
    try {
      const differing = this.#readAgain(reading);
      for (const owner of this.#readParents()) differing.add(owner);
      return this.#putRight(differing);
    } catch (error) {
      this.#parts.log.warn({ err: error as Error }, "the kernel could not be read: it is tried again");
      for (const [namespace, kinds] of reading) this.#repairs.note(kinds, false, namespace);
      return true;
    }
  }

  #putRight(differing: ReadonlySet<Owner>): boolean {
    if (differing.size === 0) return false;
    const owners = differing.size;
    this.#parts.log.info({ owners }, "something of ours was changed in the kernel: it is put right");
    this.#round(differing);
    return true;
  }

  /** The host, and the namespaces in which these owners have or want something: of a container's own its rules. */
  #everythingOf(owners: Iterable<Owner>): Reading {
    const found = new Set<NamespaceName>(["host"]);
    for (const { owner, objects } of this.#plans(owners)) {
      const held = this.#believed.of(owner).map(({ object }) => object);
      for (const { kind, namespace } of [...objects, ...held])
        if (isWatched(namespace) || (ruleKinds as readonly PlanKind[]).includes(kind)) found.add(namespace);
    }
    return new Map([...found].map((one) => [one, new Set<ReadKind>(isWatched(one) ? readKinds : ruleKinds)]));
  }

  /** @returns for whom something is not as believed */
  #readAgain(reading: Reading): Set<Owner> {
    const differing = new Set<Owner>();
    for (const [namespace, kinds] of reading) {
      const owners = namespace === "host" ? this.#readHost(kinds) : this.#readOther(namespace, kinds);
      for (const owner of owners) differing.add(owner);
    }
    return differing;
  }

  #readHost(wanted: ReadonlySet<ReadKind>): Set<Owner> {
    const { kernel } = this.#parts;
    if (ruleKinds.some((kind) => wanted.has(kind))) kernel.ensureBase(baseText);
    const differing = this.#reread("host", wanted);
    if (wanted.has("link"))
      for (const owner of this.#readSysctls(this.#believed.owners().filter(isOfHost))) differing.add(owner);
    return differing;
  }

  #readOther(namespace: NamespaceName, wanted: ReadonlySet<ReadKind>): Set<Owner> {
    const { kernel } = this.#parts;
    const isGone = kernel.link(namespace, "lo") === undefined;
    if (isGone) return this.#believed.delete({ kind: "namespace", namespace });
    if (ruleKinds.some((kind) => wanted.has(kind))) kernel.ensureBase(baseText, namespace);
    const differing = this.#reread(namespace, wanted);
    if (wanted.has("link")) for (const owner of this.#readSysctls([namespace as Owner])) differing.add(owner);
    return differing;
  }

  #reread(namespace: NamespaceName, wanted: ReadonlySet<ReadKind>): Set<Owner> {
    const kinds = readKinds.filter((kind) => wanted.has(kind));
    return this.#believed.reread(this.#parts.kernel, namespace, kinds);
  }

  /**
   * Reads what stands on parents that were touched: with a parent goes all that stands on it, in every namespace, and
   * only the parent's own going is told here. @returns for whom something is missing, and who was refused something
   */
  #readParents(): Set<Owner> {
    const owners = this.#parents.look(this.#rows);
    const differing = new Set<Owner>();
    for (const owner of owners) {
      if (this.errorOf(owner) !== undefined) differing.add(owner);
      const sandbox = this.#rows.get("endpoints", owner.slice("endpoint:".length))?.sandboxId;
      if (sandbox === undefined) continue;
      const changed = this.#believed.reread(this.#parts.kernel, `sandbox:${sandbox}`, ["link", "address", "route"]);
      for (const other of changed) differing.add(other);
    }
    return differing;
  }

  /** Takes note of the values that planned sysctls have. @returns for whom one was another than believed */
  #readSysctls(owners: Iterable<Owner>): Set<Owner> {
    const differing = new Set<Owner>();
    for (const { owner, objects } of this.#plans(owners))
      for (const object of objects) {
        if (object.kind !== "sysctl") continue;
        const found = readSysctl(this.#parts.kernel, object);
        if (found === undefined) continue;
        if (found.value !== object.value) differing.add(owner);
        this.#believed.set(owner, found);
      }
    return differing;
  }
}

/** Whose sysctls are in the host's namespace. */
const isOfHost = (owner: Owner) => /^(?:host$|network:|leaf:)/.test(owner);
