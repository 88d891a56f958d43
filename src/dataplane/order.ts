import type { Step } from "../kernel/kernel.ts";
import { encryptedUnderlay, type Owner, type PlanKind, type PlanObject, type SysctlObject } from "../model/plan.ts";

/** The order in which objects are made and changed, each for the sake of what comes after it. */
export const applyOrder = [
  "namespace", // the far ends of cables go into it
  "sandbox sysctl", // `--sysctl net.*`, forwarding and defaults are for every interface to come
  "guard chain", // elements jump to it
  "guard element", // before the port that is guarded, and before who is let in
  "host element", // a tunnel's port is closed to strangers before there is one, a leaf bridge to all
  "bridge", // cables and tunnels become its ports
  "veth", // has everything that follows on it
  "wireguard", // nothing passes before its routes and peers are there
  "vxlan",
  "vlan",
  "parent", // up before anything stands on it
  "macvlan",
  "ipvlan",
  "link sysctl", // before addresses: one of them switches IPv6 on
  "address", // routes go by it
  "route",
  "rule",
  "neighbour",
  "forwarding",
  "tunnel",
  "wireguard peer",
  "ipvs",
  "destination",
  "timeout", // chains name it
  "chain", // elements jump to it
  "element", // last: packets come when everything else is there
] as const;
type Place = (typeof applyOrder)[number];

/**
 * The order in which objects are removed, all of them before anything is made: an address or a port that one owner
 * gives up may be another's in the same round. Rules in reverse; then links, which go together in one wait for the
 * kernel and take along what is on them, so that the removals that follow find nothing left to do.
 */
export const removeOrder = [
  "element",
  "chain",
  "timeout",
  "destination",
  "ipvs",
  "ipvlan",
  "macvlan",
  "veth",
  "vxlan",
  "wireguard", // after the tunnels through it
  "parent",
  "vlan",
  "bridge",
  "host element", // after tunnels
  "namespace", // after cables and tunnels, which would vanish some time later
  "guard element", // after ports
  "guard chain",
  "rule",
  "route",
  "address",
  "neighbour",
  "forwarding",
  "tunnel",
  "wireguard peer", // an address goes from one key to another: before that one is put
  "link sysctl",
  "sandbox sysctl",
] as const satisfies readonly Place[];

/** A step with the owner that wants it. */
export type OwnedStep = Step & { readonly owner: Owner };

const places: { readonly [K in PlanKind]: (object: Extract<PlanObject, { kind: K }>, owner: string) => Place } = {
  namespace: () => "namespace",
  sysctl: (object, owner) => (isBeforeLinks(object, owner) ? "sandbox sysctl" : "link sysctl"),
  link: (object) => object.type,
  parent: () => "parent",
  address: () => "address",
  route: () => "route",
  rule: () => "rule",
  neighbour: () => "neighbour",
  forwarding: () => "forwarding",
  tunnel: () => "tunnel",
  wireguard: () => "wireguard peer",
  ipvs: () => "ipvs",
  destination: () => "destination",
  timeout: () => "timeout",
  chain: ({ family }) => (family === "bridge" ? "guard chain" : "chain"),
  element({ family, namespace }, owner) {
    if (family === "bridge" || namespace === encryptedUnderlay) return "guard element";
    return owner === "host" || owner.startsWith("leaf:") ? "host element" : "element";
  },
};

/** The host's, a sandbox's, and what no link of a network's namespace has for itself. */
function isBeforeLinks({ namespace, key }: SysctlObject, owner: string): boolean {
  if (owner === "host" || owner.startsWith("sandbox:")) return true;
  return namespace.startsWith("network:") && !/^net\.ipv[46]\.(?:conf|neigh)\.(?!all\.|default\.)/.test(key);
}

function rank({ object, owner }: OwnedStep, order: readonly Place[]): number {
  const place = places[object.kind] as (o: PlanObject, owner: string) => Place;
  return order.indexOf(place(object, owner));
}

/**
 * Rules by which a sandbox's connections are shared out: each sandbox's go to the kernel as one transaction, when all else is
 * done, so that no packet meets half of a change. A chain goes after what led to it. IPVS is there before a packet is marked for it.
 */
const shareOrder = [
  ...["ipvs", "destination"],
  ...["remove element", "timeout", "chain", "element", "remove chain", "remove timeout"],
  ...["remove destination", "remove ipvs"],
];

function isShare({ object }: Step): boolean {
  if (object.kind === "ipvs" || object.kind === "destination") return true;
  return (
    (object.kind === "chain" || object.kind === "element" || object.kind === "timeout") &&
    object.namespace.startsWith("sandbox:") &&
    (object.family === "ip" || object.family === "ip6")
  );
}

function shareRank({ verb, object }: Step): number {
  const name = `${verb === "remove" ? "remove " : ""}${object.kind}`;
  return shareOrder.findIndex((place) => place === name);
}

/** The steps as the kernel takes them. */
export function inOrder(steps: readonly OwnedStep[]): OwnedStep[] {
  const by = (order: readonly Place[]) => (a: OwnedStep, b: OwnedStep) => rank(a, order) - rank(b, order);
  const [shares, others] = [steps.filter(isShare), steps.filter((step) => !isShare(step))];
  const bySandbox = Map.groupBy(shares, ({ object }) => object.namespace);
  return [
    ...others.filter((s) => s.verb === "remove").toSorted(by(removeOrder)),
    ...others.filter((s) => s.verb !== "remove").toSorted(by(applyOrder)),
    ...[...bySandbox.values()].flatMap((own) => own.toSorted((a, b) => shareRank(a) - shareRank(b))),
  ];
}
