import { type Client, createClient } from "@connectrpc/connect";
import { setTimeout as sleep } from "node:timers/promises";
import { unavailable } from "../../lib/errors.ts";
import { fromWire, isLost } from "./call-errors.ts";
import type { Credentials } from "./control-server.ts";
import { dial, type Link } from "./dial.ts";
import { Join, Manager, Node } from "../gen/control_pb.ts";
import { checkFingerprint } from "../identity/token.ts";

/** The calls of one manager. */
export interface Calls {
  /** `address:port` of the manager that answers. */
  readonly address: string;
  readonly node: Client<typeof Node>;
  readonly manager: Client<typeof Manager>;
}

/** How long one address has before the next is tried beside it, milliseconds. */
const headStart = 250;

/**
 * A node's way to the managers. It stays with one as long as that one answers (it is asked every second), then takes
 * whoever answers first: a lost manager is noticed in 2 s at most, and the next found at once.
 */
export class ControlClient {
  #managers: readonly string[];
  #credentials: Credentials;
  #link: Link | undefined;
  #finding: Promise<Link> | undefined;
  /** How many calls each connection has: one with an older certificate is closed when its last has ended. */
  readonly #uses = new Map<Link, number>();
  readonly #closed = new AbortController();

  /** @param managers `address:port` */
  constructor(managers: readonly string[], credentials: Credentials) {
    this.#managers = managers;
    this.#credentials = credentials;
  }

  /** One that is not among them any more is left, with what runs over its connection. */
  setManagers(managers: readonly string[]): void {
    if (managers.length === 0) return;
    this.#managers = managers;
    if (this.#link !== undefined && !managers.includes(this.#link.address)) this.#lose(this.#link);
  }

  /** For connections from now on: calls that are under way end on the one that they began on. */
  setCredentials(credentials: Credentials): void {
    this.#credentials = credentials;
    const former = this.#link;
    this.#link = undefined;
    if (former !== undefined && !this.#uses.has(former)) former.close();
    this.#finding = undefined;
  }

  /**
   * Runs calls with a manager that answers; with another when the connection breaks, so `run` must bear being run again.
   * @throws {EngineError} what the manager said; unavailable when none answers
   */
  async use<R>(run: (calls: Calls) => Promise<R>, signal: AbortSignal): Promise<R> {
    for (let attempts = this.#managers.length; ; attempts--) {
      const link = await this.#connected(signal);
      this.#uses.set(link, (this.#uses.get(link) ?? 0) + 1);
      try {
        const [node, manager] = [createClient(Node, link.transport), createClient(Manager, link.transport)];
        return await run({ address: link.address, node, manager });
      } catch (error) {
        signal.throwIfAborted();
        if (!isLost(error)) throw fromWire(error);
        this.#lose(link);
        if (attempts <= 1) throw fromWire(error);
      } finally {
        this.#leave(link);
      }
    }
  }

  close(): void {
    this.#closed.abort(unavailable("the node leaves"));
    for (const link of [this.#link, ...this.#uses.keys()]) link?.close();
  }

  #leave(link: Link): void {
    const others = (this.#uses.get(link) ?? 1) - 1;
    if (others > 0) this.#uses.set(link, others);
    else this.#uses.delete(link);
    if (others === 0 && this.#link !== link) link.close();
  }

  /** The manager that failed is asked last. */
  #lose(link: Link): void {
    link.close();
    if (this.#link === link) this.#link = undefined;
    const others = this.#managers.filter((a) => a !== link.address);
    if (others.length < this.#managers.length) this.#managers = [...others, link.address];
  }

  async #connected(signal: AbortSignal): Promise<Link> {
    if (this.#link?.isUp() === true) return this.#link;
    if (this.#link !== undefined) this.#lose(this.#link);
    const finding = (this.#finding ??= this.#find());
    const link = await finding.finally(() => {
      if (this.#finding === finding) this.#finding = undefined;
    });
    signal.throwIfAborted();
    return link;
  }

  async #find(): Promise<Link> {
    const credentials = this.#credentials;
    const { key, certificate, roots } = credentials;
    const link = await firstOf(this.#managers, { key, cert: certificate, ca: roots }, this.#closed.signal);
    // One that was begun with an older certificate serves its calls, and no more.
    if (credentials === this.#credentials) this.#link = link;
    return link;
  }
}

/** Asks one address after the other, a little apart, until one answers; the others are called off. */
async function firstOf(addresses: readonly string[], tls: Parameters<typeof dial>[1], signal: AbortSignal) {
  const found = new AbortController();
  const either = AbortSignal.any([signal, found.signal]);
  const attempts = addresses.map(async (address, place) => {
    await sleep(place * headStart, undefined, { signal: either });
    const link = await dial(address, tls, either);
    if (!found.signal.aborted) {
      found.abort();
      return link;
    }
    link.close();
    throw unavailable(`${address}: not needed`);
  });
  try {
    return await Promise.any(attempts);
  } catch (error) {
    signal.throwIfAborted();
    const reasons = (error as AggregateError).errors.map((e: Error) => e.message);
    throw unavailable(`no manager answers: ${reasons.join("; ") || "none is known"}`);
  }
}

/**
 * The calls of a host that joins, with a manager that the token's digest vouches for: the manager's root is fetched first,
 * with nothing else sent, and everything else goes over a connection that this root has verified.
 * @param digest of the root's certificate, from the token @returns the calls and the root, PEM
 * @throws {EngineError} system with swarmkit's text for another root, unavailable when the manager does not answer
 */
export async function joinCalls(
  address: string,
  digest: string,
  signal: AbortSignal,
): Promise<{ readonly calls: Client<typeof Join>; readonly root: string; readonly close: () => void }> {
  const stranger = await dial(address, { rejectUnauthorized: false }, signal);
  let root: string;
  try {
    root = (await createClient(Join, stranger.transport).getRootCertificate({}, { signal })).certificate;
  } catch (error) {
    throw fromWire(error);
  } finally {
    stranger.close();
  }
  checkFingerprint(root, digest);
  const link = await dial(address, { ca: root }, signal);
  return { calls: createClient(Join, link.transport), root, close: () => link.close() };
}
