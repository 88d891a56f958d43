import { invalid } from "../../lib/errors.ts";
import { type Call, json, type Reply } from "../call.ts";
import { param } from "../query.ts";
import { columns, readProcess } from "./process-table.ts";

const full = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
const aux = ["USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"];

/** `GET /containers/{name}/top`: as `ps` would print it, without running `ps`. */
export async function showTop(call: Call): Promise<Reply> {
  const titles = titlesOf(call.query.get("ps_args") ?? "");
  const pids = await call.engine.containers.pids(param(call, "name"));
  const found = await Promise.all(pids.map((pid) => readProcess(pid)));
  const rows = found
    .filter((process) => process !== undefined)
    .map((process) => titles.map((title) => columns[title]?.(process) ?? ""));
  return json({ Titles: titles, Processes: rows });
}

/** `-ef`, `aux` or `-o pid,comm`. @throws {EngineError} invalid for other arguments of ps */
function titlesOf(args: string): string[] {
  const text = args.trim().replace(/^-/, "");
  if (["", "ef", "f", "e"].includes(text)) return full;
  if (["aux", "u", "ux", "axu"].includes(text)) return aux;
  const named = /^(?:e|ax|A)?\s*-?o\s*([\w%,]+)$/.exec(text)?.[1];
  const titles = named?.split(",").map((name) => name.toUpperCase());
  if (titles?.every((title) => title in columns)) return titles;
  throw invalid(
    `ps arguments "${args}" are not supported: known are -ef, aux and -o with ${Object.keys(columns).join(",").toLowerCase()}`,
  );
}
