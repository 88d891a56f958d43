import { type EngineError, invalid, system } from "../lib/errors.ts";
import type { Container, PortWish } from "../model/container.ts";
import type { Endpoint, PortBinding } from "../model/endpoint.ts";
import type { EndpointId, IpAddress } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import type { Host } from "./parts.ts";

/** One binding to be made: the first of `candidates` that no other endpoint has. */
export interface PortChoice {
  readonly protocol: PortBinding["protocol"];
  readonly containerPort: number;
  readonly hostIp: IpAddress;
  /** Host ports that no process has, in order of preference; 0 stands for "no host port" (gateway mode `routed`). */
  readonly candidates: readonly number[];
  /** The one port that the user named. */
  readonly fixed?: number;
  /** Why the last port that was asked for is no candidate. */
  readonly why?: string;
}

/** What the user's `-p` and `-P` ask for, before any port is chosen. */
export function portWishes(container: Container): PortWish[] {
  const { ports, publishAll, exposed } = container.spec;
  const named = (e: { readonly protocol: string; readonly port: number }) =>
    ports.some((p) => p.protocol === e.protocol && p.containerPort === e.port);
  const all = publishAll ? exposed.filter((e) => !named(e)) : [];
  return [...ports, ...all.map((e) => ({ protocol: e.protocol, containerPort: e.port, hostIp: "", hostPort: "" }))];
}

/** Where the gateway networks of a container bind ports that name no host address. */
export interface PortDefaults {
  readonly 4?: { readonly network: Network; readonly hostIp: IpAddress };
  readonly 6?: { readonly network: Network; readonly hostIp: IpAddress };
}

const ephemeralTried = 32;
let cursor = 0;

/**
 * Asks the host which ports are free. Nothing is claimed yet.
 * @throws {EngineError} invalid for a bad range
 */
export async function choosePorts(
  wishes: readonly PortWish[],
  defaults: PortDefaults,
  rows: Snapshot,
  host: Pick<Host, "portTaken" | "ephemeralPorts">,
): Promise<PortChoice[]> {
  const choices: PortChoice[] = [];
  for (const wish of wishes) {
    for (const [family, hostIp] of bindAddresses(wish, defaults)) {
      const network = defaults[family]?.network;
      if (network?.spec.options[`com.docker.network.bridge.gateway_mode_ipv${family}`] === "routed") {
        choices.push({ ...wish, hostIp, candidates: [0] });
        continue;
      }
      choices.push(await freePorts(wish, hostIp, rows, host));
    }
  }
  return choices;
}

function bindAddresses(wish: PortWish, defaults: PortDefaults): [4 | 6, IpAddress][] {
  if (wish.hostIp !== "") {
    const family = wish.hostIp.includes(":") ? 6 : 4;
    if (defaults[family] === undefined && (defaults[4] ?? defaults[6]) !== undefined)
      throw invalid(
        `cannot publish port ${wish.containerPort}/${wish.protocol} on ${wish.hostIp}: the container has no IPv${family} address with a gateway; connect it to a network with IPv${family}`,
      );
    return defaults[family] === undefined ? [] : [[family, wish.hostIp]];
  }
  const both: [4 | 6, IpAddress][] = [];
  if (defaults[4] !== undefined && !defaults[4].hostIp.includes(":")) both.push([4, defaults[4].hostIp]);
  if (defaults[6] !== undefined && (defaults[4]?.hostIp ?? "0.0.0.0") === "0.0.0.0") both.push([6, defaults[6].hostIp]);
  return both;
}

async function freePorts(
  wish: PortWish,
  hostIp: IpAddress,
  rows: Snapshot,
  host: Pick<Host, "portTaken" | "ephemeralPorts">,
): Promise<PortChoice> {
  const base = { protocol: wish.protocol, containerPort: wish.containerPort, hostIp };
  const [first, last] = readRange(wish.hostPort, host);
  const fixed = first === last;
  const span = last - first + 1;
  const from = wish.hostPort === "" ? cursor++ : 0;
  const candidates: number[] = [];
  let why: string | undefined;
  for (let step = 0; step < span && candidates.length < ephemeralTried; step += 1) {
    const port = first + ((from + step) % span);
    const held = holderOf(rows, wish.protocol, hostIp, port) !== undefined;
    // A named port that a container has stays a candidate: placePorts says whose it is.
    if (held && !fixed) continue;
    why = held ? undefined : await host.portTaken(wish.protocol, hostIp, port);
    if (why === undefined) candidates.push(port);
  }
  return { ...base, candidates, ...(fixed && { fixed: first }), ...(why !== undefined && { why }) };
}

