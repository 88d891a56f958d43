import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { openFileStore } from "../../src/store/file-store.ts";
import { inside, useHost } from "../support/daemon.ts";
import { pings, TestLan } from "../support/lan.ts";
import { calmTime, until } from "../support/until.ts";

const words = (line: string) => line.split(" ").filter(Boolean);
const create = "network create -d macvlan --ipam-driver dhcp -o parent=lan0";

describe("addresses from the LAN's DHCP server", () => {
  let lan: TestLan;
  // Before the host goes: its end of the cable goes with it.
  after(() => lan.stop());
  const host = useHost({ clear: true });
  before(async () => {
    lan = new TestLan();
    lan.plug(host().namespace, "lan0");
    host().here("ip", "link", "set", "lan0", "up");
    await serve("10.3.1.50,10.3.1.59,255.0.0.0,120s");
  });

  const docker = (line: string, ...more: string[]) => host().docker(...words(line), ...more);
  const addressOf = (name: string) =>
    docker(
      "inspect -f",
      '{{with index .NetworkSettings.Networks "net"}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}}{{end}}',
      name,
    );
  const sleeper = (name: string, flags = "") => docker(`run -d --name ${name} --network net ${flags} busybox sleep 1d`);
  const leases = () => readFileSync(join(lan.directory, "leases"), "utf8");
  let server: ReturnType<TestLan["start"]> | undefined;
  async function serve(range: string, ...more: string[]): Promise<void> {
    server = lan.start(
      "dnsmasq",
      "--keep-in-foreground",
      "--conf-file=/dev/null",
      "--port=0",
      "--log-facility=-",
      "--log-dhcp",
      "--user=root",
      "--dhcp-authoritative",
      "--interface=br0",
      "--bind-interfaces",
      "--pid-file",
      `--dhcp-range=${range}`,
      `--dhcp-leasefile=${join(lan.directory, "leases")}`,
      "--dhcp-option=option:router,10.1.1.1",
      ...more,
    );
    await new Promise((resolve) => server?.stderr?.once("data", resolve));
  }

  it("are asked for before a container starts, shown by inspect, and used", async () => {
    await docker(`${create} net`);
    host().here("ip", "link", "set", "lan0", "down"); // it is brought up for who asks
    await sleeper("a", "--hostname web1");
    assert.match(await addressOf("a"), /^10\.3\.1\.5\d\/8 10\.1\.1\.1$/);
    const address = (await addressOf("a")).split("/")[0] ?? "";
    assert.match(await docker("exec a ip addr show eth0"), new RegExp(`inet ${address}/8`));
    assert.match(await docker("exec a ip route"), /^default via 10\.1\.1\.1 dev eth0/m);
    assert.equal(pings(lan.namespace, address), true);
    assert.match(leases(), new RegExp(`${address} web1 00:`));
    assert.equal(await docker("network inspect -f {{.IPAM.Driver}} net"), "dhcp");
  });

  it("are the same after a restart of the container, of the daemon, and after kill -9; given back when it goes", async () => {
    await docker(`${create} net`);
    await sleeper("a");
    await sleeper("b");
    const before = [await addressOf("a"), await addressOf("b")];
    assert.notEqual(before[0], before[1]);
    await docker("restart -t 0 a");
    assert.equal(await addressOf("a"), before[0]);
    await host().stopDaemon("SIGKILL");
    await host().startDaemon();
    assert.deepEqual([await addressOf("a"), await addressOf("b")], before);
    assert.equal(leases().trim().split("\n").length, 2);
    await docker("rm -f a");
    await until(() => leases().trim().split("\n").length === 1, leases);
  });

  /** As if the daemon had slept past half of every lease, or so long: dnsmasq lends for two minutes at least. */
  async function age(milliseconds = 61_000): Promise<void> {
    await host().stopDaemon();
    const store = await openFileStore(join(host().dataRoot, "tombolo.db"));
    await store.update((tx) => {
      for (const lease of tx.list("leases"))
        tx.put("leases", { ...lease, obtainedAt: lease.obtainedAt - milliseconds });
    });
    await store.close();
    await sleep(1100); // dnsmasq counts in seconds
    await host().startDaemon();
  }

  it("are renewed at half their time, and exchanged when the server says so", async () => {
    await docker(`${create} net`);
    await sleeper("a");
    const before = await addressOf("a");
    const end = () => Number(leases().split(" ")[0]);
    const began = end();
    await age();
    await until(() => end() > began, leases);
    assert.equal(await addressOf("a"), before);
    server?.kill("SIGKILL");
    rmSync(join(lan.directory, "leases"));
    await serve("10.3.2.50,10.3.2.59,255.0.0.0,120s");
    await age();
    await until(async () => (await addressOf("a")).startsWith("10.3.2.5"), leases);
    assert.match(await docker("exec a ip addr show eth0"), /inet 10\.3\.2\.5\d\/8/);
    assert.doesNotMatch(await docker("exec a ip addr show eth0"), /inet 10\.3\.1\./);
    assert.match(await docker("exec a ip route"), /^default via 10\.1\.1\.1/m);
    server?.kill("SIGKILL");
    await serve("10.3.1.50,10.3.1.59,255.0.0.0,120s");
  });

  it("are not used past the end of their lease, which inspect says, and come back with the server", async () => {
    await docker(`${create} net`);
    await sleeper("a");
    const before = await addressOf("a");
    server?.kill("SIGKILL");
    await age(116_000);
    await until(async () => !(await docker("exec a ip addr show eth0")).includes("inet "), leases);
    assert.equal(await addressOf("a"), "/0 ");
    const shown = JSON.parse(await host().get("/networks/net")) as { Status?: { Errors?: string[] } };
    assert.match(
      shown.Status?.Errors?.join() ?? "",
      /^container a has no address: its lease of 10\.3\.1\.5\d ended at .*, and the DHCP server on lan0 has not renewed it/,
    );
    // Somebody else has taken it meanwhile.
    const address = before.split("/")[0] ?? "";
    const thief = lan.machine("thief", `${address}/8`);
    await serve("10.3.1.50,10.3.1.59,255.0.0.0,120s", "--no-ping");
    await until(async () => /^10\.3\.1\.5\d/.test(await addressOf("a")), leases);
    assert.notEqual(await addressOf("a"), before);
    await until(async () => pings(lan.namespace, (await addressOf("a")).split("/")[0] ?? "", 1));
    inside(thief, "ip", "address", "flush", "dev", "eth0");
    server?.kill("SIGKILL");
    await serve("10.3.1.50,10.3.1.59,255.0.0.0,120s");
  });

  it("that somebody on the LAN has are declined, and another one is used", async () => {
    lan.machine("other", "10.3.1.50/8");
    server?.kill("SIGKILL");
    await serve("10.3.1.50,10.3.1.51,255.0.0.0,120s", "--no-ping");
    await docker(`${create} net`);
    await sleeper("a");
    assert.match(await addressOf("a"), /^10\.3\.1\.51\/8/);
    const { status, stderr } = await host().try(words("run --rm --network net busybox true"));
    assert.notEqual(status, 0);
    assert.match(
      stderr,
      /gave 3 times what others on the LAN have \(the last: 10\.3\.1\.50 belongs to|no DHCP server answered/,
    );
    server?.kill("SIGKILL");
    await serve("10.3.1.50,10.3.1.59,255.0.0.0,120s");
  });

  it("a server that is silent is told within ten seconds, and nothing is left behind", async () => {
    server?.kill("SIGKILL");
    await docker(`${create} net`);
    const began = calmTime();
    const { status, stderr } = await host().try(words("run --rm --network net busybox true"));
    assert.notEqual(status, 0);
    assert.match(stderr, /failed to set up container networking: no DHCP server answered on lan0 within 8 seconds/);
    assert.ok(calmTime() - began < 10_000);
    assert.equal(await docker("ps -aq"), "");
    await serve("10.3.1.50,10.3.1.59,255.0.0.0,120s");
  });

  it("what cannot be together is refused with the reason", async () => {
    const cases: [string, RegExp][] = [
      [`${create} --subnet 10.0.0.0/8 net`, /ipam driver dhcp: the server knows subnet, range and gateway/],
      [`${create} --ipv6 net`, /ipam driver dhcp: only IPv4 addresses are asked for/],
      [`${create} -o macvlan_mode=passthru net`, /have the MAC of the parent/],
      [`${create} -o host_access=true net`, /host_access and --ipam-driver dhcp: the LAN.s server would decide/],
      ["network create -d macvlan --ipam-driver dhcp net", /it needs a network on a LAN/],
      [`${create} --ipam-opt lease=1h net`, /unknown option "lease"/],
    ];
    for (const [line, text] of cases) {
      const { status, stderr } = await host().try(words(line));
      assert.notEqual(status, 0, line);
      assert.match(stderr, text);
    }
    await docker(`${create} net`);
    const { stderr } = await host().try(words("run --rm --network net --ip 10.3.1.5 busybox true"));
    assert.match(
      stderr,
      /user specified IP address is supported only when connecting to networks with user configured subnets/,
    );
  });
});
