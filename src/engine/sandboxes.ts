import { randomBytes } from "node:crypto";
import { EngineError } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import type { Attachment, Container } from "../model/container.ts";
import type { ContainerId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Claim } from "../model/peer.ts";
import type { Owner } from "../model/plan.ts";
import type { Snapshot, Transaction } from "../store/store.ts";
import { addEndpoint, assignGateways, gatewayNetwork, newSandbox, removeEndpoint } from "./attachments.ts";
import { encryptionReady } from "./encryption.ts";
import { networkNamed } from "./lookup.ts";
import type { Prepared } from "./lan-addresses.ts";
import type { Parts } from "./parts.ts";
import { choosePorts, type Gateway, type Gateways, holdingsOf, type PortChoice, portWishes } from "./ports.ts";
import { dnsOf } from "./sandbox-files.ts";

/** True for containers with a network namespace of their own. */
export const hasSandbox = (container: Container) =>
  container.spec.networkMode !== "host" && !container.spec.networkMode.startsWith("container:");

/** Host ports for what a container publishes when it has these attachments, by the networks that are its gateways then. */
export async function portChoices(
  parts: Parts,
  container: Container,
  attachments: readonly Attachment[],
): Promise<PortChoice[]> {
  const wishes = portWishes(container);
  const rows = parts.store.snapshot();
  if (wishes.length === 0) return [];
  const of = (family: 4 | 6) => {
    const network = gatewayNetwork(rows, attachments, family);
    // On a LAN a container is reached at its own address.
    if (network === undefined || parts.drivers.get(network.spec.driver)?.lan !== undefined) return undefined;
    return gatewayBy(parts, network, family);
  };
  const v4 = of(4);
  const v6 = of(6);
  const gateways: Gateways = { ...(v4 && { 4: v4 }), ...(v6 && { 6: v6 }) };
  return choosePorts(wishes, gateways, { rows, host: parts.host, held: holdingsOf(rows, container.id) });
}

function gatewayBy({ settings }: Parts, { spec: { options } }: Network, family: 4 | 6): Gateway {
  const bound = options["com.docker.network.bridge.host_binding_ipv4"] ?? settings.hostBinding;
  const isRouted = options[`com.docker.network.bridge.gateway_mode_ipv${family}`] === "routed";
  return { hostIp: family === 6 ? "::" : bound, isRouted };
}

/**
 * Makes the namespace of a container that is about to run, with an endpoint on each of its networks.
 * @throws {EngineError} with Docker's texts; nothing is left behind
 */
export async function openSandbox(parts: Parts, container: Container): Promise<void> {
  const claims = await parts.overlays.claim(container, container.attachments);
  try {
    const revision = await writeSandbox(parts, container, claims);
    failpoint("sandbox.open.after-store");
    const rows = parts.store.snapshot();
    const owners: Owner[] = [`sandbox:${container.id}`, ...ownersOn(rows, container.id)];
    await Promise.all(owners.map((owner) => parts.dataplane.settled(owner, revision)));
    await encryptionReady(parts, container.id);
    if (rows.get("sandboxes", container.id)?.resolver) await parts.resolver.open(container.id);
    parts.addresses.announce(container.id);
    failpoint("sandbox.open.after-kernel");
  } catch (error) {
    await closeSandbox(parts, container.id);
    parts.overlays.release(container.id, claims);
    if (error instanceof EngineError && error.class === "not-found") throw error;
    throw new EngineError(
      error instanceof EngineError ? error.class : "system",
      `failed to set up container networking: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

/** The endpoints of a sandbox; where a network may have come with the endpoint, the network too. */
export const ownersOn = (rows: Snapshot, id: ContainerId): Owner[] =>
  rows
    .where("endpoints", "sandbox", id)
    .flatMap((e): Owner[] =>
      rows.get("networks", e.networkId)?.scope === "cluster"
        ? [`network:${e.networkId}`, `endpoint:${e.id}`]
        : [`endpoint:${e.id}`],
    );

/** @returns the revision of the rows */
async function writeSandbox(
  parts: Parts,
  container: Container,
  claims: readonly (Claim | undefined)[],
): Promise<number> {
  const choices = await portChoices(parts, container, container.attachments);
  const ids = container.attachments.map((_, index) => claims[index]?.id ?? randomBytes(32).toString("hex"));
  const { revision } = await parts.addresses.prepared(container, container.attachments, (prepared) => {
    failpoint("sandbox.open.before-store");
    return parts.store.update((tx) => {
      tx.insert("sandboxes", newSandbox(container, dnsOf(parts, container)));
      for (const [index, attachment] of container.attachments.entries()) {
        const [id, own] = [ids[index], prepared[index]];
        const { driver } = networkNamed(tx, attachment.network).spec;
        if (id !== undefined && own !== undefined && parts.drivers.get(driver)?.hasPools)
          addEndpoint(tx, container, attachment, id, withClaim(own, claims[index]));
      }
      assignGateways(tx, container, choices);
      pinNetworks(tx, container);
    });
  });
  return revision;
}

/** What a manager has decided counts. */
export const withClaim = (prepared: Prepared, claim: Claim | undefined): Prepared =>
  claim === undefined ? prepared : { ...prepared, mac: claim.mac, claim };

/**
 * From the first start on, a container's attachments mean networks by id: a new network of the old name is another one. What
 * was kept for it is in its endpoints now.
 */
function pinNetworks(tx: Transaction, container: Container): void {
  const row = tx.get("containers", container.id);
  if (row === undefined) return;
  const { claims: _, ...rest } = row;
  tx.put("containers", {
    ...rest,
    attachments: row.attachments.map((a) => ({ ...a, network: networkNamed(tx, a.network).id })),
  });
}

/** Removes a container's endpoints and namespace in `tx`; one that is restarting keeps its claims. @returns the owners that the kernel must lose */
export function dropSandbox(tx: Transaction, id: ContainerId): Owner[] {
  const owners: Owner[] = [];
  const claims: Claim[] = [];
  for (const { id: endpointId, networkId, mac, addresses } of tx.where("endpoints", "sandbox", id)) {
    owners.push(`endpoint:${endpointId}`);
    if (tx.get("networks", networkId)?.scope === "cluster") claims.push({ id: endpointId, networkId, mac, addresses });
    removeEndpoint(tx, endpointId);
  }
  const container = tx.get("containers", id);
  if (container?.state.status === "restarting" && claims.length > 0) tx.put("containers", { ...container, claims });
  if (tx.get("sandboxes", id) !== undefined) owners.push(`sandbox:${id}`);
  tx.delete("sandboxes", id);
  return owners;
}

/** Removes a container's endpoints and namespace and waits until the kernel has lost them. */
export async function closeSandbox(parts: Parts, id: ContainerId): Promise<void> {
  await parts.resolver.close(id);
  const { result, revision } = await parts.store.update((tx) => dropSandbox(tx, id));
  await removalSettled(parts, result, revision);
}

/** Waits until the kernel has lost what these owners had, and the cluster has it back; what it refuses is logged and tried again by the data plane. */
export async function removalSettled(parts: Parts, owners: readonly Owner[], revision: number): Promise<void> {
  for (const result of await Promise.allSettled(owners.map((owner) => parts.dataplane.settled(owner, revision))))
    if (result.status === "rejected") parts.log.warn({ err: result.reason }, "the kernel kept an object for now");
  const ids = owners.flatMap((owner) => (owner.startsWith("endpoint:") ? owner.slice("endpoint:".length) : []));
  await parts.overlays.released(ids);
}
