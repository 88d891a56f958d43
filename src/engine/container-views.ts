import { EngineError, invalid } from "../lib/errors.ts";
import type { Container } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";
import type { Snapshot } from "../store/store.ts";
import { isRunning } from "./containers.ts";
import type { ContainerDetail, Containers, Filters } from "./engine.ts";
import { checkFilters, nameFits, passesFilters, passesLabels } from "./filters.ts";
import type { HealthReport } from "./health.ts";
import { containerNamed, networkNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";
import { pathsOf } from "./sandbox-files.ts";
import { volumePath } from "./volumes.ts";

const listFilters = [
  "ancestor",
  "before",
  "exited",
  "expose",
  "health",
  "id",
  "is-task",
  "isolation",
  "label",
  "label!",
  "name",
  "network",
  "publish",
  "since",
  "status",
  "volume",
];

/** What is known of a container beside its row. */
export interface ContainerFacts {
  execIds(id: ContainerId): readonly string[];
  health(id: ContainerId): HealthReport;
}

/** What `docker ps` and `docker inspect` show. */
export function createContainerViews(parts: Parts, facts: ContainerFacts): Pick<Containers, "list" | "inspect"> {
  const rows = () => parts.store.snapshot();
  const detail = (c: Container) => detailOf(parts, rows(), c, facts);
  return {
    async list(filters, { all, limit }) {
      checkFilters(filters, listFilters);
      const wrong = filters.get("status")?.find((v) => !statuses.includes(v));
      if (wrong !== undefined) throw invalid(`invalid filter 'status=${wrong}'`);
      checkHealth(filters.get("health") ?? []);
      const snapshot = rows();
      const wide = all || limit > 0 || filters.has("status") || filters.has("exited");
      const found = snapshot
        .list("containers")
        .filter((c) => (wide || isRunning(c)) && passes(snapshot, c, filters))
        .toSorted((a, b) => (a.createdAt > b.createdAt ? -1 : 1));
      return Promise.all((limit > 0 ? found.slice(0, limit) : found).map(detail));
    },
    inspect: async (reference) => detail(containerNamed(rows(), reference)),
  };
}

async function detailOf(
  parts: Parts,
  rows: Snapshot,
  container: Container,
  facts: ContainerFacts,
): Promise<ContainerDetail> {
  const image = await parts.runtime.images.find(container.spec.imageId).catch((error: unknown) => {
    if (error instanceof EngineError && error.class === "not-found") return undefined;
    throw error;
  });
  const endpoints = rows.where("endpoints", "container", container.id);
  const networks = container.attachments.map((attachment) => {
    const id = rows.get("names", `network|${attachment.network}`)?.id ?? attachment.network;
    const network = rows.get("networks", id);
    const endpoint = endpoints.find((e) => e.networkId === network?.id);
    return { attachment, ...(network && { network }), ...(endpoint && { endpoint }) };
  });
  const sources = container.spec.mounts.map((m) => (m.type === "volume" ? volumePath(parts, m.source) : m.source));
  const sandboxKey = rows.get("sandboxes", container.id) === undefined ? "" : parts.host.namespacePath(container.id);
  return {
    container,
    ...(image && { image }),
    networks,
    ports: endpoints.flatMap(({ ports }) => ports),
    execIds: facts.execIds(container.id),
    health: facts.health(container.id),
    paths: pathsOf(parts, container.id),
    mountSources: sources,
    sandboxKey,
  };
}

function passes(rows: Snapshot, c: Container, filters: Filters): boolean {
  const age = (reference: string) => containerNamed(rows, reference).createdAt;
  const port = (text: string) => /^(\d+)(?:-(\d+))?(?:\/(\w+))?$/.exec(text);
  return (
    passesLabels(filters, c.spec.labels) &&
    passesFilters(filters, {
      id: (v) => c.id.startsWith(v),
      name: (v) => nameFits(`/${c.name}`, v) || nameFits(c.name, v),
      status: (v) => c.state.status === v,
      exited: (v) => !isRunning(c) && c.state.status !== "created" && c.state.exitCode === Number(v),
      ancestor: (v) =>
        c.spec.image === v ||
        c.spec.imageId === v ||
        c.spec.imageId.startsWith(`sha256:${v}`) ||
        c.spec.image === `${v}:latest`,
      before: (v) => c.createdAt < age(v),
      since: (v) => c.createdAt > age(v),
      network: (v) =>
        c.attachments.some(
          (a) =>
            a.network === v ||
            rows.get("names", `network|${v}`)?.id === a.network ||
            networkNamed(rows, a.network).id.startsWith(v),
        ),
      volume: (v) => c.spec.mounts.some((m) => m.source === v || m.target === v),
      expose: (v) =>
        c.spec.exposed.some((e) => e.port === Number(port(v)?.[1]) && e.protocol === (port(v)?.[3] ?? "tcp")),
      publish: (v) =>
        c.spec.ports.some((p) => p.containerPort === Number(port(v)?.[1]) && p.protocol === (port(v)?.[3] ?? "tcp")),
      health: (v) => v === (c.state.health ?? "none"),
      "is-task": (v) => /^(1|t|true)$/i.test(v) === (c.taskId !== undefined),
    })
  );
}

const statuses: readonly string[] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const healths: readonly string[] = ["none", "starting", "healthy", "unhealthy"];

/** @throws {EngineError} invalid, with Docker's text (moby api/types/container/health.go) */
function checkHealth(values: readonly string[]): void {
  const wrong = values.find((v) => !healths.includes(v));
  if (wrong !== undefined)
    throw invalid(
      `invalid filter 'health=${wrong}': invalid value for health (${wrong}): must be one of ${healths.join(", ")}`,
    );
}
