import { invalid } from "../../lib/errors.ts";
import { leastIpv6, type NetworkSpec, tunnelOverhead } from "../../model/network.ts";
import {
  checkFamilies,
  familyKeys,
  mtuReader,
  optionReader,
  readBool,
  readPrefix,
  refuseUnknown,
} from "../option-values.ts";

/** The options of one overlay network, checked. */
export interface OverlayOptions {
  readonly encrypted: boolean;
  /** Bytes of the packets between hosts, as Docker has it: the containers' are smaller by what the tunnel adds. */
  readonly outerMtu?: number;
  /** VXLAN network identifier, 1 to 2^24 - 1; absent: a free one. */
  readonly vni?: number;
  /** True: broadcast and multicast are copied to every host of the network. */
  readonly multicast: boolean;
}

/** Every key of `-o` that this driver honours, under the name the code has for it. */
export const optionKeys = {
  encrypted: "encrypted",
  mtu: "com.docker.network.driver.mtu",
  vni: "com.docker.network.driver.overlay.vxlanid_list",
  multicast: "multicast",
  prefix: "com.docker.network.container_iface_prefix",
  ...familyKeys,
} as const;

/**
 * Bytes that an encrypted network's packets have less than others': WireGuard 32, UDP 8 and the address family's header
 * again, VXLAN over IPv6 inside (https://www.wireguard.com/papers/wireguard.pdf section 5.4.6). The same over IPv4
 * (60 + 70 - 50) and IPv6 (80 + 70 - 70).
 */
export const encryptionOverhead = 80;
const mostVni = 2 ** 24 - 1;

/** @throws {EngineError} invalid, with Docker's text where Docker has one */
export function readOptions(spec: NetworkSpec): OverlayOptions {
  refuseUnknown(spec, Object.values(optionKeys));
  checkFamilies(spec);
  const read = optionReader(spec);
  // `--opt encrypted` alone is a key without a value.
  const encrypted = read(optionKeys.encrypted, (key, value) => value === "" || readBool(key, value)) ?? false;
  const outerMtu = read(optionKeys.mtu, outerMtuReader(spec, encrypted));
  const vni = read(optionKeys.vni, readVni);
  read(optionKeys.prefix, readPrefix);
  return {
    encrypted,
    ...(outerMtu !== undefined && { outerMtu }),
    ...(vni !== undefined && { vni }),
    multicast: read(optionKeys.multicast, readBool) ?? false,
  };
}

/** Whether the hosts speak IPv4 or IPv6 is not known yet: what is left has to be enough with both. */
const outerMtuReader =
  (spec: NetworkSpec, encrypted: boolean) =>
  (key: string, value: string): number | undefined => {
    const mtu = mtuReader(spec)(key, value);
    const taken = tunnelOverhead.ip6 + (encrypted ? encryptionOverhead : 0);
    const least = taken + (spec.ipv6 ? leastIpv6 : 68);
    if (mtu !== undefined && mtu < least)
      throw invalid(
        `invalid MTU number: ${value}: the tunnel takes up to ${taken} bytes of it, so that it must be ${least} or more`,
      );
    return mtu;
  };

/** Docker's list has an id for each subnet; here a network has one. */
function readVni(key: string, value: string): number {
  const ids = value.split(",");
  const bad = ids.find((id) => !/^\d{1,8}$/.test(id) || Number(id) < 1 || Number(id) > mostVni);
  if (bad !== undefined) throw invalid(`invalid vxlan id value ${JSON.stringify(bad)} passed: 1 to ${mostVni}`);
  if (ids.length > 1) throw invalid(`${key}: ${ids.length} ids for a network that has one`);
  return Number(value);
}
