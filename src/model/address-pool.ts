import type { Cidr, EndpointId, IpAddress, NetworkId, PoolId } from "./ids.ts";
import type { ServiceId } from "./service.ts";

/** A subnet that belongs to one network. */
export interface AddressPool {
  readonly id: PoolId;
  readonly networkId: NetworkId;
  readonly subnet: Cidr;
  /** Where addresses without a wish come from. */
  readonly range: Cidr;
  readonly gateway: IpAddress;
  /** The link of the host whose LAN the subnet is on; absent: the subnet is ours. */
  readonly segment?: string;
  /** True when the user named the subnet: only then may `--ip` choose an address (Docker's rule). */
  readonly userSubnet: boolean;
}

/** The store key of a claim is `${pool}|${address}`, so two claims on one address cannot both commit. */
export interface AddressClaim {
  readonly pool: PoolId;
  readonly address: IpAddress;
  readonly kind: "gateway" | "auxiliary" | "endpoint";
  readonly owner: EndpointId | NetworkId | ServiceId;
}
