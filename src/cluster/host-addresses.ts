import { invalid } from "../lib/errors.ts";
import { isLoopback } from "../lib/net.ts";
import type { IpAddress } from "../model/ids.ts";
import { type ServicePort, serviceLabels } from "../model/service.ts";
import type { Snapshot } from "../store/store.ts";

/** Addresses that one node tells of at most: a row of the cluster has them. */
export const mostAddresses = 256;

/** What of a host's addresses others must know: published ports can be bound there. Loopback is every host's. Of too many none is told. */
export function addressesToTell(addresses: readonly { readonly address: IpAddress }[]): IpAddress[] {
  const told = new Set(addresses.map(({ address }) => address).filter((address) => !isLoopback(address)));
  return told.size > mostAddresses ? [] : [...told].toSorted();
}

/**
 * Checks that ports are published at an address that there is. Nodes that are down count with what they had; where a node has
 * never told its addresses, it may have any.
 * @param before what the service publishes already: that stays, whatever became of the address
 * @throws {EngineError} invalid, naming the address
 */
export function checkPublishAddress(
  rows: Snapshot,
  ports: readonly ServicePort[],
  before: readonly ServicePort[] = [],
): void {
  const known = new Set(before.map(({ address }) => address));
  const address = ports.find((port) => !known.has(port.address))?.address;
  if (address === undefined || isLoopback(address)) return;
  const nodes = rows.list("nodes");
  if (nodes.some(({ hostAddresses = [address] }) => hostAddresses.includes(address))) return;
  throw invalid(`label ${serviceLabels.address}: no node of the swarm has the address ${address}`);
}
