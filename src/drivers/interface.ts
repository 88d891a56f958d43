import type { Endpoint, EndpointAddress } from "../model/endpoint.ts";
import { familyOf, type NamespaceName, type PlanObject } from "../model/plan.ts";
import type { EndpointView } from "./driver.ts";

/** The container's side of an endpoint: the same whatever its interface is. */
export { familyOf } from "../model/plan.ts";
/** sysctl(8) separates by dots, so a dot inside an interface name is written as a slash. */
export const sysctlName = (link: string) => link.replaceAll(".", "/");
export const insideOf = ({ sandbox }: EndpointView): NamespaceName => `sandbox:${sandbox.id}`;

/** Sysctls, then addresses, of the endpoint's interface. */
export function interfaceObjects({ endpoint, ...view }: EndpointView): PlanObject[] {
  const inside = insideOf({ endpoint, ...view });
  return [...interfaceSysctls(endpoint, inside), ...interfaceAddresses(endpoint, inside)];
}

/** The user's come last, and win. Without IPv6 on the network the interface has none at all (CVE-2024-32473). */
function interfaceSysctls(endpoint: Endpoint, namespace: NamespaceName): PlanObject[] {
  const ipv6 = `net.ipv6.conf.${sysctlName(endpoint.interfaceName)}`;
  const six =
    endpoint.addresses.some((a) => familyOf(a.address) === "ip6") || endpoint.linkLocal.some((a) => a.includes(":"));
  const values = { [`${ipv6}.disable_ipv6`]: six ? "0" : "1", [`${ipv6}.accept_ra`]: "0", ...endpoint.sysctls };
  return Object.entries(values).map(([key, value]) => ({ kind: "sysctl", namespace, key, value }));
}

function interfaceAddresses(endpoint: Endpoint, namespace: NamespaceName): PlanObject[] {
  const cidrs = [
    ...endpoint.addresses.map((a) => `${a.address}/${a.prefix}`),
    // The prefix lengths that Docker gives them (moby libnetwork/endpoint.go).
    ...endpoint.linkLocal.map((a) => `${a}/${a.includes(":") ? 64 : 16}`),
  ];
  return cidrs.map((address) => ({ kind: "address", namespace, link: endpoint.interfaceName, address }));
}

/**
 * Only the endpoint that the sandbox names has the default route of a family.
 * @param via false: everybody is asked for on the link itself, without a gateway
 */
export function defaultRoutes(view: EndpointView, via = true): PlanObject[] {
  const { network, endpoint, sandbox } = view;
  if (network.spec.internal) return [];
  const owned = (a: EndpointAddress) => (a.address.includes(":") ? sandbox.gateway6 : sandbox.gateway4) === endpoint.id;
  return endpoint.addresses.filter(owned).flatMap((a): PlanObject[] => {
    if (a.gateway === undefined) return [];
    const to = a.address.includes(":") ? "::/0" : "0.0.0.0/0";
    const route = { kind: "route", namespace: insideOf(view), to, link: endpoint.interfaceName } as const;
    return [via ? { ...route, via: a.gateway } : route];
  });
}
