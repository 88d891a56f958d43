import type { ClusterNode } from "../../model/cluster.ts";
import type { Service, ServiceSpec, Task, TaskTemplate, UpdatePolicy } from "../../model/service.ts";
import { newNode } from "../testing.ts";

const container: TaskTemplate["container"] = {
  ...{ image: "web", imageId: "", hostname: "", domainname: "", user: "", env: [], entrypoint: [], cmd: [] },
  ...{ workingDir: "", labels: {}, tty: false, openStdin: false, stdinOnce: false, stopSignal: "", privileged: false },
  ...{ capAdd: [], capDrop: [], securityOptions: [], readOnlyRoot: false, init: false, mounts: [], memory: 0 },
  ...{ memorySwap: 0, nanoCpus: 0, cpuShares: 0, pidsLimit: 0, shmSize: 0, ulimits: [], sysctls: {}, extraHosts: [] },
  ...{ dns: [], dnsSearch: [], dnsOptions: [], groupAdd: [], oomScoreAdj: 0, autoRemove: false, networkMode: "none" },
  ...{
    restart: { name: "no", maximumRetryCount: 0 },
    ports: [],
    publishAll: false,
    exposed: [],
    pidMode: "",
    ipcMode: "",
  },
};

/** What `docker service create` without flags sends. */
export const template: TaskTemplate = {
  container,
  shown: { config: {}, hostConfig: {}, task: {} },
  volumes: [],
  serviceLabels: {},
  networks: [],
  secrets: [],
  configs: [],
  placement: { constraints: [], spread: [], maxPerNode: 0, platforms: [] },
  restart: { condition: "any", delay: 5000, maxAttempts: 0, window: 0 },
  reservations: { nanoCpus: 0, memory: 0 },
  forceUpdate: 0,
};
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
  task: template,
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

export const newTask = (wish: Partial<Task> = {}): Task => ({
  id: "task",
  version: 1,
  createdAt: 0,
  updatedAt: 0,
  serviceId: "service-web",
  serviceName: "web",
  slot: 1,
  template,
  templateVersion: 1,
  hostPorts: [],
  isOnIngress: false,
  desired: "running",
  status: { state: "pending", at: 0, message: "", error: "" },
  attachments: [],
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
