import { posix } from "node:path";
import { invalid, unavailable } from "../lib/errors.ts";
import { fillIn, parseTemplate, type Functions } from "../lib/text-template.ts";
import type { Container } from "../model/container.ts";
import type { FileContent, FileReference, Task } from "../model/service.ts";
import { taskWords } from "../model/task-words.ts";
import type { MemoryFile, ResolvedMount } from "../runtime/runtime.ts";
import type { Parts } from "./parts.ts";
import { nodeFacts } from "./task-container.ts";

type FileParts = Pick<Parts, "store" | "runtime" | "replica" | "host">;
type Table = "secrets" | "configs";
/** Where a name that is not absolute is meant to be. */
const places: Readonly<Record<Table, string>> = { secrets: "/run/secrets", configs: "/" };
const tables = ["secrets", "configs"] as const;

/**
 * Writes the secrets and configs of a task's container, which is about to start, into memory.
 * @throws {EngineError} unavailable while one has not come; invalid for one whose words in `{{ }}` are wrong
 */
export function writeTaskFiles(parts: FileParts, { id, taskId }: Container): void {
  const task = taskId === undefined ? undefined : parts.store.snapshot().get("tasks", taskId);
  if (taskId !== undefined && task === undefined) throw invalid(`task ${taskId} is not to run here any more`);
  const files = task === undefined ? [] : filesOf(parts, task);
  if (files.length > 0) parts.runtime.memoryFiles.write(id, files);
}

/** What is mounted of it into the container: nothing before it has begun, and when it has ended. */
export function taskFileMounts(parts: FileParts, { id, taskId }: Container): ResolvedMount[] {
  const task = taskId === undefined ? undefined : parts.store.snapshot().get("tasks", taskId);
  if (task === undefined) return [];
  const sources = parts.runtime.memoryFiles.paths(id);
  const targets = tables.flatMap((table) =>
    task.template[table].map(({ target }) => posix.resolve(places[table], target)),
  );
  return sources.flatMap((source, index) => {
    const target = targets[index];
    if (target === undefined) return [];
    return [{ type: "bind", source, target, readOnly: true, propagation: "rprivate", options: "" } as const];
  });
}

/** Which of a task's secrets and configs have not come yet, by name. */
const missingFiles = ({ replica }: Pick<Parts, "replica">, { template }: Task): string[] =>
  tables.flatMap((table) =>
    template[table].flatMap(({ id, name }) =>
      replica.file(table, id) === undefined ? `${table.slice(0, -1)} ${name}` : [],
    ),
  );

/** All of a task's files with their words filled in, secrets first. @throws {EngineError} as `writeTaskFiles` */
export function filesOf(parts: Pick<Parts, "replica" | "host">, task: Task): MemoryFile[] {
  const [missing] = missingFiles(parts, task);
  if (missing !== undefined) throw unavailable(`${missing} has not come from a manager yet`);
  return tables.flatMap((table) =>
    task.template[table].map((reference) => ({ data: dataOf(parts, task, table, reference), ...reference })),
  );
}

function dataOf(parts: Pick<Parts, "replica" | "host">, task: Task, table: Table, { id }: FileReference): Uint8Array {
  const file = parts.replica.file(table, id);
  const bytes = bytesOf(file);
  if (file?.templating !== "golang") return bytes;
  const template = parseTemplate(bytes.toString("utf8"));
  return Buffer.from(fillIn(template, taskWords(task, nodeFacts(parts)), functionsOf(parts, task)));
}

const bytesOf = (file: FileContent | undefined) => Buffer.from(file?.data ?? "", "base64");

/**
 * What the words of a secret or a config can call: other ones of the task by their targets, and its environment
 * (moby/swarmkit template/context.go).
 */
function functionsOf({ replica }: Pick<Parts, "replica">, { template }: Task): Functions {
  const content = (table: Table) => (target: unknown) => {
    const reference = template[table].find((one) => one.target === target);
    if (reference === undefined) throw invalid(`template: ${table.slice(0, -1)} target ${String(target)} not found`);
    return bytesOf(replica.file(table, reference.id)).toString("utf8");
  };
  const env = (name: unknown) =>
    template.container.env.find((entry) => entry.startsWith(`${String(name)}=`))?.slice(String(name).length + 1) ?? "";
  return { secret: content("secrets"), config: content("configs"), env };
}
