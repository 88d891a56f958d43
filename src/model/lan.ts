import type { IpAddress, MacAddress } from "./ids.ts";
import type { GivenAddress, LeaseRequest } from "./lease.ts";
import type { NamespaceName } from "./plan.ts";

/** How often a LAN is told where a container's addresses are; `interval` in milliseconds. */
export interface Announcements {
  readonly number: number;
  readonly interval: number;
}

/** The bridge that containers of a network are on. */
export interface Segment {
  readonly namespace: NamespaceName;
  readonly link: string;
}

export interface Whereabouts {
  readonly mac: MacAddress;
  readonly address: IpAddress;
}

/** What the host says and asks on the LANs that its links lead to, for containers that are on them. */
export interface Lan {
  /** @returns the MAC of who has the address on the link's LAN, or undefined @throws {EngineError} system without the link */
  probe(link: string, address: IpAddress): Promise<MacAddress | undefined>;
  /** Tells where addresses are; `mac` is left out where it is the link's own. */
  announce(
    link: string,
    mac: MacAddress | undefined,
    addresses: readonly IpAddress[],
    announcements: Announcements,
  ): void;
  /** Tells containers of a bridge, by their MACs, that an address is at another MAC than before. */
  tellMoved(segment: Segment, moved: Whereabouts, listeners: readonly MacAddress[]): void;
  /** Gets an address from the DHCP server. @throws {EngineError} system, with the reason, within 9 seconds */
  obtain(request: LeaseRequest): Promise<GivenAddress>;
  /** @returns undefined when the address is another's by now @throws {EngineError} system when nobody answers */
  renew(request: LeaseRequest, address: IpAddress): Promise<GivenAddress | undefined>;
  /** Gives an address back, if the link is there. */
  release(request: LeaseRequest, given: GivenAddress): void;
  /** Tells the server that somebody else has what it gave. */
  decline(request: LeaseRequest, given: GivenAddress): void;
}
