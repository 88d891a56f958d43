import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { samplesIn, sectionOf, withoutChance } from "../support/readme.ts";
import { clone } from "./guest-files.ts";
import { Lane } from "./lane.ts";
import { TomboloHost } from "./tombolo.ts";

/** Containers on a LAN of two hosts, with what this machine's kernel need not have: 802.1Q and ipvlan. */
describe("on a LAN, with a full kernel", () => {
  let lane: Lane;
  let hosts: TomboloHost[] = [];
  before(async () => {
    lane = await Lane.start({ hosts: 2, memory: 1024 });
    hosts = await TomboloHost.start(lane);
  });
  afterEach(() => Promise.all(hosts.map((host) => host.clear())));
  after(() => lane?.stop());
  const host = (number: 1 | 2): TomboloHost => {
    const found = hosts[number - 1];
    assert.ok(found, "the hosts are not up");
    return found;
  };
  const both = (body: (host: TomboloHost, number: 1 | 2) => Promise<unknown>) =>
    Promise.all([body(host(1), 1), body(host(2), 2)]);
  const links = (number: 1 | 2) => host(number).sh("ip -o link");

  it("a bridge network with a published port, on the oldest kernel that is tested", async () => {
    await host(1).docker("network create --subnet 172.77.0.0/24 net");
    const serve = "'echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp'";
    await host(1).docker(`run -d --name web --network net -p 8080:80 busybox sh -c ${serve}`);
    assert.equal(await host(1).docker("run --rm --network net busybox wget -qO- http://web/"), "hello");
    assert.equal(await host(2).sh(`busybox wget -qO- http://${host(1).host.address}:8080/`), "hello");
  });

  it("two VLANs of one trunk: each VLAN is a LAN of its own, and no container sees a frame of the other's", async () => {
    await both(async (one, number) => {
      for (const vlan of [50, 60]) {
        await one.docker(
          `network create -d macvlan --subnet 10.3.1.0/24 --gateway 10.3.1.1 -o parent=eth0.${vlan} v${vlan}`,
        );
        await one.sleeper(`c${vlan}`, `--network v${vlan} --ip 10.3.1.${vlan + number}`);
      }
    });
    const heard = lane.segment.spawn(["tcpdump", "-nel", "-i", "lan0", "vlan"]);
    const other = host(2).host.spawn(["sh", "-c", "nsenter --net=$0 tcpdump -nel -i eth0", await sandboxOf(2, "c60")]);
    await Promise.all([heard.sees(/listening on/), other.sees(/listening on/)]);
    assert.deepEqual(
      [await host(1).reaches("c50", "10.3.1.52"), await host(1).reaches("c60", "10.3.1.62")],
      [true, true],
    );
    other.kill("SIGINT");
    const quiet = await other.ended;
    const mac = await host(1).docker(`inspect -f '{{.NetworkSettings.Networks.v50.MacAddress}}' c50`);
    assert.deepEqual(
      [await host(1).reaches("c50", "10.3.1.62"), await host(2).reaches("c60", "10.3.1.51")],
      [false, false],
    );
    heard.kill("SIGINT");
    const { stdout } = await heard.ended;
    assert.match(stdout, new RegExp(`${mac} > .*802\\.1Q.*vlan 50.*10\\.3\\.1\\.52`));
    assert.doesNotMatch(stdout, new RegExp(`${mac} > .*vlan 60`));
    assert.match(quiet.stdout, /10\.3\.1\.61/);
    assert.doesNotMatch(quiet.stdout, /10\.3\.1\.5[12]/);
  });
  const sandboxOf = (number: 1 | 2, container: string) =>
    host(number).docker(`inspect -f '{{.NetworkSettings.SandboxKey}}' ${container}`);

  it("a VLAN interface of ours goes with the last network on it; one that was there stays", async () => {
    await host(1).sh("ip link add link eth0 name eth0.70 type vlan id 70");
    await host(1).docker("network create -d macvlan --subnet 10.7.0.0/24 -o parent=eth0.70 theirs");
    for (const [name, subnet] of [
      ["a", "10.5.1.0/24"],
      ["b", "10.5.2.0/24"],
    ])
      await host(1).docker(`network create -d macvlan --subnet ${subnet} -o parent=eth0.50 ${name}`);
    await host(1).docker("network rm a");
    assert.match(await links(1), /eth0\.50@eth0/);
    await host(1).docker("network rm b theirs");
    assert.doesNotMatch(await links(1), /eth0\.50@eth0/);
    assert.match(await links(1), /eth0\.70@eth0/);
    await host(1).sh("ip link delete eth0.70");
  });

  it("macvlan modes private and vepa: not directly; vepa by way of a switch that sends frames back", async () => {
    for (const mode of ["private", "vepa"]) {
      await host(1).docker(`network create -d macvlan --subnet 10.3.2.0/24 -o parent=eth0 -o macvlan_mode=${mode} net`);
      await host(2).docker("network create -d macvlan --subnet 10.3.2.0/24 -o parent=eth0 net");
      await Promise.all([
        host(1).sleeper("a", "--network net --ip 10.3.2.11"),
        host(1).sleeper("b", "--network net --ip 10.3.2.12"),
        host(2).sleeper("c", "--network net --ip 10.3.2.13"),
      ]);
      assert.equal(await host(1).reaches("a", "10.3.2.13"), true, mode);
      assert.equal(await host(1).reaches("a", "10.3.2.12"), false, mode);
      await lane.segment.sh("bridge link set dev h1 hairpin on");
      assert.equal(await host(1).reaches("a", "10.3.2.12"), mode === "vepa", `${mode}, sent back by the switch`);
      await lane.segment.sh("bridge link set dev h1 hairpin off");
      await both((one) => one.clear());
    }
  });

  it("ipvlan l2: containers of two hosts with the MACs of their parents; one network a parent", async () => {
    await both(async (one, number) => {
      await one.docker("network create -d ipvlan --subnet 10.4.1.0/24 --gateway 10.4.1.1 -o parent=eth0 net");
      await one.sleeper(`c${number}`, `--network net --ip 10.4.1.${number}0`);
    });
    await host(1).sleeper("d", "--network net --ip 10.4.1.11");
    assert.deepEqual(
      [await host(1).reaches("c1", "10.4.1.20"), await host(1).reaches("c1", "10.4.1.11")],
      [true, true],
    );
    assert.match(await host(1).docker("exec c1 ip link show eth0"), /52:54:00:77:00:01/);
    assert.match(await host(1).docker("exec c1 nslookup d"), /10\.4\.1\.11/);
    const id = await host(1).docker("network inspect -f '{{.Id}}' net");
    const refused = async (line: string) => (await host(1).try(line)).stderr;
    assert.match(
      await refused("network create -d ipvlan --subnet 10.4.2.0/24 -o parent=eth0 other"),
      new RegExp(`network ${id} is already using parent interface eth0`),
    );
    assert.match(
      await refused("run --rm --network net --mac-address 02:00:00:00:00:09 busybox true"),
      /ipvlan interfaces do not support custom mac address assignment/,
    );
  });

  for (const mode of ["l3", "l3s"])
    it(`ipvlan ${mode}: behind the host as behind a router, without ARP`, async () => {
      await both(async (one, number) => {
        await one.docker(
          `network create -d ipvlan --subnet 10.4.${number}.0/24 -o parent=eth0 -o ipvlan_mode=${mode} net`,
        );
        await one.sleeper(`c${number}`, `--network net --ip 10.4.${number}.10`);
        await one.sh(`ip route replace 10.4.${3 - number}.0/24 via 10.77.0.${3 - number}`);
      });
      assert.match(await host(1).docker("exec c1 ip route"), /^default dev eth0/m);
      assert.match(await host(1).docker("exec c1 ip link show eth0"), /NOARP/);
      assert.equal(await host(1).reaches("c1", "10.4.2.10"), true);
      await both((one, number) => one.sh(`ip route delete 10.4.${3 - number}.0/24`));
    });

  it("ipvlan_flag=private keeps containers of one parent apart", async () => {
    await host(1).docker("network create -d ipvlan --subnet 10.4.1.0/24 -o parent=eth0 -o ipvlan_flag=private net");
    await host(1).sleeper("a", "--network net --ip 10.4.1.10");
    await host(1).sleeper("b", "--network net --ip 10.4.1.11");
    assert.equal(await host(1).reaches("a", "10.4.1.11"), false);
  });

  it("the example in ipvlan's README", async () => {
    const page = readFileSync(join(clone, "src/drivers/ipvlan/README.md"), "utf8");
    for (const { command, output } of samplesIn(sectionOf(page, "Example")))
      assert.equal(withoutChance(await host(1).sh(command)), withoutChance(output.trimEnd()), command);
  });

  it("every driver's cases that need VLANs or ipvlan, applied to this kernel", async () => {
    const env = { TOMBOLO_KERNEL_HAS: "vlan ipvlan" };
    await host(1).host.sh("modprobe 8021q; modprobe ipvlan");
    const test =
      "node --test --test-isolation=none --test-name-pattern='a VLAN|ipvlan on Linux' test/kernel/drivers.test.ts";
    const { status, stdout } = await host(1).host.run(["sh", "-c", `cd ${clone} && ${test}`], {
      env,
      timeout: 300_000,
    });
    assert.equal(status, 0, stdout);
    assert.match(stdout, /pass 5\b/);
  });
});
