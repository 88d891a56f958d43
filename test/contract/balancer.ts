import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Balancer, checkPolicy } from "../../src/balancers/balancer.ts";
import { baseText } from "../../src/dataplane/base.ts";
import { printPlan } from "../../src/drivers/print-plan.ts";
import { keyOf, type Owner, type PlanObject } from "../../src/model/plan.ts";
import { describeApplication } from "./application.ts";
import {
  type BalancerCase,
  type BalancerFixture,
  balancerObjects,
  balancerPlans,
  publishedView,
  serviceView,
} from "./balancer-cases.ts";

const ways = ["rr", "random", "least", "source"] as const;

/** What every balancer promises, whatever it works with: about its plans, and what a kernel makes of them. */
export function balancerContract(balancer: Balancer, { cases }: BalancerFixture): void {
  describe(`balancer ${balancer.name}`, () => {
    it("has each way of sharing in a case, and refuses the others", () => {
      const tried = new Set(cases.map(({ service }) => service?.balance?.by ?? "rr"));
      assert.deepEqual(new Set(balancer.ways), tried);
      for (const by of ways) {
        const check = () => checkPolicy(balancer, { by, local: false }, ["h1"]);
        if (balancer.ways.includes(by)) check();
        else
          assert.throws(check, { name: "EngineError", class: "invalid", message: new RegExp(`tombolo\\.lb=${by} `) });
      }
    });

    it("has cases without a task, with one, with tasks of this host first, with both families, and published ones", () => {
      const kinds: readonly ((one: BalancerCase) => boolean)[] = [
        ({ tasks }) => tasks === 0,
        ({ tasks }) => tasks === 1,
        ({ here = 0, service }) => here > 0 && service?.balance?.local === true,
        ({ ipv6 }) => ipv6 === true,
        ({ isPublished, service }) => isPublished === true && service?.keepsClient === false,
        ({ isPublished, tasks }) => isPublished === true && tasks === 0,
      ];
      for (const [at, isOf] of kinds.entries()) assert.ok(cases.some(isOf), `kind ${at}`);
    });

    for (const one of cases)
      describe(one.title, () => {
        describePlans(balancer, one);
        describeApplication(withSandbox(balancer, one));
      });
  });
}

/** The plans of a case, and of the namespace that they are for. */
function withSandbox(balancer: Balancer, one: BalancerCase): Map<Owner, readonly PlanObject[]> {
  const namespace = `sandbox:${serviceView(one).sandbox}` as const;
  const plans = balancerPlans(balancer, one);
  return plans.set(namespace, [{ kind: "namespace", namespace }, ...(plans.get(namespace) ?? [])]);
}

function describePlans(balancer: Balancer, one: BalancerCase): void {
  const objects = (number = 1) => balancerObjects(balancer, one, number);

  it("is planned the same from the same rows, without a change to them", () => {
    const [view, published] = [serviceView(one), publishedView(one)];
    const before = structuredClone([view, published]);
    assert.deepEqual(balancer.planService(view), balancer.planService(structuredClone(view)));
    assert.deepEqual(balancer.planClient(view.sandbox), balancer.planClient(view.sandbox));
    assert.deepEqual(balancer.planPublished(published), balancer.planPublished(structuredClone(published)));
    assert.deepEqual(balancer.planEntry(published.entry), balancer.planEntry(structuredClone(published.entry)));
    assert.deepEqual([view, published], before);
  });

  it("names no object twice, nor in two services of one sandbox", () => {
    const keys = objects().map(keyOf);
    assert.deepEqual(keys, [...new Set(keys)]);
    const shared = new Set(
      balancerPlans(balancer, one)
        .get(`sandbox:${serviceView(one).sandbox}`)
        ?.map(keyOf),
    );
    const others = new Set(objects(2).map(keyOf));
    assert.deepEqual(
      keys.filter((key) => others.has(key) && !shared.has(key)),
      [],
    );
  });

  it("touches the client's sandbox alone; a published service the host's map of ports, too", () => {
    const { sandbox } = serviceView(one);
    for (const object of objects()) {
      const isOfHost = object.kind === "element" && object.namespace === "host" && object.set.startsWith("published");
      if (one.isPublished !== true || !isOfHost) assert.equal(object.namespace, `sandbox:${sandbox}`, keyOf(object));
    }
  });

  it("costs by its tasks and ports, not by how many services there are", () => {
    const size = (number: number) => objects(number).length;
    for (const number of [2, 50]) assert.equal(size(number), size(1));
  });

  it("leads to chains that it plans or the base has, and uses sets that the base has", () => {
    const chains = new Set(
      objects().flatMap((o) => (o.kind === "chain" ? `${o.namespace} ${o.family} ${o.name}` : [])),
    );
    for (const object of objects()) {
      if (object.kind !== "element") continue;
      const base = baseText(object.namespace)[object.family] ?? "";
      assert.match(base, new RegExp(`^  (set|map) ${object.set} \\{`, "m"));
      const target = /\b(?:jump|goto) (\S+)$/.exec(object.value ?? "")?.[1];
      if (target === undefined) continue;
      const isThere =
        chains.has(`${object.namespace} ${object.family} ${target}`) || base.includes(`  chain ${target} {`);
      assert.ok(isThere, `no chain ${target}`);
    }
  });

  it("can be printed as commands", () => assert.doesNotMatch(printPlan(objects()), /undefined|NaN|\[object/));
}
