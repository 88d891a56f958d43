import type { EndpointId, IpAddress, MacAddress } from "./ids.ts";

/** Who asks the LAN's DHCP server, and where. */
export interface LeaseRequest {
  /** The host's link on that LAN. */
  readonly link: string;
  readonly mac: MacAddress;
  /** Hex digits: the same for the same container on the same network, so that it finds its address again. */
  readonly clientId: string;
  readonly hostname: string;
}

/** What the server gave. */
export interface GivenAddress {
  readonly address: IpAddress;
  /** Prefix length of the LAN's subnet. */
  readonly prefix: number;
  readonly gateway?: IpAddress;
  readonly server: IpAddress;
  readonly serverMac: MacAddress;
  /** Length of the lease from `obtainedAt` on; 0xffffffff is for ever. */
  readonly seconds: number;
  /** Milliseconds since 1970. */
  readonly obtainedAt: number;
}

/** An address that an endpoint has from the LAN's DHCP server. Without its endpoint it is to be given back. */
export interface Lease extends LeaseRequest, GivenAddress {
  readonly endpointId: EndpointId;
}
