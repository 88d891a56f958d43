import type { ServiceImpl } from "@connectrpc/connect";
import { isIP } from "node:net";
import { EngineError, type ErrorClass, invalid } from "../../lib/errors.ts";
import { type Member, MemberError } from "../../store/etcd/members.ts";
import type { Store } from "../../store/store.ts";
import { clusterIn } from "../certificates.ts";
import { callerOf } from "../calls/control-server.ts";
import { issueMember } from "../etcd/etcd-certificate.ts";
import { memberIdOf, type Members, removeVote } from "../etcd/etcd-members.ts";
import type { Manager } from "../gen/control_pb.ts";

export interface MemberServiceParts {
  readonly store: Store;
  readonly members: Members;
  readonly dataKey: Buffer;
  /** Called before a member is added. */
  readonly expectOthers: () => Promise<void>;
}

/**
 * What one manager does for another: makes its etcd a member, with a certificate of etcd's own CA, and ends that. Each call
 * may be made again; adding a member that is there renews its certificate.
 */
export function memberService(parts: MemberServiceParts): Omit<ServiceImpl<typeof Manager>, "askForLogs"> {
  const { store, members, dataKey, expectOthers } = parts;
  return {
    async addMember({ peerUrl, csr }, context) {
      const address = addressIn(peerUrl);
      const { etcdAuthority } = clusterIn(store.snapshot());
      const nodeId = callerOf(context).identity?.nodeId ?? "";
      // Before the member is added: a malformed request adds none.
      const subject = { nodeId, address };
      const certificate = issueMember(etcdAuthority, csr, subject);
      const at = (list: readonly Member[]) => list.find(({ peerUrls }) => peerUrls.includes(peerUrl));
      const add = async () => {
        await expectOthers();
        return explained(members.addLearner(peerUrl));
      };
      const member = at(await explained(members.list())) ?? (await add());
      const list = await explained(members.list());
      return {
        memberId: member.id.toString(16),
        members: list.map(({ id, name, peerUrls }) => ({ id: id.toString(16), name, peerUrls: [...peerUrls] })),
        certificate,
        root: etcdAuthority.certificate,
        dataKey: new Uint8Array(dataKey),
      };
    },

    async promoteMember({ memberId }) {
      await explained(members.promote(memberIdOf(memberId)));
      return {};
    },

    async removeMember({ memberId }) {
      await explained(removeVote(members, memberId));
      return {};
    },
  };
}

function addressIn(peerUrl: string): string {
  const url = URL.parse(peerUrl);
  const address = url?.hostname.replace(/^\[|\]$/g, "") ?? "";
  if (url?.protocol !== "https:" || isIP(address) === 0 || `${url.origin}` !== peerUrl)
    throw invalid("a member's URL must be https://ADDRESS:PORT");
  return address;
}

const classes: Readonly<Record<MemberError["code"], ErrorClass>> = {
  NOT_FOUND: "not-found",
  EXISTS: "conflict",
  NOT_READY: "unavailable",
  NOT_LEARNER: "conflict",
  TOO_MANY_LEARNERS: "unavailable",
  UNHEALTHY: "unavailable",
  BAD_URL: "invalid",
  UNAVAILABLE: "unavailable",
  REFUSED: "system",
};
const explanation = (error: unknown) =>
  error instanceof MemberError ? new EngineError(classes[error.code], error.message, { cause: error }) : error;

async function explained<R>(call: Promise<R>): Promise<R> {
  try {
    return await call;
  } catch (error) {
    throw explanation(error);
  }
}
