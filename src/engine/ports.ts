import { isDeepStrictEqual } from "node:util";
import { type EngineError, invalid, system } from "../lib/errors.ts";
import type { Container, PortWish } from "../model/container.ts";
import type { Endpoint, PortBinding } from "../model/endpoint.ts";
import type { EndpointId, IpAddress } from "../model/ids.ts";
import type { ServicePort } from "../model/service.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import type { Host } from "./parts.ts";

/** One port to be bound at one or more host addresses: the first of `candidates` that no other endpoint has at any of them. */
export interface PortChoice {
  readonly protocol: PortBinding["protocol"];
  readonly containerPort: number;
  readonly hostIps: readonly IpAddress[];
  /** Host ports that no process has, in order of preference; 0 stands for "no host port" (gateway mode `routed`). */
  readonly candidates: readonly number[];
  /** The one port that the user named. */
  readonly fixed?: number;
  /** Why the last port that was asked for is no candidate, and where. */
  readonly why?: { readonly hostIp: IpAddress; readonly text: string };
}

/** What the user's `-p` and `-P` ask for, before any port is chosen. */
export function portWishes(container: Container): PortWish[] {
  const { ports, publishAll, exposed } = container.spec;
  const named = (e: { readonly protocol: string; readonly port: number }) =>
    ports.some((p) => p.protocol === e.protocol && p.containerPort === e.port);
  const all = publishAll ? exposed.filter((e) => !named(e)) : [];
  return [...ports, ...all.map((e) => ({ protocol: e.protocol, containerPort: e.port, hostIp: "", hostPort: "" }))];
}

/** How the gateway network of a container publishes ports in one family. */
export interface Gateway {
  /** Where ports are bound that name no host address. */
  readonly hostIp: IpAddress;
  /** True when ports are open at the container's own address, and nothing is bound on the host. */
  readonly isRouted: boolean;
}
export interface Gateways {
  readonly 4?: Gateway;
  readonly 6?: Gateway;
}

/** What a container has published so far, and its endpoints. */
interface Holdings {
  readonly endpoints: ReadonlySet<EndpointId>;
  readonly bindings: readonly PortBinding[];
}

/** To be asked for before any of its endpoints is removed. */
export function holdingsOf(rows: Snapshot, sandboxId: string): Holdings {
  const endpoints = rows.where("endpoints", "sandbox", sandboxId);
  return { endpoints: new Set(endpoints.map(({ id }) => id)), bindings: endpoints.flatMap(({ ports }) => ports) };
}

interface Room {
  readonly rows: Snapshot;
  readonly host: Pick<Host, "portTaken" | "ephemeralPorts">;
  readonly held: Holdings;
}

const ephemeralTried = 32;
let cursor = 0;

/**
 * Asks the host which ports are free, for all that a container publishes: what it has already is preferred. Nothing is claimed yet.
 * @throws {EngineError} invalid for a bad range, and at the first start for an address of a family that leads nowhere
 */
export async function choosePorts(wishes: readonly PortWish[], gateways: Gateways, room: Room): Promise<PortChoice[]> {
  const choices: PortChoice[] = [];
  let { bindings } = room.held;
  for (const wish of wishes) {
    const { protocol, containerPort } = wish;
    if (room.held.endpoints.size === 0) checkFamily(wish, gateways);
    const families = boundFamilies(wish, gateways);
    const hostIps = families.flatMap(([, { isRouted, hostIp }]) => (isRouted ? [] : wish.hostIp || hostIp));
    if (hostIps.length > 0) {
      const held = bindings.filter((one) => isFor(one, wish, room.host));
      const port = held[0]?.hostPort;
      bindings = bindings.filter((one) => !(held.includes(one) && one.hostPort === port));
      choices.push(await freePorts(wish, hostIps, { ...room, held: { ...room.held, bindings: held } }));
    }
    // Bound to no address of the host (moby libnetwork/drivers/bridge/port_mapping_linux.go).
    for (const [family, { isRouted }] of families)
      if (isRouted) choices.push({ protocol, containerPort, hostIps: [anyOf(family)], candidates: [0] });
  }
  return choices;
}

