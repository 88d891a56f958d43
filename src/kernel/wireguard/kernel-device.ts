import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import { type Attribute, decodeAttributes, decodeList, u16, u32, u8 } from "../netlink/attributes.ts";
import { familyId, genericAttributes, genericMessage } from "../netlink/generic.ts";
import type { Realm } from "../realms.ts";
import { keepalive, nowhere, type WireguardDevice, type WireguardPeer, type WireguardState } from "./device.ts";

/** include/uapi/linux/wireguard.h */
const command = { get: 0, set: 1 } as const;
const device = { index: 1, privateKey: 3, port: 6, peers: 8 } as const; // WGDEVICE_A_*
const peer = { publicKey: 1, flags: 3, endpoint: 4, keepalive: 5, lastHandshake: 6, addresses: 9 } as const; // WGPEER_A_*
const peerFlags = { remove: 1, replaceAddresses: 2 } as const; // WGPEER_F_*
const allowed = { family: 1, address: 2, prefix: 3 } as const; // WGALLOWEDIP_A_*
const families = { ip: 2, ip6: 10 } as const;

/** The family, where the kernel has WireGuard. */
export const wireguardFamily = "wireguard";

/** A device of the kernel's own, by its index in the realm. */
export function kernelDevice(realm: Realm, index: number): WireguardDevice {
  const family = familyId(realm, wireguardFamily);
  const self: Attribute = [device.index, u32(index)];
  const set = (...attributes: Attribute[]) =>
    void realm.generic().exchange(genericMessage(family, command.set, [self, ...attributes]));
  const setPeer = (...attributes: Attribute[]) => set([device.peers, [[0, attributes]]]);
  return {
    read: () =>
      readAll(
        realm
          .generic()
          .dump(genericMessage(family, command.get, [self]))
          .map(({ body }) => body),
      ),
    setUp: (privateKey, udpPort) => set([device.privateKey, privateKey], [device.port, u16(udpPort)]),
    putPeer: (one, greets = true) => setPeer(...peerWords(one, greets)),
    removePeer: (key) => setPeer([peer.publicKey, Buffer.from(key, "base64")], [peer.flags, u32(peerFlags.remove)]),
  };
}

function peerWords({ publicKey, endpoint, address }: WireguardPeer, greets: boolean): Attribute[] {
  const own = addressBytes(address);
  return [
    [peer.publicKey, Buffer.from(publicKey, "base64")],
    [peer.flags, u32(peerFlags.replaceAddresses)],
    [peer.endpoint, socketAddress(endpoint)],
    [peer.keepalive, u16(greets ? keepalive : 0)],
    [
      peer.addresses,
      [
        [
          0,
          [
            [allowed.family, u16(own.length === 4 ? families.ip : families.ip6)],
            [allowed.address, own],
            [allowed.prefix, u8(own.length * 8)],
          ],
        ],
      ],
    ],
  ];
}

/** struct sockaddr_in or sockaddr_in6. */
function socketAddress({ address, udpPort }: WireguardPeer["endpoint"]): Buffer {
  const own = addressBytes(address);
  const head = Buffer.alloc(4);
  head.writeUInt16LE(own.length === 4 ? families.ip : families.ip6, 0);
  head.writeUInt16BE(udpPort, 2);
  return own.length === 4
    ? Buffer.concat([head, own, Buffer.alloc(8)])
    : Buffer.concat([head, Buffer.alloc(4), own, Buffer.alloc(4)]);
}

function readEndpoint(bytes: Buffer): WireguardPeer["endpoint"] {
  const isIpv4 = bytes.readUInt16LE(0) === families.ip;
  return {
    address: addressText(Buffer.from(isIpv4 ? bytes.subarray(4, 8) : bytes.subarray(8, 24))),
    udpPort: bytes.readUInt16BE(2),
  };
}

/** A device with many peers comes in several messages; those after the first have peers only. */
function readAll(bodies: readonly Buffer[]): WireguardState {
  const parts = bodies.map((body) => genericAttributes(body));
  const peers = parts.flatMap((a) => decodeList(a.get(device.peers) ?? Buffer.alloc(0))).map(decodeAttributes);
  const privateKey = parts.map((a) => a.get(device.privateKey)).find((key) => key?.some((byte) => byte !== 0) === true);
  return {
    ...(privateKey !== undefined && { privateKey }),
    udpPort: parts.map((a) => a.get(device.port)?.readUInt16LE(0)).find((port) => port !== undefined) ?? 0,
    peers: peers.map(readPeer),
    // struct __kernel_timespec, zero until there was a handshake
    answered: peers.filter((a) => a.get(peer.lastHandshake)?.some((byte) => byte !== 0) === true).map(publicKeyIn),
  };
}

const publicKeyIn = (a: ReadonlyMap<number, Buffer>) => (a.get(peer.publicKey) ?? Buffer.alloc(0)).toString("base64");

function readPeer(a: ReadonlyMap<number, Buffer>): WireguardPeer {
  const endpoint = a.get(peer.endpoint);
  const [first, ...more] = decodeList(a.get(peer.addresses) ?? Buffer.alloc(0)).map(decodeAttributes);
  const address = first?.get(allowed.address);
  const isOne = more.length === 0 && first?.get(allowed.prefix)?.readUInt8(0) === (address?.length ?? 0) * 8;
  return {
    publicKey: publicKeyIn(a),
    endpoint: endpoint === undefined ? nowhere : readEndpoint(endpoint),
    address: isOne && address !== undefined ? addressText(Buffer.from(address)) : "",
  };
}
