import { randomBytes } from "node:crypto";
import { conflict, notFound } from "../lib/errors.ts";
import type { Container } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";
import type { ExecSpec } from "../runtime/runtime.ts";
import { publishContainer } from "./create-container.ts";
import type { ExecDetail, Execs } from "./engine.ts";
import { containerNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";

const forgottenAfter = 5 * 60_000; // milliseconds that an ended exec can still be inspected (moby daemon/exec.go)

interface Entry extends ExecDetail {
  readonly started: boolean;
  /** Who has given it its id forgets it. */
  readonly isLent: boolean;
}

/** Execs, also those that the engine makes for itself. */
export interface OwnExecs extends Execs {
  /** @param id by which the engine knows one of its own; it is kept until it is forgotten */
  create(...request: [...Parameters<Execs["create"]>, id?: string]): Promise<string>;
  forget(id: string): void;
  /** Those of a container that run. */
  idsOf(id: ContainerId): string[];
}

/** The verbs of `docker exec`. They live in memory: an exec ends for its client with the daemon. */
export function createExecs(parts: Parts): OwnExecs {
  const entries = new Map<string, Entry>();
  const { processes } = parts.runtime;
  const change = (id: string, more: Partial<Entry>) => {
    const entry = entries.get(id);
    if (entry !== undefined) entries.set(id, { ...entry, ...more });
  };
  processes.onExit((event) => {
    if (event.execId !== undefined) {
      change(event.execId, { running: false, exitCode: event.exitCode });
      const container = parts.store.snapshot().get("containers", event.containerId);
      const more = { execID: event.execId, exitCode: String(event.exitCode) };
      if (container !== undefined) publishContainer(parts, container, "exec_die", more);
      if (entries.get(event.execId)?.isLent === false)
        setTimeout(() => entries.delete(event.execId ?? ""), forgottenAfter).unref();
      return;
    }
    for (const [id, { spec }] of entries) if (spec.containerId === event.containerId) change(id, { running: false });
  });
  return {
    async create(name, { detachKeys, attach, ...request }, own) {
      const container = runningNamed(parts, name);
      const id = own ?? randomBytes(32).toString("hex");
      const spec: ExecSpec = { ...request, id, containerId: container.id };
      const isLent = own !== undefined;
      entries.set(id, { spec, running: false, started: false, pid: 0, detachKeys, attach, isLent });
      publishContainer(parts, container, `exec_create: ${spec.args.join(" ")}`, { execID: id });
      return id;
    },
    async start(id, { detach, size }) {
      const entry = execNamed(entries, id);
      if (entry.started)
        throw conflict(
          entry.running ? `Error: Exec command ${id} is already running` : `Error: Exec command ${id} has already run`,
        );
      const container = runningNamed(parts, entry.spec.containerId);
      change(id, { started: true, running: true });
      try {
        const { pid, streams } = await processes.exec(container, entry.spec, detach);
        change(id, { pid });
        if (size !== undefined && entry.spec.tty) await processes.resize(container.id, size[1], size[0], id);
        publishContainer(parts, container, `exec_start: ${entry.spec.args.join(" ")}`, { execID: id });
        return streams;
      } catch (error) {
        change(id, { running: false, exitCode: /not found|no such file/i.test((error as Error).message) ? 127 : 126 });
        throw error;
      }
    },
    inspect: (id) => execNamed(entries, id),
    async resize(id, width, height) {
      const { spec, running } = execNamed(entries, id);
      if (!running) throw conflict(`exec ${id} is not running`);
      await processes.resize(spec.containerId, width, height, id);
    },
    forget: (id) => void entries.delete(id),
    idsOf: (id) => [...entries.values()].filter((e) => e.running && e.spec.containerId === id).map((e) => e.spec.id),
  };
}

function execNamed(entries: ReadonlyMap<string, Entry>, id: string): Entry {
  const entry = entries.get(id);
  if (entry === undefined) throw notFound(`No such exec instance: ${id}`);
  return entry;
}

function runningNamed(parts: Parts, name: string): Container {
  const container = containerNamed(parts.store.snapshot(), name);
  if (container.state.status === "paused")
    throw conflict(`container ${name} is paused, unpause the container before exec`);
  if (container.state.status !== "running") throw conflict(`container ${container.id} is not running`);
  return container;
}
