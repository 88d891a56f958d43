import type { Family } from "../../model/plan.ts";
import type { BalancePolicy } from "../../model/service.ts";

type Way = Exclude<BalancePolicy["by"], "least">;

/** A service of so many tasks or fewer shares its chain with all others of its size: what grows with services is elements alone. */
export const mostShared = 16;

/** How a connection gets a number below `count`. The seed is the same on every host: an address has one task, wherever it asks. */
const numbers: Readonly<Record<Way, (count: number, family: Family) => string>> = {
  rr: (count) => `numgen inc mod ${count}`,
  random: (count) => `numgen random mod ${count}`,
  source: (count, family) => `jhash ${family} saddr mod ${count} seed 0x54`,
};
const ways = Object.keys(numbers) as Way[];

/** What a connection gets by its number: the target that the map `members` has for it. */
export type Choice = (number: string, family: Family) => string;
export const byAddress: Choice = (number, family) =>
  `meta mark set 0x00000000 dnat ${family} to ${family} daddr . ${number} map @members`;
/**
 * The number goes by the packet's mark: as a part of the map's key it could not be said without `tcp dport` in its type, and
 * that makes nft 1.0.6 take the next rule for one of TCP alone.
 */
export const byPort: Choice = (number) => `meta mark set ${number} goto ${choose}`;
export const choose = "choose";
/** Its rule. */
export const choice = (family: Family) => `dnat ${family} to meta l4proto . th dport . meta mark map @members`;

/**
 * The rules that share out the connections of a service. Services of one size count in one chain, where now and then a second
 * counter is taken: a program that asks two services by turns would else always get the same tasks of each.
 */
export function shareRules(way: Way, count: number, family: Family, choose: Choice): string[] {
  const rule = choose(numbers[way](count, family), family);
  return way === "rr" && count > 1 ? [`numgen random mod 16 0 ${rule}`, rule] : [rule];
}

const counts = Array.from({ length: mostShared }, (_, i) => i + 1);
/** Nobody is there: said at once, instead of silence. */
const refuse = "refuse";
const shareChain = (way: Way, count: number) => `${way}_${count}`;
/** The chains that services share, by their numbers. */
const shared = [refuse, ...ways.flatMap((way) => counts.map((count) => shareChain(way, count)))];

/**
 * The number of the chain that services of so many tasks share, in the map `services`: where a map leads to a chain by itself, Linux
 * looks through all of it with every element that comes.
 * @param count 0 to `mostShared`
 */
export const shareNumber = (way: Way, count: number): number =>
  count === 0 ? 0 : shared.indexOf(shareChain(way, count));

/** Leads to a shared chain by its number. */
export const share = "share";

/** Every chain that services share, as text for the base of a table, with one more for services without a task. */
export function sharedChains(family: Family, choose: Choice): string {
  const chain = (name: string, rules: readonly string[]) =>
    `  chain ${name} {\n${rules.map((rule) => `    ${rule}\n`).join("")}  }\n`;
  return [
    chain(refuse, ["meta l4proto tcp reject with tcp reset", "reject"]),
    ...ways.flatMap((way) =>
      counts.map((count) => chain(shareChain(way, count), shareRules(way, count, family, choose))),
    ),
    chain(share, [`meta mark vmap { ${shared.map((name, number) => `${number} : goto ${name}`).join(", ")} }`]),
  ].join("");
}
