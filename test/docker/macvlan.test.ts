import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pings } from "../support/lan.ts";
import { parent, ranged, subnet, useLanHosts } from "../support/lan-hosts.ts";
import { calmSleep, until } from "../support/until.ts";

const words = (line: string) => line.split(" ").filter(Boolean);

describe("macvlan", () => {
  const { lan, first, second, docker, sleeper, create, refused, reaches, ofNetwork } = useLanHosts();

  describe("on the LAN", () => {
    it("containers of two hosts are machines of one LAN, in both families, as in the article", async () => {
      const both = `macvlan ${ranged} --ipv6 --subnet fd00::/60 --gateway fd00::1 macvlan`;
      for (const host of [first(), second()]) await create(both, host);
      await sleeper("node-1", "-it -v /tmp:/data --network macvlan --ip 10.3.1.145 --ip6 fd00::145");
      await sleeper("node-2", "-it --network macvlan --ip 10.3.1.146 --ip6 fd00::146", second());
      for (const address of ["10.3.1.146", "fd00::146", "10.1.1.1", "fd00::1", "10.1.1.112"])
        assert.equal(await reaches("node-1", address), true, address);
      assert.match(await docker("exec node-1 ip route"), /^default via 10\.1\.1\.1 dev eth0/m);
      assert.equal(pings(lan().namespace, "10.3.1.145"), true);
    });

    it("addresses that nobody wished for come from the range, and not from what is reserved in it", async () => {
      await create(`macvlan ${subnet} --ip-range 10.3.1.0/30 --aux-address router=10.3.1.1 small`);
      for (const name of ["a", "b", "c"]) await sleeper(name, "--network small");
      const given = await Promise.all(["a", "b", "c"].map((name) => ofNetwork(name, "small", "IPAddress")));
      assert.deepEqual(given.toSorted(), ["10.3.1.0", "10.3.1.2", "10.3.1.3"]);
      assert.match(
        await refused("run --rm --network small busybox true"),
        /no available IPv4 addresses on this network's address pools: small/,
      );
      assert.match(await refused("run --rm --network small --ip 10.3.1.2 busybox true"), /Address already in use/);
    });

    it("a container keeps its MAC over a restart, or has the one that it was given", async () => {
      await create(`macvlan ${ranged} net`);
      await sleeper("a", "--network net");
      await sleeper("b", "--network net --mac-address 02:42:0a:03:01:99");
      const before = await ofNetwork("a", "net", "MacAddress");
      await docker("restart -t 0 a");
      assert.equal(await ofNetwork("a", "net", "MacAddress"), before);
      assert.match(await docker("exec b ip link show eth0"), /02:42:0a:03:01:99/);
    });

    it("names of the network's containers are answered at 127.0.0.11", async () => {
      await create(`macvlan ${ranged} net`);
      await sleeper("a", "--network net --ip 10.3.1.7 --network-alias also");
      await sleeper("b", "--network net");
      for (const name of ["a", "also"])
        assert.match(await docker(`exec b nslookup ${name}`), /127\.0\.0\.11[\s\S]*10\.3\.1\.7/);
      assert.equal(await reaches("b", "a"), true);
    });

    it("the LAN is told of a container's address as often as the options say", async () => {
      const assertTold = async (options: string, times: number) => {
        lan().run("nft", "add table arp told; add chain arp told in { type filter hook input priority 0; }");
        lan().run("nft", "add rule arp told in arp saddr ip 10.3.1.77 arp daddr ip 10.3.1.77 counter");
        await create(`macvlan ${ranged} ${options} lan`);
        await sleeper("a", "--network lan --ip 10.3.1.77");
        const told = () => Number(/counter packets (\d+)/.exec(lan().run("nft", "list", "table", "arp", "told"))?.[1]);
        await until(() => told() >= times, options);
        await calmSleep(300);
        assert.equal(told(), times, options);
        lan().run("nft", "delete", "table", "arp", "told");
        await docker("rm -f a");
        await docker("network rm lan");
      };
      const key = "-o com.docker.network.advertise_addr";
      await assertTold(`${key}_nmsgs=0`, 0);
      await assertTold(`${key}_nmsgs=2 ${key}_ms=100`, 2);
      await assertTold(`${key}_ms=100`, 3);
    });

    it("published ports have no effect, and the user is told", async () => {
      await create(`macvlan ${ranged} net`);
      const { status, stderr } = await first().try(words("run -d --name web -p 80:80 --network net busybox sleep 1d"));
      assert.equal(status, 0);
      assert.match(stderr, /WARNING: published ports have no effect on network net/);
      assert.equal(await docker("port web"), "");
    });
  });

  describe("without a parent, or with several networks on one", () => {
    it("--internal and no parent: a segment of its own, without a way out", async () => {
      await create("macvlan --internal --subnet 10.60.0.0/24 inner");
      await create("macvlan --subnet 10.61.0.0/24 alone");
      for (const [name, network] of [
        ["a", "inner"],
        ["b", "inner"],
        ["c", "alone"],
        ["d", "alone"],
      ])
        await sleeper(name ?? "", `--network ${network}`);
      assert.deepEqual([await reaches("a", "b"), await reaches("c", "d")], [true, true]);
      assert.deepEqual(
        [await reaches("a", "10.1.1.1", undefined, 1), await reaches("c", "10.1.1.1", undefined, 1)],
        [false, false],
      );
      assert.doesNotMatch(await docker("exec c ip route"), /default/);
    });

    it("several subnets and several networks share a parent, where their ranges are apart", async () => {
      await create(`macvlan --subnet 10.3.1.0/24 --subnet 10.3.2.0/24 ${parent} two`);
      await create(`macvlan --subnet 10.4.0.0/16 ${parent} three`);
      await sleeper("a", "--network two --ip 10.3.1.9");
      await sleeper("b", "--network two --ip 10.3.2.9");
      assert.match(await docker("exec b ip addr show eth0"), /inet 10\.3\.2\.9\/24/);
      await create(`macvlan --subnet 10.5.0.0/16 --ip-range 10.5.1.0/24 --gateway 10.5.0.1 ${parent} left`);
      await create(`macvlan --subnet 10.5.0.0/16 --ip-range 10.5.2.0/24 --gateway 10.5.0.1 ${parent} right`);
      await sleeper("c", "--network left --ip 10.5.9.9");
      assert.match(
        await refused("run --rm --network right --ip 10.5.9.9 busybox true"),
        /Address already in use: 10\.5\.9\.9 is container c's/,
      );
      assert.match(
        await refused(`network create -d macvlan --subnet 10.5.0.0/16 --ip-range 10.5.2.128/25 ${parent} over`),
        /invalid pool request: Pool overlaps with other one on this address space: 10\.5\.0\.0\/16 overlaps with network right/,
      );
    });

    it("a configuration for it needs no driver, as in Docker's documentation", async () => {
      await docker(`network create --config-only --subnet 10.8.0.0/24 ${parent} cfg`);
      await create("macvlan --config-from cfg net");
      await sleeper("a", "--network net");
      assert.equal(await ofNetwork("a", "net", "IPAddress"), "10.8.0.2");
      assert.match(await refused("network create --config-only -o paretn=ens160 other"), /unknown option "paretn"/);
      await docker("rm -f a");
      await docker("network rm net cfg");
    });

    it("a parent goes by its own name: another name of it is refused, and said", async () => {
      first().here("ip", "link", "property", "add", "dev", "ens160", "altname", "enp0s3");
      try {
        const said = await refused("network create -d macvlan --subnet 10.7.0.0/16 -o parent=enp0s3 other");
        assert.match(said, /-o parent: enp0s3 is another name of ens160: use that/);
      } finally {
        first().here("ip", "link", "property", "del", "dev", "ens160", "altname", "enp0s3");
      }
    });

    it("mode passthru has the parent for itself, and room for one container", async () => {
      const id = await create(`macvlan ${ranged} -o macvlan_mode=passthru through`);
      await sleeper("a", "--network through");
      assert.equal(await reaches("a", "10.1.1.1"), true);
      assert.match(
        await refused("run --rm --network through busybox true"),
        /network through has room for 1 container in mode passthru: a is on it/,
      );
      assert.match(
        await refused(`network create -d macvlan --subnet 10.6.0.0/16 ${parent} other`),
        new RegExp(`macvlan network ${id} is already using parent interface ens160 in mode passthru`),
      );
      await docker("rm -f a");
      await docker("network rm through");
      const shared = await create(`macvlan ${ranged} shared`);
      assert.match(
        await refused(`network create -d macvlan --subnet 10.6.0.0/16 ${parent} -o macvlan_mode=passthru other`),
        new RegExp(`cannot use mode passthru, macvlan network ${shared} is already using parent interface ens160`),
      );
      assert.match(
        await refused(`network create -d ipvlan --subnet 10.6.0.0/16 ${parent} other`),
        new RegExp(`macvlan network ${shared} is already using parent interface ens160: Linux does not let`),
      );
    });
  });

  describe("addresses that somebody on the LAN has", () => {
    it("are not handed out, in either family, and refused by the MAC of who has them", async () => {
      const other = lan().machine("other", "10.3.1.0/8", "10.3.1.1/8", "fd00::2/60");
      await create(`macvlan ${ranged} --ipv6 --subnet fd00::/60 --gateway fd00::1 net`);
      await sleeper("a", "--network net");
      assert.equal(await ofNetwork("a", "net", "IPAddress"), "10.3.1.2");
      assert.equal(await ofNetwork("a", "net", "GlobalIPv6Address"), "fd00::3");
      const said = await refused("run --rm --network net --ip 10.3.1.1 busybox true");
      assert.match(
        said,
        /Address already in use: 10\.3\.1\.1 belongs to ([0-9a-f]{2}:){5}[0-9a-f]{2} on the LAN of ens160/,
      );
      assert.match(await refused("run --rm --network net --ip 10.1.1.111 busybox true"), /Address already in use/);
      await docker("network disconnect net a");
      await docker("network connect net a");
      assert.equal(await ofNetwork("a", "net", "IPAddress"), "10.3.1.2");
      await create(
        `macvlan --subnet 10.0.0.0/8 --gateway 10.1.1.2 --ip-range 10.3.2.0/24 ${parent} -o address_probe=false blind`,
      );
      await docker("run --rm --network blind --ip 10.3.1.1 busybox true");
      assert.notEqual(other, "");
      // A parent that is down is brought up first, and asked on then.
      for (const line of [
        `network create -d macvlan --subnet 10.0.0.0/8 --gateway 10.1.1.4 --ip-range 10.3.9.0/24 ${parent} -o host_access=true -o host_address=10.3.1.1 other`,
        "run --rm --network net --ip 10.3.1.1 busybox true",
      ]) {
        first().here("ip", "link", "set", "ens160", "down");
        await sleep(100);
        assert.match(await refused(line), /Address already in use: 10\.3\.1\.1 belongs to /);
      }
    });
  });

  it("refuses what cannot be, in Docker's words", async () => {
    const cases: [string, RegExp][] = [
      [
        `macvlan ${subnet} -o macvlan_mode=hub`,
        /requested macvlan mode 'hub' is not valid, 'bridge' mode is the macvlan driver default/,
      ],
      [
        "macvlan --subnet 10.0.0.0/8 -o parent=eth9",
        /invalid subinterface vlan name eth9, example formatting is eth0\.10/,
      ],
      ["macvlan --subnet 10.0.0.0/8 -o parent=eth9.50", /-o parent interface was not found on the host: eth9/],
      ["macvlan --subnet 10.0.0.0/8 -o parent=ens160.5000", /vlan id must be between 1-4094, received: 5000/],
      ["macvlan --subnet 10.0.0.0/8 -o parent=lo", /loopback interface is not a valid macvlan parent link/],
      [
        "macvlan --subnet 10.0.0.0/8 -o paretn=ens160",
        /unknown option "paretn" for the macvlan driver: did you mean "parent"\?/,
      ],
      [
        `macvlan --subnet 10.3.1.0/8 --ip-range 10.3.1.0/8 --gateway 10.1.1.1 ${parent}`,
        /\* invalid subnet 10\.3\.1\.0\/8: it should be 10\.0\.0\.0\/8\n\* invalid ip-range 10\.3\.1\.0\/8: it should be 10\.0\.0\.0\/8/,
      ],
      [`ipvlan --subnet 10.0.0.0/8 ${parent} -o ipvlan_mode=l4`, /requested ipvlan mode 'l4' is not valid/],
      [
        `macvlan ${subnet} -o host_access=true -o host_address=192.0.2.1`,
        /the host's address 192\.0\.2\.1 is in no subnet of the network/,
      ],
      ["macvlan --subnet 10.0.0.0/8 -o parent=ens160.050", /vlan id 050 of ens160\.050: leave the zeros before it out/],
      [
        `macvlan ${subnet} -o com.docker.network.driver.mtu=9000`,
        /com\.docker\.network\.driver\.mtu 9000 is more than the 1500 bytes of the parent ens160/,
      ],
      [
        `macvlan ${subnet} --ipv6 --subnet fd00::/60 -o com.docker.network.driver.mtu=1200`,
        /invalid MTU number: 1200: IPv6 needs 1280 bytes or more/,
      ],
      [`bridge --ipam-driver dhcp`, /ipam driver dhcp: it needs a network on a LAN/],
    ];
    for (const [line, text] of cases) assert.match(await refused(`network create -d ${line} net`), text, line);
    assert.equal(await docker("network ls -q --filter type=custom"), "");
    const { status } = await first().call("POST", "/networks/create", {
      Name: "net",
      Driver: "macvlan",
      Options: { parent: "eth9" },
    });
    assert.equal(status, 400);
  });
});
