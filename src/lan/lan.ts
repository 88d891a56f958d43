import type { Kernel } from "../kernel/kernel.ts";
import { system } from "../lib/errors.ts";
import type { MacAddress } from "../model/ids.ts";
import type { Lan } from "../model/lan.ts";
import { announce, tellMoved } from "./announce.ts";
import * as dhcp from "./dhcp/client.ts";
import { Ears } from "./ears.ts";
import { probe } from "./probe.ts";

export function createLan(kernel: Pick<Kernel, "frames" | "link">): Lan & { stop(): void } {
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
  /** Without the link the lease ends by itself. */
  const unanswered = (tell: () => void): void => {
    try {
      tell();
    } catch {}
  };
  return {
    probe: (link, address) => onLink(link, () => probe(ears, link, macOf(link), address)),
    announce(link, mac, addresses, how) {
      if (kernel.link("host", link) !== undefined) announce(ears, link, mac ?? macOf(link), addresses, how);
    },
    tellMoved: (segment, moved, listeners) => tellMoved(ears, segment, moved, listeners),
    obtain: (request) => onLink(request.link, () => dhcp.obtain(ears, request)),
    renew: (request, address) => onLink(request.link, () => dhcp.renew(ears, request, address)),
    release: (request, given) => unanswered(() => dhcp.release(ears, request, given)),
    decline: (request, given) => unanswered(() => dhcp.decline(ears, request, given)),
    stop: () => ears.stop(),
  };
}
