import { hostname } from "node:os";
import { EngineError, invalid } from "../../lib/errors.ts";
import type { Attachment } from "../../model/container.ts";
import { type EndpointSettings, readEndpointSettings } from "../networks/endpoint-settings.ts";
import type { CreateBody } from "./create-body.ts";

type Endpoints = Readonly<Record<string, EndpointSettings>>;

export interface Networking {
  readonly networkMode: string;
  readonly hostname: string;
  readonly attachments: Attachment[];
  /** What is left for the container as a whole. */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly warnings: string[];
}

const isContainer = (mode: string) => mode.startsWith("container:");
const isPrivate = (mode: string) => mode !== "host" && !isContainer(mode);
const hasNetworks = (mode: string) => isPrivate(mode) && mode !== "none";
const sysctlsKey = "com.docker.network.endpoint.sysctls";

/**
 * The networks of a container-to-be, from clients old and new.
 * @throws {EngineError} invalid, with Docker's texts (moby runconfig, api/server/router/container)
 */
export function readNetworking(body: CreateBody, version: number): Networking {
  const asked = body.HostConfig?.NetworkMode ?? "";
  const mode = asked === "" || asked === "default" ? "bridge" : asked;
  checkMode(body, mode);
  checkMac(body, mode);
  const named = readEndpoints(body, mode, version);
  const mac = withMac(body, mode, named, version);
  const sysctls = withSysctls(body.HostConfig?.Sysctls ?? {}, mode, mac.endpoints, version);
  const linked = withLinks(body.HostConfig?.Links ?? [], mode, sysctls.endpoints);
  return {
    networkMode: mode,
    hostname: (body.Hostname ?? "") || (mode === "host" ? hostname() : ""),
    attachments: attachmentsOf(linked, mode),
    sysctls: sysctls.rest,
    warnings: [...mac.warnings, ...sysctls.warnings],
  };
}

function checkMode(body: CreateBody, mode: string): void {
  const host = body.HostConfig ?? {};
  const links = host.Links ?? [];
  if (mode === "container:") throw invalid("invalid container format container:<name|id>");
  if (mode === "host" && links.length > 0)
    throw invalid(
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    );
  if (!isContainer(mode)) return;
  const conflicts: readonly (readonly [unknown, string])[] = [
    [body.Hostname, "hostname and the network mode"],
    [links.length, "container type network can't be used with links. This would result in undefined behavior"],
    [host.Dns?.length, "dns and the network mode"],
    [host.ExtraHosts?.length, "custom host-to-IP mapping and the network mode"],
    [
      host.PublishAllPorts || Object.keys(host.PortBindings ?? {}).length,
      "port publishing and the container type network mode",
    ],
    [Object.keys(body.ExposedPorts ?? {}).length, "port exposing and the container type network mode"],
  ];
  const found = conflicts.find(([given]) => given);
  if (found !== undefined) throw invalid(`conflicting options: ${found[1]}`);
}

/** Clients before API 1.44 and later ones say it in two places. */
function checkMac(body: CreateBody, mode: string): void {
  const endpoints = Object.values(body.NetworkingConfig?.EndpointsConfig ?? {});
  if (!hasNetworks(mode) && (body.MacAddress || endpoints.some((settings) => settings?.MacAddress)))
    throw invalid("conflicting options: mac-address and the network mode");
}

/** The endpoints by network name; `default` stands for the network mode. */
function readEndpoints(body: CreateBody, mode: string, version: number): Endpoints {
  const given = Object.entries(body.NetworkingConfig?.EndpointsConfig ?? {});
  const named = given
    .map(([name, settings]) => [name === "default" ? mode : name, settings ?? {}] as const)
    .filter(([name]) => hasNetworks(mode) || name !== mode);
  if (version < 44 && named.length > 1)
    throw invalid(
      `Container cannot be created with multiple network endpoints: ${named.map(([name]) => name).join(", ")}`,
    );
  if (named.length > 0 && !isPrivate(mode))
    throw invalid(
      "container sharing network namespace with another container or host cannot be connected to any other network",
    );
  if (named.length > 0 && !hasNetworks(mode))
    throw invalid("container cannot be connected to multiple networks with one of the networks in private (none) mode");
  return Object.fromEntries(named);
}

