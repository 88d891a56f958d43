import { isIP } from "node:net";
import { invalid } from "../../lib/errors.ts";
import type { ContainerSpec, PortWish } from "../../model/container.ts";
import type { CreateBody } from "./create-body.ts";

type Exposed = ContainerSpec["exposed"];

/**
 * What is published and what is exposed; a published port is exposed, too.
 * @throws {EngineError} invalid, with Docker's texts (docker/go-connections nat)
 */
export function readPorts(body: CreateBody): { readonly ports: PortWish[]; readonly exposed: Exposed } {
  const bindings = Object.entries(body.HostConfig?.PortBindings ?? {}).flatMap(([key, list]) =>
    readPort(key).flatMap((port) => (list ?? []).map((binding) => ({ port, binding }))),
  );
  const ports = bindings.map(({ port, binding }): PortWish => {
    const hostIp = (binding?.HostIp ?? "").replace(/^\[(.*)\]$/, "$1");
    if (hostIp !== "" && isIP(hostIp) === 0) throw invalid(`invalid IP address: ${hostIp}`);
    return {
      protocol: port.protocol,
      containerPort: port.port,
      hostIp,
      hostPort: readHostPort(binding?.HostPort ?? ""),
    };
  });
  const keys = [...Object.keys(body.ExposedPorts ?? {}), ...Object.keys(body.HostConfig?.PortBindings ?? {})];
  const exposed = new Map(keys.flatMap(readPort).map((port) => [`${port.port}/${port.protocol}`, port]));
  return { ports, exposed: [...exposed.values()] };
}

/** `80`, `80/tcp`, `8000-8010/udp`. */
function readPort(text: string): Exposed[number][] {
  const [numbers = "", protocol = "tcp", ...rest] = text.toLowerCase().split("/");
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(numbers);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || rest.length > 0 || first > last || last > 65_535)
    throw invalid(`invalid port specification: "${text}"`);
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") throw invalid(`invalid proto: ${protocol}`);
  return Array.from({ length: last - first + 1 }, (_, index) => ({ protocol, port: first + index }));
}

function readHostPort(text: string): string {
  const match = /^(?:(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(text);
  const last = Number(match?.[2] ?? match?.[1] ?? 0);
  if (match === null || Number(match[1] ?? 0) > last || last > 65_535)
    throw invalid(`invalid port specification: "${text}"`);
  return text;
}
