/*
 * A network of more endpoints than one bridge has ports: a root and leaves
 *
 *   endpoint ─ leaf 1 ═ up/down ═ root ─ endpoints of "leaf 0", gateway or tunnel
 *   endpoint ─ leaf 2 ═ up/down ═ ┘
 *
 * The root knows everybody: who is on a leaf is behind the port that leads there. A leaf knows its own endpoints only, and
 * hands all else, ARP among it, up to the root and to nobody else (`isSpared`). There the bridge answers for whom it knows,
 * back down to the one who asked. So an attach costs the same on the third leaf as on the first, and nothing has to be
 * written to the leaves there are when another one grows.
 */
import { macFrom } from "../lib/mac.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { NetworkId } from "../model/ids.ts";
import type { BridgePort, NamespaceName, PlanObject } from "../model/plan.ts";
import { portName } from "./cable.ts";

export interface LeafNames {
  readonly bridge: string;
  /** The leaf's port to the root. */
  readonly up: string;
  /** The root's port to the leaf. */
  readonly down: string;
}

/** A network's root bridge, and how what hangs on it is called and separated. */
export interface Tree {
  readonly namespace: NamespaceName;
  readonly root: string;
  readonly leafNames: (leaf: number) => LeafNames;
  /** True: no endpoint reaches another one, whatever leaves they are on. */
  readonly isolated: boolean;
  /** Bytes; absent: the kernel's default. */
  readonly mtu?: number;
}

const silent = { hairpin: false, learning: false } as const;

/** The leaf bridge and its cable. Ports to leaves are isolated like endpoints; a leaf's own way up is not. */
export function planLeafBridge(id: NetworkId, leaf: number, tree: Tree): PlanObject[] {
  const { namespace, root, isolated } = tree;
  const { bridge, up, down } = tree.leafNames(leaf);
  const base = { kind: "link", namespace, ...(tree.mtu !== undefined && { mtu: tree.mtu }) } as const;
  const mac = (use: string) => macFrom(id, `${use} ${leaf}`);
  return [
    { ...base, type: "bridge", name: bridge, mac: mac("leaf") },
    {
      ...base,
      type: "veth",
      name: down,
      mac: mac("down"),
      peer: {
        namespace,
        name: up,
        mac: mac("up"),
        port: { ...silent, bridge, isolated: false, proxyArp: false },
      },
      port: { ...silent, bridge: root, isolated, proxyArp: true },
    },
  ];
}

/** The port of an endpoint, on the root or on its leaf, which takes frames with the endpoint's MAC alone. Only the root answers ARP. */
export function endpointPort({ leaf }: Endpoint, { root, leafNames, isolated }: Tree): BridgePort {
  if (leaf === undefined) return { ...silent, bridge: root, isolated, proxyArp: true, locked: true };
  return { ...silent, bridge: leafNames(leaf).bridge, isolated, proxyArp: false, isSpared: true, locked: true };
}

/** Where its MAC is: on its own bridge, and on the root of a leaf. */
export function endpointForwarding({ id, mac, leaf }: Endpoint, { namespace, leafNames }: Tree): PlanObject[] {
  const ports = [portName(id), ...(leaf === undefined ? [] : [leafNames(leaf).down])];
  return ports.map((link) => ({ kind: "forwarding", namespace, link, mac }));
}
