import { revised } from "../../model/cluster.ts";
import type { Service, ServiceSpec, UpdateStatus } from "../../model/service.ts";
import { isDeepStrictEqual } from "node:util";

/** What tasks are made from; where they are placed is no part of it: those that fit stay. */
function madeFrom({ spec, ports }: Pick<Service, "spec" | "ports">) {
  const { placement: _, ...task } = spec.task;
  return { task, endpoint: spec.endpoint.mode, ports };
}

/**
 * The row with another spec, and with the ports that were chosen for it, at `now`: a rolling update begins where tasks are
 * made from something else; a job runs again.
 */
export function withSpec(service: Service, spec: ServiceSpec, ports: Service["ports"], now: number): Service {
  const { update: _, job, ...rest } = service;
  const row = revised<Service>(
    rest,
    { spec, ports, previous: { spec: service.spec, templateVersion: service.templateVersion } },
    now,
  );
  const isSame = isDeepStrictEqual(madeFrom(service), madeFrom(row));
  return {
    ...row,
    templateVersion: isSame ? service.templateVersion : row.version,
    ...(job !== undefined && { job: { iteration: job.iteration + 1, startedAt: now } }),
  };
}

/**
 * The row with the spec that was before, at `now`. After a rollback by the leader there is no way back; after one by the user
 * there is (moby/swarmkit manager/controlapi). @throws when nothing was before
 */
export function rolledBack(service: Service, update: UpdateStatus, now: number, byUser = false): Service {
  const { previous, job, ...rest } = service;
  if (previous === undefined) throw new Error(`service ${service.spec.name} has no previous spec`);
  const { spec, templateVersion } = service;
  return revised<Service>(
    {
      ...rest,
      ...(byUser && { previous: { spec, templateVersion } }),
      ...(job !== undefined && { job: { iteration: job.iteration + 1, startedAt: now } }),
    },
    { spec: previous.spec, templateVersion: previous.templateVersion, update },
    now,
  );
}
