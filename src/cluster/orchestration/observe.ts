import { isDeepStrictEqual } from "node:util";
import { forbidden } from "../../lib/errors.ts";
import { type NodeId, observed } from "../../model/cluster.ts";
import {
  type Backend,
  compareStates,
  hasEnded,
  type Task,
  type TaskId,
  taskName,
  type TaskStatus,
} from "../../model/service.ts";
import type { Snapshot, Transaction } from "../../store/store.ts";
import { keys } from "../../store/tables.ts";
import { backendKeys } from "./edits.ts";
import { isLive, isPlaced } from "./tasks.ts";

/** What a node says of one of its tasks. */
export interface TaskReport {
  /** `at` is the node's clock: it is not used. */
  readonly status: TaskStatus;
  readonly attachments: Task["attachments"];
}

/** One of a node's tasks. @returns undefined when there is none (any more) @throws {EngineError} forbidden when it is another node's */
export function taskOf(rows: Snapshot, node: NodeId, id: TaskId): Task | undefined {
  const task = rows.get("tasks", id);
  if (task !== undefined && task.nodeId !== node) throw forbidden(`task ${id} is not node ${node}'s`);
  return task;
}

/**
 * Writes what a node has observed of a task, and whether the task takes connections. What comes late, of a state that is over,
 * changes nothing.
 * @param now milliseconds since 1970 by the manager's clock
 * @throws {EngineError} as `taskOf`
 */
export function observe(tx: Transaction, node: NodeId, id: TaskId, report: TaskReport, now: number): void {
  const task = taskOf(tx, node, id);
  if (task === undefined) return;
  const isLate = compareStates(report.status.state, task.status.state) < 0;
  if (!isPlaced(task) || isLate || hasEnded(task.status.state)) return;
  const isSame = report.status.state === task.status.state;
  const seen: Task = {
    ...task,
    status: { ...report.status, at: isSame ? task.status.at : now },
    attachments: report.attachments.map((one) => claimed(tx, node, one)),
    ...(report.status.state === "running" && { runningSince: task.runningSince ?? now }),
  };
  if (!isDeepStrictEqual(seen, task)) tx.put("tasks", observed(seen, {}, now));
  settleBackends(tx, task, seen);
}

/** The addresses that the node has claimed: nobody is sent anywhere else. */
function claimed(rows: Snapshot, node: NodeId, { network, addresses }: Task["attachments"][number]) {
  const pools = rows.get("networks", network)?.pools ?? [];
  const isOwn = (address: string) =>
    pools.some((pool) => {
      const owner = rows.get("claims", `${pool}|${address}`)?.owner;
      const peer = owner === undefined ? undefined : rows.get("peers", owner);
      return peer?.nodeId === node && peer.networkId === network;
    });
  return { network, addresses: addresses.filter(({ address }) => isOwn(address)) };
}

/** A task takes connections on its networks while it runs and is to go on. */
function settleBackends(tx: Transaction, before: Task, task: Task): void {
  const takes = task.status.state === "running" && isLive(task);
  const wanted = new Map(takes ? backendsOf(task).map((row) => [keys.backends(row), row]) : []);
  for (const key of [...backendKeys(before), ...backendKeys(task)]) if (!wanted.has(key)) tx.delete("backends", key);
  for (const [key, row] of wanted) if (!isDeepStrictEqual(tx.get("backends", key), row)) tx.put("backends", row);
}

const backendsOf = (task: Task): Backend[] =>
  task.attachments.flatMap(({ network: networkId, addresses }) =>
    addresses.length === 0
      ? []
      : {
          taskId: task.id,
          serviceId: task.serviceId,
          networkId,
          nodeId: task.nodeId ?? "",
          name: taskName(task),
          addresses: addresses.map(({ address }) => address),
        },
  );
