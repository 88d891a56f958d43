import { fillIn, parseTemplate, type Words } from "../lib/text-template.ts";
import type { NodeDescription } from "./cluster.ts";
import { shownSlot, type Task, taskName } from "./service.ts";

/** What words in `{{ }}` of a task's env, hostname, mounts, secrets and configs stand for (moby/swarmkit template/context.go). */
export const taskWords = (task: Task, node: Pick<NodeDescription, "hostname" | "platform">): Words => ({
  Service: { ID: task.serviceId, Name: task.serviceName, Labels: task.template.serviceLabels },
  Node: {
    ID: task.nodeId ?? "",
    Hostname: node.hostname,
    Platform: { OS: node.platform.os, Architecture: node.platform.architecture },
  },
  Task: { ID: task.id, Name: taskName(task), Slot: task.slot === 0 ? (task.nodeId ?? "") : String(shownSlot(task)) },
});

/** The same where nothing but the service is known: what these fill in, a task's fill in. */
export const serviceWords = (name: string, labels: Readonly<Record<string, string>>): Words => ({
  Service: { ID: "service", Name: name, Labels: labels },
  Node: { ID: "node", Hostname: "host", Platform: { OS: "linux", Architecture: "x86_64" } },
  Task: { ID: "task", Name: `${name}.1.task`, Slot: "1" },
});

/** @throws {EngineError} invalid, for a word that there is not */
export const filledIn = (text: string, words: Words): string =>
  text.includes("{{") ? fillIn(parseTemplate(text), words) : text;
