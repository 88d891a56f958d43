import type { ContainerDetail, Filters } from "../../engine/engine.ts";
import { type Call, json, type Reply } from "../call.ts";
import { flag, readFilters, whole } from "../query.ts";
import { mountsJson } from "./inspect.ts";
import { bindingsOf, networksJson } from "./network-settings.ts";
import { statusText } from "./status.ts";

/** `GET /containers/json` */
export async function listContainers({ engine, query, version }: Call): Promise<Reply> {
  const legacy = ["before", "since"].flatMap((key) => (query.get(key) ? [[key, [query.get(key) ?? ""]] as const] : []));
  const filters: Filters = new Map([...legacy, ...readFilters(query)]);
  const found = await engine.containers.list(filters, {
    all: flag(query, "all"),
    limit: Math.max(0, whole(query, "limit") ?? 0),
  });
  const now = Date.now();
  const sizes = (detail: ContainerDetail) =>
    flag(query, "size") ? { SizeRw: 0, SizeRootFs: detail.image?.size ?? 0 } : {};
  return json(found.map((detail) => ({ ...summaryJson(detail, version, now), ...sizes(detail) })));
}

/** A line of `docker ps` (fields in Docker's order). `now` in milliseconds since 1970. */
export function summaryJson(detail: ContainerDetail, version: number, now: number): object {
  const { id, name, spec, state, createdAt } = detail.container;
  const networks = Object.entries(networksJson(detail)).map(([key, settings]) => [
    key,
    version < 48 ? without(settings, "GwPriority") : settings,
  ]);
  return {
    Id: id,
    Names: [`/${name}`],
    Image: spec.image,
    ImageID: spec.imageId,
    Command: [...spec.entrypoint, ...spec.cmd].map((word) => (word.includes(" ") ? `'${word}'` : word)).join(" "),
    Created: Math.floor(Date.parse(createdAt) / 1000),
    Ports: portsJson(detail),
    Labels: spec.labels,
    State: state.status,
    Status: statusText(state, now),
    HostConfig: { NetworkMode: spec.networkMode },
    NetworkSettings: { Networks: Object.fromEntries(networks) },
    Mounts: mountsJson(detail),
  };
}

const without = (settings: object, key: string) =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => name !== key));

/** Published ports, then those that are only exposed; nothing for a container that does not run. */
function portsJson(detail: ContainerDetail): object[] {
  if (detail.sandboxKey === "") return [];
  const bindings = bindingsOf(detail);
  const published = bindings.map((b) => ({
    IP: b.hostIp,
    PrivatePort: b.containerPort,
    PublicPort: b.hostPort,
    Type: b.protocol,
  }));
  const hidden = detail.container.spec.exposed.filter(
    (e) => !bindings.some((b) => b.containerPort === e.port && b.protocol === e.protocol),
  );
  return [...published, ...hidden.map((e) => ({ PrivatePort: e.port, Type: e.protocol }))];
}
