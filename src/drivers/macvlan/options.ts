import { isIP } from "node:net";
import { invalid } from "../../lib/errors.ts";
import { addressText, parseAddress } from "../../lib/net.ts";
import type { NetworkSpec } from "../../model/network.ts";
import type { MacvlanMode } from "../../model/plan.ts";
import { type LanOptions, lanKeys, readAnnouncements, readParent } from "../lan-options.ts";
import { checkFamilies, optionReader, readBool, mtuReader, readPrefix, refuseUnknown } from "../option-values.ts";

/** The options of one macvlan network, checked. */
export interface MacvlanOptions extends LanOptions {
  readonly mode: MacvlanMode;
  /** True: the host has an interface on the parent, and a route to each container. */
  readonly hostAccess: boolean;
  /** Addresses of that interface, at most one a family; without one it goes by the parent's. */
  readonly hostAddresses: readonly string[];
}

/** Every key of `-o` that this driver honours, under the name the code has for it. */
export const optionKeys = {
  mode: "macvlan_mode",
  hostAccess: "host_access",
  hostAddress: "host_address",
  ...lanKeys,
} as const;

export const modes = ["bridge", "private", "vepa", "passthru"] as const satisfies readonly MacvlanMode[];

/** @throws {EngineError} invalid, with Docker's text where Docker has one */
export function readOptions(spec: NetworkSpec): MacvlanOptions {
  refuseUnknown(spec, Object.values(optionKeys));
  checkFamilies(spec);
  const read = optionReader(spec);
  const parent = read(optionKeys.parent, readParent);
  const mode = read(optionKeys.mode, (_, value) => readMacvlanMode(value)) ?? "bridge";
  const mtu = read(optionKeys.mtu, mtuReader(spec));
  read(optionKeys.prefix, readPrefix);
  const options: MacvlanOptions = {
    ...(parent !== undefined && { parent }),
    mode,
    ...(mtu !== undefined && { mtu }),
    hostAccess: read(optionKeys.hostAccess, readBool) ?? false,
    hostAddresses: read(optionKeys.hostAddress, (_, value) => readHostAddresses(value)) ?? [],
    addressProbe: read(optionKeys.addressProbe, readBool) ?? true,
    announcements: readAnnouncements(read),
  };
  checkTogether(spec, options);
  return options;
}

function readMacvlanMode(value: string): MacvlanMode {
  const mode = modes.find((one) => one === value);
  if (mode === undefined)
    throw invalid(`requested macvlan mode '${value}' is not valid, 'bridge' mode is the macvlan driver default`);
  return mode;
}

/** `10.3.1.200,fd00::200` */
function readHostAddresses(value: string): string[] {
  const list = value.split(",").map((text) => text.trim());
  const bad = list.find((text) => isIP(text) === 0);
  if (bad !== undefined)
    throw invalid(`failed to parse ${optionKeys.hostAddress} value: ${value} (${bad || "nothing"} is no IP address)`);
  if (new Set(list.map(isIP)).size < list.length)
    throw invalid(`failed to parse ${optionKeys.hostAddress} value: ${value} (two addresses of one family)`);
  return list.map((text) => {
    const address = parseAddress(text);
    return address === undefined ? text : addressText(address);
  });
}

function checkTogether(spec: NetworkSpec, { parent, mode, hostAccess, hostAddresses }: MacvlanOptions): void {
  if (spec.internal && parent !== undefined)
    throw invalid(
      `conflicting options: --internal and -o parent=${parent}: an internal macvlan network has a segment of its own, without a parent`,
    );
  if (hostAccess && parent === undefined) throw invalid("conflicting options: host_access needs a parent");
  if (hostAccess && mode !== "bridge")
    throw invalid(
      `conflicting options: host_access and macvlan_mode=${mode}: only in mode bridge do interfaces of one parent reach each other`,
    );
  if (hostAccess && spec.ipam.driver === "dhcp")
    throw invalid(
      "conflicting options: host_access and --ipam-driver dhcp: the LAN's server would decide which of the host's traffic goes to containers",
    );
  if (hostAddresses.length > 0 && !hostAccess)
    throw invalid("conflicting options: host_address needs host_access=true");
  if (hostAccess && spec.ipv6 && !hostAddresses.some((address) => isIP(address) === 6))
    throw invalid(
      "host_access on a network with IPv6 needs an IPv6 address of the host's own, like -o host_address=fd00::2: Linux answers neighbour solicitations only for addresses of the interface that hears them",
    );
}
