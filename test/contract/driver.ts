import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { baseText } from "../../src/dataplane/base.ts";
import type { NetworkDriver } from "../../src/drivers/driver.ts";
import { printPlan } from "../../src/drivers/print-plan.ts";
import {
  encryptedUnderlay,
  keyOf,
  type NamespaceName,
  type Owner,
  type PlanObject,
  type RuleFamily,
} from "../../src/model/plan.ts";
import { specOf } from "../support/rows.ts";
import { type DriverCase, type DriverFixture, type DriverWish, objectsOf, plansOf, viewsOf } from "./driver-cases.ts";
import { describeApplication, type Plans } from "./application.ts";

export type { EndpointWish, PeerWish } from "../support/rows.ts";
export type { DriverCase, DriverFixture, DriverWish } from "./driver-cases.ts";

/** What every driver promises, whatever it is for: about its options, its plans, and what a kernel makes of them. */
export function driverContract(driver: NetworkDriver, fixture: DriverFixture): void {
  describe(`driver ${driver.name}`, () => {
    describeOptions(driver, fixture);
    for (const one of fixture.cases)
      describe(one.title, () => {
        describePlans(driver, one);
        describeApplication(withSandboxes(driver, one), one.there);
      });
  });
}

/** The plans of a case and of its containers' namespaces. */
function withSandboxes(driver: NetworkDriver, one: DriverCase): Plans {
  const sandboxes = viewsOf(driver, one).endpoints.map(({ sandbox }) => `sandbox:${sandbox.id}` as const);
  const namespaces = sandboxes.map((namespace) => [namespace, [{ kind: "namespace", namespace }]] as const);
  return new Map<Owner, readonly PlanObject[]>([...namespaces, ...plansOf(driver, one)]);
}

function describeOptions(driver: NetworkDriver, { optionKeys, cases, refused }: DriverFixture): void {
  const read = (wish: DriverWish) => driver.readOptions(specOf({ ...wish, number: 1, driver: driver.name }));

  it("has each of its options in a case, or among what is refused", () => {
    const tried = [...cases.map(({ network }) => network), ...refused.map(([wish]) => wish)];
    const keys = new Set(tried.flatMap(({ options }) => Object.keys(options ?? {})));
    assert.deepEqual(
      optionKeys.filter((key) => !keys.has(key)),
      [],
      `src/drivers/${driver.name}/testing.ts does not try these`,
    );
  });

  it("refuses an option that it does not know, and says which is near", () => {
    const unknown = (key: string) => new RegExp(`^unknown option "${key}" for the ${driver.name} driver`);
    assert.throws(() => read({ options: { "com.example.nonsense": "1" } }), {
      name: "EngineError",
      class: "invalid",
      message: unknown("com.example.nonsense"),
    });
    for (const key of optionKeys) {
      const message = `unknown option "${key}x" for the ${driver.name} driver: did you mean "${key}"?`;
      assert.throws(() => read({ options: { [`${key}x`]: "1" } }), { name: "EngineError", message });
    }
  });

  for (const [wish, message] of refused)
    it(`refuses ${JSON.stringify(wish)}`, () => assert.throws(() => read(wish), { name: "EngineError", message }));
}

function describePlans(driver: NetworkDriver, one: DriverCase): void {
  const objects = () => objectsOf(driver, one);

  it("is planned the same from the same rows", () =>
    assert.deepEqual(plansOf(driver, one), plansOf(driver, structuredClone(one))));

  it("is planned without a change to the rows", () => {
    const views = viewsOf(driver, one);
    const before = structuredClone(views);
    const options = driver.readOptions(views.network.network.spec);
    driver.planNetwork(views.network, options);
    for (const view of views.endpoints) driver.planEndpoint(view, options);
    for (const view of views.peers) driver.planPeer?.(view, options);
    assert.deepEqual(views, before);
  });

  it("names no object twice, nor in two networks", () => {
    const here = objects().map(keyOf);
    assert.deepEqual(here, [...new Set(here)]);
    // What encrypted networks go through is there once for all of them.
    const chosen = [...chosenNames(one, objects()), encryptedUnderlay];
    const there = new Set(objectsOf(driver, one, 2).map(keyOf));
    const shared = here.filter((key) => there.has(key) && !chosen.some((name) => key.includes(name)));
    assert.deepEqual(shared, []);
  });

  it("has names of interfaces and MACs that Linux takes, each MAC once", () => {
    const links = objects().flatMap(endsOf);
    for (const { name } of links) assert.match(name, /^[A-Za-z0-9_.-]{1,15}$/);
    const macs = links.flatMap(({ mac }) => mac ?? []);
    assert.deepEqual(macs, [...new Set(macs)]);
    // Locally administered, unicast: IEEE 802, the second digit of the first byte.
    for (const mac of macs) assert.match(mac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
  });

  it("jumps to chains that it plans, and uses sets that the base has", () => {
    const chains = new Set(
      objects().flatMap((o) => (o.kind === "chain" ? `${o.namespace} ${o.family} ${o.name}` : [])),
    );
    for (const { at, family, sets, targets } of objects().flatMap(usesOf)) {
      const base = baseText(at)[family] ?? "";
      for (const set of sets) assert.match(base, new RegExp(`^  (set|map) ${set} \\{`, "m"));
      for (const target of targets)
        assert.ok(
          chains.has(`${at} ${family} ${target}`) || base.includes(`  chain ${target} {`),
          `no chain ${target}`,
        );
    }
  });

  it("can be printed as commands, one for each object at least", () => {
    const printed = printPlan(objects());
    assert.ok(printed.split("\n").length > objects().length);
    assert.doesNotMatch(printed, /undefined|NaN|\[object/);
  });
}

/** A link, and the far end of a cable. */
function endsOf(object: PlanObject): { readonly name: string; readonly mac?: string }[] {
  if (object.kind !== "link") return [];
  return "peer" in object ? [object, object.peer] : [object];
}

/** Names of links that the user chose: two networks may well have them, and share what is on them. */
function chosenNames({ network, there = [] }: DriverCase, objects: readonly PlanObject[]): string[] {
  const values = [...Object.values(network.options ?? {}), ...there.map(({ name }) => name)];
  const used = objects.flatMap((o) => (o.kind === "link" ? [o.name] : "link" in o ? [o.link] : []));
  const names = [...new Set(used)].filter((name) => values.includes(name));
  return names.flatMap((name) => [`|${name}`, `"${name}"`, `.${name.replaceAll(".", "/")}.`]);
}

interface Uses {
  readonly at: NamespaceName;
  readonly family: RuleFamily;
  readonly sets: readonly string[];
  /** The chains that they lead to. */
  readonly targets: readonly string[];
}

/** What rules and elements name. */
function usesOf(object: PlanObject): Uses[] {
  if (object.kind !== "chain" && object.kind !== "element") return [];
  const { namespace: at, family } = object;
  const rules = object.kind === "chain" ? object.rules : [object.value ?? ""];
  const targets = rules.flatMap((rule) => /\b(?:jump|goto) (\S+)$/.exec(rule)?.[1] ?? []);
  // `@nh,64,128` is no set but a piece of the packet.
  const read = rules.flatMap((rule) => rule.match(/(?<=@)\w+(?![\w,])/g) ?? []);
  return [{ at, family, sets: object.kind === "chain" ? read : [object.set], targets }];
}
