import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { drivers } from "../../src/drivers/index.ts";
import { printPlan } from "../../src/drivers/print-plan.ts";
import type { PlanObject } from "../../src/model/plan.ts";
import { type DriverCase, viewsOf } from "../contract/driver-cases.ts";
import { fixtureOf } from "../support/fixtures.ts";
import { RealHost } from "../support/real-host.ts";
import { deleteContainer, deleteNetwork, putNetwork } from "../support/rows.ts";

/** What anybody can see on the host, except what Linux adds by itself: link-local addresses and their routes. */
function contents(host: RealHost): unknown {
  const list = (...args: string[]) => JSON.parse(host.run("host", "ip", "-json", ...args) || "[]") as object[];
  const links = list("address") as { ifname: string; addr_info: { local: string; scope: string }[] }[];
  return {
    links: links.map(({ ifname, addr_info }) => [ifname, addr_info.filter(({ scope }) => scope !== "link")]),
    routes: [...list("route"), ...list("-6", "route")].filter(
      (route) => !("dst" in route && route.dst === "fe80::/64"),
    ),
    neighbours: list("neigh", "show", "nud", "permanent"),
    rules: host.run("host", "nft", "list", "ruleset"),
    sandboxes: host.kernel.namespaces(),
  };
}

/** On a link that is somebody else's and has no mark: a new daemon cannot know that it is as wished, and writes it again. */
const isOnForeign = (object: PlanObject, { there = [] }: DriverCase) =>
  there.some(({ name }) => ("name" in object ? object.name : "link" in object && object.link) === name);

/** Words that a lane with a fuller kernel says, as `vlan ipvlan`: the cases that need them are run there alone. */
const has = (process.env.TOMBOLO_KERNEL_HAS ?? "").split(" ");
const isForHere = ({ needs }: DriverCase) => needs === undefined || has.includes(needs);

for (const [name, driver] of Object.entries(drivers)) {
  const { cases = [] } = (await fixtureOf(name)) ?? {};
  describe(`${name} on Linux`, () => {
    for (const one of cases.filter(isForHere))
      it(one.title, async () => {
        await using host = await RealHost.open();
        host.run("host", "sh", "-ec", printPlan(one.there ?? []));
        const found = contents(host);
        const { network, endpoints, peers } = viewsOf(driver, one);
        await host.commit((tx) => {
          putNetwork(tx, network);
          for (const { endpoint, sandbox } of endpoints) {
            tx.put("sandboxes", sandbox);
            tx.put("endpoints", endpoint);
          }
          for (const { peer } of peers) tx.put("peers", peer);
        });
        await host.assertClean();
        await host.restart();
        assert.deepEqual(
          host.steps.filter(({ object }) => !isOnForeign(object, one)),
          [],
        );
        await host.assertClean();
        await host.commit((tx) => {
          for (const { endpoint } of endpoints) deleteContainer(tx, endpoint);
          for (const { peer } of peers) tx.delete("peers", peer.id);
          deleteNetwork(tx, network);
        });
        await host.assertClean();
        assert.deepEqual(contents(host), found);
      });
  });
}
