import { invalid } from "../lib/errors.ts";
import {
  addressText,
  cidrText,
  contains,
  masked,
  overlaps,
  type ParsedCidr,
  parseAddress,
  parseCidr,
} from "../lib/net.ts";
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

export interface SubnetRules {
  /** Host bits below a prefix are cleared, as Docker did before version 25, and the labels say so. */
  readonly lenient: boolean;
  /** False: subnets of IPv6 are left out, as Docker does. */
  readonly ipv6: boolean;
}

/**
 * Reads what the user typed, all of it before anything is changed (Docker's rules: moby api/types/network/ipam.go).
 * @throws {EngineError} invalid, with every finding
 */
export function checkSubnets(specs: readonly SubnetSpec[], rules: SubnetRules): CheckedSubnets {
  const notes: Notes = { lenient: rules.lenient, findings: [], labels: {} };
  const subnets = specs.flatMap((spec, index) => {
    const typed = parseCidr(spec.subnet ?? "");
    if (isEmpty(spec) || (typed?.family === 6 && !rules.ipv6)) return [];
    if (typed !== undefined) return [checkSubnet(spec, typed, index, notes)];
    notes.findings.push(`invalid subnet ${spec.subnet ?? ""}: invalid CIDR block notation`);
    return [];
  });
  const { findings, labels } = notes;
  if (findings.length === 1) throw invalid(`invalid network config:\n${findings[0]}`);
  if (findings.length > 1) throw invalid(`invalid network config:\n${findings.map((f) => `* ${f}`).join("\n")}`);
  return { subnets, labels };
}

interface Notes {
  readonly lenient: boolean;
  readonly findings: string[];
  readonly labels: Record<string, string>;
}

/** `"Config": [{}]`, which some clients send for "no wish". */
const isEmpty = ({ subnet, range, gateway, auxiliary }: SubnetSpec) =>
  [subnet, range, gateway].every((text) => text === undefined || text === "") && Object.keys(auxiliary).length === 0;

function checkSubnet(spec: SubnetSpec, typed: ParsedCidr, index: number, notes: Notes): CheckedSubnet {
  const subnet = withoutHostBits("subnet", typed, index, notes);
  const parent: Parent = { block: subnet, text: cidrText(notes.lenient ? subnet : typed) };
  const range = readRange(spec.range, parent, index, notes);
  const gateway = readWithin("gateway", spec.gateway, spec.gateway, parent, notes);
  const auxiliary = Object.entries(spec.auxiliary).flatMap(([name, text]) => {
    const address = readWithin("auxiliary address", name, text, parent, notes);
    return address === undefined ? [] : [[name, address] as const];
  });
  return {
    subnet,
    ...(range !== undefined && { range }),
    ...(gateway !== undefined && { gateway }),
    auxiliary: Object.fromEntries(auxiliary),
  };
}

function withoutHostBits(what: string, cidr: ParsedCidr, index: number, { lenient, findings, labels }: Notes) {
  const whole = masked(cidr);
  if (whole.number === cidr.number) return cidr;
  if (lenient) labels[`tombolo.masked.${what}.${index}`] = `${cidrText(cidr)} taken as ${cidrText(whole)}`;
  else findings.push(`invalid ${what} ${cidrText(cidr)}: it should be ${cidrText(whole)}`);
  return whole;
}

/** The subnet, and how messages show it: as it was typed. */
interface Parent {
  readonly block: ParsedCidr;
  readonly text: string;
}
const wrongFamily = ({ block }: Parent) => `parent subnet is an IPv${block.family} block`;

function readRange(text: string | undefined, parent: Parent, index: number, notes: Notes): ParsedCidr | undefined {
  if (text === undefined || text === "") return undefined;
  const refuse = (why: string) => void notes.findings.push(`invalid ip-range ${text}: ${why}`);
  const range = parseCidr(text);
  if (range === undefined) return refuse("invalid CIDR block notation");
  if (range.family !== parent.block.family) return refuse(wrongFamily(parent));
  if (range.prefix < parent.block.prefix) refuse(`CIDR block is bigger than its parent subnet ${parent.text}`);
  const whole = withoutHostBits("ip-range", range, index, notes);
  if (!overlaps(parent.block, range)) refuse(`parent subnet ${parent.text} doesn't contain ip-range`);
  return whole;
}

function readWithin(
  what: string,
  name: string | undefined,
  text: string | undefined,
  parent: Parent,
  { findings }: Notes,
): string | undefined {
  if (text === undefined || text === "") return undefined;
  const refuse = (why: string) => void findings.push(`invalid ${what} ${name}: ${why}`);
  const address = parseAddress(text);
  if (address === undefined) return refuse("invalid address");
  if (address.family !== parent.block.family) return refuse(wrongFamily(parent));
  if (!contains(parent.block, address)) return refuse(`parent subnet ${parent.text} doesn't contain this address`);
  return addressText(address);
}
