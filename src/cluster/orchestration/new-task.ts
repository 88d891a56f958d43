import type { Task } from "../../model/service.ts";
import type { Case } from "./draft.ts";

/**
 * Makes a task of the service's present template. It is to be ready at first; when the slot is free it is told to run.
 * @param place slot, and of global services the node
 */
export function startTask(
  { draft, service, now, newId }: Case,
  { slot, nodeId }: Pick<Task, "slot" | "nodeId">,
  more: Pick<Task, "startAfter" | "isReplacement"> = {},
): void {
  const { spec, ports } = service;
  draft.create({
    id: newId(),
    version: 1,
    createdAt: Math.max(now, draft.status?.startedAt ?? 0), // clocks of two leaders may differ
    updatedAt: now,
    serviceId: service.id,
    serviceName: spec.name,
    slot,
    ...(slot === 0 && nodeId !== undefined && { nodeId }),
    template: spec.task,
    templateVersion: service.templateVersion,
    hostPorts: ports.filter(({ mode }) => mode === "host"),
    isOnIngress: ports.some(({ mode }) => mode === "ingress"),
    desired: "ready",
    status: { state: "pending", at: now, message: "pending task scheduling", error: "" },
    attachments: [],
    ...(service.job !== undefined && { jobIteration: service.job.iteration }),
    ...more,
  });
}
