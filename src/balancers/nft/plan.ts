/*
 * The way of one packet
 *
 * Container A (10.0.1.2) asks the service at its virtual address 10.0.1.9, which nobody has. The first packet of the connection
 * meets the chain `output` of A's own sandbox: the map `services` has the number of `rr_3`, for a service of three tasks; `rr_3` takes
 * the next number, and the map `members` has a task for the address and that number: 10.0.1.4. Connection tracking writes
 * that over the destination of this packet and of all that follow, and the virtual address over the source of the answers.
 * Nothing is written over A's address: the task sees who asks, and answers A on the network.
 *
 * A service without a task is refused at once. When a task is gone its connections are forgotten (dataplane/connections.ts): the
 * next packet of such a connection is taken for a new one, and the task that gets it resets it; a datagram just goes there.
 *
 * A request from outside to a published port was led by the host to the ingress sandbox (way-in.ts). There `prerouting` does the
 * same by protocol and port, and the task sees the client's own address; how its answer finds back is in way-back.ts.
 */
import { cidrText, masked, parseCidr } from "../../lib/net.ts";
import { type Family, familyOf, type NamespaceName, type PlanObject } from "../../model/plan.ts";
import { type EntryView, type PublishedView, type ServiceView, targetsIn } from "../balancer.ts";
import { byAddress, byPort, type Choice, mostShared, shareNumber, shareRules } from "./shares.ts";

/** Makes objects of the table `tombolo` of one sandbox and family. */
interface Table {
  readonly family: Family;
  element(set: string, key: string, value?: string): PlanObject;
  chain(name: string, rules: readonly string[]): PlanObject;
  timeout(name: string, seconds: number): PlanObject;
}

function tableOf(namespace: NamespaceName, family: Family): Table {
  const place = { namespace, family };
  return {
    family,
    element: (set, key, value) => ({ kind: "element", ...place, set, key, ...(value !== undefined && { value }) }),
    chain: (name, rules) => ({ kind: "chain", ...place, name, rules }),
    timeout: (name, seconds) => ({ kind: "timeout", ...place, name, seconds }),
  };
}

/** In a client's sandbox: elements by each virtual address. */
export function planService(view: ServiceView): PlanObject[] {
  return view.service.addresses.flatMap((address) => {
    const table = tableOf(`sandbox:${view.sandbox}`, familyOf(address));
    const targets = targetsIn(view, table.family);
    const share = shareOf(view, targets.length, table, byAddress);
    return [
      ...idleOf(view, table, [address]),
      ...share.chains,
      share.leads(address),
      ...targets.map((target, number) => table.element("members", `${address} . ${number}`, target)),
    ];
  });
}

/** In the ingress sandbox: elements by each published port. */
export function planPublished(view: PublishedView): PlanObject[] {
  const ports = view.service.ports.filter(({ mode }) => mode === "ingress");
  if (ports.length === 0) return [];
  return view.entry.inside.addresses.flatMap(({ address }) => {
    const family = familyOf(address);
    const table = tableOf(`sandbox:${view.sandbox}`, family);
    const targets = targetsIn(view, family);
    const share = shareOf(view, targets.length, table, byPort);
    const elements = ports.flatMap(({ protocol, published, target: port }) => {
      const key = `${protocol} . ${published}`;
      return [
        ...(view.service.keepsClient ? [] : [table.element("hiding", key)]),
        share.leads(key),
        ...targets.map((target, number) => table.element("members", `${key} . ${number}`, `${target} . ${port}`)),
      ];
    });
    const keys = ports.flatMap(({ protocol, published }) => (protocol === "tcp" ? `tcp . ${published}` : []));
    return [...idleOf(view, table, keys), ...share.chains, ...elements];
  });
}

/** In the ingress sandbox: where requests come in, and whose addresses mean nothing elsewhere. */
export const planEntry = ({ sandbox, outside }: EntryView): PlanObject[] =>
  outside.addresses.flatMap(({ address, prefix }) => {
    const table = tableOf(`sandbox:${sandbox}`, familyOf(address));
    const subnet = parseCidr(`${address}/${prefix}`);
    return [
      table.element("ways_in", `"${outside.interfaceName}"`),
      ...(subnet === undefined ? [] : [table.element("near", cidrText(masked(subnet)))]),
    ];
  });

/** What has idle connections forgotten sooner than Linux does by itself, where the service says so. @param keys in the map `idles` */
function idleOf({ service }: ServiceView, table: Table, keys: readonly string[]): PlanObject[] {
  const { idle, serviceId, networkId } = service;
  if (idle === undefined || keys.length === 0) return [];
  const seconds = Math.max(1, Math.round(idle / 1000));
  const name = `idle_${seconds}_${serviceId}_${networkId}`;
  return [
    table.timeout(name, seconds),
    table.chain(name, [`meta l4proto tcp ct timeout set "${name}"`]),
    ...keys.map((key) => table.element("idles", key, `jump ${name}`)),
  ];
}

interface Share {
  /** To be made for this service alone. */
  readonly chains: readonly PlanObject[];
  /** The element by which a virtual address or a published port leads to the chain. */
  readonly leads: (key: string) => PlanObject;
}

/** What shares out a service's connections. */
function shareOf({ service }: ServiceView, count: number, table: Table, choose: Choice): Share {
  const { by } = service.balance;
  const way = by === "least" ? "rr" : by;
  if (count <= mostShared)
    return { chains: [], leads: (key) => table.element("services", key, String(shareNumber(way, count))) };
  const name = `share_${service.serviceId}_${service.networkId}`;
  const chains = [table.chain(name, shareRules(way, count, table.family, choose))];
  return { chains, leads: (key) => table.element("chains", key, `goto ${name}`) };
}
