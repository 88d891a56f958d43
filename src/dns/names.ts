import { addressText, parseAddress } from "../lib/net.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { Peer } from "../model/peer.ts";
import type { IpAddress, SandboxId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { Snapshot } from "../store/store.ts";

/** A network as one sandbox sees it: only these are searched, so that nobody learns of networks he is not on. */
interface Reachable {
  readonly network: Network;
  /** Of this host's endpoints, and of the other hosts'. */
  readonly directories: readonly Directory[];
}

/** The sandbox's networks with name resolution; the one that is searched first has the highest gateway priority. */
function reachable(rows: Snapshot, sandbox: SandboxId): Reachable[] {
  return rows
    .where("endpoints", "sandbox", sandbox)
    .filter(({ isWayOut }) => !isWayOut)
    .flatMap(({ networkId, gatewayPriority }) => {
      const network = rows.get("networks", networkId);
      return network === undefined || network.predefined ? [] : [{ network, gatewayPriority }];
    })
    .toSorted((a, b) => b.gatewayPriority - a.gatewayPriority || (a.network.spec.name < b.network.spec.name ? -1 : 1))
    .map(({ network }) => ({
      network,
      directories: (["endpoints", "peers"] as const).map((table) =>
        directoryOf(rows.where(table, "network", network.id)),
      ),
    }));
}

type Member = Pick<Endpoint & Peer, "containerName" | "names" | "addresses">;
interface Directory {
  /** By name in lower case. */
  readonly names: ReadonlyMap<string, readonly Member[]>;
  readonly addresses: ReadonlyMap<IpAddress, Member>;
}

/** Made once for each state of a network's members: the store hands out the same array until one changes. */
const directories = new WeakMap<readonly Member[], Directory>();

function directoryOf(members: readonly Member[]): Directory {
  const known = directories.get(members);
  if (known !== undefined) return known;
  const pairs = members.flatMap((member) =>
    [...new Set(member.names.map((n) => n.toLowerCase()))].map((name) => ({ name, member })),
  );
  const grouped = Map.groupBy(pairs, ({ name }) => name);
  const made: Directory = {
    names: new Map([...grouped].map(([name, group]) => [name, group.map(({ member }) => member)])),
    addresses: new Map(members.flatMap((m) => m.addresses.map(({ address }) => [address, m] as const))),
  };
  directories.set(members, made);
  return made;
}

/**
 * Addresses of a name, for one sandbox: container names, aliases, links and short ids of the first of its networks that
 * knows the name, alone or followed by the network's name. Case does not matter (RFC 4343).
 * @returns undefined when nobody has that name
 */
export function addressesOf(rows: Snapshot, sandbox: SandboxId, asked: string): IpAddress[] | undefined {
  for (const { network, directories } of reachable(rows, sandbox)) {
    const name = linked(rows, sandbox, network, asked.toLowerCase());
    const suffix = `.${network.spec.name.toLowerCase()}`;
    const found =
      named(directories, name) ??
      (name.endsWith(suffix) ? named(directories, name.slice(0, -suffix.length)) : undefined);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Each address once: a cluster has a row of this host's endpoints, too. @returns undefined when nobody has that name */
function named(directories: readonly Directory[], name: string): IpAddress[] | undefined {
  const found = directories.flatMap(({ names }) => names.get(name) ?? []);
  return found.length === 0 ? undefined : [...new Set(found.flatMap((m) => m.addresses.map((a) => a.address)))];
}

/** `--link target:alias` gives the target another name on that network, for this container alone. */
function linked(rows: Snapshot, sandbox: SandboxId, network: Network, name: string): string {
  const container = rows.get("containers", rows.get("sandboxes", sandbox)?.containerId ?? "");
  const attachment = container?.attachments.find((a) => a.network === network.id || a.network === network.spec.name);
  const links = (attachment?.links ?? []).map((l) => l.split(":", 2));
  return links.find(([, alias]) => alias?.toLowerCase() === name)?.[0]?.toLowerCase() ?? name;
}

/** `name.network` of an address on one of the sandbox's own networks. */
export function nameOf(rows: Snapshot, sandbox: SandboxId, address: IpAddress): string | undefined {
  for (const { network, directories } of reachable(rows, sandbox)) {
    const member = directories.flatMap(({ addresses }) => addresses.get(address) ?? [])[0];
    if (member !== undefined) return `${member.containerName}.${network.spec.name}`;
  }
  return undefined;
}

/** The address in a name under in-addr.arpa or ip6.arpa (RFC 1035 section 3.5, RFC 3596 section 2.5). */
export function reverseAddress(name: string): IpAddress | undefined {
  const four = /^((?:\d{1,3}\.){4})in-addr\.arpa$/i.exec(name)?.[1];
  if (four !== undefined) return canonical(four.split(".").slice(0, 4).toReversed().join("."));
  const six = /^((?:[0-9a-f]\.){32})ip6\.arpa$/i.exec(name)?.[1];
  if (six === undefined) return undefined;
  const digits = six.split(".").slice(0, 32).toReversed().join("");
  return canonical(digits.match(/.{4}/g)?.join(":") ?? "");
}

function canonical(text: string): IpAddress | undefined {
  const parsed = parseAddress(text);
  return parsed && addressText(parsed);
}
