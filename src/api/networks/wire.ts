import { z } from "zod";
import type { NetworkDetail } from "../../engine/engine.ts";
import type { AddressPool } from "../../model/address-pool.ts";
import type { Network, NetworkSpec, SubnetSpec } from "../../model/network.ts";
import { boolean, text, textMap } from "../schemas.ts";

const subnet = z.looseObject({ Subnet: text, IPRange: text, Gateway: text, AuxiliaryAddresses: textMap });

/** Body of `POST /networks/create`. */
export const createBody = z.looseObject({
  Name: text,
  Driver: text,
  Scope: text,
  EnableIPv4: boolean,
  EnableIPv6: boolean,
  IPAM: z.looseObject({ Driver: text, Options: textMap, Config: z.array(subnet.nullish()).nullish() }).nullish(),
  Internal: boolean,
  Attachable: boolean,
  Ingress: boolean,
  ConfigOnly: boolean,
  ConfigFrom: z.looseObject({ Network: text }).nullish(),
  Options: textMap,
  Labels: textMap,
});

/** What the client asks for. `EnableIPv4` is known since API 1.48. */
export function readCreateBody(body: z.infer<typeof createBody>, version: number): NetworkSpec {
  const driver = body.Driver || "bridge";
  const from = body.ConfigFrom?.Network;
  return {
    name: body.Name ?? "",
    driver: driver === "null" ? "none" : driver,
    options: body.Options ?? {},
    labels: body.Labels ?? {},
    ipv4: version < 48 ? true : (body.EnableIPv4 ?? true),
    ipv6: body.EnableIPv6 ?? false,
    ipam: {
      driver: body.IPAM?.Driver || "default",
      options: body.IPAM?.Options ?? {},
      subnets: readSubnets(body.IPAM?.Config ?? []),
    },
    internal: body.Internal ?? false,
    attachable: body.Attachable ?? false,
    ingress: body.Ingress ?? false,
    configOnly: body.ConfigOnly ?? false,
    ...(from && { configFrom: from }),
  };
}

