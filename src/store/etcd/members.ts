import { setTimeout as sleep } from "node:timers/promises";
import { code, detailsOf, hasCode } from "../../lib/grpc.ts";
import { jitter } from "./answers.ts";
import type { EtcdClient } from "./client.ts";
import type { Member as WireMember } from "./gen/rpc_pb.ts";

export interface Member {
  readonly id: bigint;
  /** Empty until the member has started once. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** It receives everything and has no vote. */
  readonly learner: boolean;
}

/** What etcd refuses (etcd 3.4, etcdserver/api/v3rpc/rpctypes/error.go); the rest is UNAVAILABLE or REFUSED. */
const refusals = [
  ["NOT_FOUND", /member not found/],
  ["EXISTS", /already exist/],
  ["NOT_READY", /in sync with leader/],
  ["NOT_LEARNER", /can only promote a learner member/],
  ["TOO_MANY_LEARNERS", /too many learner members/],
  ["UNHEALTHY", /unhealthy cluster|not enough started members/],
  ["BAD_URL", /member URLs are invalid/],
] as const;
type Code = (typeof refusals)[number][0] | "UNAVAILABLE" | "REFUSED";

/**
 * NOT_READY: the learner has not caught up. UNHEALTHY: too few members are up, or have been for long enough, for a change.
 * TOO_MANY_LEARNERS: etcd 3.4 has one at a time. UNAVAILABLE: no answer, it may have been done.
 */
export class MemberError extends Error {
  override readonly name = "MemberError";
  readonly code: Code;
  constructor(memberCode: Code, cause: unknown) {
    super(`members of the cluster's store: ${detailsOf(cause).replace(/^etcdserver: /, "")}`, { cause });
    this.code = memberCode;
  }
}

function named(error: unknown): MemberError {
  const found = refusals.find(([, text]) => text.test(detailsOf(error)))?.[0];
  const silent = hasCode(error, code.unavailable, code.deadline, code.cancelled, code.unknown);
  return new MemberError(found ?? (silent ? "UNAVAILABLE" : "REFUSED"), error);
}

/** Milliseconds. A change waits for a majority of the members. */
const options = { deadline: 5000 };
const memberOf = ({ ID, name, peerURLs, clientURLs, isLearner }: WireMember): Member => ({
  id: ID,
  name,
  peerUrls: peerURLs,
  clientUrls: clientURLs,
  learner: isLearner,
});
async function asked<R>(call: Promise<R>): Promise<R> {
  try {
    return await call;
  } catch (error) {
    throw named(error);
  }
}

/** As the member that is asked knows them. @throws {MemberError} UNAVAILABLE */
export const listMembers = async (client: EtcdClient): Promise<readonly Member[]> =>
  (await asked(client.cluster.memberList({}, options))).members.map(memberOf);

/**
 * Adds a member without a vote, before it is started. For about five seconds after a member came back etcd refuses changes
 * as unhealthy: that is waited for.
 * @param patience milliseconds to wait for a healthy cluster
 * @throws {MemberError} EXISTS, TOO_MANY_LEARNERS, UNHEALTHY, BAD_URL, UNAVAILABLE
 */
export async function addLearner(client: EtcdClient, peerUrls: readonly string[], patience = 10_000): Promise<Member> {
  const request = { peerURLs: [...peerUrls], isLearner: true };
  const { member } = await retried("UNHEALTHY", patience, () => client.cluster.memberAdd(request, options));
  return memberOf(member as WireMember);
}

/**
 * Gives a learner a vote, when it has caught up. A member that has one keeps it, so this may be done twice.
 * @param patience milliseconds to wait until it has caught up
 * @throws {MemberError} NOT_READY, NOT_FOUND, UNAVAILABLE
 */
export async function promoteMember(client: EtcdClient, id: bigint, patience = 10_000): Promise<void> {
  await retried("NOT_READY", patience, async () => {
    const { members } = await client.cluster.memberList({}, options);
    const votes = members.some(({ ID, isLearner }) => ID === id && !isLearner);
    if (!votes) await client.cluster.memberPromote({ ID: id }, options);
  });
}

/**
 * Takes a member's vote. etcd counts who has been connected for five seconds: until then it refuses as unhealthy, which is waited for.
 * @param patience milliseconds to wait for a healthy cluster
 * @throws {MemberError} NOT_FOUND, UNHEALTHY when those that remain have no majority, UNAVAILABLE
 */
export async function removeMember(client: EtcdClient, id: bigint, patience = 10_000): Promise<void> {
  await retried("UNHEALTHY", patience, () => client.cluster.memberRemove({ ID: id }, options));
}

/** Says where a member listens for the others. @throws {MemberError} NOT_FOUND, EXISTS, BAD_URL, UNAVAILABLE */
export async function updateMember(client: EtcdClient, id: bigint, peerUrls: readonly string[]): Promise<void> {
  await asked(client.cluster.memberUpdate({ ID: id, peerURLs: [...peerUrls] }, options));
}

async function retried<R>(passing: Code, patience: number, call: () => Promise<R>): Promise<R> {
  const end = performance.now() + patience;
  for (;;) {
    try {
      return await asked(call());
    } catch (error) {
      if ((error as MemberError).code !== passing || performance.now() >= end) throw error;
      await sleep(jitter(300));
    }
  }
}
