import { invalid } from "../../lib/errors.ts";
import type { NetworkSpec } from "../../model/network.ts";
import type { IpvlanFlag, IpvlanMode } from "../../model/plan.ts";
import { type LanOptions, lanKeys, readAnnouncements, readParent } from "../lan-options.ts";
import { checkFamilies, optionReader, readBool, mtuReader, readPrefix, refuseUnknown } from "../option-values.ts";

/** The options of one ipvlan network, checked. */
export interface IpvlanOptions extends LanOptions {
  readonly mode: IpvlanMode;
  readonly flag: IpvlanFlag;
}

/** Every key of `-o` that this driver honours, under the name the code has for it. */
export const optionKeys = {
  mode: "ipvlan_mode",
  flag: "ipvlan_flag",
  ...lanKeys,
} as const;

export const modes = ["l2", "l3", "l3s"] as const satisfies readonly IpvlanMode[];
export const ipvlanFlags = ["bridge", "private", "vepa"] as const satisfies readonly IpvlanFlag[];

/** @throws {EngineError} invalid, with Docker's text where Docker has one */
export function readOptions(spec: NetworkSpec): IpvlanOptions {
  refuseUnknown(spec, Object.values(optionKeys));
  checkFamilies(spec);
  const read = optionReader(spec);
  const parent = read(optionKeys.parent, readParent);
  const mode = read(optionKeys.mode, (_, value) => readWord("mode", value, modes)) ?? "l2";
  const flag = read(optionKeys.flag, (_, value) => readWord("flag", value, ipvlanFlags)) ?? "bridge";
  const mtu = read(optionKeys.mtu, mtuReader(spec));
  const addressProbe = read(optionKeys.addressProbe, readBool);
  read(optionKeys.prefix, readPrefix);
  if (spec.internal && parent !== undefined)
    throw invalid(
      `conflicting options: --internal and -o parent=${parent}: an internal ipvlan network has a segment of its own, without a parent`,
    );
  if (mode !== "l2" && addressProbe === true)
    throw invalid(
      `conflicting options: address_probe and ipvlan_mode=${mode}: nobody asks for neighbours in that mode`,
    );
  return {
    ...(parent !== undefined && { parent }),
    mode,
    flag,
    ...(mtu !== undefined && { mtu }),
    addressProbe: mode === "l2" && (addressProbe ?? true),
    announcements: readAnnouncements(read),
  };
}

function readWord<W extends string>(what: "mode" | "flag", value: string, words: readonly [W, ...W[]]): W {
  const word = words.find((one) => one === value);
  if (word !== undefined) return word;
  throw invalid(`requested ipvlan ${what} '${value}' is not valid, '${words[0]}' ${what} is the ipvlan driver default`);
}
