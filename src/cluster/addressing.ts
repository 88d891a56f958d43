import { isIP, isIPv6 } from "node:net";
import { invalid } from "../lib/errors.ts";
import type { IpAddress } from "../model/ids.ts";

/** An address of the host on a link that is not ours. */
export interface HostAddress {
  readonly link: string;
  readonly address: IpAddress;
}
/** As the user typed them; "" is not said. */
export interface AddressWish {
  readonly listenAddress: string;
  readonly advertiseAddress: string;
  readonly dataPathAddress: string;
}
export interface Addressing {
  /** Where the control port listens. */
  readonly listen: Place;
  /** Where others find it. */
  readonly advertise: Place;
  /** Where VXLAN comes from and goes to. */
  readonly dataPath: IpAddress;
}
export interface Place {
  readonly address: IpAddress;
  readonly port: number;
}

/** The control port (swarmkit's). */
const defaultPort = 2377;
const texts = {
  listen: "listen address must be an IP address or network interface (with optional port number)",
  advertise: "advertise address must be a non-zero IP address or network interface (with optional port number)",
  dataPath: "data path address must be a non-zero IP address or network interface (without a port number)",
} as const;
/** The address that stands for all of a host's. */
export const isAny = (address: IpAddress) => address === "0.0.0.0" || address === "::";

/** `192.0.2.1:2377`, `[2001:db8::1]:2377` */
export const placeText = ({ address, port }: Place) => `${isIPv6(address) ? `[${address}]` : address}:${port}`;

/** @throws {Error} for what `placeText` does not write */
export function readPlace(text: string): Place {
  const { host, port = defaultPort } = split(text, "an address and a port were expected");
  return { address: host, port };
}

/**
 * Where a node listens, and which of its addresses it tells others.
 * @param own every address of the host on links that are not ours
 * @throws {EngineError} invalid, with Docker's texts (moby daemon/cluster/listen_addr.go); an address that is not this host's
 * is refused, naming those that are
 */
export function resolveAddresses(wish: AddressWish, own: readonly HostAddress[]): Addressing {
  const listen = listenPlace(wish.listenAddress, own);
  const advertise = advertisePlace(wish.advertiseAddress, listen, own);
  return { listen, advertise, dataPath: dataPathAddress(wish.dataPathAddress, advertise.address, own) };
}

function listenPlace(text: string, own: readonly HostAddress[]): Place {
  const { host, port = defaultPort } = split(text, texts.listen);
  if (host === "" || isAny(host)) return { address: host || "0.0.0.0", port };
  return { address: ofHost(host, own, texts.listen), port };
}

function advertisePlace(text: string, listen: Place, own: readonly HostAddress[]): Place {
  const { host, port = listen.port } = split(text, texts.advertise);
  if (text !== "") return { address: ofHost(host, own, texts.advertise), port };
  return { address: isAny(listen.address) ? onlyAddress(own) : listen.address, port };
}

function dataPathAddress(text: string, advertise: IpAddress, own: readonly HostAddress[]): IpAddress {
  return text === "" ? advertise : ofHost(text, own, texts.dataPath);
}

/** A host name is none: it would be looked up at a time that nobody chose. */
function split(text: string, otherwise: string): { readonly host: string; readonly port?: number } {
  if (isIP(text) !== 0) return { host: text };
  const [, bracketed, plain = "", digits] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(text) ?? [
    undefined,
    undefined,
    "?",
  ];
  const host = bracketed ?? plain;
  if (digits === undefined) return { host };
  const port = Number(digits);
  if (port < 1 || port > 65_535) throw invalid(otherwise);
  return { host, port };
}

/** The host's address that is meant by an address or by the name of a link. */
function ofHost(host: string, own: readonly HostAddress[], otherwise: string): IpAddress {
  const onLink = own.filter(({ link }) => link === host);
  if (onLink.length > 0) return onlyOn(host, onLink);
  if (isIP(host) === 0 || isAny(host)) throw invalid(otherwise);
  if (own.some(({ address }) => address === host)) return host;
  const list = others(own)
    .map(({ link, address }) => `${address} on ${link}`)
    .join(", ");
  throw invalid(`${host} is not an address of this host, which has ${list || "none"}`);
}

function onlyOn(link: string, addresses: readonly HostAddress[]): IpAddress {
  const [first, second] = preferred(addresses);
  if (first !== undefined && second === undefined) return first.address;
  const family = isIPv6(first?.address ?? "") ? "IPv6" : "IPv4";
  throw invalid(`interface ${link} has more than one ${family} address (${first?.address} and ${second?.address})`);
}

/** IPv6 counts where there is nothing else. */
function preferred(addresses: readonly HostAddress[]): readonly HostAddress[] {
  const four = addresses.filter(({ address }) => !isIPv6(address));
  return four.length > 0 ? four : addresses;
}

/** Nobody else reaches loopback: it is taken by name only. */
const others = (own: readonly HostAddress[]) => own.filter(({ address }) => !/^127\.|^::1$/.test(address));

function onlyAddress(own: readonly HostAddress[]): IpAddress {
  const [first, second] = preferred(others(own));
  if (first === undefined) throw invalid("could not find the system's IP address");
  if (second === undefined) return first.address;
  const where =
    first.link === second.link
      ? `multiple addresses on interface ${first.link} (${first.address} and ${second.address})`
      : `multiple addresses on different interfaces (${first.address} on ${first.link} and ${second.address} on ${second.link})`;
  throw invalid(`could not choose an IP address to advertise since this system has ${where}`);
}
