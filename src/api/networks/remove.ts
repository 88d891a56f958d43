import { type Call, empty, json, type Reply } from "../call.ts";
import { param, readFilters } from "../query.ts";

/** `DELETE /networks/{id}` */
export async function removeNetwork(call: Call): Promise<Reply> {
  await call.engine.networks.remove(param(call, "id"));
  return empty();
}

/** `POST /networks/prune` */
export async function pruneNetworks({ engine, query }: Call): Promise<Reply> {
  const names = await engine.networks.prune(readFilters(query));
  return json({ NetworksDeleted: names.length > 0 ? names : null });
}
