import {
  type ChainObject,
  type DestinationObject,
  type ElementObject,
  keyOf,
  type LinkObject,
  type NamespaceName,
  type PlanObject,
  type RouteObject,
  type TunnelObject,
  type VethLink,
  type VxlanLink,
  type WireguardPeerObject,
} from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { addressBytes } from "../../lib/address-bytes.ts";
import { maskBits, splitCidr } from "../netlink/attributes.ts";
import { blockNames } from "../nft/base.ts";
import type { World } from "./world.ts";

/** @throws {KernelError} when something that the object needs is not there, or its place is taken */
export function refuse(world: World, object: PlanObject): void {
  if (object.kind === "namespace") return;
  if (!world.hasNamespace(object.namespace))
    throw new KernelError("ENOENT", `no network namespace ${object.namespace}`);
  if ("link" in object && object.link !== "lo" && world.linkAt(object.namespace, object.link ?? "") === undefined) {
    if (object.kind === "chain") throw new KernelError("ENOENT", "nftables: No such file or directory");
    throw new KernelError("ENODEV", `no link ${object.link} in ${object.namespace}`);
  }
  if (object.kind === "ipvs" && world.lacking.has("ipvs")) throw new KernelError("ENOENT", "No such file or directory");
  if (object.kind === "destination") refuseDestination(world, object);
  if (object.kind === "link") refuseLink(world, object);
  if (object.kind === "wireguard") refuseWireguard(world, object);
  if (object.kind === "tunnel") refuseTunnel(world, object);
  if (object.kind === "route") refuseRoute(world, object);
  if (object.kind === "sysctl") readSysctl(world, object.namespace, object.key);
  if (object.kind === "chain" || object.kind === "element") refuseRule(world, object);
}

function refuseDestination(world: World, { namespace, family, mark }: DestinationObject): void {
  const isThere = world
    .objects()
    .some((o) => o.kind === "ipvs" && o.namespace === namespace && o.family === family && o.mark === mark);
  if (!isThere) throw new KernelError("ESRCH", "No such process");
}

function refuseLink(world: World, object: LinkObject): void {
  if (world.lacking.has(object.type)) throw new KernelError("EOPNOTSUPP", `no ${object.type} in this kernel`);
  const before = world.state.get(keyOf(object));
  if (
    before !== undefined &&
    before.owner === undefined &&
    (object.adopt !== true || (before.object as LinkObject).type !== object.type)
  )
    throw new KernelError("EEXIST", `link ${object.name} exists and is not ours`);
  if ("port" in object && object.port !== undefined) refusePort(world, object.namespace, object.port.bridge);
  if ("parent" in object && world.linkAt("host", object.parent) === undefined)
    throw new KernelError("ENODEV", `no link ${object.parent} in host`);
  if (object.type === "vxlan") refuseVxlan(world, object);
  if (object.type === "veth") refuseVeth(world, object);
}

function refuseVeth(world: World, object: VethLink): void {
  const { namespace, name, port } = object.peer;
  if (port !== undefined) refusePort(world, namespace, port.bridge);
  if (!world.hasNamespace(namespace)) throw new KernelError("ENOENT", `no network namespace ${namespace}`);
  const holder = world.linkAt(namespace, name);
  if (holder !== undefined && keyOf(holder) !== keyOf(object)) throw new KernelError("EEXIST", "File exists");
}

const isIpv6 = (address: string) => address.includes(":");

/** A VNI on a UDP port of an underlay is one link's for each address family, whatever namespace that is in. */
function refuseVxlan(world: World, object: VxlanLink): void {
  if (object.underlay !== undefined && !world.hasNamespace(object.underlay))
    throw new KernelError("ENOENT", `no network namespace ${object.underlay}`);
  const isTaken = world
    .objects()
    .some(
      (o) =>
        o.kind === "link" &&
        o.type === "vxlan" &&
        keyOf(o) !== keyOf(object) &&
        o.vni === object.vni &&
        o.udpPort === object.udpPort &&
        isIpv6(o.local) === isIpv6(object.local) &&
        o.underlay === object.underlay,
    );
  if (isTaken)
    throw new KernelError("EEXIST", `VXLAN ${object.vni} on UDP port ${object.udpPort} of this host is taken`);
}

