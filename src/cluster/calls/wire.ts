import type { MessageInitShape } from "@bufbuild/protobuf";
import { invalid } from "../../lib/errors.ts";
import { addressText, cidrText, parseAddress, parseCidr } from "../../lib/net.ts";
import type {
  ClusterNode,
  EngineDriver,
  NodeDescription,
  NodeRole,
  NodeWireguard,
  TakenPort,
} from "../../model/cluster.ts";
import type { HostRoute } from "../../model/network.ts";
import { mostAddresses } from "../host-addresses.ts";
import {
  Availability,
  type Description,
  type DescriptionSchema,
  Encryptor,
  Role,
  type Wireguard,
} from "../gen/control_pb.ts";
import { mostPorts } from "../node-ports.ts";
import { mostRoutes } from "../routes.ts";

/** The model's words on the wire, and back. */
export const roleToWire = { worker: Role.WORKER, manager: Role.MANAGER } as const satisfies Record<NodeRole, Role>;
export const availabilityToWire = {
  active: Availability.ACTIVE,
  pause: Availability.PAUSE,
  drain: Availability.DRAIN,
} as const satisfies Record<ClusterNode["availability"], Availability>;

/** @throws {EngineError} invalid for a number that is none */
export const roleFromWire = (role: Role): NodeRole => find(roleToWire, role, "role");
const encryptorToWire = {
  none: Encryptor.UNSPECIFIED,
  kernel: Encryptor.KERNEL,
  "wireguard-go": Encryptor.WIREGUARD_GO,
} as const satisfies Record<NodeWireguard["by"], Encryptor>;

/** What is not said is active, as Docker has it. */
export const availabilityFromWire = (value: Availability): ClusterNode["availability"] =>
  value === Availability.UNSPECIFIED ? "active" : find(availabilityToWire, value, "availability");

function find<K extends string>(table: Readonly<Record<K, number>>, value: number, what: string): K {
  const key = (Object.keys(table) as K[]).find((k) => table[k] === value);
  if (key === undefined) throw invalid(`unknown ${what} ${value}`);
  return key;
}

/** What `descriptionFromWire` reads. */
export const descriptionToWire = (node: NodeDescription): MessageInitShape<typeof DescriptionSchema> => ({
  hostname: node.hostname,
  os: node.platform.os,
  architecture: node.platform.architecture,
  nanoCpus: BigInt(node.resources.nanoCpus),
  memoryBytes: BigInt(node.resources.memoryBytes),
  engineVersion: node.engineVersion,
  labels: { ...node.engineLabels },
  drivers: node.drivers.map(({ type, name }) => ({ type, name })),
  advertiseAddress: node.addresses.advertise,
  dataPathAddress: node.addresses.dataPath,
  routes: (node.routes ?? []).map(({ to, link }) => ({ to, link })),
  takenPorts: (node.takenPorts ?? []).map((one) => ({ ...one })),
  balancer: node.balancer ?? "",
  hostAddresses: [...(node.hostAddresses ?? [])],
  ...(node.wireguard !== undefined && { wireguard: wireguardToWire(node.wireguard) }),
});

const mostDrivers = 100;
const mostLabels = 100;
const longest = 255; // characters of a name: POSIX HOST_NAME_MAX, and enough for versions

const driverTypes = ["Log", "Network", "Volume"] as const;
function driverType(text: string): EngineDriver["type"] {
  const type = driverTypes.find((known) => known === text);
  if (type === undefined) throw invalid(`unknown type of driver: ${JSON.stringify(text)}`);
  return type;
}

/** 32 bytes as base64 has them, written in the one way there is. */
const isWireguardKey = (text: string) =>
  /^[A-Za-z0-9+/]{43}=$/.test(text) && Buffer.from(text, "base64").toString("base64") === text;

const wireguardToWire = ({ by, keys, sends }: NodeWireguard) => ({
  by: encryptorToWire[by],
  keys: keys.map(({ generation, publicKey }) => ({ generation, publicKey })),
  sends,
});

