import { addressText, parseAddress } from "../lib/net.ts";
import type { Endpoint } from "../model/endpoint.ts";
import type { IpAddress, SandboxId } from "../model/ids.ts";
import type { Snapshot } from "../store/store.ts";

/** A network as one sandbox sees it: only these are searched, so that nobody learns of networks he is not on. */
interface Reachable {
  readonly name: string;
  readonly endpoints: readonly Endpoint[];
}

function reachable(rows: Snapshot, sandbox: SandboxId): Reachable[] {
  return rows.where("endpoints", "sandbox", sandbox).flatMap((own) => {
    const network = rows.get("networks", own.networkId);
    if (network === undefined || network.predefined) return [];
    return [{ name: network.spec.name, endpoints: rows.where("endpoints", "network", network.id) }];
  });
}

/**
 * Addresses of a name, for one sandbox: container names, aliases and short ids of its own networks, alone or followed by
 * the network's name. Case does not matter (RFC 4343).
 * @returns undefined when nobody has that name
 */
export function addressesOf(rows: Snapshot, sandbox: SandboxId, asked: string): IpAddress[] | undefined {
  const name = linked(rows, sandbox, asked.toLowerCase());
  const found = reachable(rows, sandbox).flatMap((network) => {
    const suffix = `.${network.name.toLowerCase()}`;
    const short = name.endsWith(suffix) ? name.slice(0, -suffix.length) : undefined;
    return network.endpoints.filter((e) => e.names.some((n) => n.toLowerCase() === name || n.toLowerCase() === short));
  });
  return found.length === 0 ? undefined : found.flatMap((e) => e.addresses.map((a) => a.address));
}

/** `--link target:alias` gives the target another name, for this container alone. */
function linked(rows: Snapshot, sandbox: SandboxId, name: string): string {
  const container = rows.get("containers", rows.get("sandboxes", sandbox)?.containerId ?? "");
  const links = container?.attachments.flatMap((a) => a.links) ?? [];
  const link = links.map((l) => l.split(":", 2)).find(([, alias]) => alias?.toLowerCase() === name);
  return link?.[0]?.toLowerCase() ?? name;
}

/** `name.network` of an address on one of the sandbox's own networks. */
export function nameOf(rows: Snapshot, sandbox: SandboxId, address: IpAddress): string | undefined {
  for (const network of reachable(rows, sandbox)) {
    const endpoint = network.endpoints.find((e) => e.addresses.some((a) => a.address === address));
    if (endpoint !== undefined) return `${endpoint.containerName}.${network.name}`;
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