function isFor(binding: PortBinding, wish: PortWish, host: Room["host"]): boolean {
  const [first, last] = readRange(wish.hostPort, host);
  const isOfPort = binding.protocol === wish.protocol && binding.containerPort === wish.containerPort;
  return isOfPort && first <= binding.hostPort && binding.hostPort <= last;
}

const familyOf = (address: IpAddress) => (address.includes(":") ? 6 : 4);
const anyOf = (family: 4 | 6) => (family === 6 ? "::" : "0.0.0.0");

function checkFamily({ hostIp, containerPort, protocol }: PortWish, gateways: Gateways): void {
  if (hostIp === "") return;
  const family = familyOf(hostIp);
  if (gateways[family] === undefined && (gateways[4] ?? gateways[6]) !== undefined)
    throw invalid(
      `cannot publish port ${containerPort}/${protocol} on ${hostIp}: the container has no IPv${family} address with a gateway; connect it to a network with IPv${family}`,
    );
}

/** The families in which a port is published. */
function boundFamilies({ hostIp }: PortWish, gateways: Gateways): (readonly [4 | 6, Gateway])[] {
  const { 4: v4, 6: v6 } = gateways;
  const family = hostIp === "" ? undefined : familyOf(hostIp);
  const isAnywhere = family === undefined && (v4?.hostIp ?? "0.0.0.0") === "0.0.0.0";
  const isIn4 = family === 4 || (family === undefined && v4?.hostIp.includes(":") === false);
  return [
    ...(isIn4 && v4 !== undefined ? [[4, v4] as const] : []),
    ...((family === 6 || isAnywhere) && v6 !== undefined ? [[6, v6] as const] : []),
  ];
}

async function freePorts(
  { protocol, containerPort, hostPort }: PortWish,
  hostIps: readonly IpAddress[],
  { rows, host, held }: Room,
): Promise<PortChoice> {
  const [first, last] = readRange(hostPort, host);
  const fixed = first === last ? { fixed: first } : {};
  const candidates: number[] = [];
  const has = (port: number, ips: readonly IpAddress[]) =>
    ips.every((hostIp) => held.bindings.some((one) => one.hostIp === hostIp && one.hostPort === port));
  let why: PortChoice["why"];
  for (const port of inTurn(first, last, hostPort === "" ? cursor++ : 0, held.bindings[0]?.hostPort)) {
    const isHeld = hostIps.some((ip) => holderOf(rows, { protocol, port }, ip, held.endpoints) !== undefined);
    // A named port that a container has stays a candidate: placePorts says whose it is.
    if (isHeld && first !== last) continue;
    // What the container has at an address already is not asked for again.
    const others = hostIps.filter((hostIp) => !has(port, [hostIp]));
    why = isHeld ? undefined : await whyTaken({ rows, host }, { protocol, port }, others);
    if (why === undefined) candidates.push(port);
    if (candidates.length === (has(port, hostIps) ? 1 : ephemeralTried)) break;
  }
  return { protocol, containerPort, hostIps, candidates, ...fixed, ...(why !== undefined && { why }) };
}

interface Port {
  readonly protocol: PortBinding["protocol"];
  readonly port: number;
}

async function whyTaken(
  { rows, host }: Pick<Room, "rows" | "host">,
  { protocol, port }: Port,
  hostIps: readonly IpAddress[],
): Promise<PortChoice["why"]> {
  for (const hostIp of hostIps) {
    const service = serviceAt(rows, { protocol, port }, hostIp);
    const text =
      service === undefined
        ? await host.portTaken(protocol, hostIp, port)
        : `service ${service} publishes it on every node`;
    if (text !== undefined) return { hostIp, text };
  }
  return undefined;
}

/** The service that publishes a port on every host of the swarm, by its name. */
function serviceAt(rows: Snapshot, { protocol, port }: Port, hostIp: IpAddress): string | undefined {
  const isThere = ({ mode, address, ...one }: ServicePort) =>
    mode === "ingress" &&
    one.protocol === protocol &&
    one.published === port &&
    (address === undefined || isAny(hostIp) || address === hostIp);
  return rows.list("virtualServices").find(({ ports }) => ports.some(isThere))?.name;
}

