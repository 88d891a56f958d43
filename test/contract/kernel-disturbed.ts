import assert from "node:assert/strict";
import { it } from "node:test";
import { baseText } from "../../src/dataplane/base.ts";
import type { KernelEvent } from "../../src/kernel/kernel.ts";
import { keyOf, type NamespaceName } from "../../src/model/plan.ts";
import { creates, endpointPlan, idOf, networkPlan, ports, type Wanted } from "./kernel-plans.ts";
import {
  assertHolds,
  bridge,
  chain,
  change,
  create,
  host,
  listAll,
  type OpenKernel,
  remove,
} from "./kernel-support.ts";
import { until } from "../support/until.ts";

/** What others do past the engine. */
export function describeDisturbance(open: () => OpenKernel): void {
  const wish = { number: 2, ipv6: true };
  const all = () => [...networkPlan(wish), ...endpointPlan(wish, 2, ports)];
  const isRule = ({ object }: Wanted) => object.kind === "chain" || object.kind === "element";

  it("lists no rule after the whole ruleset was flushed, and takes all again", () => {
    const { kernel, flushRules } = open();
    kernel.apply(creates(all()));
    flushRules();
    assertHolds(
      kernel,
      all().filter((one) => !isRule(one)),
    );
    kernel.ensureBase(baseText);
    kernel.apply(creates(all().filter(isRule)));
    assertHolds(kernel, all());
  });

  it("loses with a link what stands on it, and takes it again", () => {
    const { kernel, deleteLink } = open();
    kernel.apply(creates(all()));
    const name =
      all().flatMap(({ object }) => (object.kind === "link" && object.type === "veth" ? object.name : []))[0] ?? "";
    deleteLink(name);
    const found = listAll(kernel);
    const lost = all().filter(({ object }) => !found.has(keyOf(object)));
    assert.deepEqual(
      new Set(lost.map(({ object }) => object.kind)),
      new Set(["link", "address", "route", "forwarding", "sysctl"]),
    );
    kernel.apply(creates(lost));
    assertHolds(kernel, all());
  });

  it("leaves ports without a bridge when the bridge goes", () => {
    const { kernel, deleteLink } = open();
    kernel.apply(creates(all()));
    const name =
      all().flatMap(({ object }) => (object.kind === "link" && object.type === "bridge" ? object.name : []))[0] ?? "";
    deleteLink(name);
    const found = kernel.list(host, "link").map(({ object }) => object);
    assert.equal(found.length, 1);
    assert.equal((found[0] as { port?: unknown }).port, undefined);
    assert.deepEqual(kernel.list(host, "neighbour"), []);
    kernel.apply(
      all().map(({ object, owner }) =>
        object.kind === "link" ? change(object, object, owner) : create(object, owner),
      ),
    );
    assertHolds(kernel, all());
  });

  for (const how of ["empty", "add"] as const)
    it(`sees that somebody changed a chain (${how})`, () => {
      const { kernel, alterChain } = open();
      for (const rules of [["ct status dnat accept", "drop"], ["tcp dport {22,21} accept"]]) {
        const wished = chain("to_9", rules);
        kernel.apply([create(wished)]);
        alterChain(wished, how);
        const [found] = kernel.list(host, "chain");
        assert.notDeepEqual(found?.object, wished);
        kernel.apply([change(wished, found?.object ?? wished)]);
        assertHolds(kernel, [{ owner: "network:n", object: wished }]);
      }
    });
}

/** Namespaces, sysctls and events. */
export function describeRest(open: () => OpenKernel): void {
  const namespace: NamespaceName = `sandbox:${idOf(7, "5")}`;

  it("knows its namespaces", () => {
    const { kernel } = open();
    assert.throws(() => kernel.inside(namespace, () => 1), { code: "ENOENT" });
    kernel.apply([create({ kind: "namespace", namespace }, namespace)]);
    assert.deepEqual(kernel.namespaces(), [namespace]);
    assert.equal(
      kernel.inside(namespace, () => 7),
      7,
    );
    assert.match(kernel.namespacePath(namespace), new RegExp(`/${idOf(7, "5")}$`));
    kernel.apply([remove({ kind: "namespace", namespace })]);
    assert.deepEqual(kernel.namespaces(), []);
  });

  it("reads and writes sysctls of each namespace", () => {
    const { kernel } = open();
    kernel.apply([create({ kind: "namespace", namespace }, namespace)]);
    kernel.sysctl(host, "net.ipv4.ip_forward", "0"); // a new namespace begins with the value of the machine's first
    assert.equal(kernel.sysctl(namespace, "net.ipv4.ip_forward", "1"), "1");
    assert.equal(kernel.sysctl(namespace, "net.ipv4.ip_forward"), "1");
    assert.equal(kernel.sysctl(host, "net.ipv4.ip_forward"), "0");
    assert.throws(() => kernel.sysctl(host, "net.ipv4.conf.nolink.forwarding"), { code: "ENOENT" });
    assert.throws(() => kernel.sysctl(host, "net.ipv4.conf.nolink.forwarding", "1"), { code: "ENOENT" });
  });

  it("forgets tracked connections that are answered from some addresses, in one namespace", () => {
    const { kernel, track } = open();
    const other: NamespaceName = `sandbox:${idOf(8, "5")}`;
    kernel.apply([namespace, other].map((one) => create({ kind: "namespace", namespace: one }, one)));
    const [first = "", ...rest] = ["10.9.0.3", "10.9.0.4", "fd00:9::3", "fd00:9::4"];
    for (const address of [first, ...rest]) track(namespace, address);
    track(other, first);
    assert.deepEqual(kernel.answering(namespace).toSorted(), [first, ...rest]);
    assert.equal(kernel.forgetConnections(namespace, ["10.9.0.9", first, "fd00:9::3"]), 2);
    assert.deepEqual(kernel.answering(namespace).toSorted(), ["10.9.0.4", "fd00:9::4"]);
    assert.equal(kernel.forgetConnections(namespace, [first]), 0);
    assert.deepEqual(kernel.answering(other), [first]);
    assert.deepEqual([kernel.answering("sandbox:none"), kernel.forgetConnections("sandbox:none", [first])], [[], 0]);
  });

  it("tells changes of the host's namespace until it is told to end", async () => {
    const { kernel, deleteLink, flushRules } = open();
    const seen: KernelEvent[] = [];
    const end = kernel.events((event) => seen.push(event));
    const told = (kind: string, name: string) => seen.some((e) => e.kind === kind && "name" in e && e.name === name);
    kernel.apply([
      create(bridge("br-9")),
      create({ kind: "address", namespace: host, link: "br-9", address: "10.9.0.1/24" }),
      create(chain("to_9", [])),
    ]);
    await until(() => told("link", "br-9") && told("address", "br-9") && told("chain", "to_9"));
    seen.length = 0;
    deleteLink("br-9");
    flushRules();
    await until(() => told("link", "br-9") && told("chain", "to_9"));
    await new Promise((resolve) => setTimeout(resolve, 20));
    seen.length = 0;
    end();
    kernel.apply([create(bridge("br-8"))]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(seen, []);
  });
}
