import type { ClusterNode } from "../../model/cluster.ts";
import { compareStates, hasEnded, type Task } from "../../model/service.ts";

/** True while the task is to run, or to run to its end. */
export const isLive = ({ desired, drainingSince }: Task) =>
  drainingSince === undefined && compareStates(desired, "complete") <= 0;

/** True when it is given up with its slot: what comes there begins anew. */
export const isGivenUp = ({ desired, drainsTo }: Task) => desired === "remove" || drainsTo === "remove";

/** True when its node may know of it. */
export const isPlaced = ({ nodeId, status }: Task) =>
  nodeId !== undefined && compareStates(status.state, "assigned") >= 0;

/** True when it still waits for a place. */
export const isWaiting = (task: Task) => isLive(task) && task.status.state === "pending";

/** True when it has ended without having been told to. */
export const hasFailed = ({ status }: Task) => ["complete", "failed", "rejected"].includes(status.state);

/** Nothing is heard of the tasks of a node that is down or has no row. */
export const isLost = (node: ClusterNode | undefined) => node === undefined || node.status.state === "down";

/** So long after a node went down its tasks are taken for ended (moby/swarmkit manager/dispatcher). */
export const orphanedAfter = 24 * 3600 * 1000; // milliseconds

/** True when the task's process may be there. */
export const mayStillRun = (task: Task, node: ClusterNode | undefined) =>
  isPlaced(task) && !hasEnded(task.status.state) && !isLost(node);

/** The one that was made last. @param tasks at least one */
export const newest = (tasks: readonly Task[]): Task =>
  tasks.reduce((last, task) => (task.createdAt > last.createdAt ? task : last));
