import type { ReadTaskLog } from "../cluster/calls/task-logs.ts";
import { notFound } from "../lib/errors.ts";
import { hasEnded } from "../model/service.ts";
import type { Parts } from "./parts.ts";

/**
 * What a task of this host has said. The container of one that has ended may be gone, and its log with it.
 * @throws {EngineError} not-found for what is no task of this host
 */
export const taskLogReader =
  ({ store, runtime }: Pick<Parts, "store" | "runtime">): ReadTaskLog =>
  async (id, options, signal) => {
    const rows = store.snapshot();
    const task = rows.get("tasks", id);
    const [container] = task === undefined ? [] : rows.where("containers", "task", id);
    if (container !== undefined) return runtime.processes.logs(container, { ...options, until: 0 }, signal);
    if (task !== undefined && hasEnded(task.status.state)) return nothing();
    throw notFound("it has no container on its node");
  };

async function* nothing(): AsyncIterable<never> {}