function refuseTunnel(world: World, { namespace, link: name, destination }: TunnelObject): void {
  const link = world.linkAt(namespace, name);
  if (link?.type !== "vxlan") throw new KernelError("EOPNOTSUPP", `link ${name} is a ${link?.type}, not a vxlan`);
  if (isIpv6(link.local) !== isIpv6(destination))
    throw new KernelError("EAFNOSUPPORT", "Address family not supported by protocol");
}

function refuseWireguard(world: World, { namespace, link: name }: WireguardPeerObject): void {
  const type = world.linkAt(namespace, name)?.type;
  if (type !== "wireguard") throw new KernelError("EOPNOTSUPP", `link ${name} is a ${type}, not a WireGuard one`);
}

/** A port needs a bridge that is ours, or that a plan of ours uses. */
function refusePort(world: World, namespace: NamespaceName, bridge: string): void {
  const link = world.linkAt(namespace, bridge);
  if (link === undefined) throw new KernelError("ENODEV", `no link ${bridge} in ${namespace}`);
  if (world.state.get(keyOf(link))?.owner === undefined && !world.users.has(keyOf(link)))
    throw new KernelError("EEXIST", `link ${bridge} exists and is not ours`);
}

/** A gateway must be on a subnet of the link. */
function refuseRoute(world: World, { namespace, link, via }: RouteObject): void {
  if (via === undefined) return;
  const gateway = addressBytes(via);
  const isNear = (o: PlanObject) => {
    if (o.kind !== "address" || o.namespace !== namespace || o.link !== link) return false;
    const { address, prefix } = splitCidr(o.address);
    return address.length === gateway.length && maskBits(address, prefix, 0).equals(maskBits(gateway, prefix, 0));
  };
  if (!world.objects().some(isNear))
    throw new KernelError("ENETUNREACH", "Network is unreachable: Nexthop has invalid gateway");
}

/** The host's table has its base first; a set, the chain that a verdict leads to, and those that a chain leads to must be there. */
function refuseRule(world: World, object: ChainObject | ElementObject): void {
  const { family, namespace } = object;
  const text = world.base?.(namespace)[family];
  const base = new Set(blockNames(text ?? ""));
  const targets = (object.kind === "chain" ? object.rules : [object.value ?? ""]).flatMap(
    (rule) => /\b(?:jump|goto) (\S+)$/.exec(rule)?.[1] ?? [],
  );
  const set =
    object.kind === "chain" ? object.rules.flatMap((rule) => /ct timeout set "(\S+)"/.exec(rule)?.[1] ?? []) : [];
  const missing =
    set.some((name) => !world.state.has(`timeout|${namespace}|${family}|${name}`)) ||
    (namespace === "host" && text === undefined) ||
    (object.kind === "element" && !base.has(object.set)) ||
    targets.some((chain) => !base.has(chain) && !world.state.has(`chain|${namespace}|${family}|${chain}`));
  if (missing) throw new KernelError("ENOENT", "nftables: No such file or directory");
}

/** "0" unless it was set. @throws {KernelError} ENOENT for what is no sysctl of the network, or of a link that is not there */
export function readSysctl(world: World, namespace: PlanObject["namespace"], key: string): string {
  const link = /^net\.ipv[46]\.(?:conf|neigh)\.([^.]+)\./.exec(key)?.[1]?.replaceAll("/", ".");
  const known =
    link === undefined || ["all", "default", "lo"].includes(link) || world.linkAt(namespace, link) !== undefined;
  if (!world.hasNamespace(namespace) || !known || !key.startsWith("net."))
    throw new KernelError("ENOENT", `sysctl ${key}: ENOENT`);
  return world.sysctls.get(`sysctl|${namespace}|${key}`) ?? "0";
}
