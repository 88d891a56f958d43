import type { Container } from "../model/container.ts";
import type { NetworkSpec } from "../model/network.ts";
import { changesOf } from "../store/changes.ts";
import type { Commit, Snapshot } from "../store/store.ts";
import type { Parts } from "./parts.ts";

/** Tells `docker events` that a container came onto its networks, or left them. */
export function publishAttachments(parts: Parts, container: Container, action: "connect" | "disconnect"): void {
  const rows = parts.store.snapshot();
  for (const { network: name } of container.attachments) {
    const network = rows.list("networks").find((one) => one.id === name || one.spec.name === name);
    if (network !== undefined) publish(parts, action, network.id, network.spec, container.id);
  }
}

/** Tells `docker events` that this host has networks of the swarm from now on, or has them no more (as dockerd does). */
export function publishArrivals(parts: Pick<Parts, "bus">, before: Snapshot, commit: Commit): void {
  for (const { key, old, row } of changesOf("networks", before, commit)) {
    const network = row ?? old;
    if (network?.scope !== "cluster" || (old !== undefined && row !== undefined)) continue;
    publish(parts, row === undefined ? "destroy" : "create", key, network.spec);
  }
}

/** Tells `docker events` of a network, or of a container on it. */
export function publish(
  parts: Pick<Parts, "bus">,
  action: string,
  id: string,
  spec: NetworkSpec,
  container?: string,
): void {
  const type = spec.driver === "none" ? "null" : spec.driver;
  const attributes = { name: spec.name, type, ...(container !== undefined && { container }) };
  parts.bus.publish({ type: "network", action, id, attributes });
}
