import type { Balancer, EntryView, PublishedView, ServiceView, Target } from "../balancers/balancer.ts";
import { planWayBack } from "../balancers/way-back.ts";
import { planRouter, planWayIn } from "../balancers/way-in.ts";
import type { EndpointView } from "../drivers/driver.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { EndpointId, NetworkId, SandboxId } from "../model/ids.ts";
import { familyOf, type Owner, type PlanObject } from "../model/plan.ts";
import { ingressSandbox } from "../model/sandbox.ts";
import type { Backend, ServiceId } from "../model/service.ts";
import { reachedBackends } from "../store/reached.ts";
import type { RowKey, Snapshot } from "../store/store.ts";
import { placeOf } from "../store/tables.ts";

type Owned = Extract<Owner, `service:${string}`>;
const ownerOf = (sandbox: SandboxId, network: NetworkId, service: ServiceId): Owned =>
  `service:${sandbox}|${network}|${service}`;

/** A container sees the services of its networks; the ingress sandbox those that are published, and no container does. */
const sees = (rows: Snapshot, { sandboxId, networkId }: Pick<Endpoint, "sandboxId" | "networkId">): boolean =>
  (rows.get("networks", networkId)?.spec.ingress === true) === (sandboxId === ingressSandbox);

const servicesOf = (rows: Snapshot, endpoint: Endpoint): Owned[] =>
  sees(rows, endpoint)
    ? rows
        .where("virtualServices", "network", endpoint.networkId)
        .map(({ serviceId }) => ownerOf(endpoint.sandboxId, endpoint.networkId, serviceId))
    : [];

/** The endpoints by which sandboxes of this host see the services of a network. */
export const clientsOn = (rows: Snapshot, network: NetworkId): readonly Endpoint[] =>
  rows.where("endpoints", "network", network).filter((endpoint) => sees(rows, endpoint));

type Virtual = Pick<Backend, "serviceId" | "networkId">;
const ofVirtual = (rows: Snapshot, { serviceId, networkId }: Virtual): Owned[] =>
  clientsOn(rows, networkId).map(({ sandboxId }) => ownerOf(sandboxId, networkId, serviceId));

/** The owners about services whose plan may be another after this row changed. */
export function serviceOwners(before: Snapshot, rows: Snapshot, { table, key }: RowKey): Owner[] {
  if (table === "virtualServices" || table === "backends")
    return [before.get(table, key), rows.get(table, key)].flatMap((row) => (row ? ofVirtual(rows, row) : []));
  if (table === "ports") return publishedAt(rows, key);
  if (table !== "endpoints" && table !== "peers") return [];
  const states = [before.get(table, key), rows.get(table, key)].filter((row) => row !== undefined);
  const reached = states
    .flatMap((row) => rows.where("backends", "place", placeOf(row)))
    .flatMap((backend) => ofVirtual(rows, backend));
  return table === "peers" ? reached : [...reached, ...clientOwners(before, rows, key)];
}

/** A client that came or went; whose namespace is gone has lost all with it. */
function clientOwners(before: Snapshot, rows: Snapshot, id: EndpointId): Owner[] {
  const [old, row] = [before.get("endpoints", id), rows.get("endpoints", id)];
  const { sandboxId = "", networkId = "" } = row ?? old ?? {};
  const both = [before, rows];
  // What the ingress sandbox does depends on both of its legs, and some of it is on the host.
  if (sandboxId === ingressSandbox)
    return [`sandbox:${sandboxId}`, ...both.flatMap((some) => servicesIn(some, sandboxId))];
  if (rows.get("sandboxes", sandboxId) === undefined) return [];
  const isWide = both.some((some) => some.get("networks", networkId)?.scope === "cluster");
  if (!isWide || (old !== undefined && row !== undefined)) return [];
  return [`sandbox:${sandboxId}`, ...(old ? servicesOf(before, old) : []), ...(row ? servicesOf(rows, row) : [])];
}

/** Services that publish a port which a container of this host takes, or gives back. @param key `<protocol>|<host address>|<port>` */
function publishedAt(rows: Snapshot, key: string): Owned[] {
  const [protocol, , port] = key.split("|");
  return rows
    .where("endpoints", "sandbox", ingressSandbox)
    .flatMap(({ networkId }) => rows.where("virtualServices", "network", networkId))
    .filter(({ ports }) => ports.some((one) => one.protocol === protocol && String(one.published) === port))
    .flatMap((service) => ofVirtual(rows, service));
}

