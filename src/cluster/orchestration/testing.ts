import type { ClusterNode } from "../../model/cluster.ts";
import type { Service, ServiceSpec, Task, UpdatePolicy } from "../../model/service.ts";
import { newTask as plainTask, plainTemplate } from "../task-testing.ts";
import { newNode } from "../testing.ts";

export const policy: UpdatePolicy = {
  parallelism: 1,
  delay: 0,
  failureAction: "pause",
  monitor: 5000,
  maxFailureRatio: 0,
  order: "stop-first",
};

export const newSpec = (wish: Partial<ServiceSpec> = {}): ServiceSpec => ({
  name: "web",
  labels: {},
  mode: { kind: "replicated", replicas: 1 },
  task: plainTemplate,
  endpoint: { mode: "vip", ports: [] },
  update: policy,
  rollback: policy,
  drain: 0,
  balance: { by: "rr", local: false },
  shown: {},
  ...wish,
});

export const newService = (wish: Partial<ServiceSpec> = {}, row: Partial<Service> = {}): Service => ({
  id: `service-${wish.name ?? "web"}`,
  version: 1,
  createdAt: 0,
  updatedAt: 0,
  spec: newSpec(wish),
  templateVersion: 1,
  virtualAddresses: [],
  ports: [],
  ...(wish.mode?.kind.endsWith("job") === true && { job: { iteration: 0, startedAt: 0 } }),
  ...row,
});

/** A task that waits for its place. */
export const newTask = (wish: Partial<Task> = {}): Task =>
  plainTask({
    id: "task",
    serviceId: "service-web",
    status: { state: "pending", at: 0, message: "", error: "" },
    ...wish,
  });

/** A node that is at work. */
export const readyNode = (id: string, wish: Partial<ClusterNode> = {}): ClusterNode =>
  newNode({ id, hostname: id, status: { state: "ready", message: "", address: "192.0.2.9", holder: "m1" }, ...wish });

/** Numbers from 0 to 1 that are the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}
