import { randomBytes } from "node:crypto";
import { EngineError, forbidden, invalid, notFound, system } from "../lib/errors.ts";
import { failpoint } from "../lib/failpoint.ts";
import type { Attachment, Container } from "../model/container.ts";
import type { Network } from "../model/network.ts";
import type { Claim } from "../model/peer.ts";
import { rowsNamed } from "../store/named.ts";
import type { Snapshot } from "../store/store.ts";
import { addEndpoint, assignGateways, checkAliases, checkAttachment, removeEndpoint } from "./attachments.ts";
import { rowsWith } from "./cluster-networks.ts";
import { isRunning } from "./containers.ts";
import { containerNamed } from "./lookup.ts";
import { publish } from "./network-events.ts";
import type { Parts } from "./parts.ts";
import { refreshFiles } from "./sandbox-files.ts";
import { encryptionReady } from "./encryption.ts";
import { ownersOn, portChoices, removalSettled, withClaim } from "./sandboxes.ts";

const withoutNetwork =
  "container sharing network namespace with another container or host cannot be connected to any other network";

/** `docker network connect`. @throws {EngineError} with Docker's texts; nothing is left behind */
export async function connect(
  parts: Parts,
  reference: string,
  name: string,
  wish: Omit<Attachment, "network">,
): Promise<void> {
  const { id } = containerNamed(parts.store.snapshot(), name);
  await parts.locks.run(id, async () => {
    const container = containerNamed(parts.store.snapshot(), id);
    const isOn = (network: Network | undefined) =>
      network !== undefined && container.attachments.some((one) => one.network === network.id);
    const [here] = rowsNamed(parts.store.snapshot(), "networks", reference);
    const hasPlace = parts.store.snapshot().get("sandboxes", id) !== undefined;
    const claims =
      hasPlace && !isOn(here) ? await parts.overlays.claim(container, [{ ...wish, network: reference }]) : [];
    try {
      await connectClaimed(parts, container, rowsWith(parts, claims[0]?.networkId ?? reference), wish, claims[0]);
    } catch (error) {
      parts.overlays.release(id, claims);
      throw error;
    }
  });
}

async function connectClaimed(
  parts: Parts,
  container: Container,
  { rows, network }: { readonly rows: Snapshot; readonly network: Network },
  wish: Omit<Attachment, "network">,
  claim: Claim | undefined,
): Promise<void> {
  const { id, name } = container;
  if (network.spec.configOnly)
    throw forbidden(`cannot connect container ${name} to configuration network ${network.spec.name}`);
  checkConnect(rows, container, network, wish);
  const attachment: Attachment = { ...wish, network: network.id };
  const endpointId = claim?.id ?? randomBytes(32).toString("hex");
  const attachments = [...container.attachments, attachment];
  const hasSandbox = parts.store.snapshot().get("sandboxes", id) !== undefined;
  const choices = await choicesHere(parts, container, attachments);
  const { revision } = await parts.addresses.prepared(container, hasSandbox ? [attachment] : [], ([prepared]) => {
    failpoint("network.connect.before-store");
    return parts.store.update((tx) => {
      const row = tx.get("containers", id) ?? container;
      tx.put("containers", { ...row, attachments });
      if (prepared === undefined) return;
      addEndpoint(tx, row, attachment, endpointId, withClaim(prepared, claim));
      assignGateways(tx, row, choices);
    });
  });
  failpoint("network.connect.after-store");
  try {
    await settledHere(parts, id, revision);
    await encryptionReady(parts, id);
    parts.addresses.announce(id);
  } catch (error) {
    await takeOff(parts, container, container.attachments, network);
    throw error;
  }
  failpoint("network.connect.after-kernel");
  publish(parts, "connect", network.id, network.spec, id);
}

