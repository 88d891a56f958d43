import { readBody } from "../body.ts";
import { type Call, empty, json, type Reply } from "../call.ts";
import { flag, objectVersion, param, readFilters } from "../query.ts";
import { nodeJson, nodeSpecBody, readNodeSpec } from "./wire.ts";

/** `GET /nodes` */
export const listNodes = ({ engine, query }: Call): Reply =>
  json(engine.nodes.list(readFilters(query)).map((detail) => nodeJson(detail)));

/** `GET /nodes/{id}` */
export const inspectNode = (call: Call): Reply => json(nodeJson(call.engine.nodes.inspect(param(call, "id"))));

/** `POST /nodes/{id}/update` */
export async function updateNode(call: Call): Promise<Reply> {
  const body = await readBody(call.request, nodeSpecBody);
  const version = objectVersion(call.query, "node");
  await call.engine.nodes.update(param(call, "id"), { ...readNodeSpec(body), version });
  return empty(200);
}

/** `DELETE /nodes/{id}` */
export async function removeNode(call: Call): Promise<Reply> {
  await call.engine.nodes.remove(param(call, "id"), flag(call.query, "force"));
  return empty(200);
}
