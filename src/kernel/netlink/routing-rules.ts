import { addressBytes, addressText } from "../../lib/address-bytes.ts";
import type { RuleObject } from "../../model/plan.ts";
import { type Attribute, decodeAttributes, familyNumber, readU32, u32, u8 } from "./attributes.ts";
import { flags, type Message } from "./message.ts";
import { ourProtocol } from "./protocol.ts";

const types = { new: 32, del: 33, get: 34 } as const; // RTM_*RULE
/** FRA_* (include/uapi/linux/fib_rules.h). */
const attribute = { from: 2, priority: 6, mark: 10, table: 15, mask: 16, protocol: 21 } as const;
const toTable = 1; // FR_ACT_TO_TBL
const bodyLength = 12; // struct fib_rule_hdr

/** A rule of ours, less its namespace. */
export type RoutingRule = Omit<RuleObject, "kind" | "namespace">;

function message(type: number, flag: number, { priority, from, mark, table }: RoutingRule): Message {
  const source = addressBytes(from);
  const list: Attribute[] = [
    [attribute.from, source],
    [attribute.priority, u32(priority)],
    [attribute.table, u32(table)],
    [attribute.protocol, u8(ourProtocol)],
  ];
  if (mark !== undefined) list.push([attribute.mark, u32(mark.value)], [attribute.mask, u32(mark.mask)]);
  const body = Buffer.from([familyNumber(source), 0, source.length * 8, 0, table, 0, 0, toTable, 0, 0, 0, 0]);
  return { type, flags: flag, body, attributes: list };
}

/** Refused with EEXIST where the same one is. */
export const addRule = (rule: RoutingRule): Message => message(types.new, flags.create | flags.exclusive, rule);
export const deleteRule = (rule: RoutingRule): Message => message(types.del, 0, rule);
export const dumpRules = (family: 2 | 10): Message => ({
  type: types.get,
  flags: 0,
  body: Buffer.from([family, ...Buffer.alloc(bodyLength - 1)]),
  attributes: [],
});

/** @returns undefined for rules of others */
export function readRule(bytes: Buffer): RoutingRule | undefined {
  const a = decodeAttributes(bytes.subarray(bodyLength));
  const from = a.get(attribute.from);
  if (a.get(attribute.protocol)?.readUInt8(0) !== ourProtocol || from === undefined) return undefined;
  const value = readU32(a.get(attribute.mark));
  const mask = readU32(a.get(attribute.mask));
  return {
    priority: readU32(a.get(attribute.priority)) ?? 0,
    from: addressText(from),
    ...(value !== undefined && mask !== undefined && { mark: { value, mask } }),
    table: readU32(a.get(attribute.table)) ?? bytes.readUInt8(4),
  };
}
