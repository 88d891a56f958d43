import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Kernel } from "../kernel/kernel.ts";
import {
  isSilent,
  type OwnEnd,
  type OwnKey,
  settling,
  type WireguardEnd,
  type WireguardKeys,
} from "../model/wireguard.ts";
import type { Snapshot, Store } from "../store/store.ts";
import type { TableName } from "../store/tables.ts";
import { type KeyWish, mayDrop, needsKey, withAnswers, withKey, withoutOlder, withSends } from "./own-end.ts";

export interface HostKeysParts {
  readonly store: Store;
  readonly kernel: Pick<Kernel, "wireguardKey" | "newWireguardKey" | "forgetWireguardKey" | "wireguardAnswers">;
  /** Writes that a link is wanted once the program for it runs, where one is needed. */
  readonly ahead: (link: string, write: () => Promise<void>) => Promise<void>;
  /** Told when the managers have to hear of something else. */
  readonly changed: () => void;
  readonly log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

const look = 200; // milliseconds between looks at who has answered
const retry = 5000; // milliseconds
const longest = 2 ** 31 - 1; // milliseconds of a timer
const tables: ReadonlySet<TableName> = new Set(["ends", "ownEnds"]);

/**
 * This host's pairs of keys for WireGuard: makes those of a new generation, goes over to them host by host as these answer, and
 * drops those before. Nobody else writes `ownEnds`.
 */
export class HostKeys {
  readonly #parts: HostKeysParts;
  readonly #stopped = new AbortController();
  #running: Promise<unknown> | undefined;
  #wake = () => {};
  /** Undefined until a manager has said it; "none" outside of a swarm. */
  #wish: KeyWish | "none" | undefined;
  /** Since when nobody has needed the older key, milliseconds of `performance.now`. */
  #idleSince: number | undefined;

  constructor(parts: HostKeysParts) {
    this.#parts = parts;
  }

  /** Before the data plane begins: keys are those of the devices, or new ones after a restart of the machine. */
  async open(): Promise<void> {
    const { store, kernel } = this.#parts;
    const own = ownEnd(store.snapshot());
    if (own === undefined) return;
    const keys = own.keys.map((key): OwnKey => {
      const isThere = kernel.wireguardKey(key.link) === key.publicKey;
      return isThere ? key : { ...key, publicKey: kernel.newWireguardKey() };
    });
    await this.#write({ ...own, keys });
  }

  start(): void {
    const { signal } = this.#stopped;
    this.#running = Promise.all([this.#run(signal), this.#follow(signal)]);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
  }

  /** What the cluster wants now; "none" outside of one. */
  wish(wish: KeyWish | "none"): void {
    this.#wish = wish;
    this.#wake();
  }

  /** What the managers have to know. */
  get said(): WireguardKeys {
    const { keys = [], sends = 0 } = ownEnd(this.#parts.store.snapshot()) ?? {};
    return { keys: keys.map(({ generation, publicKey }) => ({ generation, publicKey })), sends };
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const { changed } of this.#parts.store.watch(signal))
      if (changed.some(({ table }) => tables.has(table))) this.#wake();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      let pause: number | undefined;
      try {
        pause = await this.#step();
      } catch (err) {
        this.#parts.log.warn({ err }, "this host has no new keys of WireGuard yet: it goes on with those before");
        pause = retry;
      }
      const either = AbortSignal.any([signal, woken.signal]);
      await sleep(pause ?? longest, undefined, { signal: either, ref: false }).catch(() => {});
    }
  }

  /** @returns milliseconds until there is something to do if nothing happens; undefined: for ever */
  async #step(): Promise<number | undefined> {
    const rows = this.#parts.store.snapshot();
    const own = ownEnd(rows);
    if (this.#wish === "none") await this.#forget();
    else if (this.#wish !== undefined && needsKey(own, this.#wish))
      await this.#renew(own, this.#wish, isEncrypting(rows));
    else if (own !== undefined) return this.#goOver(own, rows.list("ends"), this.#wish);
    return undefined;
  }

  async #renew(own: OwnEnd | undefined, wish: KeyWish, isEncrypting: boolean): Promise<void> {
    const { ahead, kernel } = this.#parts;
    const publicKey = kernel.newWireguardKey();
    const write = () => this.#write(withKey(own, wish, publicKey));
    try {
      await (isEncrypting ? ahead(wish.link, write) : write());
    } catch (error) {
      kernel.forgetWireguardKey(publicKey);
      throw error;
    }
  }

  async #goOver(own: OwnEnd, ends: readonly WireguardEnd[], wish: KeyWish | undefined): Promise<number | undefined> {
    const link = own.keys.at(-1)?.link ?? "";
    const isWaiting = (end: OwnEnd) => ends.some((other) => isSilent(end, other));
    const heard = isWaiting(own) ? withAnswers(own, ends, this.#parts.kernel.wireguardAnswers(link)) : own;
    const next = withSends(heard, wish, ends);
    const left = this.#untilDrop(next, ends);
    await this.#write(left === 0 ? withoutOlder(next) : next);
    return isWaiting(next) ? look : left;
  }

  /** @returns milliseconds until the older key may go; undefined while somebody needs it */
  #untilDrop(own: OwnEnd, ends: readonly WireguardEnd[]): number | undefined {
    this.#idleSince = mayDrop(own, ends) ? (this.#idleSince ?? performance.now()) : undefined;
    if (this.#idleSince === undefined) return undefined;
    return Math.max(0, Math.ceil(this.#idleSince + settling - performance.now()));
  }

  async #forget(): Promise<void> {
    const own = ownEnd(this.#parts.store.snapshot());
    if (own === undefined) return;
    await this.#parts.store.update((tx) => tx.delete("ownEnds", own.id));
    for (const { publicKey } of own.keys) this.#parts.kernel.forgetWireguardKey(publicKey);
  }

  /** The private keys of what is not in it any more are forgotten. */
  async #write(next: OwnEnd): Promise<void> {
    const { store, kernel, changed, log } = this.#parts;
    const before = store.snapshot().list("ownEnds");
    if (before.length === 1 && isDeepStrictEqual(before[0], next)) return;
    await store.update((tx) => {
      for (const { id } of tx.list("ownEnds")) if (id !== next.id) tx.delete("ownEnds", id);
      tx.put("ownEnds", next);
    });
    const generations = next.keys.map(({ generation }) => generation);
    const { sends } = next;
    if (before[0]?.sends !== sends || before[0].keys.length !== next.keys.length)
      log.info({ generations, sends }, "this host's keys of WireGuard");
    const kept = new Set(next.keys.map(({ publicKey }) => publicKey));
    for (const { publicKey } of before.flatMap(({ keys }) => keys))
      if (!kept.has(publicKey)) kernel.forgetWireguardKey(publicKey);
    changed();
  }
}

const ownEnd = (rows: Snapshot): OwnEnd | undefined => rows.list("ownEnds")[0];
/** True when this host is on an encrypted network: then its keys are those of devices. */
const isEncrypting = (rows: Snapshot) => rows.list("networks").some(({ tunnel }) => tunnel?.encryption !== undefined);
