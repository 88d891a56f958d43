import type { WireguardLink } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { deleteLink, type LinkInfo, moveLink, setDormant, setLink } from "../netlink/links.ts";
import { createWireguard } from "../netlink/wireguard.ts";
import { type Realm, type Realms, tolerate } from "../realms.ts";
import { deviceOf, isWireguard } from "../wireguard/find-device.ts";
import type { Keyring } from "../wireguard/keys.ts";
import { withNamespace } from "./veth-peer.ts";

/**
 * Makes a WireGuard link, or takes the one that wireguard-go has made under this name in the host's namespace, and moves it
 * to where it is wanted. It gets its key while it is down, and is up only there.
 * @param mark its alias
 * @throws {KernelError} EOPNOTSUPP when the kernel has no WireGuard and wireguard-go does not run, ENOKEY, EADDRINUSE
 */
export function makeWireguard(realms: Realms, keys: Keyring, object: WireguardLink, mark: string): void {
  const { name, namespace } = object;
  const host = realms.get("host");
  keys.privateOf(object.publicKey);
  if (host.link({ name }) === undefined) create(host, name);
  const link = host.need(name);
  if (!isWireguard(link)) throw new KernelError("EEXIST", `link ${name} exists and is not ours`);
  try {
    prepare(host, keys, object, link, mark);
    if (namespace !== "host") withNamespace(realms, namespace, (fd) => host.route.exchange(moveLink(name, fd)));
  } catch (error) {
    // wireguard-go's own stays as long as that runs.
    if (link.type === "wireguard") tolerate(["ENODEV"], () => host.route.exchange(deleteLink(link.index)));
    throw error;
  }
  realms.get(namespace).route.exchange(setLink({ name }, {}));
}

function prepare(host: Realm, keys: Keyring, object: WireguardLink, link: LinkInfo, alias: string): void {
  setUp(host, keys, object, link);
  const { mtu } = object;
  host.route.exchange(setDormant({ index: link.index }, { alias, ...(mtu !== undefined && { mtu }) }));
}

function create(host: Realm, name: string): void {
  try {
    host.route.exchange(createWireguard(name));
  } catch (error) {
    if (!(error instanceof KernelError) || !["EOPNOTSUPP", "ENOTSUPP"].includes(error.code)) throw error;
    throw new KernelError(error.code, "this kernel has no WireGuard (module wireguard), and wireguard-go does not run");
  }
}

/** Gives it its key and its UDP port, where it has others. @throws {KernelError} ENOKEY, EADDRINUSE */
export function setUp(realm: Realm, keys: Keyring, { publicKey, udpPort }: WireguardLink, link: LinkInfo): void {
  const device = deviceOf(realm, link);
  const key = keys.privateOf(publicKey);
  const found = device.read();
  if (found.privateKey?.equals(key) === true && found.udpPort === udpPort) return;
  try {
    device.setUp(key, udpPort);
  } catch (error) {
    if (!(error instanceof KernelError) || error.code !== "EADDRINUSE") throw error;
    throw new KernelError(error.code, `UDP port ${udpPort} of this host is another program's: ${error.message}`);
  }
}
