import { invalid, notFound, system } from "../lib/errors.ts";
import { type Task, taskName, taskStates } from "../model/service.ts";
import type { Snapshot } from "../store/store.ts";
import type { Filters, TaskDetail, Tasks } from "./engine.ts";
import { checkFilters, passesFilters, passesLabels } from "./filters.ts";
import { swarmObjectNamed } from "./lookup.ts";
import { nodeNamed } from "./nodes.ts";
import type { Parts } from "./parts.ts";

const listFilters = ["_up-to-date", "desired-state", "id", "label", "name", "node", "runtime", "service"];

/** What `docker service ps` and `docker inspect` ask of tasks. */
export function createTasks({ membership }: Pick<Parts, "membership">): Tasks {
  const rows = () => membership.control().store.snapshot();
  return {
    list(filters) {
      const all = rows();
      checkFilters(filters, listFilters);
      const isMeant = tests(all, filters);
      return candidates(all, filters)
        .filter(isMeant)
        .map((task) => detail(all, task));
    },
    inspect(reference) {
      const all = rows();
      return detail(all, taskNamed(all, reference));
    },
    logs(reference, options, signal) {
      const { id, template } = taskNamed(rows(), reference);
      return { tty: template.container.tty, lines: membership.logs({ task: id }, options, signal) };
    },
  };
}

/** The rows of which the service or the node is meant, without a look at the others. */
function candidates(rows: Snapshot, filters: Filters): readonly Task[] {
  const services = (filters.get("service") ?? []).map((one) => swarmObjectNamed(rows, "services", one).id);
  if (services.length > 0) return [...new Set(services)].flatMap((id) => rows.where("tasks", "service", id));
  const nodes = (filters.get("node") ?? []).map((one) => nodeNamed(rows, one).id);
  if (nodes.length > 0) return [...new Set(nodes)].flatMap((id) => rows.where("tasks", "node", id));
  return rows.list("tasks");
}

function tests(rows: Snapshot, filters: Filters): (task: Task) => boolean {
  const nodes = (filters.get("node") ?? []).map((one) => nodeNamed(rows, one).id);
  for (const state of filters.get("desired-state") ?? [])
    if (!taskStates.some((known) => known === state.toLowerCase()))
      throw system(`Invalid desired-state filter: '${state}'`);
  return (task) =>
    passesLabels(filters, task.template.serviceLabels) &&
    passesFilters(filters, {
      id: (value) => task.id.startsWith(value),
      name: (value) => taskName(task).startsWith(value),
      node: () => nodes.includes(task.nodeId ?? ""),
      runtime: (value) => value === "container" || value === "",
      "desired-state": (value) => task.desired === value.toLowerCase(),
      "_up-to-date": () => isUpToDate(rows, task),
    });
}

/** True for the tasks that the service's spec of now asks for: clients follow an update by them. */
function isUpToDate(rows: Snapshot, task: Task): boolean {
  const service = rows.get("services", task.serviceId);
  if (service === undefined) return false;
  return service.job === undefined
    ? task.templateVersion === service.templateVersion
    : task.jobIteration === service.job.iteration;
}

/** By id, name, or the beginning of an id (moby daemon/cluster/helpers.go, getTask). @throws {EngineError} not-found; invalid when ambiguous */
function taskNamed(rows: Snapshot, reference: string): Task {
  const exact = rows.get("tasks", reference);
  if (exact !== undefined) return exact;
  const all = rows.list("tasks");
  const named = all.filter((task) => taskName(task) === reference);
  const found = named.length > 0 ? named : all.filter(({ id }) => reference !== "" && id.startsWith(reference));
  const [first] = found;
  if (first === undefined) throw notFound(`task ${reference} not found`);
  if (found.length > 1) throw invalid(`task ${reference} is ambiguous (${found.length} matches found)`);
  return first;
}

const detail = (rows: Snapshot, task: Task): TaskDetail => ({
  task,
  attachments: task.attachments.flatMap(({ network: id, addresses }) => {
    const network = rows.get("networks", id);
    return network === undefined ? [] : { network, pools: rows.where("pools", "network", id), addresses };
  }),
});
