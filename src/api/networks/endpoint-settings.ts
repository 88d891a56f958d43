import { isIPv4, isIPv6 } from "node:net";
import { z } from "zod";
import type { ContainerDetail } from "../../engine/engine.ts";
import { invalid } from "../../lib/errors.ts";
import type { Attachment } from "../../model/container.ts";
import type { EndpointAddress } from "../../model/endpoint.ts";
import { number, text, textMap, texts } from "../schemas.ts";

/** `EndpointSettings` as clients send it; what the daemon fills in is not read. */
export const endpointSettings = z.looseObject({
  IPAMConfig: z.looseObject({ IPv4Address: text, IPv6Address: text, LinkLocalIPs: texts }).nullish(),
  Links: texts,
  Aliases: texts,
  MacAddress: text,
  DriverOpts: textMap,
  GwPriority: number,
});
export type EndpointSettings = z.infer<typeof endpointSettings>;

/**
 * What a container wishes of one network.
 * @throws {EngineError} invalid, with Docker's texts (moby api/types/network/endpoint.go)
 */
export function readEndpointSettings(settings: EndpointSettings | null | undefined): Omit<Attachment, "network"> {
  const { IPv4Address: ipv4 = "", IPv6Address: ipv6 = "", LinkLocalIPs } = settings?.IPAMConfig ?? {};
  const linkLocal = LinkLocalIPs ?? [];
  const findings = [
    ...(ipv4 && !isIPv4(ipv4) ? [`invalid IPv4 address: ${ipv4}`] : []),
    ...(ipv6 && !isIPv6(ipv6) ? [`invalid IPv6 address: ${ipv6}`] : []),
    ...linkLocal.filter((ip) => !isIPv4(ip) && !isIPv6(ip)).map((ip) => `invalid link-local IP address: ${ip}`),
  ];
  if (findings.length > 0) throw invalid(`invalid endpoint settings:\n${listed(findings)}`);
  return {
    ...(ipv4 && { ipv4 }),
    ...(ipv6 && { ipv6: canonical6(ipv6) }),
    linkLocal: linkLocal.map((ip) => (isIPv6(ip) ? canonical6(ip) : ip)),
    ...(settings?.MacAddress && { mac: readMac(settings.MacAddress) }),
    aliases: settings?.Aliases ?? [],
    links: settings?.Links ?? [],
    driverOptions: settings?.DriverOpts ?? {},
    gatewayPriority: settings?.GwPriority ?? 0,
  };
}

/** Several findings get bullets, one stands alone (moby internal/multierror). */
const listed = (findings: readonly string[]) =>
  findings.length === 1 ? findings[0] : findings.map((line) => `* ${line}`).join("\n");

/** RFC 5952 text, as the URL standard writes IPv6 hosts. */
const canonical6 = (address: string) => new URL(`http://[${address}]`).hostname.slice(1, -1);

/** @throws {EngineError} invalid, with Docker's text */
export function readMac(text: string): string {
  const mac = text.toLowerCase().replaceAll("-", ":");
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) throw invalid(`invalid MAC address ${text}`);
  return mac;
}

const addressOf = (addresses: readonly EndpointAddress[] | undefined, family: 4 | 6) =>
  addresses?.find((a) => a.address.includes(":") === (family === 6));

/** `EndpointSettings` of one attachment, as inspect shows it (fields in Docker's order). */
export function endpointSettingsJson(detail: ContainerDetail["networks"][number]): object {
  const { attachment, network, endpoint } = detail;
  const v4 = addressOf(endpoint?.addresses, 4);
  const v6 = addressOf(endpoint?.addresses, 6);
  return {
    IPAMConfig: ipamConfigJson(attachment),
    Links: orNull(attachment.links),
    Aliases: orNull(attachment.aliases),
    MacAddress: endpoint?.mac ?? attachment.mac ?? "",
    DriverOpts: Object.keys(attachment.driverOptions).length > 0 ? attachment.driverOptions : null,
    GwPriority: attachment.gatewayPriority,
    NetworkID: network?.id ?? "",
    EndpointID: endpoint?.id ?? "",
    Gateway: v4?.gateway ?? "",
    IPAddress: v4?.address ?? "",
    IPPrefixLen: v4?.prefix ?? 0,
    IPv6Gateway: v6?.gateway ?? "",
    GlobalIPv6Address: v6?.address ?? "",
    GlobalIPv6PrefixLen: v6?.prefix ?? 0,
    DNSNames: network !== undefined && !network.predefined ? orNull(endpoint?.names ?? []) : null,
  };
}

const orNull = (list: readonly string[]) => (list.length > 0 ? list : null);

function ipamConfigJson({ ipv4, ipv6, linkLocal }: Attachment): object | null {
  if (ipv4 === undefined && ipv6 === undefined && linkLocal.length === 0) return null;
  return {
    ...(ipv4 !== undefined && { IPv4Address: ipv4 }),
    ...(ipv6 !== undefined && { IPv6Address: ipv6 }),
    ...(linkLocal.length > 0 && { LinkLocalIPs: linkLocal }),
  };
}
