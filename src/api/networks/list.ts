import { notFound } from "../../lib/errors.ts";
import { type Call, json, type Reply } from "../call.ts";
import { flag, param, readFilters } from "../query.ts";
import { networkJson, servicesJson } from "./wire.ts";

/** `GET /networks`; before API 1.28 each entry names its containers. */
export function listNetworks({ engine, query, version }: Call): Reply {
  return json(engine.networks.list(readFilters(query)).map((detail) => networkJson(detail, version < 28)));
}

/** `GET /networks/{id}` */
export function inspectNetwork(call: Call): Reply {
  const reference = param(call, "id");
  const detail = call.engine.networks.inspect(reference);
  const scope = call.query.get("scope") ?? "";
  const own = detail.network.scope === "cluster" ? "swarm" : "local";
  if (scope !== "" && scope !== own) {
    // So clients ask for the networks of a service.
    const why =
      scope === "swarm" ? " in the swarm: it is this host's own (docker network create -d overlay makes one)" : "";
    throw notFound(`network ${reference} not found${why}`);
  }
  const isVerbose = flag(call.query, "verbose");
  return json({ ...networkJson(detail, true), ...(isVerbose && { Services: servicesJson(detail) }) });
}
