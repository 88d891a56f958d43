import type { WireguardLink } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import type { LinkInfo } from "../netlink/links.ts";
import type { Realm } from "../realms.ts";
import type { WireguardDevice } from "./device.ts";
import { kernelDevice } from "./kernel-device.ts";
import { publicKeyOf } from "./keys.ts";
import { programDevice } from "./program-device.ts";

/** wireguard-go's devices are TUN devices, settings at a socket of that name. */
export const isWireguard = ({ type }: LinkInfo): boolean => type === "wireguard" || type === "tun";

/** The device of a link, whoever runs it. @throws {KernelError} EOPNOTSUPP for another type of link */
export function deviceOf(realm: Realm, link: LinkInfo): WireguardDevice {
  if (link.type === "wireguard") return kernelDevice(realm, link.index);
  if (link.type === "tun") return programDevice(link.name);
  throw new KernelError("EOPNOTSUPP", `link ${link.name} is a ${link.type || "device"}, not a WireGuard one`);
}

/** In the words of a plan; a device that does not answer differs from every plan. */
export function wireguardWords(realm: Realm, link: LinkInfo): Pick<WireguardLink, "publicKey" | "udpPort"> {
  try {
    const { privateKey, udpPort } = deviceOf(realm, link).read();
    return { publicKey: privateKey === undefined ? "" : publicKeyOf(privateKey), udpPort };
  } catch (error) {
    if (error instanceof KernelError) return { publicKey: "", udpPort: 0 };
    throw error;
  }
}
