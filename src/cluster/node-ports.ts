import type { ClusterNode, PublishedPort } from "../model/cluster.ts";
import type { IpAddress } from "../model/ids.ts";
import type { ServicePort } from "../model/service.ts";
import type { Snapshot } from "../store/store.ts";

/** Ports that one node tells of at most: a row of the cluster has them. */
export const mostPorts = 1024;

/**
 * What containers of a host have published, as others must know of it: a service can not be reached there by the same port.
 * Those of services' tasks the leader has counted already. @param rows of the host's own store
 */
export function portsToTell(rows: Snapshot): PublishedPort[] {
  const told = rows.list("ports").flatMap(({ protocol, hostIp, hostPort, endpointId }): PublishedPort | [] => {
    const endpoint = rows.get("endpoints", endpointId);
    const container = endpoint && rows.get("containers", endpoint.containerId);
    if (endpoint === undefined || container?.taskId !== undefined) return [];
    return { protocol, address: hostIp, port: hostPort, container: endpoint.containerName.slice(0, 255) };
  });
  return told.slice(0, mostPorts);
}

const isAny = (address: IpAddress | undefined) => address === undefined || address === "0.0.0.0" || address === "::";

/** @returns the container of the node that has the port, at the address that is asked for or at all of them */
export const holderOf = (
  { published = [] }: Pick<ClusterNode, "published">,
  port: Pick<ServicePort, "protocol" | "published" | "address">,
): string | undefined =>
  published.find(
    (one) =>
      one.protocol === port.protocol &&
      one.port === port.published &&
      (isAny(port.address) || isAny(one.address) || one.address === port.address),
  )?.container;

/** @returns the container, and its node, that has a port which is to be published on every node */
export function holderAnywhere(rows: Snapshot, port: ServicePort): string | undefined {
  for (const node of rows.list("nodes")) {
    const container = holderOf(node, port);
    if (container !== undefined) return `container '${container}' on node '${node.hostname}'`;
  }
  return undefined;
}
