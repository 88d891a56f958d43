import { answered } from "./answers.ts";
import type { EtcdClient } from "./client.ts";
import { follow } from "./follow.ts";
import { Event_EventType } from "./gen/kv_pb.ts";
import { Compare_CompareResult as Is, Compare_CompareTarget as Of, type TxnResponse } from "./gen/rpc_pb.ts";
import type { Lease } from "./lease.ts";
import { created, type Fence } from "./request.ts";

/** Being the leader. It is the fence of what the leader writes: `store.fenced(leadership)`. */
export interface Leadership extends Fence {
  /** Aborted when another one may lead: the lease is lost, the key is gone, or this one resigned. */
  readonly lost: AbortSignal;
  /** Lets another one lead at once. */
  resign(): Promise<void>;
}

export interface Candidacy {
  /** The one key whose creator leads. */
  readonly key: string;
  /** What others read there: who leads. */
  readonly value: string;
  /** Ends the candidacy, not a leadership. */
  readonly signal: AbortSignal;
}

/**
 * Waits until nobody leads, and leads.
 * @throws the signal's or the lost lease's reason
 * @throws {StoreError} UNAVAILABLE, WRITE when etcd refuses
 */
export async function campaign(client: EtcdClient, lease: Lease, candidacy: Candidacy): Promise<Leadership> {
  const key = Buffer.from(candidacy.key);
  const signal = AbortSignal.any([candidacy.signal, lease.lost]);
  try {
    for (;;) {
      signal.throwIfAborted();
      const response = await answered((options) => client.kv.txn(takeOf(key, candidacy.value, lease), options));
      const leader = leaderOf(response, lease);
      const fence = { key: candidacy.key, createRevision: leader.createRevision };
      if (leader.ours && !signal.aborted) return lead(client, lease, fence);
      if (!leader.ours) await gone(client, { ...fence, from: (response.header?.revision ?? 0n) + 1n, signal });
    }
  } catch (error) {
    await giveUp(client, key, lease);
    throw error;
  }
}

const takeOf = (key: Uint8Array, value: string, lease: Lease) => ({
  compare: [created(key, Is.EQUAL, 0n)],
  success: [{ request: { case: "requestPut" as const, value: { key, value: Buffer.from(value), lease: lease.id } } }],
  failure: [{ request: { case: "requestRange" as const, value: { key } } }],
});

/** Who created the key, and when; also a copy of our call that nobody told us of. */
function leaderOf({ succeeded, header, responses }: TxnResponse, lease: Lease) {
  if (succeeded) return { ours: true, createRevision: header?.revision ?? 0n };
  const [response] = responses;
  const kv = response?.response.case === "responseRange" ? response.response.value.kvs[0] : undefined;
  return { ours: kv?.lease === lease.id, createRevision: kv?.createRevision ?? 0n };
}

interface Wait extends Fence {
  /** The first revision at which it may be gone. */
  readonly from: bigint;
  readonly signal: AbortSignal;
}
/** Resolves when the key that was created then is deleted, or the signal aborted. */
async function gone(client: EtcdClient, { key, createRevision, from, signal }: Wait): Promise<void> {
  const range = { key: Buffer.from(key), rangeEnd: new Uint8Array() };
  for (let next = from; !signal.aborted; ) {
    for await (const { events } of follow(client, { range, from: next, signal }))
      if (events.some(({ type }) => type === Event_EventType.DELETE)) return;
    // The history from there on is not kept any more: whether it is the same key, the key tells.
    const found = await answered((options) => client.kv.range(range, options)).catch(() => undefined);
    if (found !== undefined && found.kvs[0]?.createRevision !== createRevision) return;
    next = (found?.header?.revision ?? next - 1n) + 1n;
  }
}

/** What was put with our lease in a call that was not answered goes, if it is there. */
async function giveUp(client: EtcdClient, key: Uint8Array, lease: Lease): Promise<void> {
  const ours = { key, result: Is.EQUAL, target: Of.LEASE, targetUnion: { case: "lease" as const, value: lease.id } };
  const success = [{ request: { case: "requestDeleteRange" as const, value: { key } } }];
  await client.kv.txn({ compare: [ours], success }, { deadline: 2000 }).catch(() => undefined); // else with the lease
}

function lead(client: EtcdClient, lease: Lease, fence: Fence): Leadership {
  const end = new AbortController();
  const lost = AbortSignal.any([lease.lost, end.signal]);
  const key = Buffer.from(fence.key);
  const ended = () => end.abort(new Error("the key of the election is gone"));
  void gone(client, { ...fence, from: fence.createRevision + 1n, signal: lost }).then(ended, ended);
  return {
    ...fence,
    lost,
    resign: async () => {
      end.abort(new Error("it resigned"));
      const compare = [created(key, Is.EQUAL, fence.createRevision)];
      const success = [{ request: { case: "requestDeleteRange" as const, value: { key } } }];
      await answered((options) => client.kv.txn({ compare, success }, options));
    },
  };
}
