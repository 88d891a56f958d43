import { type ChainObject, type ElementObject, keyOf, type NamespaceName } from "../../model/plan.ts";
import { type Found, KernelError, type Step } from "../kernel.ts";
import type { Realms } from "../realms.ts";
import { createWishes } from "../wishes.ts";
import type { Base } from "./base.ts";
import { readElements } from "./elements.ts";
import { families, listJson, listTable, readListing, table } from "./listing.ts";
import { type Nft, output } from "./nft.ts";

type RuleStep = Step & { readonly object: ChainObject | ElementObject };
export const isRuleStep = (step: Step): step is RuleStep =>
  step.object.kind === "chain" || step.object.kind === "element";

/** Chains and elements of the table `tombolo`. */
export interface Rules {
  /** Does steps of one namespace as one transaction. @throws {KernelError} with `step`, counted from the first of these */
  apply(namespace: NamespaceName, steps: readonly RuleStep[]): void;
  listChains(namespace: NamespaceName): Found[];
  listElements(namespace: NamespaceName): Found[];
}

export function createRules(realms: Realms, base: Base): Rules {
  const wishes = createWishes<ChainObject>();
  /** What nft prints for a wished chain whose text it writes in another way. */
  const printed = new Map<string, string>();

  function run(nft: Nft, steps: readonly RuleStep[]): void {
    nft.run(`${steps.flatMap(commands).join("\n")}\n`);
    for (const step of steps) {
      const { verb, object } = step;
      // An element says itself whose it is: one that changes hands is written anew.
      if (object.kind !== "chain") continue;
      if (verb === "remove") wishes.forget(object);
      else wishes.remember(object, step.owner);
      learn(nft, object, verb === "remove");
    }
  }

  function learn(nft: Nft, chain: ChainObject, removed: boolean): void {
    printed.delete(keyOf(chain));
    if (removed) return;
    const listing = nft.run(`list chain ${chain.family} ${table} ${chain.name}`, output.terse | output.stateless);
    const lines = readListing(listing).blocks[0]?.lines ?? [];
    if (lines.join("\n") !== chain.rules.join("\n")) printed.set(keyOf(chain), lines.join("\n"));
  }

  /** The transaction was refused and nothing of it is done: one step at a time shows which is the first in the way. */
  function runSingly(nft: Nft, steps: readonly RuleStep[]): void {
    for (const [index, step] of steps.entries()) {
      try {
        run(nft, [step]);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        if (step.verb === "remove" && error.code === "ENOENT") continue;
        error.step = index;
        throw error;
      }
    }
  }

  return {
    apply(namespace, steps) {
      const nft = realms.find(namespace)?.nft();
      if (nft === undefined) return refuseWithout(namespace, steps);
      base.prepare(namespace);
      try {
        run(nft, steps);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        runSingly(nft, steps);
      }
    },
    listChains(namespace) {
      const nft = realms.find(namespace)?.nft();
      if (nft === undefined) return [];
      return families.flatMap((family) =>
        (listTable(nft, family)?.blocks ?? [])
          .filter((block) => block.type === "chain")
          .flatMap(({ name, comment, lines }): Found[] => {
            const object: ChainObject = { kind: "chain", namespace, family, name, rules: lines };
            const wish = wishes.get(keyOf(object));
            // The comment of a chain that changed hands still names the first owner: Linux does not rewrite it.
            const owner = wish?.owner ?? comment;
            const asWished = wish !== undefined && printed.get(keyOf(object)) === lines.join("\n");
            // Without a mark it is a base chain, or the users' own.
            return owner === undefined ? [] : [{ object: asWished ? wish.object : object, owner }];
          }),
      );
    },
    listElements(namespace) {
      const nft = realms.find(namespace)?.nft();
      if (nft === undefined) return [];
      return families.flatMap((family) =>
        readElements(listJson(nft, family) ?? '{"nftables":[]}').flatMap(({ comment, ...element }): Found[] => {
          const object: ElementObject = { kind: "element", namespace, family, ...element };
          if (comment !== undefined) return [{ object, owner: comment }];
          // In a set of the users' own it is none of our business.
          return base.has(namespace, family, element.set) ? [{ object }] : [];
        }),
      );
    },
  };
}

/** Nothing is left to remove where there is no namespace. */
function refuseWithout(namespace: NamespaceName, steps: readonly RuleStep[]): void {
  const index = steps.findIndex((step) => step.verb !== "remove");
  if (index < 0) return;
  throw Object.assign(new KernelError("ENOENT", `no network namespace ${namespace}`), { step: index });
}

function commands(step: RuleStep): string[] {
  return step.object.kind === "chain" ? chainCommands(step, step.object) : elementCommands(step, step.object);
}

function chainCommands(step: Step, { family, name, namespace, rules }: ChainObject): string[] {
  const at = `${family} ${table} ${name}`;
  if (step.verb === "remove") return [`flush chain ${at}`, `delete chain ${at}`];
  return [
    // Where a table has no base it is made on the way.
    ...(namespace === "host" ? [] : [`add table ${family} ${table}`]),
    `add chain ${at} { comment "${step.owner}"; }`,
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
