import { createHash } from "node:crypto";
import { invalid } from "../lib/errors.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { EndpointId, IpAddress, SandboxId } from "../model/ids.ts";
import { type Family, familyOf, type PlanObject } from "../model/plan.ts";
import { type BalancePolicy, serviceLabels, type TaskId, type VirtualService } from "../model/service.ts";

/** A task that takes connections now. */
export interface Target {
  readonly taskId: TaskId;
  readonly addresses: readonly IpAddress[];
  /** True when it is on this host. */
  readonly isHere: boolean;
}

/** A service as one sandbox sees it: rows only. */
export interface ServiceView {
  readonly service: VirtualService;
  /** By their ids: every host has them in the same order. */
  readonly targets: readonly Target[];
  /** Where connections begin. */
  readonly sandbox: SandboxId;
  /** By which endpoint that sandbox is on the service's network. */
  readonly client: EndpointId;
}

/** The ingress sandbox, by its endpoints. */
export interface EntryView {
  readonly sandbox: SandboxId;
  /** On the host's side: what is published leads to it. */
  readonly outside: Endpoint;
  /** On the ingress network, where the tasks are. */
  readonly inside: Endpoint;
}

/** A service as the ingress sandbox sees it, which is its client there. */
export interface PublishedView extends ServiceView {
  readonly entry: EntryView;
}

/** Functions without I/O, clock or randomness: the same view gives the same plan. */
export interface Balancer {
  readonly name: string;
  /** The ways in which it can share out connections; by any other it does what it can. */
  readonly ways: readonly BalancePolicy["by"][];
  /** What a client's sandbox needs, whichever services it sees. */
  planClient(sandbox: SandboxId): readonly PlanObject[];
  /** A service in a client's sandbox: connections to its virtual addresses go to its tasks. */
  planService(view: ServiceView): readonly PlanObject[];
  /** A service in the ingress sandbox: connections that come in for its published ports go to its tasks. */
  planPublished(view: PublishedView): readonly PlanObject[];
  /** What the ingress sandbox needs, whatever is published. */
  planEntry(view: EntryView): readonly PlanObject[];
}

/** @param nodes that have the balancer @throws {EngineError} invalid, when it cannot do what a service asks for */
export function checkPolicy(
  { name, ways }: Pick<Balancer, "name" | "ways">,
  { by }: BalancePolicy,
  nodes: readonly string[],
): void {
  if (ways.includes(by)) return;
  const whose = nodes.toSorted().join(", ");
  throw invalid(
    `${serviceLabels.balance}=${by} is not for the balancer ${name}, which has ${ways.join(", ")}, and is that of ${whose}`,
  );
}

/** The targets that a service's policy leaves: those of this host when it prefers them, and there are any. */
function preferred({ service, targets }: ServiceView): readonly Target[] {
  const here = service.balance.local ? targets.filter(({ isHere }) => isHere) : [];
  return here.length > 0 ? here : targets;
}

/**
 * The tasks' addresses of a family, by their numbers. Each client begins with another task, for most of them ask once; but by
 * `source` an address has the same task on every host.
 */
export function targetsIn(view: ServiceView, family: Family): IpAddress[] {
  const addresses = preferred(view).flatMap((target) => target.addresses.filter((one) => familyOf(one) === family));
  if (view.service.balance.by === "source" || addresses.length < 2) return addresses;
  const turn = createHash("sha256").update(`${view.client} ${view.service.serviceId}`).digest().readUInt32BE();
  const start = turn % addresses.length;
  return [...addresses.slice(start), ...addresses.slice(0, start)];
}
