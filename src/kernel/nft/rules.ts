import {
  type ChainObject,
  type ElementObject,
  keyOf,
  type NamespaceName,
  type PlanKind,
  type TimeoutObject,
} from "../../model/plan.ts";
import { type Found, KernelError, type Step } from "../kernel.ts";
import type { Realm, Realms } from "../realms.ts";
import { createWishes, type Wishes } from "../wishes.ts";
import type { Base } from "./base.ts";
import { readElements } from "./elements.ts";
import { listJson, listTable, presentFamilies, readListing, table } from "./listing.ts";
import { type Nft, output } from "./nft.ts";

type RuleObject = ChainObject | ElementObject | TimeoutObject;
type RuleStep = Step & { readonly object: RuleObject };
const ruleKinds: readonly PlanKind[] = ["chain", "element", "timeout"];
export const isRuleStep = (step: Step): step is RuleStep => ruleKinds.includes(step.object.kind);

/** Chains, elements and timeouts of the table `tombolo`. */
export interface Rules {
  /** Does steps of one namespace as one transaction. @throws {KernelError} with `step`, counted from the first of these */
  apply(namespace: NamespaceName, steps: readonly RuleStep[]): void;
  listChains(namespace: NamespaceName): Found[];
  listElements(namespace: NamespaceName): Found[];
  listTimeouts(namespace: NamespaceName): Found[];
}

/** What was asked for in a namespace, and what became of it: gone with the namespace. */
interface Known {
  readonly chains: Wishes<ChainObject>;
  readonly timeouts: Wishes<TimeoutObject>;
  /** What nft prints for a wished chain whose text it writes in another way. */
  readonly printed: Map<string, string>;
}

export function createRules(realms: Realms, base: Base): Rules {
  const all = new WeakMap<Realm, Known>();
  const knownIn = (realm: Realm): Known => {
    const known = all.get(realm) ?? { chains: createWishes(), timeouts: createWishes(), printed: new Map() };
    all.set(realm, known);
    return known;
  };
  return {
    apply(namespace, steps) {
      const realm = realms.find(namespace);
      if (realm === undefined) return refuseWithout(namespace, steps);
      base.prepare(namespace, new Set(steps.map(({ object }) => object.family)));
      try {
        run(realm.nft(), knownIn(realm), steps);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        runSingly(realm.nft(), knownIn(realm), steps);
      }
    },
    listChains(namespace) {
      const realm = realms.find(namespace);
      if (realm === undefined) return [];
      const { chains, printed } = knownIn(realm);
      return presentFamilies(realm.nft()).flatMap((family) =>
        (listTable(realm.nft(), family)?.blocks ?? [])
          .filter((block) => block.type === "chain")
          .flatMap(({ name, comment, lines }): Found[] => {
            const object: ChainObject = { kind: "chain", namespace, family, name, ...readLines(lines) };
            const wish = chains.get(keyOf(object));
            // The comment of a chain that changed hands still names the first owner: Linux does not rewrite it.
            const owner = wish?.owner ?? comment;
            const asWished = wish !== undefined && printed.get(keyOf(object)) === lines.join("\n");
            // Without a mark it is a base chain, or the users' own.
            return owner === undefined ? [] : [{ object: asWished ? wish.object : object, owner }];
          }),
      );
    },
    listTimeouts(namespace) {
      const realm = realms.find(namespace);
      if (realm === undefined) return [];
      const { timeouts } = knownIn(realm);
      return (["ip", "ip6"] as const).flatMap((family) =>
        (listTable(realm.nft(), family)?.blocks ?? []).flatMap(({ type, name, comment, lines }): Found[] => {
          const seconds = /^policy = \{ established : (\d+) \}$/m.exec(lines.join("\n"))?.[1];
          if (type !== "ct timeout" || seconds === undefined || comment === undefined) return [];
          const object: TimeoutObject = { kind: "timeout", namespace, family, name, seconds: Number(seconds) };
          return [{ object, owner: timeouts.get(keyOf(object))?.owner ?? comment }];
        }),
      );
    },
    listElements(namespace) {
      const realm = realms.find(namespace);
      if (realm === undefined) return [];
      // Of the family netdev no plan has elements, and what rules keep in a map there nft cannot print as JSON.
      const present = presentFamilies(realm.nft()).filter((family) => family !== "netdev");
      return present.flatMap((family) =>
        readElements(listJson(realm.nft(), family) ?? '{"nftables":[]}').flatMap(({ comment, ...element }): Found[] => {
          const object: ElementObject = { kind: "element", namespace, family, ...element };
          if (comment !== undefined) return [{ object, owner: comment }];
          // In a set of the users' own it is none of our business.
          return base.has(namespace, family, element.set) ? [{ object }] : [];
        }),
      );
    },
  };
}