/** Docker's client sends them in no order at all: sorted, the same command always gives the same network. */
function readSubnets(list: readonly (z.infer<typeof subnet> | null | undefined)[]): SubnetSpec[] {
  const given = list.filter((entry) => entry !== null && entry !== undefined);
  const key = (s: SubnetSpec) => `${s.subnet?.includes(":") ? 6 : 4} ${s.subnet ?? ""}`;
  return given
    .map((entry) => ({
      ...(entry.Subnet && { subnet: entry.Subnet }),
      ...(entry.IPRange && { range: entry.IPRange }),
      ...(entry.Gateway && { gateway: entry.Gateway }),
      auxiliary: entry.AuxiliaryAddresses ?? {},
    }))
    .toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** A network as `GET /networks` and inspect show it (fields in Docker's order). */
export function networkJson(detail: NetworkDetail, withContainers: boolean): object {
  const { id, createdAt, scope, spec } = detail.network;
  return {
    Name: spec.name,
    Id: id,
    Created: createdAt,
    Scope: scope === "cluster" ? "swarm" : "local",
    Driver: spec.driver === "none" ? "null" : spec.driver,
    EnableIPv4: spec.ipv4,
    EnableIPv6: spec.ipv6,
    IPAM: {
      Driver: spec.ipam.driver,
      Options: Object.keys(spec.ipam.options).length > 0 ? spec.ipam.options : null,
      Config: subnetsJson(detail),
    },
    Internal: spec.internal,
    Attachable: spec.attachable,
    Ingress: spec.ingress,
    ConfigFrom: { Network: spec.configFrom ?? "" },
    ConfigOnly: spec.configOnly,
    Containers: withContainers ? containersJson(detail) : {},
    Options: optionsJson(detail.network),
    Labels: spec.labels,
    ...peersJson(detail),
    ...statusJson(detail),
  };
}

/** An overlay network's identifier on the wire is among its options, as Docker shows it. */
const optionsJson = ({ spec, vni }: Network) =>
  vni === undefined ? spec.options : { ...spec.options, "com.docker.network.driver.overlay.vxlanid_list": String(vni) };

/** The hosts that an overlay network reaches, this one among them (moby api/types/network, PeerInfo). */
function peersJson({ network: { tunnel }, nodeId: own, peers }: NetworkDetail): object {
  if (tunnel === undefined || own === undefined) return {};
  const hosts = new Map([[own, tunnel.local], ...peers.map(({ nodeId, dataPath }) => [nodeId, dataPath] as const)]);
  return { Peers: [...hosts].map(([Name, IP]) => ({ Name, IP })) };
}

/**
 * Services with the tasks that take connections, and, where Docker shows those that no service has, the other containers of all
 * hosts (moby api/types/network, ServiceInfo).
 */
export function servicesJson({ network, hostname, peers, endpoints, services }: NetworkDetail): object {
  const address = (addresses: readonly { readonly address: string }[]) => addresses[0]?.address ?? "";
  const here = network.tunnel === undefined ? {} : { "Host IP": network.tunnel.local, Node: hostname };
  const tasks = [
    ...endpoints.map((e) => ({
      Name: e.containerName,
      EndpointID: e.id,
      EndpointIP: address(e.addresses),
      Info: here,
    })),
    ...peers.map((p) => ({
      Name: p.containerName,
      EndpointID: p.id,
      EndpointIP: address(p.addresses),
      Info: { "Host IP": p.dataPath, Node: p.hostname },
    })),
  ];
  const entry = (names: (name: string) => boolean, vip = "<nil>", ports: readonly string[] = []) => ({
    VIP: vip,
    Ports: ports,
    LocalLBIndex: 0,
    Tasks: tasks.filter(({ Name }) => names(Name)).toSorted((a, b) => (a.Name < b.Name ? -1 : 1)),
  });
  const named = new Set(services.flatMap(({ backends }) => backends.map(({ name }) => name)));
  const others = entry((name) => !named.has(name));
  return {
    ...(others.Tasks.length > 0 && { "": others }),
    ...Object.fromEntries(
      services.map(({ service: { name, addresses, ports }, backends }) => {
        const own = new Set(backends.map((backend) => backend.name));
        const texts = ports.map(({ target, published }) => `Target: ${target}, Publish: ${published}`);
        return [name, entry((task) => own.has(task), addresses[0], texts)];
      }),
    ),
  };
}

/** Members that Docker has not: only where there is something to say. */
function statusJson({ parent, errors }: NetworkDetail): object {
  if (parent === undefined && errors.length === 0) return {};
  return {
    Status: {
      ...(parent !== undefined && { Parent: { Name: parent.link, State: parent.state } }),
      ...(errors.length > 0 && { Errors: errors }),
    },
  };
}

const family = (cidr: string | undefined) => (cidr?.includes(":") ? 6 : 4);

/** The pools, each with what the user said about it; a configuration network has only the latter. */
function subnetsJson({ network, pools }: NetworkDetail): object[] {
  const { subnets } = network.spec.ipam;
  if (pools.length === 0) return subnets.map((s) => subnetJson(s, undefined));
  const seen = { 4: 0, 6: 0 };
  return pools.map((pool) => {
    const of = family(pool.subnet);
    const said = subnets.filter((s) => family(s.subnet ?? s.gateway) === of)[seen[of]];
    seen[of] += 1;
    return subnetJson(said, pool);
  });
}

function subnetJson(said: SubnetSpec | undefined, pool: AddressPool | undefined): object {
  const range = pool === undefined ? said?.range : pool.range === pool.subnet ? undefined : pool.range;
  const gateway = pool?.gateway ?? said?.gateway;
  return {
    Subnet: pool?.subnet ?? said?.subnet ?? "",
    ...(range && { IPRange: range }),
    ...(gateway && { Gateway: gateway }),
    ...(Object.keys(said?.auxiliary ?? {}).length > 0 && { AuxiliaryAddresses: said?.auxiliary }),
  };
}

function containersJson({ endpoints }: NetworkDetail): object {
  return Object.fromEntries(
    endpoints.map((endpoint) => {
      const text = (of: 4 | 6) => {
        const found = endpoint.addresses.find((a) => family(a.address) === of);
        return found === undefined ? "" : `${found.address}/${found.prefix}`;
      };
      const entry = {
        Name: endpoint.containerName,
        EndpointID: endpoint.id,
        MacAddress: endpoint.mac,
        IPv4Address: text(4),
        IPv6Address: text(6),
      };
      return [endpoint.containerId, entry];
    }),
  );
}