/** Changes the endpoint that belongs to the network mode (moby epConfigForNetMode). */
function change(
  endpoints: Endpoints,
  mode: string,
  version: number,
  edit: (settings: EndpointSettings) => EndpointSettings,
): Endpoints {
  const names = Object.keys(endpoints);
  const name = names.length === 1 && version < 44 ? (names[0] ?? mode) : mode;
  if (names.length > 0 && endpoints[name] === undefined)
    throw invalid("HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks");
  return { ...endpoints, [name]: edit(endpoints[name] ?? {}) };
}

/** Before API 1.44 a container had one MAC address, not one for each endpoint. */
function withMac(
  body: CreateBody,
  mode: string,
  endpoints: Endpoints,
  version: number,
): { endpoints: Endpoints; warnings: string[] } {
  const mac = body.MacAddress ?? "";
  if (version < 44 && mac === "") {
    const bare = Object.entries(endpoints).map(([name, settings]) => [name, { ...settings, MacAddress: null }]);
    return { endpoints: Object.fromEntries(bare) as Endpoints, warnings: [] };
  }
  if (mac === "") return { endpoints, warnings: [] };
  const changed = change(endpoints, mode, version, (settings) => {
    if (version >= 44 && settings.MacAddress && settings.MacAddress !== mac)
      throw invalid(
        "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
      );
    return { ...settings, MacAddress: mac };
  });
  const warning =
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";
  return { endpoints: changed, warnings: version < 44 ? [] : [warning] };
}

/** `--sysctl net.ipv4.conf.eth0.…` was moved to the endpoint in API 1.46, and is refused after it. */
function withSysctls(
  all: Readonly<Record<string, string>>,
  mode: string,
  endpoints: Endpoints,
  version: number,
): { endpoints: Endpoints; rest: Record<string, string>; warnings: string[] } {
  const split = Object.entries(all).map(([key, value]) => {
    const match = isPrivate(mode) ? /^net\.([^.]+)\.([^.]+)\.(eth[^.]*)\.(.+)$/.exec(key) : null;
    return { key, value, match };
  });
  const rest = Object.fromEntries(split.filter((s) => s.match === null).map((s) => [s.key, s.value]));
  const moved = split.filter((s) => s.match !== null);
  if (moved.length === 0) return { endpoints, rest, warnings: [] };
  for (const { key, match } of moved) {
    if (version > 46)
      throw invalid(`interface specific sysctl setting "${key}" must be supplied using driver option '${sysctlsKey}'`);
    if (match?.[3] !== "eth0")
      throw invalid(
        `unable to determine network endpoint for sysctl ${key}, use driver option '${sysctlsKey}' to set per-interface sysctls`,
      );
  }
  const text = moved.map(({ match: m, value }) => `net.${m?.[1]}.${m?.[2]}.IFNAME.${m?.[4]}=${value}`).join(",");
  const changed = change(endpoints, mode, version, (settings) => {
    const own = settings.DriverOpts?.[sysctlsKey];
    return { ...settings, DriverOpts: { ...settings.DriverOpts, [sysctlsKey]: own ? `${text},${own}` : text } };
  });
  const keys = moved.map((s) => s.key).join(",");
  return {
    endpoints: changed,
    rest,
    warnings: [`Migrated sysctl "${keys}" to DriverOpts{"${sysctlsKey}":"${text}"}.`],
  };
}

function withLinks(links: readonly string[], mode: string, endpoints: Endpoints): Endpoints {
  if (links.length === 0) return endpoints;
  if (mode === "bridge" || !hasNetworks(mode))
    throw invalid(
      `HostConfig.Links is not supported on the network "${mode}": containers of a user-defined network find each other by name`,
    );
  const own = endpoints[mode] ?? {};
  return { ...endpoints, [mode]: { ...own, Links: [...(own.Links ?? []), ...links] } };
}

function attachmentsOf(endpoints: Endpoints, mode: string): Attachment[] {
  if (isContainer(mode)) return [];
  const named = Object.keys(endpoints).length > 0 ? endpoints : { [mode]: {} };
  const mainFirst = Object.entries(named).toSorted(([a], [b]) => Number(b === mode) - Number(a === mode));
  return mainFirst.map(([network, settings]) => {
    try {
      return { network, ...readEndpointSettings(settings) };
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw invalid(`invalid config for network ${network}: ${error.message}`);
    }
  });
}
