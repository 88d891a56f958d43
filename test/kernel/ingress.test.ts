import { it } from "node:test";
import { client, hostAddress, Mesh, type Spot } from "../support/mesh.ts";
import { portOf, virtualChange } from "../support/mesh-rows.ts";

it("leads a published port of every host to tasks, which see the client's own address", async () => {
  await using mesh = await Mesh.open(3);
  const ports = [portOf(8080, 80), portOf(8080, 80, "udp")];
  await mesh.commit(virtualChange(1, "ingress", { ports }));
  await mesh.addTask(1, 1, 11, "ingress", 80);
  await mesh.addTask(1, 2, 12, "ingress", 80);
  await mesh.addContainer(1, 21, ["shop"]);
  if (process.env.DEBUG) {
    console.log(mesh.run({ host: 1, sandbox: "ingress" }, "nft", "list", "table", "ip", "tombolo").replace(/chain (rr|random|source)_.*?\}\n/gs, ""));
    console.log(mesh.run({ host: 1, sandbox: 11 }, "nft", "list", "table", "netdev", "tombolo"));
    console.log(mesh.run({ host: 1, sandbox: 11 }, "ip", "rule"), mesh.run({ host: 1, sandbox: 11 }, "ip", "route", "show", "table", "100"));
    console.log(mesh.run({ host: 1, sandbox: "ingress" }, "ip", "addr"), mesh.run({ host: 1, sandbox: "ingress" }, "ip", "route"));
  }
  for (const host of [1, 2, 3])
    for (const six of [false, true])
      for (const protocol of ["tcp", "udp"] as const) {
        const source = six ? client.ip6 : client.ip;
        const spots: [Spot, string, object][] = [["outside", hostAddress(host, six), { source }], [{ host }, hostAddress(host, six), {}], ...(six ? [] : [[{ host }, "127.0.0.1", {}] as [Spot, string, object]]), ...(host === 1 ? [[{ host, sandbox: 21 }, hostAddress(host, six), {}] as [Spot, string, object]] : [])];
        for (const [spot, address, more] of spots)
          console.log(JSON.stringify(spot), address, protocol, JSON.stringify(await mesh.ask(spot, address, 8080, { count: 10, protocol, ...more })));
      }
  if (process.env.DEBUG) console.log(mesh.run({ host: 2, sandbox: 12 }, "nft", "list", "table", "netdev", "tombolo"));
  await mesh.assertClean();
});
