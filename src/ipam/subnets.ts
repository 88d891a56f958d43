import { invalid } from "../lib/errors.ts";
import { cidrText, contains, masked, type ParsedCidr, parseAddress, parseCidr, addressText } from "../lib/net.ts";
import type { SubnetSpec } from "../model/network.ts";

/** A subnet that the user named, read and checked. */
export interface CheckedSubnet {
  readonly subnet: ParsedCidr;
  readonly range?: ParsedCidr;
  readonly gateway?: string;
  readonly auxiliary: Readonly<Record<string, string>>;
}
export interface CheckedSubnets {
  readonly subnets: readonly CheckedSubnet[];
  /** What was masked, for the network's labels: `tombolo.masked.subnet.0`. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Reads what the user typed, all of it before anything is changed (Docker's rules: moby api/types/network/ipam.go).
 * With `lenient`, host bits below a prefix are cleared, as Docker did before version 25, and the labels say so.
 * @throws {EngineError} invalid, with every finding
 */
export function checkSubnets(specs: readonly SubnetSpec[], lenient: boolean): CheckedSubnets {
  const findings: string[] = [];
  const labels: Record<string, string> = {};
  const mask = (what: string, index: number, cidr: ParsedCidr): ParsedCidr => {
    const whole = masked(cidr);
    if (whole.number === cidr.number) return cidr;
    if (lenient) labels[`tombolo.masked.${what}.${index}`] = `${cidrText(cidr)} taken as ${cidrText(whole)}`;
    else findings.push(`invalid ${what} ${cidrText(cidr)}: it should be ${cidrText(whole)}`);
    return whole;
  };
  const subnets = specs.flatMap((spec, index): CheckedSubnet[] => {
    const typed = parseCidr(spec.subnet ?? "");
    if (typed === undefined) {
      findings.push(`invalid subnet ${spec.subnet ?? ""}: invalid CIDR block notation`);
      return [];
    }
    const subnet = mask("subnet", index, typed);
    const range = readRange(spec, subnet, findings, (cidr) => mask("ip-range", index, cidr));
    const gateway = readWithin("gateway", spec.gateway, spec.gateway, subnet, findings);
    const auxiliary = Object.entries(spec.auxiliary).flatMap(([name, text]) => {
      const address = readWithin("auxiliary address", name, text, subnet, findings);
      return address === undefined ? [] : [[name, address] as const];
    });
    return [
      {
        subnet,
        ...(range !== undefined && { range }),
        ...(gateway !== undefined && { gateway }),
        auxiliary: Object.fromEntries(auxiliary),
      },
    ];
  });
  if (findings.length === 1) throw invalid(`invalid network config:\n${findings[0]}`);
  if (findings.length > 1) throw invalid(`invalid network config:\n${findings.map((f) => `* ${f}`).join("\n")}`);
  return { subnets, labels };
}

const block = (subnet: ParsedCidr) => `parent subnet is an IPv${subnet.family} block`;

function readRange(
  spec: SubnetSpec,
  subnet: ParsedCidr,
  findings: string[],
  mask: (cidr: ParsedCidr) => ParsedCidr,
): ParsedCidr | undefined {
  if (spec.range === undefined || spec.range === "") return undefined;
  const refuse = (why: string) => {
    findings.push(`invalid ip-range ${spec.range}: ${why}`);
    return undefined;
  };
  const range = parseCidr(spec.range);
  if (range === undefined) return refuse("invalid CIDR block notation");
  if (range.family !== subnet.family) return refuse(block(subnet));
  if (range.prefix < subnet.prefix) return refuse(`CIDR block is bigger than its parent subnet ${cidrText(subnet)}`);
  if (!contains(subnet, range)) return refuse(`parent subnet ${cidrText(subnet)} doesn't contain ip-range`);
  return mask(range);
}

function readWithin(
  what: string,
  name: string | undefined,
  text: string | undefined,
  subnet: ParsedCidr,
  findings: string[],
): string | undefined {
  if (text === undefined || text === "") return undefined;
  const address = parseAddress(text);
  const refuse = (why: string) => {
    findings.push(`invalid ${what} ${name}: ${why}`);
    return undefined;
  };
  if (address === undefined) return refuse("invalid address");
  if (address.family !== subnet.family) return refuse(block(subnet));
  if (!contains(subnet, address)) return refuse(`parent subnet ${cidrText(subnet)} doesn't contain this address`);
  return addressText(address);
}
