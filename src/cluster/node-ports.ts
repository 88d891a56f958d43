import type { ClusterNode, TakenPort } from "../model/cluster.ts";
import type { IpAddress } from "../model/ids.ts";
import type { HostPort } from "../model/network.ts";
import type { ServicePort } from "../model/service.ts";
import type { Snapshot } from "../store/store.ts";

/** Ports that one node tells of at most: a row of the cluster has them. */
export const mostPorts = 1024;

/**
 * Ports of a host that others must know of: a service can not be reached there by the same one. Those of services' tasks the
 * leader has counted already.
 * @param rows of the host's own store @param waiting where programs wait @param ephemeral ports that Linux gives to whoever sends:
 *   they are had for a moment
 */
export function portsToTell(
  rows: Snapshot,
  waiting: readonly HostPort[],
  [first, last]: readonly [first: number, last: number],
): TakenPort[] {
  const programs = waiting.filter(({ protocol, port }) => protocol === "tcp" || port < first || port > last);
  const containers = rows.list("ports").flatMap(({ protocol, hostIp, hostPort, endpointId }): TakenPort | [] => {
    const endpoint = rows.get("endpoints", endpointId);
    const container = endpoint && rows.get("containers", endpoint.containerId);
    if (endpoint === undefined || container?.taskId !== undefined) return [];
    return { protocol, address: hostIp, port: hostPort, container: endpoint.containerName.slice(0, 255) };
  });
  const told = new Map([...programs, ...containers].map((one) => [`${one.protocol} ${one.address} ${one.port}`, one]));
  return [...told.values()].toSorted((a, b) => a.port - b.port).slice(0, mostPorts);
}

const isAny = (address: IpAddress | undefined) => address === undefined || address === "0.0.0.0" || address === "::";

/** @returns who of a node has the port, at the address that is asked for or at all of them */
export const holderOf = (
  { takenPorts = [] }: Pick<ClusterNode, "takenPorts">,
  port: Pick<ServicePort, "protocol" | "published" | "address">,
): TakenPort | undefined =>
  takenPorts.find(
    (one) =>
      one.protocol === port.protocol &&
      one.port === port.published &&
      (isAny(port.address) || isAny(one.address) || one.address === port.address),
  );

/** @param container its name; absent: a program of the host has the port */
export const holderText = ({ hostname }: Pick<ClusterNode, "hostname">, container?: string): string =>
  `${container === undefined ? "a process" : `container '${container}'`} on node '${hostname}'`;

/** @returns who has a port that is to be published on every node, for the reader of an error */
export function holderAnywhere(rows: Snapshot, port: ServicePort): string | undefined {
  for (const node of rows.list("nodes")) {
    const holder = holderOf(node, port);
    if (holder === undefined) continue;
    return holderText(node, holder.container);
  }
  return undefined;
}
