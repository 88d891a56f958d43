import type { ContainerRequest } from "../../engine/engine.ts";
import { notFound } from "../../lib/errors.ts";
import { type SomeEngine, serve } from "../testing.ts";

export const otherId = "f".repeat(64);
const volumeMount = {
  type: "volume",
  source: "v",
  target: "/other",
  readOnly: false,
  propagation: "",
  options: "",
  copy: true,
};
const bindMount = { ...volumeMount, type: "bind", source: "/src", target: "/data" };
const tmpMount = { ...volumeMount, type: "tmpfs", source: "", target: "/tmp" };

/** Creates a container over HTTP; @returns the answer and what the engine was asked for */
export async function created(body: object, target = "/containers/create") {
  const requests: ContainerRequest[] = [];
  const volumes: unknown[] = [];
  const engine: SomeEngine = {
    containers: {
      create: async (request) => {
        requests.push(request);
        return { id: "c0ffee", warnings: ["from the engine"] };
      },
      inspect: async (name) => {
        if (name !== "other") throw notFound(`No such container: ${name}`);
        return { container: { id: otherId, spec: { mounts: [volumeMount, bindMount, tmpMount] } } } as never;
      },
    },
    volumes: { create: async (request) => volumes.push(request) as never },
  };
  await using server = await serve(engine);
  const { status, json } = await server.ask("POST", target, { body });
  const [request] = requests;
  return { status, json, message: json?.message as string, request, spec: request?.spec, volumes };
}
export const withHost = (HostConfig: object, more: object = {}) => created({ Image: "busybox", HostConfig, ...more });

export const plainAttachment = { linkLocal: [], aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };
