import { taskEnded } from "../cluster/attachments.ts";
import { conflict, invalid } from "../lib/errors.ts";
import { signalNumber } from "../lib/signals.ts";
import type { Container, ContainerSpec } from "../model/container.ts";
import { hasEnded } from "../model/service.ts";
import { createArchives } from "./archives.ts";
import { type ContainerFacts, createContainerViews } from "./container-views.ts";
import { createContainer, publishContainer } from "./create-container.ts";
import type { Containers, Filters } from "./engine.ts";
import { checkFilters, passesLabels, untilTime } from "./filters.ts";
import { Lifecycle } from "./lifecycle.ts";
import { containerNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";

/** The verbs of `docker container`. `recover` puts right what happened while the daemon was away; nothing restarts before `beginRestarts`. */
export function createContainers(
  parts: Parts,
  facts: ContainerFacts,
): Containers & { recover(): Promise<void>; beginRestarts(): void; stopAll(): void } {
  const life = new Lifecycle(parts);
  const rows = () => parts.store.snapshot();
  const find = (reference: string) => containerNamed(rows(), reference);
  const locked = <R>(reference: string, body: (c: Container) => Promise<R>) => {
    const { id } = find(reference);
    return parts.locks.run(id, () => body(containerNamed(rows(), id)));
  };
  const { processes } = parts.runtime;
  return {
    ...createContainerViews(parts, facts),
    create: (request) => createContainer(parts, request),
    start: (reference) => locked(reference, (c) => life.start(startable(parts, c))),
    stop: (reference, options) => locked(reference, (c) => life.stop(c, options)),
    restart: (reference, options) =>
      locked(reference, async (c) => {
        await life.restart(startable(parts, c), options);
        publishContainer(parts, c, "restart");
      }),
    async kill(reference, signal) {
      const container = running(find(reference));
      await life.kill(container, signalNumber(signal));
    },
    pause: (reference) => locked(reference, (c) => life.pause(running(c))),
    unpause: (reference) => locked(reference, (c) => life.unpause(c)),
    rename: (reference, name) => locked(reference, (c) => rename(parts, c, name)),
    update: (reference, change) =>
      locked(reference, async (c) => {
        checkUpdate(c, change);
        const next = { ...c, spec: { ...c.spec, ...change } };
        if (isRunning(c)) await processes.update(next);
        await parts.store.update((tx) => {
          const row = tx.get("containers", c.id);
          if (row !== undefined) tx.put("containers", { ...row, spec: { ...row.spec, ...change } });
        });
        publishContainer(parts, c, "update");
        return [];
      }),
    remove: (reference, options) => locked(reference, (c) => life.remove(c, options)),
    async wait(reference, condition) {
      return { done: life.wait(find(reference), condition) };
    },
    attach: (reference) => {
      const container = find(reference);
      if (container.state.status === "paused")
        throw conflict(`container ${reference} is paused, unpause the container before attach`);
      publishContainer(parts, container, "attach");
      return processes.attach(container);
    },
    async logs(reference, options, signal) {
      const container = find(reference);
      return { tty: container.spec.tty, lines: processes.logs(container, options, signal) };
    },
    resize: async (reference, width, height) => processes.resize(running(find(reference)).id, width, height),
    pids: async (reference) => processes.pids(running(find(reference)).id),
    async usage(reference) {
      const container = find(reference);
      return { container, usage: await processes.usage(container.id) };
    },
    ...createArchives(parts, async (reference, signal) =>
      locked(reference, async (container) => ({
        container,
        files: await processes.files(container, await life.mounts(container), signal),
      })),
    ),
    async prune(filters) {
      const idle = prunable(rows().list("containers"), filters);
      for (const container of idle) await locked(container.id, (c) => life.remove(c, { force: false, volumes: false }));
      return { ids: idle.map((c) => c.id), freed: 0 };
    },
    recover: () => life.recover(),
    beginRestarts: () => life.beginRestarts(),
    stopAll: () => life.close(),
  };
}

function prunable(containers: readonly Container[], filters: Filters): Container[] {
  checkFilters(filters, ["until", "label", "label!"]);
  const until = untilTime(filters);
  return containers.filter(
    (c) => !isRunning(c) && passesLabels(filters, c.spec.labels) && Date.parse(c.createdAt) <= until,
  );
}

/** True for containers that have a process. */
export const isRunning = (container: Container) =>
  container.state.status === "running" || container.state.status === "paused";

function running(container: Container): Container {
  if (!isRunning(container)) throw conflict(`container ${container.id} is not running`);
  return container;
}

/** What follows a task that has ended is another one. @throws {EngineError} forbidden */
function startable({ store }: Parts, container: Container): Container {
  const { taskId } = container;
  const task = taskId === undefined || isRunning(container) ? undefined : store.snapshot().get("tasks", taskId);
  if (task !== undefined && hasEnded(task.status.state)) throw taskEnded(task.id);
  return container;
}

/** What follows a task that ends is its service's to say. @throws {EngineError} conflict */
function checkUpdate({ name, taskId, spec }: Container, { restart }: Partial<ContainerSpec>): void {
  if (taskId === undefined || restart === undefined || restart.name === "no") return;
  const service = spec.labels["com.docker.swarm.service.name"];
  throw conflict(
    `container ${name} is a task of service ${service}: what follows when it ends is for docker service update --restart-condition`,
  );
}

async function rename(parts: Parts, container: Container, text: string): Promise<void> {
  const name = text.replace(/^\//, "");
  if (name === "") throw invalid("New name cannot be empty");
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name))
    throw invalid(`Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  if (name === container.name) throw invalid("Renaming a container with the same name as its current name");
  await parts.store.update((tx) => {
    const holder = tx.get("names", `container|${name}`);
    if (holder !== undefined)
      throw conflict(
        `Conflict. The container name "/${name}" is already in use by container "${holder.id}". You have to remove (or rename) that container to be able to reuse that name.`,
      );
    tx.delete("names", `container|${container.name}`);
    tx.insert("names", { kind: "container", name, id: container.id });
    tx.put("containers", { ...(tx.get("containers", container.id) ?? container), name });
    for (const endpoint of tx.where("endpoints", "container", container.id).filter(({ isWayOut }) => !isWayOut))
      tx.put("endpoints", {
        ...endpoint,
        containerName: name,
        names: endpoint.names.map((n) => (n === container.name ? name : n)),
      });
  });
  publishContainer(parts, { ...container, name }, "rename", { oldName: `/${container.name}` });
  // It has its name: that the cluster hears of it later is no failure of the call.
  await parts.overlays
    .renew(container.id)
    .catch((err: unknown) =>
      parts.log.warn({ err, container: container.id }, "the cluster has not heard of a new name"),
    );
}
