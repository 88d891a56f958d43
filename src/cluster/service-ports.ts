import { rpcError } from "../lib/errors.ts";
import type { Service, ServicePort } from "../model/service.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import { holderAnywhere } from "./node-ports.ts";

/** Where numbers come from that nobody has chosen (moby/swarmkit manager/allocator/portallocator.go). */
const dynamic = { first: 30_000, last: 32_767 } as const;

type Holder = Pick<Service, "id" | "ports">;
const numberOf = ({ protocol, published }: ServicePort) => `${protocol}|${published}`;

/**
 * Claims what a service publishes on every node, and gives back what it publishes no more. A port without a number keeps the
 * one that it was given before.
 * @returns the ports with their numbers @throws {EngineError} invalid for one that another service, or somebody on a node, has, naming it
 */
export function claimPorts(tx: Transaction, before: Holder, wished: readonly ServicePort[]): ServicePort[] {
  const others = wished.length === 0 ? new Map<string, Service>() : hostPortsOfOthers(tx, before.id);
  for (const port of wished) checkFree(tx, before.id, port, others);
  const kept = new Set(wished.filter(({ published }) => published !== 0).map(numberOf));
  const given = wished.map((port) => {
    if (port.published !== 0 || port.mode === "host") return port;
    const again = before.ports.find((old) => isSamePort(old, port) && !kept.has(numberOf(old)));
    const chosen = again ?? { ...port, published: freeNumber(tx, port, kept, others) };
    kept.add(numberOf(chosen));
    return { ...port, published: chosen.published };
  });
  releasePorts(
    tx,
    before.id,
    before.ports.filter((port) => !kept.has(numberOf(port))),
  );
  for (const port of given)
    if (port.mode === "ingress") tx.put("names", { kind: "published", name: numberOf(port), id: before.id });
  // What was published on every node, and is on its tasks' nodes only now, is anybody's again.
  releasePorts(
    tx,
    before.id,
    given.filter(({ mode }) => mode === "host"),
  );
  return given;
}

/** Gives back those of the ports that the service has claimed. */
export function releasePorts(tx: Transaction, id: string, ports: readonly ServicePort[]): void {
  for (const port of ports) {
    const key = `published|${numberOf(port)}`;
    if (tx.get("names", key)?.id === id) tx.delete("names", key);
  }
}

const isSamePort = (a: ServicePort, b: ServicePort) =>
  a.name === b.name && a.protocol === b.protocol && a.target === b.target && a.mode === b.mode;

/** Ports of mode `host` that other services have; several may have one. */
function hostPortsOfOthers(rows: Snapshot, id: string): Map<string, Service> {
  const found = rows
    .list("services")
    .filter((service) => service.id !== id)
    .flatMap((service) =>
      service.ports
        .filter(({ mode, published }) => mode === "host" && published !== 0)
        .map((port) => [numberOf(port), service] as const),
    );
  return new Map(found);
}

/** @throws {EngineError} invalid, with swarmkit's texts (manager/controlapi/service.go, checkPortConflicts) */
function checkFree(rows: Snapshot, id: string, port: ServicePort, others: ReadonlyMap<string, Service>): void {
  if (port.published === 0) return;
  const claimed = rows.get("names", `published|${numberOf(port)}`);
  const holder = claimed?.id === id ? undefined : claimed?.id;
  if (holder !== undefined) {
    const name = rows.get("services", holder)?.spec.name ?? "";
    throw taken(port, name, holder, "an ingress port");
  }
  if (port.mode === "host") return;
  const other = others.get(numberOf(port));
  if (other !== undefined) throw taken(port, other.spec.name, other.id, "a host-published port");
  const someone = claimed === undefined ? holderAnywhere(rows, port) : undefined;
  if (someone !== undefined)
    throw rpcError("InvalidArgument", `port '${port.published}' is already in use by ${someone}`);
}

const taken = ({ published }: ServicePort, name: string, id: string, as: string) =>
  rpcError("InvalidArgument", `port '${published}' is already in use by service '${name}' (${id}) as ${as}`);

function freeNumber(
  rows: Snapshot,
  port: ServicePort,
  own: ReadonlySet<string>,
  others: ReadonlyMap<string, Service>,
): number {
  for (let published: number = dynamic.first; published <= dynamic.last; published += 1) {
    const key = numberOf({ ...port, published });
    const isClaimed = own.has(key) || others.has(key) || rows.get("names", `published|${key}`) !== undefined;
    if (!isClaimed && holderAnywhere(rows, { ...port, published }) === undefined) return published;
  }
  throw rpcError(
    "InvalidArgument",
    `no port from ${dynamic.first} to ${dynamic.last} is free for ${port.protocol} port ${port.target}: say one with --publish`,
  );
}
