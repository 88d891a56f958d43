import type { Service } from "../model/service.ts";
import { type Changed, changesOf } from "../store/changes.ts";
import { kinds } from "../store/named.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import type { EventBus } from "./events.ts";
import { actionOf, changedAttributes } from "./told-changes.ts";

/** What became of services, secrets and configs: by the user, or by an update. */
export function publishServices(bus: EventBus, before: Snapshot, commit: Commit): void {
  for (const change of changesOf("services", before, commit)) publishService(bus, change);
  for (const table of ["secrets", "configs"] as const)
    for (const change of changesOf(table, before, commit)) {
      const { key, old, row } = change;
      if (old?.version === row?.version) continue;
      const attributes = { name: (row ?? old)?.name ?? "" };
      bus.publish({ type: kinds[table], action: actionOf(change), id: key, attributes, scope: "swarm" });
    }
}

function publishService(bus: EventBus, change: Changed<"services">): void {
  const { key, old, row } = change;
  const changes = old && row ? serviceChanges(old, row) : {};
  if (old?.version === row?.version && Object.keys(changes).length === 0) return;
  const attributes = { name: (row ?? old)?.spec.name ?? "", ...changes };
  bus.publish({ type: "service", action: actionOf(change), id: key, attributes, scope: "swarm" });
}

const serviceChanges = (old: Service, service: Service) =>
  changedAttributes({
    image: [old.spec.task.container.image, service.spec.task.container.image],
    replicas: [replicasOf(old), replicasOf(service)],
    updatestate: [old.update?.state, service.update?.state],
  });

const replicasOf = ({ spec: { mode } }: Service) => (mode.kind === "replicated" ? `${mode.replicas}` : undefined);
