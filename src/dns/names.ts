import { addressText, parseAddress } from "../lib/net.ts";
import type { IpAddress, NetworkId, SandboxId } from "../model/ids.ts";
import type { Network } from "../model/network.ts";
import type { VirtualService } from "../model/service.ts";
import { reachedBackends } from "../store/reached.ts";
import type { Snapshot } from "../store/store.ts";
import type { Directories } from "./directories.ts";

/**
 * The sandbox's networks with name resolution: only these are searched, so that nobody learns of networks he is not on. The
 * one that is searched first has the highest gateway priority.
 */
function reachable(rows: Snapshot, sandbox: SandboxId): Network[] {
  return rows
    .where("endpoints", "sandbox", sandbox)
    .filter(({ isWayOut }) => !isWayOut)
    .flatMap(({ networkId, gatewayPriority }) => {
      const network = rows.get("networks", networkId);
      return network === undefined || !hasNames(network) ? [] : [{ network, gatewayPriority }];
    })
    .toSorted((a, b) => b.gatewayPriority - a.gatewayPriority || (a.network.spec.name < b.network.spec.name ? -1 : 1))
    .map(({ network }) => network);
}

/** Nobody is looked up on the network by which published ports come in (moby libnetwork, addSvcRecords). */
const hasNames = ({ predefined, spec }: Network) => !predefined && !spec.ingress;

/** What names are looked up in: rows, and what was gathered of them. */
export interface Known {
  readonly rows: Snapshot;
  readonly directories: Directories;
}

/**
 * Addresses of a name, for one sandbox: container names, aliases, links and short ids, and services, of the first of its networks
 * that knows the name, alone or followed by the network's name. Case does not matter (RFC 4343).
 * @returns undefined when nobody has that name
 */
export function addressesOf(known: Known, sandbox: SandboxId, asked: string): IpAddress[] | undefined {
  const { rows } = known;
  for (const network of reachable(rows, sandbox)) {
    const name = linked(rows, sandbox, network, asked.toLowerCase());
    const suffix = `.${network.spec.name.toLowerCase()}`;
    const ways = name.endsWith(suffix) ? [name, name.slice(0, -suffix.length)] : [name];
    const found = ways.map((one) => addressesOn(known, network.id, one)).find((addresses) => addresses !== undefined);
    // Each address once: a cluster has a row of this host's endpoints, too.
    if (found !== undefined) return [...new Set(found)];
  }
  return undefined;
}

const ofTasks = "tasks.";
/** A service's virtual addresses, or its tasks' when it has none; of `tasks.<name>` always its tasks'. */
function addressesOn({ rows, directories }: Known, network: NetworkId, name: string): IpAddress[] | undefined {
  const tasks = (service: VirtualService) => reachedBackends(rows, service).flatMap(({ backend }) => backend.addresses);
  const services = directories.services(network, name);
  const asked = name.startsWith(ofTasks) ? directories.services(network, name.slice(ofTasks.length)) : [];
  const members = directories.named(network, name);
  if (services.length + asked.length + members.length === 0) return undefined;
  return [
    ...services.flatMap((service) => (service.addresses.length > 0 ? service.addresses : tasks(service))),
    ...asked.flatMap(tasks),
    ...members.flatMap(({ addresses }) => addresses.map(({ address }) => address)),
  ];
}

/** `--link target:alias` gives the target another name on that network, for this container alone. */
function linked(rows: Snapshot, sandbox: SandboxId, network: Network, name: string): string {
  const container = rows.get("containers", rows.get("sandboxes", sandbox)?.containerId ?? "");
  const attachment = container?.attachments.find((a) => a.network === network.id || a.network === network.spec.name);
  const links = (attachment?.links ?? []).map((l) => l.split(":", 2));
  return links.find(([, alias]) => alias?.toLowerCase() === name)?.[0]?.toLowerCase() ?? name;
}

/** `name.network` of an address on one of the sandbox's own networks. */
export function nameOf({ rows, directories }: Known, sandbox: SandboxId, address: IpAddress): string | undefined {
  for (const network of reachable(rows, sandbox)) {
    const [member] = directories.at(network.id, address);
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