function checkConnect(rows: Snapshot, container: Container, network: Network, wish: Omit<Attachment, "network">): void {
  const mode = container.spec.networkMode;
  if (network.spec.driver === "host")
    throw invalid("cannot connect container to host network - container must be created in host network mode");
  if (mode === "host" || mode.startsWith("container:")) throw invalid(withoutNetwork);
  const isNone = (a: Attachment) => a.network === "none" || rows.get("networks", a.network)?.spec.driver === "none";
  if (network.spec.driver === "none" || container.attachments.some(isNone))
    throw invalid("container cannot be connected to multiple networks with one of the networks in private (none) mode");
  const names = [network.id, network.spec.name];
  if (
    container.attachments.some(
      (a) => names.includes(a.network) || (a.network === "default" && network.spec.name === "bridge"),
    )
  )
    throw forbidden(`endpoint with name ${container.name} already exists in network ${network.spec.name}`);
  checkAttachment(rows, network, wish);
  checkAliases(wish.aliases, container.name);
}

/** Waits for a running container's sandbox and all its endpoints, then renews its hosts and resolv.conf. */
async function settledHere(parts: Parts, id: string, revision: number): Promise<void> {
  const rows = parts.store.snapshot();
  const sandbox = rows.get("sandboxes", id);
  if (sandbox === undefined) return;
  await Promise.all(ownersOn(rows, id).map((owner) => parts.dataplane.settled(owner, revision)));
  if (sandbox.resolver) await parts.resolver.open(id);
  await refreshFiles(parts, id);
}

/** What does not run publishes nothing. */
const choicesHere = async (parts: Parts, container: Container, attachments: readonly Attachment[]) =>
  parts.store.snapshot().get("sandboxes", container.id) === undefined ? [] : portChoices(parts, container, attachments);

/** A published port that cannot be had where the gateway is now is lost, as Docker has it: the container is off nevertheless. */
async function takeOff(
  parts: Parts,
  container: Container,
  attachments: readonly Attachment[],
  network: Network,
): Promise<void> {
  const gone: string[] = [];
  const lost: Error[] = [];
  const choices = await choicesHere(parts, container, attachments);
  const { revision } = await parts.store.update((tx) => {
    gone.length = 0;
    lost.length = 0;
    const row = tx.get("containers", container.id) ?? container;
    const claims = row.claims?.filter(({ networkId }) => networkId !== network.id);
    tx.put("containers", { ...row, attachments, ...(claims && { claims }) });
    for (const endpoint of tx.where("endpoints", "sandbox", container.id)) {
      if (endpoint.networkId !== network.id) continue;
      gone.push(endpoint.id);
      removeEndpoint(tx, endpoint.id);
      assignGateways(tx, row, choices, (error) => lost.push(error));
    }
  });
  for (const err of lost) parts.log.warn({ err, container: container.name }, "a port is published no more");
  await removalSettled(
    parts,
    gone.map((id) => `endpoint:${id}` as const),
    revision,
  );
  await settledHere(parts, container.id, revision);
}

/** `docker network disconnect`. @throws {EngineError} with Docker's texts */
export async function disconnect(parts: Parts, reference: string, name: string, force: boolean): Promise<void> {
  const { network } = rowsWith(parts, reference);
  const container = toDisconnect(parts.store.snapshot(), name, force);
  if (network.spec.driver === "host")
    throw invalid("cannot disconnect container from host network - container was created in host network mode");
  await parts.locks.run(container.id, async () => {
    const current = containerNamed(parts.store.snapshot(), container.id);
    const names = [network.id, network.spec.name];
    const attachments = current.attachments.filter(
      (a) => !names.includes(a.network) && !(a.network === "default" && network.spec.name === "bridge"),
    );
    if (attachments.length === current.attachments.length) {
      const text = isRunning(current) ? "network" : "the network";
      throw system(`container ${current.id} is not connected to ${text} ${network.spec.name}`);
    }
    failpoint("network.disconnect.before-store");
    await takeOff(parts, current, attachments, network);
    publish(parts, "disconnect", network.id, network.spec, current.id);
  });
}

/** By force an endpoint without a container could be taken off: here there are none (moby daemon/network.go ForceEndpointDelete). */
function toDisconnect(rows: Snapshot, name: string, force: boolean): Container {
  try {
    return containerNamed(rows, name);
  } catch (error) {
    const isGone = error instanceof EngineError && error.class === "not-found";
    throw force && isGone ? notFound(`endpoint ${name} not found`) : error;
  }
}
