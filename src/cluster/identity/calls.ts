import { EngineError, forbidden } from "../../lib/errors.ts";
import type { NodeRole } from "../../model/cluster.ts";
import { removedNode } from "../removal.ts";
import type { Identity, SwarmId } from "./names.ts";

export type Caller = "nobody" | NodeRole;

/** The calls between hosts. */
export type CallName =
  | "getRootCertificate"
  | "issueCertificate"
  | "certificateStatus"
  | "renewCertificate"
  | "session"
  | "attach"
  | "detach"
  | "publishLogs"
  | "leave"
  | "addMember"
  | "promoteMember"
  | "removeMember"
  | "askForLogs";

const anybody = ["nobody", "worker", "manager"] as const;
const nodes = ["worker", "manager"] as const;
const managers = ["manager"] as const;

/** Who may make which call. A node speaks for itself only: that the ids in a call are the caller's own, the call checks. */
export const allowed: Readonly<Record<CallName, readonly Caller[]>> = {
  // A joiner has no certificate yet: the root is public, the others ask for a token or a key.
  getRootCertificate: anybody,
  issueCertificate: anybody,
  certificateStatus: anybody,
  renewCertificate: nodes,
  session: nodes,
  attach: nodes,
  detach: nodes,
  publishLogs: nodes,
  leave: nodes,
  addMember: managers,
  promoteMember: managers,
  removeMember: managers,
  askForLogs: managers,
};

/**
 * Passes when the peer may make the call. What is not in the table is denied to all, and a removed node everything, also
 * what nobody may do: with a token it joins as a new node.
 * @param call a name from the wire
 * @throws {EngineError} unauthorized when a certificate is needed, forbidden when another role is, or the node was removed
 */
export function check(call: string, peer: Identity | undefined, removed: (nodeId: SwarmId) => boolean): void {
  const callers = Object.hasOwn(allowed, call) ? allowed[call as CallName] : [];
  if (peer !== undefined && removed(peer.nodeId)) throw removedNode(peer.nodeId, call);
  if (callers.includes(peer?.role ?? "nobody")) return;
  if (peer === undefined) throw new EngineError("unauthorized", `${call}: a valid certificate of this swarm is needed`);
  throw forbidden(`${call}: a ${peer.role} may not make this call`);
}
