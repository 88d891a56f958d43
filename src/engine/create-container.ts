import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { conflict, EngineError, invalid } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import type { Container, ContainerSpec, HealthCheck, Mount } from "../model/container.ts";
import type { Image, ImageHealthCheck } from "../runtime/runtime.ts";
import type { ContainerRequest } from "./engine.ts";
import { checkAliases, checkAttachment } from "./attachments.ts";
import { networkNamed } from "./lookup.ts";
import type { Parts } from "./parts.ts";
import { refreshFiles, removeFiles } from "./sandbox-files.ts";
import { makingVolumes, volumePath } from "./volumes.ts";

export const zeroTime = "0001-01-01T00:00:00Z";
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * Makes a container that does not run yet: its writable layer, its files, its new volumes and its row.
 * @throws {EngineError} with Docker's texts; nothing is left behind
 */
export async function createContainer(
  parts: Parts,
  request: ContainerRequest,
): Promise<{ id: string; warnings: string[] }> {
  if (request.name !== "" && !namePattern.test(request.name))
    throw invalid(`Invalid container name (${request.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  const image = await parts.runtime.images.find(request.spec.image, request.platform);
  const container = newContainer(request, image);
  checkName(parts, container.name);
  checkNetworks(parts, container);
  const volumes = container.spec.mounts.filter(({ type }) => type === "volume").map(({ source }) => source);
  await makingVolumes(parts, volumes, () => make(parts, container));
  failpoint("container.create.after-store");
  publishContainer(parts, container, "create");
  parts.addresses.expect(container);
  return { id: container.id, warnings: portWarnings(parts, container) };
}

async function make(parts: Parts, container: Container): Promise<void> {
  const made = await makeVolumes(parts, container);
  failpoint("container.create.before-runtime");
  try {
    await parts.runtime.processes.create(container);
    failpoint("container.create.after-runtime");
    for (const mount of made.filter((m) => m.copy)) {
      await parts.runtime.processes.populate(container.id, mount.target, volumePath(parts, mount.source));
    }
    await parts.store.update((tx) => {
      checkNameFree(container.name, tx.get("names", `container|${container.name}`)?.id);
      tx.insert("names", { kind: "container", name: container.name, id: container.id });
      tx.insert("containers", container);
      for (const mount of made) {
        if (tx.get("volumes", mount.source) !== undefined) continue;
        const anonymous = /^[0-9a-f]{64}$/.test(mount.source);
        tx.insert("volumes", {
          name: mount.source,
          labels: {},
          options: {},
          anonymous,
          createdAt: container.createdAt,
        });
      }
    });
    await refreshFiles(parts, container.id);
  } catch (error) {
    await parts.runtime.processes.remove(container.id);
    await removeFiles(parts, container.id);
    throw error;
  }
}

/** On the host's own network and on a LAN a container has all its ports anyway: what `-p` says changes nothing. */
function portWarnings(parts: Parts, { spec, attachments }: Container): string[] {
  const rows = parts.store.snapshot();
  if (spec.ports.length === 0 && !spec.publishAll) return [];
  if (spec.networkMode === "host") return ["Published ports are discarded when using host network mode"];
  return attachments.flatMap(({ network }) => {
    const row = rows.list("networks").find((n) => n.id === network || n.spec.name === network);
    if (row === undefined || parts.drivers.get(row.spec.driver)?.lan === undefined) return [];
    return [
      `published ports have no effect on network ${row.spec.name}: its containers are reached at their own addresses`,
    ];
  });
}

/** Tells `docker events` what happened to a container. */
export function publishContainer(
  parts: Parts,
  container: Container,
  action: string,
  more: Record<string, string> = {},
): void {
  const attributes = { image: container.spec.image, name: container.name, ...container.spec.labels, ...more };
  parts.bus.publish({ type: "container", action, id: container.id, attributes });
}

function newContainer(request: ContainerRequest, image: Image): Container {
  const id = randomBytes(32).toString("hex");
  const spec = merge(request.spec, image, id);
  if (spec.entrypoint.length === 0 && spec.cmd.length === 0) throw invalid("no command specified");
  return {
    id,
    name: request.name === "" ? newName() : request.name,
    createdAt: new Date().toISOString(),
    spec,
    attachments: request.attachments,
    shown: request.shown,
    ...(request.taskId !== undefined && { taskId: request.taskId }),
    state: {
      status: "created",
      pid: 0,
      exitCode: 0,
      error: "",
      oomKilled: false,
      startedAt: zeroTime,
      finishedAt: zeroTime,
      restartCount: 0,
      stoppedByUser: false,
    },
  };
}

const adjectives = ["calm", "sandy", "salty", "windy", "sunny", "tidal", "quiet", "bright"];
const sailors = ["gull", "crab", "tern", "seal", "kelp", "dune", "reef", "cove"];
/** A name for what has none: `calm_gull_3f2a`. */
export const newName = () => `${pick(adjectives)}_${pick(sailors)}_${randomBytes(2).toString("hex")}`;
const pick = (words: readonly string[]) => words[randomBytes(1).readUInt8() % words.length] ?? "";

/** What the image says where the request is silent (moby image/merge: entrypoint and command belong together). */
function merge(spec: ContainerSpec, image: Image, id: string): ContainerSpec {
  const { config } = image;
  const named = new Set(spec.env.map((e) => e.split("=", 1)[0]));
  const cleared = spec.entrypoint.length === 1 && spec.entrypoint[0] === "";
  const own = spec.entrypoint.length > 0;
  const exposed = Object.keys(config.ExposedPorts ?? {}).map((text) => {
    const [port, protocol = "tcp"] = text.split("/");
    return { port: Number(port), protocol: protocol as "tcp" | "udp" | "sctp" };
  });
  const more = exposed.filter((e) => !spec.exposed.some((s) => s.port === e.port && s.protocol === e.protocol));
  return {
    ...spec,
    imageId: image.id,
    hostname: spec.hostname === "" && !spec.networkMode.startsWith("container:") ? id.slice(0, 12) : spec.hostname,
    user: spec.user || (config.User ?? ""),
    workingDir: spec.workingDir || (config.WorkingDir ?? ""),
    env: [
      ...(config.Env ?? []).filter((e) => !named.has(e.split("=", 1)[0])),
      ...spec.env.filter((e) => e.includes("=")),
    ],
    entrypoint: cleared ? [] : own ? spec.entrypoint : (config.Entrypoint ?? []),
    cmd: spec.cmd.length > 0 || own ? spec.cmd : (config.Cmd ?? []),
    labels: { ...config.Labels, ...spec.labels },
    stopSignal: spec.stopSignal || (config.StopSignal ?? ""),
    exposed: [...spec.exposed, ...more],
    ...mergeHealthCheck(spec.healthCheck, config.Healthcheck),
    mounts: namedVolumes(spec.mounts, config.Volumes),
  };
}

/** The image says what the request leaves open, one word after the other. */
function mergeHealthCheck(
  own: HealthCheck | undefined,
  image: ImageHealthCheck | undefined,
): Pick<ContainerSpec, "healthCheck"> {
  if (image === undefined) return {};
  const milliseconds = (nanoseconds = 0) => nanoseconds / 1e6;
  return {
    healthCheck: {
      test: own !== undefined && own.test.length > 0 ? own.test : (image.Test ?? []),
      interval: own?.interval || milliseconds(image.Interval),
      timeout: own?.timeout || milliseconds(image.Timeout),
      startPeriod: own?.startPeriod || milliseconds(image.StartPeriod),
      startInterval: own?.startInterval || milliseconds(image.StartInterval),
      retries: own?.retries || (image.Retries ?? 0),
    },
  };
}

/** Gives anonymous volumes their names: those of the request and the `VOLUME`s of the image. */
function namedVolumes(mounts: readonly Mount[], volumes: Readonly<Record<string, object>> = {}): Mount[] {
  const name = () => randomBytes(32).toString("hex");
  const missing = Object.keys(volumes).filter((target) => !mounts.some((m) => m.target === target));
  return [
    ...mounts.map((m) => (m.type === "volume" && m.source === "" ? { ...m, source: name() } : m)),
    ...missing.map(
      (target): Mount => ({
        type: "volume",
        source: name(),
        target,
        readOnly: false,
        propagation: "",
        options: "",
        copy: true,
      }),
    ),
  ];
}

function checkName(parts: Parts, name: string): void {
  checkNameFree(name, parts.store.snapshot().get("names", `container|${name}`)?.id);
}
function checkNameFree(name: string, holder: string | undefined): void {
  if (holder !== undefined)
    throw conflict(
      `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
}

/** Networks may be made later, until the first start: what must be known of them is checked where they exist. */
function checkNetworks(parts: Parts, container: Container): void {
  const rows = parts.store.snapshot();
  for (const attachment of container.attachments) {
    const known = rows.get("names", `network|${attachment.network}`) ?? rows.get("networks", attachment.network);
    try {
      if (known !== undefined) checkAttachment(rows, networkNamed(rows, known.id), attachment);
      checkAliases(attachment.aliases, container.name);
    } catch (error) {
      const text = `invalid config for network ${attachment.network}: ${(error as Error).message}`;
      throw error instanceof EngineError ? new EngineError(error.class, text) : error;
    }
  }
}

/** @returns the volumes that did not exist; their directories are empty */
async function makeVolumes(parts: Parts, container: Container): Promise<Mount[]> {
  const rows = parts.store.snapshot();
  const made = container.spec.mounts.filter((m) => m.type === "volume" && rows.get("volumes", m.source) === undefined);
  for (const mount of made) await mkdir(volumePath(parts, mount.source), { recursive: true });
  return made;
}
