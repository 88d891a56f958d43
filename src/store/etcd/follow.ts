import { setTimeout as sleep } from "node:timers/promises";
import type { EtcdClient } from "./client.ts";
import type { WatchResponse } from "./gen/rpc_pb.ts";
import type { KeyRange } from "./layout.ts";

export interface FollowOptions {
  readonly range: KeyRange;
  /** The first revision whose events are wanted. */
  readonly from: bigint;
  readonly signal: AbortSignal;
  /** Called with a function that moves to another member: for who misses events that there must be. */
  readonly onOpen?: (reopen: () => void) => void;
}

/**
 * Every event of a range, once and in order, across reconnects and restarts of members. It ends when the signal is aborted,
 * and when etcd no longer has the history from there on (compacted, or put back from a backup): list again.
 */
export async function* follow(
  client: EtcdClient,
  { range, from, signal, onOpen }: FollowOptions,
): AsyncGenerator<WatchResponse> {
  let next = from;
  while (!signal.aborted) {
    let cancel = () => {};
    try {
      const stream = client.watch.watch();
      cancel = () => stream.cancel();
      signal.addEventListener("abort", cancel);
      onOpen?.(cancel);
      stream.write({
        requestUnion: { case: "createRequest", value: { ...range, startRevision: next, progressNotify: true } },
      });
      for await (const response of stream) {
        const revision = response.header?.revision ?? 0n;
        if (response.compactRevision > 0n) return;
        if (response.canceled) break;
        if (response.created && revision + 1n < next && (await wentBack(client, range, next))) return;
        const last = response.events.at(-1)?.kv?.modRevision;
        if (last !== undefined) {
          next = last + 1n;
          yield response;
        } else if (!response.created && revision >= next) next = revision + 1n; // a progress notification
      }
    } catch {
      // The connection broke: from `next` on at another member.
    } finally {
      signal.removeEventListener("abort", cancel);
      cancel();
    }
    await sleep(100, undefined, { signal }).catch(() => undefined);
  }
}

/** A member that lags behind knows fewer revisions; when all together do, it is another history. */
async function wentBack(client: EtcdClient, range: KeyRange, next: bigint): Promise<boolean> {
  const { header } = await client.kv.range({ key: range.key }, { deadline: 2000 });
  return (header?.revision ?? 0n) + 1n < next;
}
