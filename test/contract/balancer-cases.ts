import type { Balancer, PublishedView, ServiceView, Target } from "../../src/balancers/balancer.ts";
import { planRouter, planWayIn } from "../../src/balancers/way-in.ts";
import type { Endpoint } from "../../src/model/endpoint.ts";
import type { Owner, PlanObject } from "../../src/model/plan.ts";
import { ingressSandbox } from "../../src/model/sandbox.ts";
import type { VirtualService } from "../../src/model/service.ts";
import { endpointRow, idOf, type NetworkRows, networkRows } from "../support/rows.ts";

/** One service as one sandbox sees it. */
export interface BalancerCase {
  /** Its heading in `plan.golden`. */
  readonly title: string;
  readonly tasks: number;
  /** How many of them are on this host, the first; absent: none. */
  readonly here?: number;
  readonly ipv6?: boolean;
  /** True: in the ingress sandbox, with its `ports`. */
  readonly isPublished?: true;
  readonly service?: Partial<Pick<VirtualService, "balance" | "ports" | "keepsClient" | "idle">>;
}

/** What a balancer is tried with: `export const fixture` of the `testing.ts` in its folder. */
export interface BalancerFixture {
  /** The first is the plainest: the golden shows the others by what they change of it. */
  readonly cases: readonly BalancerCase[];
}

const network = (ipv6: boolean): NetworkRows => networkRows({ number: 1, ipv6 });
const addressesOf = (ipv6: boolean, member: number) =>
  endpointRow(network(ipv6), { member }).addresses.map(({ address }) => address);
const shortId = (first: string, number: number) => idOf(first, number).slice(0, 25);

/** @param number of the service, 1 to 50: two numbers are two services in one sandbox */
export function serviceView(
  { tasks, here = 0, ipv6 = false, isPublished, service }: BalancerCase,
  number = 1,
): ServiceView {
  return {
    service: {
      serviceId: shortId("b", number),
      networkId: shortId("a", 1),
      name: `s${number}`,
      aliases: [],
      addresses: addressesOf(ipv6, 200 + number),
      balance: { by: "rr", local: false },
      keepsClient: true,
      ...service,
      ports: (service?.ports ?? []).map((port) => ({ ...port, published: port.published + number - 1 })),
    },
    targets: Array.from(
      { length: tasks },
      (_, i): Target => ({ taskId: shortId("c", i), addresses: addressesOf(ipv6, 10 + i), isHere: i < here }),
    ),
    sandbox: isPublished === true ? ingressSandbox : idOf("5", 2),
    client: idOf("e", 2),
  };
}

export function publishedView(one: BalancerCase, number = 1): PublishedView {
  const { ipv6 = false } = one;
  const leg = (of: NetworkRows, index: number): Endpoint => ({
    ...endpointRow(of, { member: 2, interfaceName: `eth${index}` }),
    sandboxId: ingressSandbox,
  });
  const outside = leg(networkRows({ number: 18, ipv6 }), 1);
  return { ...serviceView(one, number), entry: { sandbox: ingressSandbox, inside: leg(network(ipv6), 0), outside } };
}

/** Everything that is wanted for a case, by owner, less the sandbox's namespace. */
export function balancerPlans(balancer: Balancer, one: BalancerCase, number = 1): Map<Owner, readonly PlanObject[]> {
  const view = serviceView(one, number);
  const owner: Owner = `service:${view.sandbox}|${view.service.networkId}|${view.service.serviceId}`;
  if (one.isPublished !== true)
    return new Map<Owner, readonly PlanObject[]>([
      [`sandbox:${view.sandbox}`, balancer.planClient(view.sandbox)],
      [owner, balancer.planService(view)],
    ]);
  const published = publishedView(one, number);
  const { entry } = published;
  return new Map<Owner, readonly PlanObject[]>([
    [`sandbox:${view.sandbox}`, [...planRouter(entry), ...balancer.planEntry(entry)]],
    [owner, [...planWayIn(published), ...balancer.planPublished(published)]],
  ]);
}

/** The same without owners. */
export const balancerObjects = (balancer: Balancer, one: BalancerCase, number = 1): PlanObject[] =>
  [...balancerPlans(balancer, one, number).values()].flat();
