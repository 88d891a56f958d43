import { isDeepStrictEqual } from "node:util";
import { releaseAddresses } from "../ipam/claim.ts";
import { notFound, rpcError } from "../lib/errors.ts";
import { revised } from "../model/cluster.ts";
import type { NetworkId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import { type FileReference, type Service, type ServiceSpec, type VirtualService } from "../model/service.ts";
import { readServiceLabels } from "../model/service-labels.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import { claimAddresses } from "./attachments.ts";
import { newSwarmId } from "./identity/names.ts";
import { ingressIn } from "./networks.ts";
import { claimPorts, releasePorts } from "./service-ports.ts";

/** True when a port of it is published on every node: its tasks are on the ingress network. */
export const isOnIngress = ({ endpoint }: ServiceSpec): boolean =>
  endpoint.ports.some(({ mode }) => mode === "ingress");
const isJob = ({ mode }: ServiceSpec) => mode.kind === "replicated-job" || mode.kind === "global-job";

/**
 * Makes a service: its name, its published ports and an address of each family on each of its networks are claimed.
 * @throws {EngineError} conflict for a name; invalid for a port that somebody has, naming who, and for a secret or
 *   config that there is not; as `claimAddress`
 */
export function openService(tx: Transaction, spec: ServiceSpec, now: number): Service {
  if (tx.get("names", `service|${spec.name}`) !== undefined)
    throw rpcError("AlreadyExists", `name conflicts with an existing object: service ${spec.name} already exists`);
  const id = newSwarmId();
  const bare: Service = {
    id,
    version: 1,
    createdAt: now,
    updatedAt: now,
    spec,
    templateVersion: 1,
    virtualAddresses: [],
    ports: [],
    ...(isJob(spec) && { job: { iteration: 0, startedAt: now } }),
  };
  tx.insert("names", { kind: "service", name: spec.name, id });
  const service = { ...bare, ...claim(tx, bare, spec) };
  tx.insert("services", service);
  return service;
}

/**
 * Gives a service another spec: what the new one has no more is given back, what stays keeps its addresses and numbers.
 * @throws {EngineError} not-implemented for another name or mode; as `openService`
 */
export function changeService(tx: Transaction, service: Service, spec: ServiceSpec, now: number): Service {
  if (spec.mode.kind !== service.spec.mode.kind) throw rpcError("Unimplemented", "service mode change is not allowed");
  if (spec.name !== service.spec.name) throw rpcError("Unimplemented", "renaming services is not supported");
  const { update: _, ...rest } = service;
  const isSame = isDeepStrictEqual(tasksOf(spec), tasksOf(service.spec));
  // Versions of a row are never used twice; those of its template, therefore, neither.
  const templateVersion = isSame ? service.templateVersion : service.version + 1;
  return put(tx, rest, { spec, templateVersion }, now);
}

/**
 * Goes back to what was before the last update. When the user has asked for it, there is a way back from there, too
 * (moby/swarmkit manager/controlapi, manager/orchestrator/update).
 * @param message why, for `UpdateStatus` @throws {EngineError} invalid without a spec to go back to; as `openService`
 */
export function rollBackService(
  tx: Transaction,
  service: Service,
  { message, byUser = false }: { readonly message: string; readonly byUser?: boolean },
  now: number,
): Service {
  const { previous } = service;
  if (previous === undefined)
    throw rpcError("FailedPrecondition", `service ${service.id} does not have a previous spec`);
  const update = { state: "rollback_started", startedAt: now, message } as const;
  const { update: _update, ...rest } = service;
  // A job has no tasks to replace one after the other: what follows is another run of it, as after an update.
  const after = put(tx, isJob(service.spec) ? rest : { ...rest, update }, previous, now);
  if (byUser) return after;
  const { previous: _, ...settled } = after;
  tx.put("services", settled);
  return settled;
}

/** Gives back all that a service has claimed. Its tasks end by the orchestrator. */
export function closeService(tx: Transaction, service: Service): void {
  releaseAddresses(tx, service.id);
  releasePorts(tx, service.id, service.ports);
  for (const { networkId } of tx.where("virtualServices", "service", service.id))
    tx.delete("virtualServices", `${service.id}|${networkId}`);
  tx.delete("names", `service|${service.spec.name}`);
  tx.delete("services", service.id);
}

function put(
  tx: Transaction,
  before: Service,
  { spec, templateVersion }: NonNullable<Service["previous"]>,
  now: number,
): Service {
  const previous = { spec: before.spec, templateVersion: before.templateVersion };
  const claimed = claim(tx, before, spec);
  const job = before.job && { job: { iteration: before.job.iteration + 1, startedAt: now } };
  const after = revised<Service>(before, { spec, templateVersion, previous, ...claimed, ...job }, now);
  tx.put("services", after);
  return after;
}

/** What tasks are made from: another one makes them anew. Where they are placed is no part of it: those that fit stay. */
function tasksOf(spec: ServiceSpec): object {
  const { shown: _, serviceLabels: _labels, registryAuth: _auth, placement: _placement, ...template } = spec.task;
  return {
    template,
    hostPorts: spec.endpoint.ports.filter(({ mode }) => mode === "host"),
    isOnIngress: isOnIngress(spec),
  };
}

/** @param before what the service has already */
function claim(
  tx: Transaction,
  before: Pick<Service, "id" | "virtualAddresses" | "ports">,
  spec: ServiceSpec,
): Pick<Service, "virtualAddresses" | "ports"> {
  checkFiles(tx, "secrets", spec.task.secrets);
  checkFiles(tx, "configs", spec.task.configs);
  const networks = networksOf(tx, spec);
  const claimed = {
    ports: claimPorts(tx, before, spec.endpoint.ports),
    virtualAddresses: spec.endpoint.mode === "vip" ? claimVirtual(tx, before, networks) : releaseAll(tx, before),
  };
  writeVirtualServices(tx, before.id, spec, networks, claimed);
  return claimed;
}

/** @throws {EngineError} invalid, with swarmkit's text, naming those that there are not */
function checkFiles(rows: Snapshot, table: "secrets" | "configs", references: readonly FileReference[]): void {
  const missing = references.filter(({ id, name }) => rows.get(table, id)?.name !== name).map(({ name }) => name);
  if (missing.length > 0)
    throw rpcError(
      "InvalidArgument",
      `${missing.length === 1 ? table.slice(0, -1) : table} not found: ${missing.join(", ")}`,
    );
}

/** The ingress network first, as Docker has it. */
function networksOf(rows: Snapshot, spec: ServiceSpec): Network[] {
  const own = spec.task.networks.map(({ network: id }) => {
    const network = rows.get("networks", id);
    if (network === undefined) throw notFound(`network ${id} not found`);
    if (network.spec.ingress)
      throw rpcError(
        "InvalidArgument",
        `Service cannot be explicitly attached to the ingress network ${JSON.stringify(network.spec.name)}`,
      );
    return network;
  });
  if (!isOnIngress(spec)) return own;
  const ingress = ingressIn(rows);
  if (ingress === undefined)
    throw rpcError("FailedPrecondition", "service needs ingress network, but no ingress network is present");
  return [ingress, ...own];
}

function claimVirtual(
  tx: Transaction,
  { id, virtualAddresses }: Pick<Service, "id" | "virtualAddresses">,
  networks: readonly Network[],
): Service["virtualAddresses"] {
  const wanted = new Set(networks.map((network) => network.id));
  const gone = virtualAddresses.filter(({ network }) => !wanted.has(network));
  for (const { network } of gone) releaseOn(tx, id, network);
  return networks.map(({ id: network }) => {
    const known = virtualAddresses.find((one) => one.network === network);
    return known ?? { network, addresses: claimAddresses(tx, tx.where("pools", "network", network), { owner: id }) };
  });
}

function releaseOn(tx: Transaction, owner: string, network: NetworkId): void {
  const pools = new Set(tx.where("pools", "network", network).map(({ id }) => id));
  releaseAddresses(tx, owner, (pool) => pools.has(pool));
}

function releaseAll(tx: Transaction, { id }: Pick<Service, "id">): [] {
  releaseAddresses(tx, id);
  return [];
}

function writeVirtualServices(
  tx: Transaction,
  serviceId: string,
  spec: ServiceSpec,
  networks: readonly Network[],
  { virtualAddresses, ports }: Pick<Service, "virtualAddresses" | "ports">,
): void {
  const { keepsClient, idle } = readServiceLabels(spec.labels);
  const rows = networks.map(
    ({ id: networkId, spec: { ingress } }): VirtualService => ({
      serviceId,
      networkId,
      name: spec.name,
      aliases: spec.task.networks.find(({ network }) => network === networkId)?.aliases ?? [],
      addresses:
        virtualAddresses.find(({ network }) => network === networkId)?.addresses.map(({ address }) => address) ?? [],
      ports: ingress ? ports.filter(({ mode }) => mode === "ingress") : [],
      balance: spec.balance,
      keepsClient,
      ...(idle !== undefined && { idle }),
    }),
  );
  for (const { networkId } of tx.where("virtualServices", "service", serviceId))
    if (!rows.some((row) => row.networkId === networkId)) tx.delete("virtualServices", `${serviceId}|${networkId}`);
  for (const row of rows) tx.put("virtualServices", row);
}
