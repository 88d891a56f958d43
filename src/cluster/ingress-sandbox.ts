import { releaseAddresses } from "../ipam/claim.ts";
import { ingressMacPrefix } from "../lib/mac.ts";
import type { EndpointId, NetworkId } from "../model/ids.ts";
import type { Peer } from "../model/peer.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import type { Snapshot, Transaction } from "../store/store.ts";

/** Deletes a host's own rows of its ingress sandbox. @returns the endpoints that it had */
export function forgetIngressSandbox(tx: Transaction): EndpointId[] {
  const ids = tx.where("endpoints", "sandbox", ingressSandbox).map(({ id }) => id);
  for (const id of ids) {
    releaseAddresses(tx, id);
    tx.delete("endpoints", id);
  }
  tx.delete("sandboxes", ingressSandbox);
  return ids;
}

/** Those ends of a network that nodes have for what is published, and no container. */
export const ingressEnds = (rows: Snapshot, network: NetworkId): Peer[] =>
  rows.where("peers", "network", network).filter(({ mac }) => mac.startsWith(ingressMacPrefix));
