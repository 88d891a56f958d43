import type { NamespaceName, PlanObject, VxlanLink } from "../../src/model/plan.ts";

/** A container as all hosts know it: the last number of its addresses, `10.8.0.<n>` and `fd00:8::<n>`, and where it is. */
export interface Member {
  readonly number: number;
  /** Address of its host where tunnels end. */
  readonly at: string;
}
export const four = ({ number }: Member) => `10.8.0.${number}`;
export const six = ({ number }: Member) => `fd00:8::${number}`;
const mac = ({ number }: Member) => `02:42:00:00:00:0${number}`;
export const sandboxOf = ({ number }: Member): NamespaceName => `sandbox:${number}`;
export const everybody = "00:00:00:00:00:00";
const flags = { isolated: false, hairpin: false, learning: false, proxyArp: true };

/** The network itself on the host with the address `local`. @param mtu bytes of the containers' packets */
export function networkObjects(namespace: NamespaceName, local: string, mtu: number): PlanObject[] {
  const vxlan: VxlanLink = {
    kind: "link",
    type: "vxlan",
    namespace,
    name: "vxlan0",
    mac: "52:00:00:00:00:0a",
    mtu,
    vni: 4097,
    udpPort: 4789,
    local,
    port: { bridge: "br0", ...flags },
  };
  return [
    { kind: "namespace", namespace },
    { kind: "link", type: "bridge", namespace, name: "br0", mac: "52:00:00:00:00:09", mtu },
    vxlan,
  ];
}

/** A container of this host, whose sandbox is there. */
export function memberObjects(namespace: NamespaceName, member: Member, mtu: number): PlanObject[] {
  const sandbox = sandboxOf(member);
  const name = `veth${member.number}`;
  return [
    {
      kind: "link",
      type: "veth",
      namespace,
      name,
      mac: `56:42:00:00:00:0${member.number}`,
      mtu,
      peer: { namespace: sandbox, name: "eth0", mac: mac(member) },
      port: { bridge: "br0", ...flags },
    },
    { kind: "address", namespace: sandbox, link: "eth0", address: `${four(member)}/24` },
    { kind: "address", namespace: sandbox, link: "eth0", address: `${six(member)}/64` },
    ...known(namespace, member, name),
  ];
}

/** A container of another host. */
export const peerObjects = (namespace: NamespaceName, member: Member): PlanObject[] => [
  ...known(namespace, member, "vxlan0"),
  { kind: "tunnel", namespace, link: "vxlan0", mac: mac(member), destination: member.at },
];

/** Frames for everybody go to the other host, too. */
export const floodTo = (namespace: NamespaceName, destination: string): PlanObject => ({
  kind: "tunnel",
  namespace,
  link: "vxlan0",
  mac: everybody,
  destination,
});

const known = (namespace: NamespaceName, member: Member, link: string): PlanObject[] => [
  { kind: "neighbour", namespace, link: "br0", address: four(member), mac: mac(member) },
  { kind: "neighbour", namespace, link: "br0", address: six(member), mac: mac(member) },
  { kind: "forwarding", namespace, link, mac: mac(member) },
];