const servicesIn = (rows: Snapshot, sandbox: SandboxId): Owned[] =>
  rows.where("endpoints", "sandbox", sandbox).flatMap((endpoint) => servicesOf(rows, endpoint));

/** Every owner about services that has rows. */
export const allServiceOwners = (rows: Snapshot): Owner[] =>
  rows.list("endpoints").flatMap((endpoint) => servicesOf(rows, endpoint));

/** @param id `<sandbox>|<network>|<service>` */
export function planServiceOf(rows: Snapshot, id: string, balancer: Balancer): readonly PlanObject[] {
  const [sandbox = "", networkId = "", serviceId = ""] = id.split("|");
  const service = rows.get("virtualServices", `${serviceId}|${networkId}`);
  const client = rows.where("endpoints", "sandbox", sandbox).find((one) => one.networkId === networkId);
  if (service === undefined || client === undefined || !sees(rows, client)) return [];
  const view: ServiceView = { service, targets: targetsOf(rows, service), sandbox, client: client.id };
  if (sandbox !== ingressSandbox) return balancer.planService(view);
  const entry = entryOf(rows);
  if (entry === undefined) return [];
  const published = { ...view, service: { ...service, ports: service.ports.filter(isFree(rows)) }, entry };
  return [...balancer.planPublished({ ...view, entry }), ...planWayIn(published)];
}

const anyAddress = ["0.0.0.0", "::"];
/** What a container of this host publishes by itself goes to that. */
const isFree =
  (rows: Snapshot) =>
  ({ protocol, published, address }: PublishedView["service"]["ports"][number]): boolean =>
    !rows
      .where("ports", "number", `${protocol}|${published}`)
      .some(({ hostIp }) => (address === undefined ? anyAddress.includes(hostIp) : hostIp === address));

const targetsOf = (rows: Snapshot, virtual: Virtual): Target[] =>
  reachedBackends(rows, virtual).map(({ backend: { taskId, addresses }, isHere }) => ({ taskId, addresses, isHere }));

/** The ingress sandbox, once it has both legs. */
function entryOf(rows: Snapshot): EntryView | undefined {
  const legs = rows.where("endpoints", "sandbox", ingressSandbox);
  const isInside = ({ networkId }: Endpoint) => rows.get("networks", networkId)?.spec.ingress === true;
  const [inside, outside] = [legs.find(isInside), legs.find((leg) => !isInside(leg))];
  return inside === undefined || outside === undefined ? undefined : { sandbox: ingressSandbox, inside, outside };
}

/** What a sandbox needs for services, whichever they are. */
export function planForServices(rows: Snapshot, sandbox: SandboxId, balancer: Balancer): readonly PlanObject[] {
  const legs = rows.where("endpoints", "sandbox", sandbox);
  if (!legs.some(({ networkId }) => rows.get("networks", networkId)?.scope === "cluster")) return [];
  const entry = sandbox === ingressSandbox ? entryOf(rows) : undefined;
  return [
    // What is late or sent twice still belongs to its connection: untranslated it would end it.
    {
      kind: "sysctl",
      namespace: `sandbox:${sandbox}`,
      key: "net.netfilter.nf_conntrack_tcp_be_liberal",
      value: "1",
    },
    ...(sandbox === ingressSandbox ? [] : balancer.planClient(sandbox)),
    ...(entry === undefined ? [] : [...planRouter(entry), ...balancer.planEntry(entry)]),
  ];
}

/** A task on the ingress network answers through the host where it was asked. */
export function planAnswers(rows: Snapshot, { network, pools, endpoint, sandbox }: EndpointView): PlanObject[] {
  if (!network.spec.ingress || sandbox.id === ingressSandbox) return [];
  const out = (
    [
      ["ip", sandbox.gateway4],
      ["ip6", sandbox.gateway6],
    ] as const
  ).flatMap(([family, id]) => {
    const { addresses = [] } = rows.get("endpoints", id ?? "") ?? {};
    return addresses.flatMap(({ address }) => (familyOf(address) === family ? address : []));
  });
  return planWayBack({ sandbox: sandbox.id, leg: endpoint, pools, out });
}
