import { plainContainer } from "../model/container-testing.ts";
import type { Backend, FileContent, FileReference, Task, TaskTemplate, VirtualService } from "../model/service.ts";
import { newSwarmId } from "./identity/names.ts";

export const plainTemplate: TaskTemplate = {
  container: plainContainer,
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

/** A task as the scheduler leaves it on a node. */
export const newTask = (wish: Partial<Task> = {}, template: Partial<TaskTemplate> = {}): Task => ({
  id: newSwarmId(),
  version: 1,
  createdAt: 0,
  updatedAt: 0,
  serviceId: "s",
  serviceName: "web",
  slot: 1,
  template: { ...plainTemplate, ...template },
  templateVersion: 1,
  hostPorts: [],
  isOnIngress: false,
  desired: "running",
  status: { state: "assigned", at: 0, message: "", error: "" },
  attachments: [],
  ...wish,
});

export const newFile = (wish: Partial<FileContent> = {}): FileContent => {
  const id = newSwarmId();
  return { ...{ id, name: id, version: 1, createdAt: 0, updatedAt: 0, labels: {}, data: "c2VjcmV0" }, ...wish };
};
export const fileReference = ({ id, name }: FileContent, wish: Partial<FileReference> = {}): FileReference => ({
  ...{ id, name, target: name, uid: 0, gid: 0, mode: 0o444 },
  ...wish,
});

export const newVirtualService = (networkId: string, serviceId = newSwarmId()): VirtualService => ({
  ...{ serviceId, networkId, name: serviceId, aliases: [], addresses: [], ports: [] },
  ...{ balance: { by: "rr", local: false }, keepsClient: true },
});
export const newBackend = (networkId: string, { id, serviceId, nodeId = "" }: Task): Backend => ({
  ...{ taskId: id, serviceId, networkId, nodeId, name: id, addresses: [] },
});
