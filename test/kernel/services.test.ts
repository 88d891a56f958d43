import assert from "node:assert/strict";
import { it } from "node:test";
import { addressOf, Mesh } from "../support/mesh.ts";
import { virtualChange, virtualMember } from "../support/mesh-rows.ts";

const virtual = (service: number, six = false) => addressOf("shop", virtualMember + service, six);

it("shares out connections to a virtual address", async () => {
  await using mesh = await Mesh.open(2);
  await mesh.commit(virtualChange(1, "shop"));
  await mesh.addTask(1, 1, 11, "shop", 80);
  await mesh.addTask(1, 2, 12, "shop", 80);
  await mesh.addContainer(1, 21, ["shop"]);
  const spot = { host: 1, sandbox: 21 };
  console.log(mesh.run(spot, "nft", "list", "table", "ip", "tombolo").replace(/chain (rr|random|source)_.*?\}\n/gs, ""));
  for (const six of [false, true])
    for (const protocol of ["tcp", "udp"] as const)
      console.log(await mesh.ask(spot, virtual(1, six), 80, { count: 100, protocol }));
  await mesh.assertClean();
});
