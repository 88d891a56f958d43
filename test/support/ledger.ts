import type { Backup } from "../../src/cluster/manager/backup.ts";
import type { LabHost } from "../../src/lab/host.ts";
import type { Peer } from "../../src/model/peer.ts";
import { until } from "./until.ts";

/** A network as `GET /networks` shows it, as far as this looks. */
interface Shown {
  readonly Id: string;
  readonly Scope: string;
  readonly Containers: Readonly<Record<string, { readonly EndpointID: string; readonly IPv4Address: string }>>;
  readonly Services?: Readonly<Record<string, { readonly Tasks: readonly { readonly EndpointID: string }[] }>>;
}
type Rows = Backup["rows"];

/** What the cluster's store has. @param manager a host that is one */
export const clusterRows = async (manager: LabHost): Promise<Rows> =>
  (JSON.parse((await manager.ask("GET", "/tombolo/swarm/backup")).answer) as Backup).rows;

/** @returns what the cluster's rows, the claims and the hosts say that does not fit together; one line each */
export async function disagreements(hosts: readonly LabHost[], manager: LabHost): Promise<string[]> {
  const rows = await clusterRows(manager);
  const perHost = await Promise.all(hosts.map(async (host) => onHost(host, await networksOf(host), rows.peers ?? [])));
  return [...inStore(rows), ...perHost.flat()];
}

/** Waits until there are none, which is soon after the last change and the last fault. @throws with what is left */
export async function assertAgreement(hosts: readonly LabHost[], manager: LabHost): Promise<void> {
  let found: string[] = [];
  await until(
    async () => (found = await disagreements(hosts, manager).catch((error: unknown) => [String(error)])).length === 0,
    () => `the cluster and its hosts agree:\n${found.join("\n")}`,
  );
}

/** Every claim is somebody's, and everybody's is claimed. */
function inStore({ networks = [], pools = [], claims = [], peers = [], names = [] }: Rows): string[] {
  const ids = new Set(networks.map(({ id }) => id));
  const kept = new Set(pools.flatMap(({ id, networkId }) => (ids.has(networkId) ? id : [])));
  const poolsOf = (id: string, address: string) =>
    pools.filter(({ networkId, subnet }) => networkId === id && subnet.includes(":") === address.includes(":"));
  const wanted = new Set([
    ...pools.map(({ id, networkId, gateway }) => `${id} ${gateway} gateway ${networkId}`),
    ...peers.flatMap(({ id, networkId, addresses }) =>
      addresses.flatMap(({ address }) =>
        poolsOf(networkId, address).map((pool) => `${pool.id} ${address} endpoint ${id}`),
      ),
    ),
  ]);
  const present = new Set(claims.map(({ pool, address, kind, owner }) => `${pool} ${address} ${kind} ${owner}`));
  return [
    ...[...wanted.difference(present)].map((line) => `not claimed: ${line}`),
    ...[...present.difference(wanted)].map((line) => `claimed for nothing: ${line}`),
    ...pools.flatMap(({ id }) => (kept.has(id) ? [] : [`a pool without a network: ${id}`])),
    ...peers.flatMap(({ id, networkId }) => (ids.has(networkId) ? [] : [`a peer without a network: ${id}`])),
    ...names.flatMap(({ kind, name, id }) => (ids.has(id) ? [] : [`a name without a network: ${kind} ${name}`])),
  ];
}

async function networksOf(host: LabHost): Promise<Shown[]> {
  const read = async <T>(path: string) => JSON.parse((await host.ask("GET", path)).answer) as T;
  const all = await read<Shown[]>("/networks");
  const overlays = all.filter(({ Scope }) => Scope === "swarm");
  return Promise.all(overlays.map(({ Id }) => read<Shown>(`/networks/${Id}?verbose=true`)));
}

/** What a host has itself, and what it knows of the others on its networks. */
function onHost(host: LabHost, networks: readonly Shown[], peers: readonly Peer[]): string[] {
  const lines = (entries: readonly (readonly [string, string])[]) => new Set(entries.map((entry) => entry.join(" ")));
  const own = lines(
    networks.flatMap(({ Containers }) => Object.values(Containers).map((c) => [c.EndpointID, c.IPv4Address] as const)),
  );
  const listed = peers.filter(({ hostname }) => hostname === host.name);
  const claimed = lines(
    listed.map(({ id, addresses }) => [id, addresses.map((a) => `${a.address}/${a.prefix}`)[0] ?? ""]),
  );
  const isOn = new Set(listed.map(({ networkId }) => networkId));
  const known = new Set(
    networks.flatMap(({ Id, Services }) =>
      isOn.has(Id) ? (Services?.[""]?.Tasks ?? []).map(({ EndpointID }) => EndpointID) : [],
    ),
  );
  const there = new Set(peers.flatMap(({ id, networkId }) => (isOn.has(networkId) ? id : [])));
  return [
    ...[...own.difference(claimed)].map((line) => `${host.name} has what the cluster does not: ${line}`),
    ...[...claimed.difference(own)].map((line) => `${host.name} has not what the cluster says: ${line}`),
    ...[...there.difference(known)].map((line) => `${host.name} does not know ${line}`),
    ...[...known.difference(there)].map((line) => `${host.name} knows ${line}, which is gone`),
  ];
}
