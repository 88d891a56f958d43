import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import type { IpAddress } from "../../model/ids.ts";
import type { Family } from "../../model/plan.ts";
import { type Attribute, decodeAttributes, readText, readU32, text, u16, u32 } from "./attributes.ts";
import { genericAttributes, genericMessage } from "./generic.ts";
import type { Message } from "./message.ts";

/** The family, where the kernel has IPVS. */
export const ipvsFamily = "IPVS";

/** include/uapi/linux/ip_vs.h */
const commands = {
  ...{ newService: 1, setService: 2, deleteService: 3, getService: 4 },
  ...{ newDestination: 5, setDestination: 6, deleteDestination: 7, getDestination: 8, setConfig: 12 },
} as const;
const attribute = { service: 1, destination: 2, tcp: 4, tcpEnd: 5, udp: 6 } as const; // IPVS_CMD_ATTR_*
const service = { family: 1, mark: 5, scheduler: 6, flags: 7, timeout: 8, netmask: 9 } as const; // IPVS_SVC_ATTR_*
/** IPVS_DEST_ATTR_* */
const destination = { address: 1, port: 2, method: 3, weight: 4, upper: 5, lower: 6, family: 11 } as const;
const masquerade = 0; // IP_VS_CONN_F_MASQ
const persistent = 1; // IP_VS_SVC_F_PERSISTENT
const otherIsNext = 8; // IP_VS_SVC_F_SCHED_SH_FALLBACK: whose turn is a destination's that takes nothing gets the next
const families = { ip: 2, ip6: 10 } as const;
const addressLength = 16; // union nf_inet_addr

/**
 * Ours have this timeout, in seconds, which nothing uses but persistent services: so they are told from those that a container's
 * own programs made.
 */
const ours = 0x544d;

export interface ServiceWords {
  readonly family: Family;
  readonly mark: number;
  readonly scheduler: string;
}
type ServiceName = Pick<ServiceWords, "family" | "mark">;

/** Requests, for the number that the family has. */
export const ipvsMessages = (id: number) => {
  const message = (command: keyof typeof commands, ...attributes: Attribute[]): Message =>
    genericMessage(id, commands[command], attributes);
  return {
    /** @param verb refused with EEXIST when it is there (new), and ESRCH when it is not (set) */
    putService: (verb: "new" | "set", words: ServiceWords) => message(`${verb}Service`, serviceWords(words)),
    /** Refused with ESRCH when it is gone. Its destinations go too. */
    deleteService: (name: ServiceName) => message("deleteService", named(name)),
    dumpServices: message("getService"),
    /** @param verb refused with EEXIST when it is there (new), ENOENT when it is not (set), ESRCH without the service */
    putDestination: (verb: "new" | "set", name: ServiceName, address: IpAddress, weight: number) =>
      message(`${verb}Destination`, named(name), destinationWords(address, weight)),
    /** Refused with ENOENT when it is gone, ESRCH when its service is. */
    deleteDestination: (name: ServiceName, address: IpAddress) =>
      message("deleteDestination", named(name), destinationWords(address, 0)),
    dumpDestinations: (name: ServiceName) => message("getDestination", named(name)),
    /** How many seconds connections of the namespace are remembered in which nothing is said. */
    setTimeouts: (seconds: { readonly tcp: number; readonly tcpEnd: number; readonly udp: number }) =>
      message(
        "setConfig",
        [attribute.tcp, u32(seconds.tcp)],
        [attribute.tcpEnd, u32(seconds.tcpEnd)],
        [attribute.udp, u32(seconds.udp)],
      ),
  };
};

const named = ({ family, mark }: ServiceName): Attribute => [
  attribute.service,
  [
    [service.family, u16(families[family])],
    [service.mark, u32(mark)],
  ],
];

function serviceWords({ family, mark, scheduler }: ServiceWords): Attribute {
  const all = 0xffffffff;
  return [
    attribute.service,
    [
      [service.family, u16(families[family])],
      [service.mark, u32(mark)],
      [service.scheduler, text(scheduler)],
      [service.flags, Buffer.concat([u32(scheduler === "sh" ? otherIsNext : 0), u32(all)])],
      [service.timeout, u32(ours)],
      // A mask of IPv4, a prefix length of IPv6: one client is one address.
      [service.netmask, u32(family === "ip" ? all : 128)],
    ],
  ];
}

function destinationWords(address: IpAddress, weight: number): Attribute {
  const bytes = addressBytes(address);
  return [
    attribute.destination,
    [
      [destination.family, u16(bytes.length === 4 ? families.ip : families.ip6)],
      [destination.address, Buffer.concat([bytes, Buffer.alloc(addressLength - bytes.length)])],
      [destination.port, u16(0)],
      [destination.method, u32(masquerade)],
      [destination.weight, u32(weight)],
      [destination.upper, u32(0)],
      [destination.lower, u32(0)],
    ],
  ];
}

/** @returns undefined for one that is not ours */
export function readService(body: Buffer): ServiceWords | undefined {
  const a = decodeAttributes(genericAttributes(body).get(attribute.service) ?? Buffer.alloc(0));
  const mark = readU32(a.get(service.mark));
  const isOurs = readU32(a.get(service.timeout)) === ours && ((readU32(a.get(service.flags)) ?? 0) & persistent) === 0;
  if (mark === undefined || !isOurs) return undefined;
  const family = a.get(service.family)?.readUInt16LE(0) === families.ip6 ? "ip6" : "ip";
  return { family, mark, scheduler: readText(a.get(service.scheduler)) ?? "" };
}

export function readDestination(
  body: Buffer,
  family: Family,
): { readonly address: IpAddress; readonly weight: number } {
  const a = decodeAttributes(genericAttributes(body).get(attribute.destination) ?? Buffer.alloc(0));
  const bytes = a.get(destination.address) ?? Buffer.alloc(addressLength);
  return {
    address: addressText(Buffer.from(bytes.subarray(0, family === "ip" ? 4 : addressLength))),
    weight: readU32(a.get(destination.weight)) ?? 0,
  };
}
