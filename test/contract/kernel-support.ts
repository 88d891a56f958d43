import assert from "node:assert/strict";
import { type Found, type Kernel, KernelError, type Step } from "../../src/kernel/kernel.ts";
import {
  type ChainObject,
  keyOf,
  type LinkObject,
  type NamespaceName,
  type PlanKind,
  type PlanObject,
  type TunnelObject,
} from "../../src/model/plan.ts";
import type { Wanted } from "./kernel-plans.ts";

/** A kernel with nothing in it, and hands that work past it. */
export interface OpenKernel {
  readonly kernel: Kernel;
  /** Makes a bridge without a mark, with this address on it. */
  readonly foreignBridge: (name: string, address: string) => void;
  /** Makes a VXLAN link of the host's without a mark. */
  readonly foreignVxlan: (name: string, vni: number, udpPort: number) => void;
  /** @param namespace absent: the host's */
  readonly deleteLink: (name: string, namespace?: NamespaceName) => void;
  readonly deleteTunnel: (tunnel: TunnelObject) => void;
  /** Names of two WireGuard links that can be made from now on. */
  readonly wireguard: () => readonly string[];
  readonly flushRules: () => void;
  /** Begins a connection to some address, translated to this one, which is made there. Once for each address and namespace. */
  readonly track: (namespace: NamespaceName, address: string) => void;
  /** Changes a chain's rules past the engine. */
  readonly alterChain: (chain: ChainObject, how: "empty" | "add") => void;
  readonly close: () => void;
}

const kinds: readonly PlanKind[] = [
  "namespace",
  "link",
  "parent",
  "address",
  "route",
  "rule",
  "neighbour",
  "forwarding",
  "tunnel",
  "wireguard",
  "ipvs",
  "destination",
  "sysctl",
  "timeout",
  "chain",
  "element",
];

/** Everything that the kernel lists, by key. */
export function listAll(kernel: Kernel): Map<string, Found> {
  const namespaces: NamespaceName[] = ["host", ...kernel.namespaces()];
  const found = namespaces.flatMap((namespace) => kinds.flatMap((kind) => kernel.list(namespace, kind)));
  return new Map(found.map((one) => [keyOf(one.object), one]));
}

/** Fails unless the kernel lists exactly what is wanted, with its owners. */
export function assertHolds(kernel: Kernel, wanted: readonly Wanted[]): void {
  const found = listAll(kernel);
  const wished = new Map(wanted.map((one) => [keyOf(one.object), one]));
  assert.deepEqual([...found.keys()].toSorted(), [...wished.keys()].toSorted());
  for (const [key, { object, owner }] of wished) assert.deepEqual(found.get(key), { object, owner }, key);
}

export const host: NamespaceName = "host";
export const bridge = (name: string, rest: Partial<LinkObject> = {}): PlanObject =>
  ({ kind: "link", type: "bridge", namespace: host, name, mac: "52:00:00:00:00:09", ...rest }) as PlanObject;
export const chain = (name: string, rules: string[]): ChainObject => ({
  kind: "chain",
  namespace: host,
  family: "ip",
  name,
  rules,
});
export const port = (key: string, value: string): PlanObject => ({
  kind: "element",
  namespace: host,
  family: "ip",
  set: "published",
  key,
  value,
});
export const create = (object: PlanObject, owner = "network:n"): Step => ({ verb: "create", object, owner });
export const change = (object: PlanObject, was: PlanObject, owner = "network:n"): Step => ({
  verb: "change",
  object,
  was,
  owner,
});
export const remove = (object: PlanObject): Step => ({ verb: "remove", object });
export const refused = (code: string, step: number) => (error: unknown) =>
  error instanceof KernelError && error.code === code && error.step === step;
