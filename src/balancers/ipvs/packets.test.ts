import assert from "node:assert/strict";
import { it } from "node:test";
import { type BalancerCase, serviceView } from "../../../test/contract/balancer-cases.ts";
import { type Packet, Tracer } from "../../../test/support/tracer.ts";
import { baseText } from "../../dataplane/base.ts";
import { familyOf, type PlanObject } from "../../model/plan.ts";
import { ipvs } from "./index.ts";

/** What rules leave of a packet to a virtual address, and where IPVS may send it then. */
function ask(wish: BalancerCase, { family, translated = false }: { family: Packet["family"]; translated?: boolean }) {
  const views = [1, 2].map((number) => serviceView(wish, number));
  const objects: PlanObject[] = views.flatMap((view) => [...ipvs.planService(view)]);
  const [view] = views;
  const destination = view?.service.addresses.find((address) => familyOf(address) === family) ?? "";
  const packet: Packet = {
    ...{ family, protocol: "tcp", source: "10.1.0.99", destination, port: 80, iif: "", oif: "", from: "", to: "" },
    mark: 0,
    connection: { state: translated ? "established" : "new", direction: "original", isTranslated: translated, mark: 0 },
  };
  const verdict = new Tracer(baseText, objects, () => false).at(`sandbox:${view?.sandbox ?? ""}`, "output", packet);
  const isIts = (o: PlanObject) => "mark" in o && o.mark === packet.mark && "family" in o && o.family === family;
  const targets = objects.flatMap((o) => (o.kind === "destination" && isIts(o) ? o.address : []));
  const services = objects.filter((o) => o.kind === "ipvs" && isIts(o));
  return { verdict, mark: packet.mark, isLeft: packet.destination === destination, targets, services: services.length };
}
const targetsOf = (wish: BalancerCase, family: Packet["family"]) =>
  serviceView(wish).targets.flatMap(({ addresses }) => addresses.filter((one) => familyOf(one) === family));

for (const family of ["ip", "ip6"] as const) {
  const wish: BalancerCase = { title: "", tasks: 3, ipv6: true };

  it(`a packet to a virtual address gets the mark by which IPVS has the service's tasks, and nobody else's: ${family}`, () => {
    const { verdict, mark, isLeft, targets, services } = ask(wish, { family });
    assert.deepEqual([verdict, mark > 0, isLeft, services], ["accept", true, true, 1]);
    assert.deepEqual(targets.toSorted(), targetsOf(wish, family).toSorted());
  });

  it(`a connection that rules have translated is theirs to its end: ${family}`, () => {
    assert.equal(ask(wish, { family, translated: true }).mark, 0);
  });

  it(`without a task a connection is reset at once; those that are there go on: ${family}`, () => {
    const none = { ...wish, tasks: 0 };
    assert.equal(ask(none, { family }).verdict, "reset");
    assert.ok(ipvs.planService(serviceView(none)).some((o) => o.kind === "ipvs" && o.family === family));
  });
}

it("shared out by rules, it gets no mark and is translated", () => {
  const wish: BalancerCase = { title: "", tasks: 2, service: { balance: { by: "random", local: false } } };
  const { mark, isLeft } = ask(wish, { family: "ip" });
  assert.deepEqual([mark, isLeft], [0, false]);
});
