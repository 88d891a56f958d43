import type { Network } from "../model/network.ts";
import { createContainers } from "./containers.ts";
import type { Engine } from "./engine.ts";
import { createExecs } from "./execs.ts";
import { HealthChecks } from "./health-checks.ts";
import { createEngineImages } from "./images.ts";
import { Ingress, ingressContainer } from "./ingress.ts";
import { LanAddresses } from "./lan-addresses.ts";
import { Leases } from "./leases.ts";
import { createNetworks } from "./networks.ts";
import { createNodes } from "./nodes.ts";
import { MovedAddresses } from "./moved-addresses.ts";
import { Overlays } from "./overlays.ts";
import type { Parts } from "./parts.ts";
import { ensurePredefined, followSettings } from "./predefined.ts";
import { sweepFiles } from "./sandbox-files.ts";
import { createFileContents } from "./secrets.ts";
import { createServices } from "./services.ts";
import { createSwarm } from "./swarm.ts";
import { createSystem } from "./system.ts";
import { TaskRunner } from "./task-runner.ts";
import { createTasks } from "./tasks.ts";
import { ensureWayOut } from "./way-out.ts";
import { createVolumes, sweepVolumes } from "./volumes.ts";

export interface RunningEngine extends Engine {
  /**
   * Drops the network `bridge` where it was made by other settings than these. Needs the runtime, and comes before the data
   * plane. @throws {EngineError} conflict while running containers are on it
   */
  followSettings(): Promise<void>;
  /** Makes the networks that are always there. Needs the data plane. */
  ensurePredefined(): Promise<void>;
  /** Puts right what broke off or happened while the daemon was away. Before the first call is served. */
  recover(): Promise<void>;
  /**
   * Takes containers off networks of a swarm that this host is in no more, and looks after where published ports come in: that
   * stays on a node. Needs the membership, and follows `recover`.
   */
  settleMembership(): Promise<void>;
  /** Starts again what shall run. Follows `settleMembership`: who is on a network of the cluster needs its managers. */
  beginRestarts(): void;
  /** Tells the LANs of these networks once more where their containers are: a parent has come back, maybe at another port. */
  announce(networks: readonly Network[]): void;
  /** No restart is begun any more, and no lease renewed. */
  stop(): Promise<void>;
}

/** Docker's verbs over the parts. */
export function createEngine(given: Omit<Parts, "addresses" | "overlays">): RunningEngine {
  const overlays = new Overlays(given, {
    ensureWayOut: () => ensureWayOut(parts),
    disconnect: (network, container) =>
      container === ingressContainer ? ingress.drop() : networks.disconnect(network.id, container, true),
  });
  const parts: Parts = { ...given, addresses: new LanAddresses(given), overlays };
  const networks = createNetworks(parts);
  const ingress = new Ingress(parts, () => ensureWayOut(parts));
  const moved = new MovedAddresses(parts);
  const leases = new Leases(parts);
  const execs = createExecs(parts);
  const health = new HealthChecks(parts, execs);
  const containers = createContainers(parts, {
    execIds: (id) => execs.idsOf(id),
    health: (id) => health.reportOf(id),
  });
  const volumes = createVolumes(parts);
  const images = createEngineImages(parts);
  const runner = new TaskRunner(parts, { containers, images, volumes });
  return {
    networks,
    containers,
    execs,
    volumes,
    images,
    events: parts.bus,
    swarm: createSwarm(parts),
    nodes: createNodes(parts),
    services: createServices(parts),
    tasks: createTasks(parts),
    secrets: createFileContents(parts, "secrets"),
    configs: createFileContents(parts, "configs"),
    system: createSystem(parts, new Date().toISOString()),
    followSettings: () => followSettings(parts),
    ensurePredefined: () => ensurePredefined(parts),
    async recover() {
      await containers.recover();
      await Promise.all([sweepVolumes(parts), sweepFiles(parts)]);
      leases.start();
      health.start();
      parts.overlays.start();
      moved.start();
    },
    async settleMembership() {
      if (!parts.membership.isInSwarm) await parts.overlays.leave();
      ingress.start();
    },
    beginRestarts() {
      containers.beginRestarts();
      runner.start();
    },
    announce(networks) {
      const rows = parts.store.snapshot();
      const endpoints = networks.flatMap(({ id }) => rows.where("endpoints", "network", id));
      for (const { containerId } of endpoints) parts.addresses.announce(containerId);
    },
    async stop() {
      ingress.stop();
      parts.overlays.stop();
      moved.stop();
      health.stop();
      runner.stop();
      containers.stopAll();
      await leases.stop();
    },
  };
}