function readRange(hostPort: string, host: Pick<Host, "ephemeralPorts">): readonly [number, number] {
  if (hostPort === "" || hostPort === "0") return host.ephemeralPorts();
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(hostPort);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first > last || first < 1 || last > 65_535)
    throw invalid(`invalid port specification: "${hostPort}"`);
  return [first, last];
}

const place = (address: IpAddress, port: number) =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
const isAny = (address: IpAddress) => address === "0.0.0.0" || address === "::";

/** The endpoint that holds a host port; an address that stands for all of its family meets every one of them. */
function holderOf(rows: Snapshot, protocol: string, hostIp: IpAddress, port: number): EndpointId | undefined {
  return rows.where("ports", "number", `${protocol}|${port}`).find((claim) => {
    if (claim.hostIp.includes(":") !== hostIp.includes(":")) return false;
    return claim.hostIp === hostIp || isAny(claim.hostIp) || isAny(hostIp);
  })?.endpointId;
}

/** The ports that a container has published. To be asked for before any of its endpoints is removed. */
export const publishedPorts = (rows: Snapshot, sandboxId: string): PortBinding[] =>
  rows.where("endpoints", "sandbox", sandboxId).flatMap(({ ports }) => ports);

/**
 * Claims ports for the endpoints that own the default routes: those that the container has had, and those that are chosen.
 * @throws {EngineError} system when another container has a port
 */
export function placePorts(
  tx: Transaction,
  sandboxId: string,
  placed: readonly PortBinding[],
  choices: readonly PortChoice[],
  gateways: { readonly 4: EndpointId | undefined; readonly 6: EndpointId | undefined },
): void {
  const endpoints = tx.where("endpoints", "sandbox", sandboxId);
  for (const endpoint of endpoints)
    for (const port of tx.where("ports", "endpoint", endpoint.id))
      tx.delete("ports", `${port.protocol}|${port.hostIp}|${port.hostPort}`);
  const ports = new Map<EndpointId, PortBinding[]>();
  const give = (binding: PortBinding) => {
    const owner = gateways[binding.hostIp.includes(":") ? 6 : 4];
    if (owner === undefined) return;
    const row = { protocol: binding.protocol, hostIp: binding.hostIp, hostPort: binding.hostPort, endpointId: owner };
    if (binding.hostPort !== 0) tx.insert("ports", row);
    ports.set(owner, [...(ports.get(owner) ?? []), binding]);
  };
  for (const binding of placed) give(binding);
  for (const choice of choices) {
    const hostPort = choice.candidates.find(
      (port) => port === 0 || holderOf(tx, choice.protocol, choice.hostIp, port) === undefined,
    );
    if (hostPort === undefined) {
      const owner = gateways[choice.hostIp.includes(":") ? 6 : 4];
      throw unplaced(
        choice,
        endpoints.find((e) => e.id === owner),
      );
    }
    give({ protocol: choice.protocol, containerPort: choice.containerPort, hostIp: choice.hostIp, hostPort });
  }
  for (const endpoint of endpoints) {
    const own = ports.get(endpoint.id) ?? [];
    if (JSON.stringify(own) !== JSON.stringify(endpoint.ports)) tx.put("endpoints", { ...endpoint, ports: own });
  }
}

/** Docker's words (moby libnetwork/drivers/bridge/port_mapping_linux.go, libnetwork/portallocator). */
function unplaced(choice: PortChoice, owner?: Endpoint): EngineError {
  const { protocol, containerPort, hostIp, candidates, fixed } = choice;
  const isOfFamily = (address: IpAddress) => address.includes(":") === hostIp.includes(":");
  const own = owner?.addresses.find(({ address }) => isOfFamily(address))?.address ?? "";
  const text =
    fixed === undefined
      ? `no free host port for ${containerPort}/${protocol} on ${hostIp}`
      : candidates.length === 0
        ? `failed to bind host port for ${place(hostIp, fixed)}:${place(own, containerPort)}/${protocol}: ${choice.why}`
        : `Bind for ${place(hostIp, fixed)} failed: port is already allocated`;
  return system(
    `driver failed programming external connectivity on endpoint ${owner?.containerName ?? ""} (${owner?.id ?? ""}): ${text}`,
  );
}
