import { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import { type Cluster, dismissed } from "../../model/cluster.ts";
import { tableNames, type Row } from "../../store/rows.ts";
import type { Snapshot } from "../../store/store.ts";
import type { TableName, Tables } from "../../store/tables.ts";

const form = "tombolo-swarm-1";

/** All rows of a cluster, as JSON. The keys of its CA are in it. */
export interface Backup {
  readonly form: typeof form;
  /** When, ISO 8601. */
  readonly at: string;
  readonly rows: { readonly [T in TableName]?: readonly Tables[T][] };
}

/** What `readBackup` reads. @param now milliseconds since 1970 */
export function backupOf(rows: Snapshot, now: number): Backup {
  const tables = tableNames.map((table) => [table, rows.list(table)] as const).filter(([, list]) => list.length > 0);
  return { form, at: new Date(now).toISOString(), rows: Object.fromEntries(tables) };
}

const backupForm = z.object({
  form: z.literal(form),
  at: z.string(),
  rows: z.record(z.string(), z.array(z.looseObject({}))),
});

/** @throws {EngineError} invalid for what is no backup, or one of a newer version; its content is not in the message */
export function readBackup(value: unknown): Backup {
  const read = backupForm.safeParse(value);
  if (!read.success) throw invalid("this is not a backup of a swarm, or one of a newer version");
  const { rows } = read.data;
  const unknown = Object.keys(rows).find((table) => !(tableNames as string[]).includes(table));
  if (unknown !== undefined) throw invalid(`the backup has a table that this version does not know: ${unknown}`);
  const backup = read.data as unknown as Backup;
  const [cluster, ...more] = backup.rows.clusters ?? [];
  if (cluster?.authority?.root === undefined || cluster.etcdAuthority === undefined || more.length > 0)
    throw invalid("the backup is damaged: it has no cluster");
  return backup;
}

/** What a cluster begins with: its own row, and what else it has. */
export interface Seed {
  readonly cluster: Cluster;
  readonly rows: readonly (readonly [TableName, Row])[];
}

/**
 * The rows with which a cluster is begun anew on another host: its former managers are workers, and down until they are
 * heard of; who has a certificate of its CA is still a node.
 */
export function seedOf({ rows }: Backup): Seed {
  const [cluster] = rows.clusters as readonly [Cluster];
  const others = tableNames
    .filter((table) => table !== "clusters" && table !== "nodes")
    .flatMap((table) => (rows[table] ?? []).map((row) => [table, row as Row] as const));
  const nodes = (rows.nodes ?? []).map((node) => ["nodes", dismissed(node, begunAnew)] as const);
  return { cluster, rows: [...others, ...nodes] };
}

/** What is said of nodes without which a cluster was begun. */
export const begunAnew = "begun anew without it";