/** All ports of a range, from some place on, and before all the one that is preferred. */
function* inTurn(first: number, last: number, from: number, preferred: number | undefined): Iterable<number> {
  const span = last - first + 1;
  if (preferred !== undefined) yield preferred;
  for (let step = 0; step < span; step += 1) {
    const port = first + ((from + step) % span);
    if (port !== preferred) yield port;
  }
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

/** The endpoint that holds a host port; an address that stands for all of its family meets every one of them. @param own are not asked */
function holderOf(
  rows: Snapshot,
  { protocol, port }: Port,
  hostIp: IpAddress,
  own: ReadonlySet<EndpointId>,
): EndpointId | undefined {
  return rows.where("ports", "number", `${protocol}|${port}`).find((claim) => {
    if (own.has(claim.endpointId) || claim.hostIp.includes(":") !== hostIp.includes(":")) return false;
    return claim.hostIp === hostIp || isAny(claim.hostIp) || isAny(hostIp);
  })?.endpointId;
}

/**
 * Claims ports for the endpoints that own the default routes, in place of all that the container has had.
 * @param unplaced is told that another container has a port
 */
export function placePorts(
  tx: Transaction,
  sandboxId: string,
  choices: readonly PortChoice[],
  gateways: { readonly 4: EndpointId | undefined; readonly 6: EndpointId | undefined },
  unplaced: (error: EngineError) => void,
): void {
  const endpoints = tx.where("endpoints", "sandbox", sandboxId);
  for (const endpoint of endpoints)
    for (const port of tx.where("ports", "endpoint", endpoint.id))
      tx.delete("ports", `${port.protocol}|${port.hostIp}|${port.hostPort}`);
  const ownerAt = (hostIp: IpAddress) => endpoints.find(({ id }) => id === gateways[familyOf(hostIp)]);
  const ports = new Map<EndpointId, PortBinding[]>();
  for (const choice of choices) {
    const { protocol, containerPort, hostIps, candidates } = choice;
    const isFree = (port: number, hostIp: IpAddress) => holderOf(tx, { protocol, port }, hostIp, nobody) === undefined;
    const hostPort = candidates.find((port) => port === 0 || hostIps.every((hostIp) => isFree(port, hostIp)));
    if (hostPort === undefined) {
      const hostIp = choice.why?.hostIp ?? hostIps.find((one) => !isFree(choice.fixed ?? 0, one)) ?? hostIps[0] ?? "";
      unplaced(whyUnplaced(choice, hostIp, ownerAt(hostIp)));
      continue;
    }
    for (const hostIp of hostIps) {
      const owner = ownerAt(hostIp);
      if (owner === undefined) continue;
      if (hostPort !== 0) tx.insert("ports", { protocol, hostIp, hostPort, endpointId: owner.id });
      ports.set(owner.id, [...(ports.get(owner.id) ?? []), { protocol, containerPort, hostIp, hostPort }]);
    }
  }
  for (const endpoint of endpoints) {
    const own = ports.get(endpoint.id) ?? [];
    if (!isDeepStrictEqual(own, endpoint.ports)) tx.put("endpoints", { ...endpoint, ports: own });
  }
}
const nobody: ReadonlySet<EndpointId> = new Set();

/** Docker's words (moby libnetwork/drivers/bridge/port_mapping_linux.go, libnetwork/portallocator). */
function whyUnplaced(choice: PortChoice, hostIp: IpAddress, owner: Endpoint | undefined): EngineError {
  const { protocol, containerPort, candidates, fixed, why } = choice;
  const own = owner?.addresses.find(({ address }) => familyOf(address) === familyOf(hostIp))?.address ?? "";
  const text =
    fixed === undefined
      ? `no free host port for ${containerPort}/${protocol} on ${hostIp}`
      : candidates.length === 0
        ? `failed to bind host port for ${place(hostIp, fixed)}:${place(own, containerPort)}/${protocol}: ${why?.text}`
        : `Bind for ${place(hostIp, fixed)} failed: port is already allocated`;
  return system(
    `driver failed programming external connectivity on endpoint ${owner?.containerName ?? ""} (${owner?.id ?? ""}): ${text}`,
  );
}
