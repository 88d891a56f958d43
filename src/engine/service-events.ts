import type { Service } from "../model/service.ts";
import { kinds } from "../store/named.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import type { EventBus } from "./events.ts";

/**
 * What became of services, secrets and configs, as events of scope `swarm` (moby daemon/events.go): by the user, or by an
 * update. Managers tell, each its clients.
 */
export function publishServices(bus: EventBus, before: Snapshot, { snapshot, changed }: Commit): void {
  for (const { table, key } of changed) {
    if (table !== "services" && table !== "secrets" && table !== "configs") continue;
    const [old, row] = [before.get(table, key), snapshot.get(table, key)];
    const some = row ?? old;
    if (some === undefined) continue;
    const action = old === undefined ? "create" : row === undefined ? "remove" : "update";
    const name = "spec" in some ? some.spec.name : some.name;
    const changes = old && row && "spec" in old && "spec" in row ? serviceChanges(old, row) : {};
    if (action === "update" && old?.version === row?.version && Object.keys(changes).length === 0) continue;
    bus.publish({ type: kinds[table], action, id: key, attributes: { name, ...changes }, scope: "swarm" });
  }
}

/** As Docker tells them: what was not there before has no `old`. */
function serviceChanges(old: Service, service: Service): Record<string, string> {
  const replicas = ({ spec: { mode } }: Service) => (mode.kind === "replicated" ? `${mode.replicas}` : undefined);
  const told = {
    image: [old.spec.task.container.image, service.spec.task.container.image],
    replicas: [replicas(old), replicas(service)],
    updatestate: [old.update?.state, service.update?.state],
  } as const;
  return Object.fromEntries(
    Object.entries(told).flatMap(([name, [was, is]]) =>
      was === is || is === undefined
        ? []
        : [...(was === undefined ? [] : [[`${name}.old`, was] as const]), [`${name}.new`, is] as const],
    ),
  );
}
