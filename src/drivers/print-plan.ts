import { everyMac } from "../model/plan.ts";
import type {
  BridgePort,
  ChainObject,
  ChildLink,
  Family,
  LinkObject,
  NamespaceName,
  PlanObject,
  TunnelObject,
  VlanLink,
  VxlanLink,
  WireguardLink,
  WireguardPeerObject,
} from "../model/plan.ts";

/**
 * A plan as the commands of ip(8), bridge(8), sysctl(8) and nft(8) that would do the same by hand: for goldens and
 * documentation. A sandbox's or a network's namespace goes by its name without the role.
 */
export function printPlan(objects: readonly PlanObject[]): string {
  return objects.map((o) => `${print(o).join("\n")}\n`).join("");
}

const netns = (name: NamespaceName) => name.replace(/^(?:sandbox|network):/, "");
const ip = (namespace: NamespaceName) => (namespace === "host" ? "ip" : `ip -n ${netns(namespace)}`);
const bridge = (namespace: NamespaceName) => (namespace === "host" ? "bridge" : `bridge -n ${netns(namespace)}`);
const inside = (namespace: NamespaceName) => (namespace === "host" ? "" : `ip netns exec ${netns(namespace)} `);
const placeText = ({ address, udpPort }: WireguardPeerObject["endpoint"]) =>
  address.includes(":") ? `[${address}]:${udpPort}` : `${address}:${udpPort}`;
const table = (number: number | undefined) => (number === undefined ? "" : ` table ${number}`);
const hex = (number: number) => `0x${number.toString(16)}`;
const hookText = ({ hook, link }: ChainObject) =>
  hook === undefined ? "" : ` '{ type filter hook ${hook} device "${link}" priority filter; policy accept; }'`;
const six = (family: Family) => (family === "ip" ? "" : " -6");
const onOff = (on: boolean) => (on ? "on" : "off");

function print(o: PlanObject): string[] {
  switch (o.kind) {
    case "namespace":
      return [`ip netns add ${netns(o.namespace)}`, `${ip(o.namespace)} link set lo up`];
    case "link":
      return printLink(o);
    case "parent":
      return [`ip link set ${o.link} up${o.promiscuous ? " promisc on" : ""}`];
    case "address":
      return [`${ip(o.namespace)} address add ${o.address} dev ${o.link}${o.address.includes(":") ? " nodad" : ""}`];
    case "route":
      if (o.unreachable) return [`${ip(o.namespace)} route add unreachable ${o.to} metric 4294967294`];
      return [
        `${ip(o.namespace)} route add ${o.to}${o.via === undefined ? "" : ` via ${o.via}`} dev ${o.link}${table(o.table)}${o.sourceOf === undefined ? "" : ` # src: an address of ${o.sourceOf}`}`,
      ];
    case "rule": {
      const marked = o.mark === undefined ? "" : ` fwmark ${hex(o.mark.value)}/${hex(o.mark.mask)}`;
      const six = o.from.includes(":") ? " -6" : "";
      return [`${ip(o.namespace)}${six} rule add priority ${o.priority} from ${o.from}${marked} lookup ${o.table}`];
    }
    case "neighbour":
      return [`${ip(o.namespace)} neigh replace ${o.address} lladdr ${o.mac} dev ${o.link} nud permanent`];
    case "forwarding":
      return [`${bridge(o.namespace)} fdb replace ${o.mac} dev ${o.link} master static`];
    case "tunnel":
      return [printTunnel(o)];
    case "wireguard":
      return [
        `${inside(o.namespace)}wg set ${o.link} peer ${o.publicKey} endpoint ${placeText(o.endpoint)} allowed-ips ${o.address}`,
      ];
    case "sysctl":
      return [`${inside(o.namespace)}sysctl -w ${o.key}=${o.value}`];
    case "ipvs":
      return [
        `${inside(o.namespace)}ipvsadm -A -f ${o.mark}${six(o.family)} -s ${o.scheduler === "sh" ? "sh -b sh-fallback" : o.scheduler}`,
      ];
    case "destination": {
      const place = o.family === "ip" ? `${o.address}:0` : `[${o.address}]:0`;
      return [`${inside(o.namespace)}ipvsadm -a -f ${o.mark}${six(o.family)} -r ${place} -m -w 1`];
    }
    case "timeout":
      return [
        `${inside(o.namespace)}nft add ct timeout ${o.family} tombolo ${o.name} '{ protocol tcp; l3proto ${o.family}; policy = { established : ${o.seconds} }; }'`,
      ];
    case "chain":
      return [
        `${inside(o.namespace)}nft add chain ${o.family} tombolo ${o.name}${hookText(o)}`,
        ...o.rules.map((rule) => `${inside(o.namespace)}nft add rule ${o.family} tombolo ${o.name} '${rule}'`),
      ];
    case "element": {
      const value = o.value === undefined ? "" : ` : ${o.value}`;
      return [`${inside(o.namespace)}nft add element ${o.family} tombolo ${o.set} '{ ${o.key}${value} }'`];
    }
  }
}

