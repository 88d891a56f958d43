import type { EngineEvent, Filters } from "../../engine/engine.ts";
import { checkFilters } from "../../engine/filters.ts";
import { invalid } from "../../lib/errors.ts";
import { type Call, type Reply, stream } from "../call.ts";
import { readFilters, readTime } from "../query.ts";

const known = "config container daemon event image label network node plugin scope secret service type volume".split(
  " ",
);

/** `GET /events`: past ones from `since`, then as they come until `until` or the client leaves. */
export function streamEvents({ engine, query, signal }: Call): Reply {
  const filters: Filters = readFilters(query);
  checkFilters(filters, known);
  const since = readTime(query, "since");
  const until = readTime(query, "until");
  if (since !== undefined && until !== undefined && since > until)
    throw invalid(`\`since\` time (${query.get("since")}) cannot be after \`until\` time (${query.get("until")})`);
  const events = engine.events.subscribe(
    { ...(since !== undefined && { since }), ...(until !== undefined && { until }), filters },
    signal,
  );
  return stream("application/json", lines(events));
}

async function* lines(events: AsyncIterable<EngineEvent>): AsyncIterable<string> {
  for await (const event of events) yield eventLine(event);
}

/** One event as JSON; `timeNano` is beyond what a number of JavaScript holds, so it is written in by hand. */
export function eventLine(event: EngineEvent): string {
  const { type, action, id, attributes, scope, timeNano } = event;
  const value = {
    ...(type === "container" && { status: action, id, from: attributes.image ?? "" }),
    ...(type === "image" && { status: action, id }),
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope,
    time: Number(timeNano / 1_000_000_000n),
  };
  return `${JSON.stringify(value).slice(0, -1)},"timeNano":${timeNano}}\n`;
}
