import { isDeepStrictEqual } from "node:util";
import { keyOf, type NamespaceName, type RuleObject } from "../../model/plan.ts";
import { addRule, deleteRule, dumpRules, readRule } from "../netlink/routing-rules.ts";
import { type Realm, type Realms, tolerate } from "../realms.ts";
import { createWishes } from "../wishes.ts";
import type { Handler } from "./handler.ts";

/** Rules for choosing a routing table. The kernel keeps no owner of theirs: it is who asked for it in this process, else the namespace's. */
export function routingRuleHandler(realms: Realms): Handler<RuleObject> {
  const wishes = createWishes<RuleObject>();
  const drop = (realm: Realm, rules: readonly RuleObject[]) => {
    for (const rule of rules) tolerate(["ENOENT"], () => realm.route.exchange(deleteRule(rule)));
  };
  /** Those that are there in the place of one. */
  const there = (realm: Realm, rule: RuleObject) =>
    rulesOf(realm, rule.namespace).filter((other) => keyOf(other) === keyOf(rule));
  return {
    put(rule, owner) {
      const realm = realms.get(rule.namespace);
      const others = there(realm, rule).filter((other) => !isDeepStrictEqual(other, rule));
      tolerate(["EEXIST"], () => realm.route.exchange(addRule(rule)));
      drop(realm, others);
      wishes.remember(rule, owner);
    },
    remove(rule) {
      wishes.forget(rule);
      const realm = realms.find(rule.namespace);
      if (realm !== undefined) drop(realm, there(realm, rule));
    },
    list(namespace) {
      const realm = realms.find(namespace);
      if (realm === undefined) return [];
      return rulesOf(realm, namespace).map((object) => ({
        object,
        owner: wishes.get(keyOf(object))?.owner ?? namespace,
      }));
    },
  };
}

const rulesOf = (realm: Realm, namespace: NamespaceName): RuleObject[] =>
  ([2, 10] as const)
    .flatMap((family) => realm.route.dump(dumpRules(family)))
    .flatMap(({ body }): RuleObject[] => {
      const rule = readRule(body);
      return rule === undefined ? [] : [{ kind: "rule", namespace, ...rule }];
    });