function printLink(o: LinkObject): string[] {
  const extra = `${o.mac === undefined ? "" : ` address ${o.mac}`}${o.mtu === undefined ? "" : ` mtu ${o.mtu}`}`;
  const unless = o.adopt === true ? " # unless it is there" : "";
  if (o.type === "bridge") return [`${ip(o.namespace)} link add ${o.name}${extra} up type bridge${unless}`];
  if (o.type !== "veth") return printMade(o, extra, unless);
  const there = o.peer.namespace === "host" ? "" : ` netns ${netns(o.peer.namespace)}`;
  const peer = `peer name ${o.peer.name} address ${o.peer.mac}${o.mtu === undefined ? "" : ` mtu ${o.mtu}`}${there}`;
  return [
    `${ip(o.namespace)} link add ${o.name}${extra} up type veth ${peer}`,
    `${ip(o.peer.namespace)} link set ${o.peer.name} up`,
    ...(o.port === undefined ? [] : printPort(o, o.port)),
    ...(o.peer.port === undefined ? [] : printPort(o.peer, o.peer.port)),
  ];
}

/** What is for every unknown MAC goes to several hosts, what is for a known one to one. */
function printTunnel(o: TunnelObject): string {
  const verb = o.mac === everyMac ? "append" : "replace";
  return `${bridge(o.namespace)} fdb ${verb} ${o.mac} dev ${o.link} dst ${o.destination}`;
}

type MadeOnHost = ChildLink | VlanLink | VxlanLink | WireguardLink;

function typeWords(o: MadeOnHost): string {
  switch (o.type) {
    case "vlan":
      return `vlan id ${o.vlan}`;
    case "macvlan":
      return `macvlan mode ${o.mode}`;
    case "ipvlan":
      return `ipvlan mode ${o.mode} ${o.flag}`;
    case "vxlan":
      return `vxlan id ${o.vni} local ${o.local} dstport ${o.udpPort} nolearning`;
    case "wireguard":
      return `wireguard # private key of ${o.publicKey}, UDP port ${o.udpPort}`;
  }
}

/** Made beside its parent, or where its socket stays, under a name that nobody has, and then moved. */
function printMade(o: MadeOnHost, extra: string, unless: string): string[] {
  const parent = "parent" in o ? ` link ${o.parent}` : "";
  const underlay = o.type === "vxlan" && o.underlay !== undefined ? o.underlay : "host";
  const made = (name: string) => `${ip(underlay)} link add ${name}${parent}${extra} type ${typeWords(o)}`;
  const there =
    o.namespace === "host"
      ? [`${made(o.name)}${unless}`]
      : [made("moving0"), `${ip(underlay)} link set moving0 netns ${netns(o.namespace)} name ${o.name}`];
  const port = o.type === "vxlan" && o.port !== undefined ? printPort(o, o.port) : [];
  return [...there, `${ip(o.namespace)} link set ${o.name} up`, ...port];
}

function printPort(o: { readonly namespace: NamespaceName; readonly name: string }, port: BridgePort): string[] {
  const flags = `isolated ${onOff(port.isolated)} hairpin ${onOff(port.hairpin)} learning ${onOff(port.learning)} group_fwd_mask 0xfffd`;
  const suppress = `${port.suppressesNeighbours === true ? " neigh_suppress on" : ""}${port.locked === true ? " locked on" : ""}`;
  const spared = port.isSpared === true ? " flood off bcast_flood off" : "";
  return [
    `${ip(o.namespace)} link set ${o.name} master ${port.bridge}`,
    `${ip(o.namespace)} link set ${o.name} type bridge_slave ${flags} proxy_arp_wifi ${onOff(port.proxyArp)}${suppress}${spared}`,
  ];
}
