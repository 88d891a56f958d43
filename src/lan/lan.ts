import type { Kernel } from "../kernel/kernel.ts";
import { system } from "../lib/errors.ts";
import type { IpAddress, MacAddress } from "../model/ids.ts";
import type { GivenAddress, LeaseRequest } from "../model/lease.ts";
import { announce } from "./announce.ts";
import * as dhcp from "./dhcp/client.ts";
import { Ears } from "./ears.ts";
import { probe } from "./probe.ts";

/** What the host says and asks on the LANs that its links lead to, for containers that are on them. */
export interface Lan {
  /** @returns the MAC of who has the address on the link's LAN, or undefined @throws {EngineError} system without the link */
  probe(link: string, address: IpAddress): Promise<MacAddress | undefined>;
  /** Tells where addresses are, `how.interval` milliseconds apart; `mac` is left out where it is the link's own. */
  announce(
    link: string,
    mac: MacAddress | undefined,
    addresses: readonly IpAddress[],
    how: { readonly number: number; readonly interval: number },
  ): void;
  /** Gets an address from the DHCP server. @throws {EngineError} system, with the reason, within 9 seconds */
  obtain(request: LeaseRequest): Promise<GivenAddress>;
  /** @returns undefined when the address is another's by now @throws {EngineError} system when nobody answers */
  renew(request: LeaseRequest, address: IpAddress): Promise<GivenAddress | undefined>;
  /** Gives an address back, if the link is there. */
  release(request: LeaseRequest, given: GivenAddress): void;
  stop(): void;
}

export function createLan(kernel: Pick<Kernel, "frames" | "link">): Lan {
  const ears = new Ears(kernel);
  const macOf = (link: string): MacAddress => {
    const mac = kernel.link("host", link)?.mac;
    if (mac === undefined) throw system(`there is no interface ${link} on this host`);
    return mac;
  };
  /** A link that is down or gone is the network's trouble, and said in its words. */
  const onLink = async <R>(link: string, body: () => Promise<R>): Promise<R> => {
    try {
      return await body();
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "KernelError") throw error;
      throw system(`nothing can be asked on ${link}: ${error.message}`, error);
    }
  };
  return {
    probe: (link, address) => onLink(link, () => probe(ears, link, macOf(link), address)),
    announce(link, mac, addresses, how) {
      if (kernel.link("host", link) !== undefined) announce(ears, link, mac ?? macOf(link), addresses, how);
    },
    obtain: (request) => onLink(request.link, () => dhcp.obtain(ears, request)),
    renew: (request, address) => onLink(request.link, () => dhcp.renew(ears, request, address)),
    release(request, given) {
      try {
        dhcp.release(ears, request, given);
      } catch {} // it ends by itself
    },
    stop: () => ears.stop(),
  };
}
