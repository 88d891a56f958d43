import { invalid } from "../../lib/errors.ts";
import type { EtcdClient } from "../../store/etcd/client.ts";
import {
  addLearner,
  listMembers,
  type Member,
  MemberError,
  promoteMember,
  removeMember,
} from "../../store/etcd/members.ts";

/** The members of the cluster's etcd, as src/store/etcd/members.ts has them. */
export interface Members {
  list(): Promise<readonly Member[]>;
  addLearner(peerUrl: string): Promise<Member>;
  promote(id: bigint): Promise<void>;
  remove(id: bigint): Promise<void>;
}

export const membersOf = (client: EtcdClient): Members => ({
  list: () => listMembers(client),
  addLearner: (peerUrl) => addLearner(client, [peerUrl]),
  promote: (id) => promoteMember(client, id),
  remove: (id) => removeMember(client, id),
});

/** Ends a membership; one that was ended before, by a call whose answer was lost, is no error. @throws {MemberError} */
export async function removeVote(members: Members, memberId: string): Promise<void> {
  try {
    await members.remove(memberIdOf(memberId));
  } catch (error) {
    if (!(error instanceof MemberError && error.code === "NOT_FOUND")) throw error;
  }
}

/** @throws {EngineError} invalid for what are no hex digits */
export function memberIdOf(text: string): bigint {
  if (!/^[0-9a-f]{1,16}$/.test(text)) throw invalid("a member's id must be hex digits");
  return BigInt(`0x${text}`);
}
