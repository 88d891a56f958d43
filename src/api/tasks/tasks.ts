import type { TaskDetail } from "../../engine/engine.ts";
import type { Network } from "../../model/network.ts";
import { shownSlot, type Task } from "../../model/service.ts";
import { type Call, json, type Reply } from "../call.ts";
import { param, readFilters } from "../query.ts";
import type { Route } from "../router.ts";
import { streamTaskLogs } from "../services/logs.ts";
import { indexJson, portJson, timeJson } from "../services/wire.ts";
import { metaJson } from "../swarm/inspect.ts";

export const taskRoutes: readonly Route[] = [
  { method: "GET", path: "/tasks", handler: listTasks },
  { method: "GET", path: "/tasks/{id}", handler: inspectTask },
  { method: "GET", path: "/tasks/{id}/logs", handler: streamTaskLogs },
];

/** `GET /tasks` */
function listTasks({ engine, query }: Call): Reply {
  return json(engine.tasks.list(readFilters(query)).map(taskJson));
}

/** `GET /tasks/{id}` */
function inspectTask(call: Call): Reply {
  return json(taskJson(call.engine.tasks.inspect(param(call, "id"))));
}

/** A task as list and inspect show it (moby api/types/swarm/task.go; fields in Docker's order). */
export function taskJson({ task, attachments }: TaskDetail): object {
  return {
    ID: task.id,
    ...metaJson(task),
    Labels: {},
    Spec: task.template.shown.task,
    ServiceID: task.serviceId,
    ...slotJson(task),
    ...(task.nodeId !== undefined && { NodeID: task.nodeId }),
    Status: statusJson(task.status),
    DesiredState: task.desired,
    ...(attachments.length > 0 && { NetworksAttachments: attachments.map(attachmentJson) }),
    ...(task.jobIteration !== undefined && { JobIteration: indexJson(task.jobIteration) }),
    Volumes: null,
  };
}

function slotJson(task: Task): object {
  const shown = shownSlot(task);
  return shown === 0 ? {} : { Slot: shown };
}

function statusJson({ state, at, message, error, container, ports = [] }: Task["status"]): object {
  return {
    Timestamp: timeJson(at),
    State: state,
    ...(message && { Message: message }),
    ...(error && { Err: error }),
    ...(container && {
      ContainerStatus: { ContainerID: container.id, PID: container.pid, ExitCode: container.exitCode },
    }),
    PortStatus: ports.length > 0 ? { Ports: ports.map(portJson) } : {},
  };
}

/** A network in swarm's words (moby api/types/swarm/network.go). */
function attachmentJson({ network, pools, addresses }: TaskDetail["attachments"][number]): object {
  const { id, spec, createdAt, vni } = network;
  return {
    Network: {
      ID: id,
      Version: {},
      CreatedAt: createdAt,
      UpdatedAt: createdAt,
      Spec: specJson(spec),
      DriverState: {
        Name: spec.driver,
        ...(vni !== undefined && { Options: { "com.docker.network.driver.overlay.vxlanid_list": String(vni) } }),
      },
      IPAMOptions: {
        Driver: { Name: spec.ipam.driver },
        Configs: pools.map(({ subnet, range, gateway }) => ({
          Subnet: subnet,
          ...(range !== subnet && { Range: range }),
          Gateway: gateway,
        })),
      },
    },
    Addresses: addresses.map(({ address, prefix }) => `${address}/${prefix}`),
  };
}

const specJson = (spec: Network["spec"]): object => ({
  Name: spec.name,
  Labels: spec.labels,
  DriverConfiguration: {
    Name: spec.driver,
    ...(Object.keys(spec.options).length > 0 && { Options: spec.options }),
  },
  ...(spec.ipv6 && { IPv6Enabled: true }),
  ...(spec.internal && { Internal: true }),
  ...(spec.attachable && { Attachable: true }),
  ...(spec.ingress && { Ingress: true }),
  IPAMOptions: { Driver: { Name: spec.ipam.driver } },
  Scope: "swarm",
});
