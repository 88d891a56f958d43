import { invalid } from "../../lib/errors.ts";
import { type Call, empty, json, type Reply } from "../call.ts";
import { flag, param, readFilters, whole } from "../query.ts";

/** `POST /containers/{name}/start`. A body was a HostConfig until API 1.23. */
export async function startContainer(call: Call): Promise<Reply> {
  const { containers } = call.engine;
  const name = param(call, "name");
  const size = Number(call.request.headers["content-length"] ?? 0);
  if (size > 7)
    throw invalid("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
  await containers.start(name);
  const { container } = await containers.inspect(name).catch(() => ({ container: undefined })); // `--rm`: gone already
  const [height, width] = (container?.shown.hostConfig.ConsoleSize ?? []) as readonly number[];
  if (container?.spec.tty && height && width) await containers.resize(name, width, height).catch(() => undefined);
  return empty();
}

function stopOptions({ query }: Call): { timeout?: number; signal?: string } {
  const timeout = whole(query, "t");
  const signal = query.get("signal") ?? "";
  return { ...(timeout !== undefined && { timeout }), ...(signal && { signal }) };
}

/** `POST /containers/{name}/stop` */
export async function stopContainer(call: Call): Promise<Reply> {
  await call.engine.containers.stop(param(call, "name"), stopOptions(call));
  return empty();
}

/** `POST /containers/{name}/restart` */
export async function restartContainer(call: Call): Promise<Reply> {
  await call.engine.containers.restart(param(call, "name"), stopOptions(call));
  return empty();
}

/** `POST /containers/{name}/kill` */
export async function killContainer(call: Call): Promise<Reply> {
  await call.engine.containers.kill(param(call, "name"), call.query.get("signal") ?? "");
  return empty();
}

/** `POST /containers/{name}/pause` */
export async function pauseContainer(call: Call): Promise<Reply> {
  await call.engine.containers.pause(param(call, "name"));
  return empty();
}

/** `POST /containers/{name}/unpause` */
export async function unpauseContainer(call: Call): Promise<Reply> {
  await call.engine.containers.unpause(param(call, "name"));
  return empty();
}

/** `POST /containers/{name}/rename` */
export async function renameContainer(call: Call): Promise<Reply> {
  await call.engine.containers.rename(param(call, "name"), call.query.get("name") ?? "");
  return empty();
}

/** `POST /containers/{name}/resize` */
export async function resizeContainer(call: Call): Promise<Reply> {
  const { query } = call;
  await call.engine.containers.resize(param(call, "name"), whole(query, "w") ?? 0, whole(query, "h") ?? 0);
  return empty(200);
}

/** `DELETE /containers/{name}` */
export async function removeContainer(call: Call): Promise<Reply> {
  const { query } = call;
  await call.engine.containers.remove(param(call, "name"), {
    force: flag(query, "force"),
    volumes: flag(query, "v"),
    link: flag(query, "link"),
  });
  return empty();
}

/** `POST /containers/prune` */
export async function pruneContainers({ engine, query }: Call): Promise<Reply> {
  const { ids, freed } = await engine.containers.prune(readFilters(query));
  return json({ ContainersDeleted: ids.length > 0 ? ids : null, SpaceReclaimed: freed });
}
