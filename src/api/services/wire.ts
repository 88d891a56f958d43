import type { ServiceStatus } from "../../engine/engine.ts";
import type { Service, ServicePort } from "../../model/service.ts";
import { metaJson } from "../swarm/inspect.ts";
import { withDefaults } from "./shown.ts";

/** A service as list and inspect show it (moby api/types/swarm/service.go; fields in Docker's order). */
export function serviceJson(
  service: Service,
  {
    status,
    insertDefaults = false,
  }: { readonly status?: ServiceStatus | undefined; readonly insertDefaults?: boolean } = {},
): object {
  const { spec, previous, update, job } = service;
  return {
    ID: service.id,
    ...metaJson(service),
    Spec: insertDefaults ? withDefaults(spec.shown) : spec.shown,
    ...(previous && { PreviousSpec: previous.spec.shown }),
    Endpoint: endpointJson(service),
    ...(update && {
      UpdateStatus: {
        State: update.state,
        StartedAt: timeJson(update.startedAt),
        ...(update.completedAt !== undefined && { CompletedAt: timeJson(update.completedAt) }),
        Message: update.message,
      },
    }),
    ...(status && {
      ServiceStatus: {
        RunningTasks: status.running,
        DesiredTasks: status.desired,
        CompletedTasks: status.completed,
      },
    }),
    ...(job && { JobStatus: { JobIteration: indexJson(job.iteration), LastExecution: timeJson(job.startedAt) } }),
  };
}

export const timeJson = (time: number) => new Date(time).toISOString();
/** A version of swarmkit: 0 is left out. */
export const indexJson = (index: number) => (index === 0 ? {} : { Index: index });

/** Without networks and ports there is nothing to show, as with Docker. */
function endpointJson({ spec, ports, virtualAddresses }: Service): object {
  if (spec.task.networks.length === 0 && ports.length === 0) return { Spec: {} };
  const virtual = virtualAddresses.flatMap(({ network, addresses }) =>
    addresses.map(({ address, prefix }) => ({ NetworkID: network, Addr: `${address}/${prefix}` })),
  );
  return {
    Spec: spec.shown.EndpointSpec ?? {},
    ...(ports.length > 0 && { Ports: ports.map(portJson) }),
    ...(virtual.length > 0 && { VirtualIPs: virtual }),
  };
}

export const portJson = ({ name, protocol, target, published, mode }: ServicePort): object => ({
  ...(name && { Name: name }),
  Protocol: protocol,
  TargetPort: target,
  ...(published !== 0 && { PublishedPort: published }),
  PublishMode: mode,
});