function run(nft: Nft, known: Known, steps: readonly RuleStep[]): void {
  nft.run(`${steps.flatMap(commands).join("\n")}\n`);
  for (const step of steps) {
    const { verb, object } = step;
    // An element says itself whose it is: one that changes hands is written anew.
    if (object.kind === "element") continue;
    const wishes = known[`${object.kind}s`] as Wishes<RuleObject>;
    if (verb === "remove") wishes.forget(object);
    else wishes.remember(object, step.owner);
    if (object.kind === "chain") learn(nft, known, object, verb === "remove");
  }
}

function learn(nft: Nft, { printed }: Known, chain: ChainObject, removed: boolean): void {
  printed.delete(keyOf(chain));
  if (removed) return;
  const listing = nft.run(`list chain ${chain.family} ${table} ${chain.name}`, output.terse | output.stateless);
  const lines = readListing(listing).blocks[0]?.lines ?? [];
  if (lines.join("\n") !== linesOf(chain).join("\n")) printed.set(keyOf(chain), lines.join("\n"));
}

/** The transaction was refused and nothing of it is done: one step at a time shows which is the first in the way. */
function runSingly(nft: Nft, known: Known, steps: readonly RuleStep[]): void {
  for (const [index, step] of steps.entries()) {
    try {
      run(nft, known, [step]);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      if (step.verb === "remove" && error.code === "ENOENT") continue;
      error.step = index;
      throw error;
    }
  }
}

const hookText = /^type filter hook (ingress|egress) device "([^"]+)" priority filter; policy accept;$/;
/** A chain as nft prints it: its hook comes first. */
function linesOf({ hook, link, rules }: ChainObject): readonly string[] {
  return hook === undefined
    ? rules
    : [`type filter hook ${hook} device "${link}" priority filter; policy accept;`, ...rules];
}
function readLines(lines: readonly string[]): Pick<ChainObject, "hook" | "link" | "rules"> {
  const [, hook, link] = hookText.exec(lines[0] ?? "") ?? [];
  if (hook === undefined || link === undefined) return { rules: lines };
  return { hook: hook as "ingress" | "egress", link, rules: lines.slice(1) };
}

/** Nothing is left to remove where there is no namespace. */
function refuseWithout(namespace: NamespaceName, steps: readonly RuleStep[]): void {
  const index = steps.findIndex((step) => step.verb !== "remove");
  if (index < 0) return;
  throw Object.assign(new KernelError("ENOENT", `no network namespace ${namespace}`), { step: index });
}

function commands(step: RuleStep): string[] {
  if (step.object.kind === "chain") return chainCommands(step, step.object);
  return step.object.kind === "element" ? elementCommands(step, step.object) : timeoutCommands(step, step.object);
}

function timeoutCommands(step: Step, { family, name, seconds }: TimeoutObject): string[] {
  const at = `${family} ${table} ${name}`;
  if (step.verb === "remove") return [`delete ct timeout ${at}`];
  const policy = `policy = { established : ${seconds} }; comment "${step.owner}";`;
  return [`add ct timeout ${at} { protocol tcp; l3proto ${family}; ${policy} }`];
}

function chainCommands(step: Step, chain: ChainObject): string[] {
  const { family, name, namespace, hook, link, rules } = chain;
  const at = `${family} ${table} ${name}`;
  const remove = [`flush chain ${at}`, `delete chain ${at}`];
  if (step.verb === "remove") return remove;
  const was = step.verb === "change" && step.was.kind === "chain" ? step.was : chain;
  const isMoved = was.hook !== hook || was.link !== link;
  return [
    // Where a table has no base it is made on the way.
    ...(namespace === "host" ? [] : [`add table ${family} ${table}`]),
    ...(isMoved ? remove : []),
    `add chain ${at} { ${hook === undefined ? "" : `${linesOf(chain)[0]} `}comment "${step.owner}"; }`,
    `flush chain ${at}`,
    ...rules.map((rule) => `add rule ${at} ${rule}`),
  ];
}

function elementCommands(step: Step, { family, set, key, value }: ElementObject): string[] {
  const remove = `delete element ${family} ${table} ${set} { ${key} }`;
  if (step.verb === "remove") return [remove];
  const data = value === undefined ? "" : ` : ${value}`;
  const add = `add element ${family} ${table} ${set} { ${key} comment "${step.owner}"${data} }`;
  return step.verb === "change" ? [remove, add] : [add];
}