const mostKeys = 2;
function wireguardFromWire({ by, keys, sends }: Wireguard): NodeWireguard {
  const isInOrder = keys.every(({ generation }, at) => generation > (keys[at - 1]?.generation ?? 0));
  if (keys.length > mostKeys || !isInOrder || !keys.every(({ publicKey }) => isWireguardKey(publicKey)))
    throw invalid("a node's WireGuard keys are malformed");
  return {
    by: find(encryptorToWire, by, "encryptor"),
    keys: keys.map(({ generation, publicKey }) => ({ generation, publicKey })),
    sends,
  };
}

/** True for an address of one host, in canonical text and without a zone. */
function isUnicast(text: string): boolean {
  const address = parseAddress(text);
  if (address === undefined || addressText(address) !== text) return false;
  return !/^(0\.|22[4-9]\.|2[3-5]\d\.|::$|ff)/.test(text);
}

const longestLink = 15; // characters: IFNAMSIZ (include/uapi/linux/if.h), less the zero byte
function isRoute({ to, link }: HostRoute): boolean {
  const block = parseCidr(to);
  return block !== undefined && cidrText(block) === to && link.length <= longestLink && !/[\p{Cc}\s]/u.test(link);
}

function isPort({ protocol, address, port, container = "" }: TakenPort): boolean {
  const isKnown = ["tcp", "udp", "sctp"].includes(protocol) && port > 0 && port <= 65_535;
  return isKnown && parseAddress(address) !== undefined && /^[\w.-]{0,255}$/.test(container);
}

const portFromWire = ({ protocol, address, port, container }: Required<TakenPort>): TakenPort => ({
  ...{ protocol, address, port },
  ...(container !== "" && { container }),
});

/**
 * A description from another host: it goes into a row that every manager reads, so it is bounded.
 * @throws {EngineError} invalid
 */
export function descriptionFromWire(d: Description | undefined): NodeDescription {
  if (d === undefined) throw invalid("a node must describe itself");
  const labels = Object.entries(d.labels);
  const texts = [d.hostname, d.os, d.architecture, d.engineVersion, d.balancer, ...d.drivers.map(({ name }) => name)];
  const isMalformed = [...texts, ...labels.flat()].some((text) => text.length > longest || /\p{Cc}/u.test(text));
  if (d.drivers.length > mostDrivers || labels.length > mostLabels || isMalformed)
    throw invalid("a node's description is malformed");
  if (d.hostname === "" || /\s/.test(d.hostname))
    throw invalid(`a node's hostname must be a name without spaces: ${JSON.stringify(d.hostname)}`);
  for (const address of [d.advertiseAddress, d.dataPathAddress])
    if (!isUnicast(address)) throw invalid("a node must say its addresses");
  if (d.routes.length > mostRoutes || !d.routes.every(isRoute)) throw invalid("a node's routes are malformed");
  if (d.takenPorts.length > mostPorts || !d.takenPorts.every(isPort)) throw invalid("a node's ports are malformed");
  if (d.hostAddresses.length > mostAddresses || !d.hostAddresses.every(isUnicast))
    throw invalid("a node's addresses are malformed");
  const [nanoCpus, memoryBytes] = [Number(d.nanoCpus), Number(d.memoryBytes)];
  if (!(nanoCpus >= 0 && memoryBytes >= 0)) throw invalid("a node's resources are malformed");
  return {
    hostname: d.hostname,
    platform: { os: d.os, architecture: d.architecture },
    resources: { nanoCpus, memoryBytes },
    engineVersion: d.engineVersion,
    engineLabels: d.labels,
    drivers: d.drivers.map(({ type, name }) => ({ type: driverType(type), name })),
    addresses: { advertise: d.advertiseAddress, dataPath: d.dataPathAddress },
    ...(d.routes.length > 0 && { routes: d.routes.map(({ to, link }) => ({ to, link })) }),
    ...(d.takenPorts.length > 0 && { takenPorts: d.takenPorts.map(portFromWire) }),
    ...(d.hostAddresses.length > 0 && { hostAddresses: d.hostAddresses }),
    ...(d.balancer !== "" && { balancer: d.balancer }),
    ...(d.wireguard !== undefined && { wireguard: wireguardFromWire(d.wireguard) }),
  };
}
