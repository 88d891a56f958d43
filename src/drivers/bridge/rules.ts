import type { AddressPool } from "../../model/address-pool.ts";
import type { Family, PlanObject } from "../../model/plan.ts";
import type { NetworkView } from "../driver.ts";
import { bridgeName, chainNames } from "./names.ts";
import type { BridgeOptions } from "./options.ts";

const quoted = (link: string) => `"${link}"`;

/**
 * Chains of one network in one family, and the map elements that lead to them. Their number does not depend on
 * containers or ports. The maps and the base chains that read them are in dataplane/base.ts.
 */
export function networkRules(view: NetworkView, pool: AddressPool, options: BridgeOptions): PlanObject[] {
  const { network } = view;
  const family: Family = pool.subnet.includes(":") ? "ip6" : "ip";
  const bridge = bridgeName(network.id, options);
  const names = chainNames(network.id);
  const chain = (name: string, rules: string[]): PlanObject => ({
    kind: "chain",
    namespace: "host",
    family,
    name,
    rules,
  });
  const element = (set: string, key: string, value?: string): PlanObject => ({
    kind: "element",
    namespace: "host",
    family,
    set,
    key,
    ...(value !== undefined && { value }),
  });
  const objects = [
    element("bridges", quoted(bridge)),
    element("subnets", pool.subnet),
    chain(names.to, rulesTo(view, family, options, bridge)),
    element("to", quoted(bridge), `jump ${names.to}`),
  ];
  if (network.spec.internal)
    objects.push(
      chain(names.from, [`oifname != ${quoted(bridge)} drop`]),
      element("from", quoted(bridge), `jump ${names.from}`),
    );
  else if (options.gatewayMode[family] !== "routed")
    objects.push(
      chain(names.leaving, rulesLeaving(family, options, bridge)),
      element("leaving", pool.subnet, `jump ${names.leaving}`),
    );
  return objects;
}

/** What may be forwarded into the bridge. Answers to what its containers began were accepted before. */
function rulesTo(view: NetworkView, family: Family, options: BridgeOptions, bridge: string): string[] {
  const ping = family === "ip" ? "icmp" : "ipv6-icmp";
  const trusted = options.trustedInterfaces.map((link) => `iifname ${quoted(link)} accept`);
  if (view.network.spec.internal) return [`iifname ${quoted(bridge)} ${options.icc ? "accept" : "drop"}`, "drop"];
  // A container's own published port, reached through the host's address, comes from its own bridge.
  const translated = "ct status dnat accept";
  const neighbours = `iifname ${quoted(bridge)} ${options.icc ? "accept" : "drop"}`;
  switch (options.gatewayMode[family]) {
    case "nat-unprotected":
      return [translated, neighbours, ...trusted, "iifname @bridges drop", "accept"];
    case "routed":
      return [
        neighbours,
        ...trusted,
        `${family} daddr . meta l4proto . th dport @open accept`,
        `meta l4proto ${ping} accept`,
        "drop",
      ];
    default:
      return [translated, neighbours, ...trusted, "drop"];
  }
}

/**
 * What is written over the source of packets from the network's subnet. Back into the same bridge only for a
 * published port: else the neighbour would answer the sender directly, past the translation.
 */
function rulesLeaving(family: Family, options: BridgeOptions, bridge: string): string[] {
  const source = options.hostAddress[family];
  const rules = [`oifname ${quoted(bridge)} ct status dnat masquerade`, `oifname ${quoted(bridge)} return`];
  if (options.masquerade) rules.push(source === undefined ? "masquerade" : `snat to ${source}`);
  return rules;
}
