import { setTimeout as sleep } from "node:timers/promises";
import { code, detailsOf, hasCode } from "../../lib/grpc.ts";
import { StoreError } from "../store.ts";
import type { EtcdClient } from "./client.ts";

/** Milliseconds until a cluster that does not answer is said to be unavailable. */
export const patience = 5000;
/** Milliseconds for one member, so that another one gets its turn. A leader is elected in less, mostly. */
const turn = 2000;

/** Nothing is known of what became of the call. */
const unanswered = (error: unknown) =>
  hasCode(error, code.unavailable, code.deadline, code.cancelled, code.unknown, code.internal) ||
  /too many requests|future revision/.test(detailsOf(error));

export const unavailable = (detail: string, cause?: unknown) =>
  new StoreError("UNAVAILABLE", `the cluster's store does not answer: ${detail}`, { cause });

/**
 * Calls again until there is an answer; so `call` must do no harm when it is done twice.
 * @throws {StoreError} UNAVAILABLE after five seconds without, WRITE when etcd refuses
 */
export async function answered<R>(call: (options: { readonly deadline: number }) => Promise<R>): Promise<R> {
  const end = performance.now() + patience;
  for (;;) {
    const left = end - performance.now();
    try {
      return await call({ deadline: Math.min(turn, left) });
    } catch (error) {
      if (!unanswered(error))
        throw new StoreError("WRITE", `the cluster's store refused: ${detailsOf(error)}`, { cause: error });
      const pause = jitter(200);
      if (performance.now() + pause >= end) throw unavailable(detailsOf(error), error);
      await sleep(pause);
    }
  }
}

/**
 * Whether etcd answers a read, which it does with a majority behind it only. @param deadline milliseconds
 */
export const isAnswering = (client: EtcdClient, deadline: number): Promise<boolean> =>
  client.kv.range({ key: Buffer.from("/tombolo") }, { deadline }).then(
    () => true,
    () => false,
  );

/** Between half and all of so many milliseconds. */
export const jitter = (most: number) => most * (0.5 + Math.random() / 2);
