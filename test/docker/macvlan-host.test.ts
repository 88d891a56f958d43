import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pings } from "../support/lan.ts";
import { parent, ranged, useLanHosts } from "../support/lan-hosts.ts";
import { soon, until } from "../support/until.ts";

describe("macvlan: the parent, and the host's own way to containers", () => {
  const { lan, first, docker, sleeper, create, refused, reaches, ofNetwork, link } = useLanHosts();

  describe("the parent", () => {
    it("is brought up and made promiscuous, and gets back what was changed", async () => {
      first().here("ip", "link", "set", "ens160", "down");
      await create(`macvlan ${ranged} one`);
      await create(`macvlan --subnet 172.20.0.0/16 ${parent} -o macvlan_mode=private two`);
      assert.match(link("ens160"), /PROMISC,UP/);
      await docker("network rm one");
      assert.match(link("ens160"), /PROMISC/);
      for (const next of [() => create(`macvlan ${ranged} three`), () => sleeper("a", "--network three")]) {
        first().here("ip", "link", "set", "ens160", "down");
        await next();
        assert.match(link("ens160"), /PROMISC,UP/);
      }
      await docker("rm -f a");
      await docker("network rm three");
      await docker("network rm two");
      assert.doesNotMatch(link("ens160"), /PROMISC/);
      assert.doesNotMatch(link("ens160"), /altname/);
      first().here("ip", "link", "set", "ens160", "promisc", "on");
      await create(`macvlan ${ranged} one`);
      await docker("network rm one");
      assert.match(link("ens160"), /PROMISC/);
      first().here("ip", "link", "set", "ens160", "promisc", "off");
    });

    it("has its MTU followed, up and down, also below what IPv6 needs", async () => {
      const mtus = async () => [
        /mtu (\d+)/.exec(await docker("exec a ip link show eth0"))?.[1],
        /mh-.* mtu (\d+)/.exec(first().here("ip", "link"))?.[1],
      ];
      await create(`macvlan ${ranged} -o host_access=true net`);
      await sleeper("a", "--network net --ip 10.3.1.20");
      for (const mtu of ["1400", "1200", "1500"]) {
        first().here("ip", "link", "set", "ens160", "mtu", mtu);
        await until(async () => (await mtus()).join() === `${mtu},${mtu}`, mtu, soon);
        await first().auditIsZero();
        assert.equal(pings(first().namespace, "10.3.1.20"), true);
      }
      await create(`macvlan --subnet 172.20.0.0/16 ${parent} -o com.docker.network.driver.mtu=1200 small`);
      assert.match(await docker("run --rm --network small busybox ip link show eth0"), /mtu 1200/);
      first().here("ip", "link", "set", "ens160", "mtu", "1100");
      assert.match(
        await refused("run --rm --network small busybox true"),
        /the MTU 1200 is more than the 1100 bytes of the parent ens160/,
      );
      first().here("ip", "link", "set", "ens160", "mtu", "1500");
    });

    it("that goes down, vanishes, is renamed and returns is told within a second, and works again after its return", async () => {
      await create(`macvlan ${ranged} net`);
      await sleeper("a", "--network net --ip 10.3.1.20");
      const events = first().background(
        first().namespace,
        "env",
        `DOCKER_HOST=unix://${first().socket}`,
        "docker",
        "events",
        "--since",
        String(Date.now() / 1000),
        "--format",
        "{{.Action}} {{.Actor.Attributes.state}}",
      );
      let told = "";
      events.stdout?.on("data", (chunk: Buffer) => (told += chunk.toString()));
      const state = () => docker("network inspect -f", "{{json .Status}}", "net").catch(() => "");
      const becomes = async (wish: string) => {
        await until(
          () => told.includes(`parent ${wish}\n`),
          () => `an event ${wish}: ${told}`,
          soon,
        );
        const shown = JSON.parse(await first().get("/networks/net")) as { Status?: { Parent: { State: string } } };
        assert.equal(shown.Status?.Parent.State, wish, await state());
        told = "";
      };
      const works = async () => {
        for (let waited = 0; !pings(lan().namespace, "10.3.1.20", 1); waited += 200)
          assert.ok(waited < 2000, "it does not work again");
      };
      first().here("ip", "link", "set", "ens160", "down");
      await becomes("down");
      first().here("ip", "link", "set", "ens160", "up");
      await becomes("up");
      await works();
      first().here("ip", "link", "set", "ens160", "name", "lan7");
      await becomes("gone");
      assert.equal(pings(lan().namespace, "10.3.1.20"), true, "who is on it goes on");
      first().here("ip", "link", "set", "lan7", "name", "ens160");
      await becomes("up");
      // Another card takes its name: containers come over to that one.
      first().here("ip", "link", "set", "ens160", "name", "lan7");
      await becomes("gone");
      lan().plug(first().namespace, "ens160");
      first().here("ip", "link", "set", "ens160", "up");
      await becomes("up");
      await works();
      await first().auditIsZero();
      first().here("ip", "link", "delete", "lan7");
      first().here("ip", "link", "delete", "ens160");
      await becomes("gone");
      assert.match(await refused("run --rm --network net busybox true"), /no interface ens160|no link ens160/);
      lan().plug(first().namespace, "ens160");
      first().here("ip", "address", "add", "10.1.1.111/8", "dev", "ens160");
      first().here("ip", "link", "set", "ens160", "up");
      await becomes("up");
      await works();
      events.kill("SIGKILL");
    });
  });

  describe("the host and its containers", () => {
    it("do not reach each other, as the kernel has it; the article's recipe by hand works beside us", async () => {
      await create(`macvlan ${ranged} net`);
      await sleeper("a", "--network net --ip 10.3.1.145");
      assert.equal(pings(first().namespace, "10.3.1.145", 1), false);
      assert.equal(await reaches("a", "10.1.1.111", first(), 1), false);
      const by = (...args: string[]) => first().here("ip", ...args);
      by("link", "add", "macvlan_host", "link", "ens160", "type", "macvlan", "mode", "bridge");
      by("address", "add", "10.3.1.200/32", "dev", "macvlan_host");
      by("link", "set", "macvlan_host", "up");
      by("route", "add", "10.3.1.145/32", "dev", "macvlan_host");
      assert.equal(pings(first().namespace, "10.3.1.145"), true);
      assert.equal(await reaches("a", "10.3.1.200"), true);
      by("link", "delete", "macvlan_host");
    });

    it("reach each other with host_access, by routes that come and go with the containers", async () => {
      await create(`macvlan ${ranged} -o host_access=true net`);
      await sleeper("a", "--network net --ip 10.3.1.145");
      await sleeper("b", "--network net --ip 10.3.1.146");
      const routes = () =>
        first()
          .here("ip", "route")
          .match(/^10\.3\.1\.\d+/gm) ?? [];
      assert.deepEqual(routes(), ["10.3.1.145", "10.3.1.146"]);
      for (const address of routes()) assert.equal(pings(first().namespace, address), true, address);
      assert.equal(await reaches("a", "10.1.1.111"), true);
      await docker("rm -f b");
      assert.deepEqual(routes(), ["10.3.1.145"]);
      const own = ["10.3.1.147", "dev", "ens160"];
      first().here("ip", "route", "add", ...own);
      assert.match(
        await refused("run --rm --network net --ip 10.3.1.147 busybox true"),
        /a route to 10\.3\.1\.147\/32 exists and is not ours/,
      );
      assert.match(first().here("ip", "route"), /^10\.3\.1\.147 dev ens160/m);
      first().here("ip", "route", "del", ...own);
      await docker("rm -f a");
      await docker("network rm net");
      assert.doesNotMatch(first().here("ip", "link"), /mh-/);
    });

    it("with host_access the host speaks with the parent's address, also when that comes late or comes back", async () => {
      const address = (verb: string) => first().here("ip", "address", verb, "10.1.1.111/8", "dev", "ens160");
      const route = () => first().here("ip", "route", "show", "10.3.1.145");
      const becomes = async (wish: RegExp) => {
        await until(() => wish.test(route()), route, 4000);
      };
      await create(`macvlan ${ranged} -o host_access=true net`);
      address("del");
      await sleeper("a", "--network net --ip 10.3.1.145");
      assert.doesNotMatch(route(), /src/);
      await first().auditIsZero();
      address("add");
      await becomes(/src 10\.1\.1\.111/);
      assert.equal(pings(first().namespace, "10.3.1.145"), true);
      address("del");
      await becomes(/^10\.3\.1\.145 dev mh-\w+ proto \w+ scope link\s*$/);
      await first().stopDaemon("SIGKILL");
      await first().startDaemon();
      address("add");
      await becomes(/src 10\.1\.1\.111/);
      assert.equal(await reaches("a", "10.1.1.111"), true);
    });

    it("with host_address the host has that one there, in both families, and nobody else gets it", async () => {
      await create(
        `macvlan ${ranged} --ipv6 --subnet fd00::/60 --gateway fd00::1 -o host_access=true -o host_address=10.3.1.0,fd00::200 net`,
      );
      await sleeper("a", "--network net --ip6 fd00::145");
      assert.equal(await ofNetwork("a", "net", "IPAddress"), "10.3.1.1");
      for (const address of ["10.3.1.0", "fd00::200", "10.1.1.111"])
        assert.equal(await reaches("a", address), true, address);
      for (const address of ["10.3.1.1", "fd00::145"]) assert.equal(pings(first().namespace, address), true, address);
      assert.match(await refused("run --rm --network net --ip 10.3.1.0 busybox true"), /Address already in use/);
    });

    it("with a host_address that a container or another network has already is refused", async () => {
      await create(`macvlan ${ranged} net`);
      await sleeper("a", "--network net --ip 10.3.1.17");
      const asks = (address: string) =>
        refused(
          `network create -d macvlan --subnet 10.0.0.0/8 --gateway 10.1.1.1 --ip-range 10.3.2.0/24 ${parent} -o host_access=true -o host_address=${address} two`,
        );
      assert.match(await asks("10.3.1.17"), /Address already in use: 10\.3\.1\.17 is container a's/);
      for (const address of ["10.255.255.255", "10.0.0.0"])
        assert.match(await asks(address), /is the network or broadcast address of 10\.0\.0\.0\/8/);
    });

    it("with host_access and no address of the parent's the network says what is missing", async () => {
      first().here("ip", "address", "del", "10.1.1.111/8", "dev", "ens160");
      await create(`macvlan ${ranged} -o host_access=true net`);
      const errors = async () =>
        (JSON.parse(await first().get("/networks/net")) as { Status: { Errors?: string[] } }).Status.Errors;
      assert.match(
        (await errors())?.join() ?? "",
        /^host_access: ens160 has no address in 10\.0\.0\.0\/8, so the host/,
      );
      first().here("ip", "address", "add", "10.1.1.111/8", "dev", "ens160");
      assert.equal(await errors(), undefined);
    });

    it("with host_access on two LANs the addresses are apart: the host has one route to each", async () => {
      lan().plug(first().namespace, "ens161");
      await create(`macvlan ${ranged} -o host_access=true net`);
      const other = "--subnet 10.3.0.0/16 -o parent=ens161";
      assert.match(
        await refused(`network create -d macvlan ${other} -o host_access=true other`),
        /host_access: network net on ens160 has it too, and 10\.0\.0\.0\/8: the host cannot have routes to the same/,
      );
      await create(`macvlan ${other} other`);
      await docker("network rm net other");
      first().here("ip", "link", "delete", "ens161");
    });
  });
});
