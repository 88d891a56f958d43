import { newSwarmId } from "../cluster/identity/names.ts";
import { invalid, rpcError } from "../lib/errors.ts";
import { parseTemplate } from "../lib/text-template.ts";
import { revised } from "../model/cluster.ts";
import type { FileContent } from "../model/service.ts";
import { kinds } from "../store/named.ts";
import type { Snapshot } from "../store/store.ts";
import type { FileContents, Filters } from "./engine.ts";
import { checkFilters, passesFilters, passesLabels } from "./filters.ts";
import { swarmObjectNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";
import { outOfSequence } from "./swarm.ts";

type Table = "secrets" | "configs";
/** Less than so many bytes (moby/swarmkit api/validation/secrets.go, manager/controlapi/config.go). */
const most: Readonly<Record<Table, number>> = { secrets: 500 << 10, configs: 1000 << 10 };
const listFilters: Readonly<Record<Table, readonly string[]>> = {
  secrets: ["id", "label", "name", "names"],
  configs: ["id", "label", "name"],
};

/** The verbs of `docker secret` or `docker config`. */
export function createFileContents({ membership }: Pick<Parts, "membership">, table: Table): FileContents {
  const kind = kinds[table];
  return {
    async create(wish) {
      check(table, wish);
      const now = Date.now();
      const row: FileContent = { ...wish, id: newSwarmId(), version: 1, createdAt: now, updatedAt: now };
      await membership.update((tx) => {
        if (tx.get("names", `${kind}|${row.name}`) !== undefined)
          throw rpcError("AlreadyExists", `${kind} ${row.name} already exists`);
        tx.insert("names", { kind, name: row.name, id: row.id });
        tx.insert(table, row);
      });
      return row.id;
    },
    list(filters) {
      const rows = membership.control().store.snapshot();
      checkFilters(filters, listFilters[table]);
      return rows.list(table).filter((row) => passes(row, filters));
    },
    inspect: (reference) => swarmObjectNamed(membership.control().store.snapshot(), table, reference),
    update: (reference, { version, name, labels, data }) =>
      membership.update((tx) => {
        const row = swarmObjectNamed(tx, table, reference);
        if (name !== row.name || (data !== undefined && data !== row.data))
          throw rpcError("InvalidArgument", "only updates to Labels are allowed");
        if (version !== row.version) throw outOfSequence();
        tx.put(table, revised(row, { labels }, Date.now()));
      }),
    remove: (reference) =>
      membership.update((tx) => {
        const { id, name } = swarmObjectNamed(tx, table, reference);
        const users = usersOf(tx, table, id);
        if (users.length > 0)
          throw rpcError(
            "InvalidArgument",
            `${kind} '${name}' is in use by the following service${users.length === 1 ? "" : "s"}: ${users.join(", ")}`,
          );
        tx.delete("names", `${kind}|${name}`);
        tx.delete(table, id);
      }),
  };
}

/** Names of the services whose tasks get it. */
const usersOf = (rows: Snapshot, table: Table, id: string): string[] =>
  rows.list("services").flatMap(({ spec }) => (spec.task[table].some((one) => one.id === id) ? [spec.name] : []));

function check(table: Table, { name, data, templating }: Pick<FileContent, "name" | "data" | "templating">): void {
  if (name === "") throw rpcError("InvalidArgument", "name must be provided");
  if (name.length > 64 || !/^[a-zA-Z0-9](?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$/.test(name))
    throw rpcError(
      "InvalidArgument",
      "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
    );
  const bytes = Buffer.from(data, "base64");
  if (bytes.length < 1 || bytes.length >= most[table])
    throw rpcError("InvalidArgument", `${kinds[table]} data must be larger than 0 and less than ${most[table]} bytes`);
  if (templating === undefined) return;
  if (templating !== "golang") throw invalid(`Templating.Name "${templating}" is not known: golang is`);
  parseTemplate(bytes.toString("utf8"));
}

const passes = (row: FileContent, filters: Filters): boolean =>
  passesLabels(filters, row.labels) &&
  passesFilters(filters, {
    id: (value) => row.id.startsWith(value),
    name: (value) => row.name.startsWith(value),
    names: (value) => row.name === value,
  });
