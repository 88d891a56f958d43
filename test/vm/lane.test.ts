import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { kernelDirectory } from "./guest-files.ts";
import { Lane } from "./lane.ts";
import type { Station } from "./station.ts";
import { until } from "../support/until.ts";

/** Processes started by a process, by those, and so on. */
function descendants(of: number): number[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const children = all.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/status`, "utf8").includes(`\nPPid:\t${of}\n`);
    } catch {
      return false; // it has just ended
    }
  });
  return children.flatMap((pid) => [Number(pid), ...descendants(Number(pid))]);
}
/** A process' command line; empty when it has ended. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** Fails when a process of `pids` does not end, or a mount or a file of a lane is still there. */
async function nothingIsLeft(pids: readonly number[]): Promise<void> {
  const living = () => pids.map(commandOf).filter((command) => command !== "");
  await until(
    () => living().length === 0,
    () => `left: ${living().join(", ")}`,
  );
  assert.doesNotMatch(readFileSync("/proc/self/mountinfo", "utf8"), /vm-kernel/);
  assert.deepEqual(readdirSync(join(kernelDirectory, "scratch")), []);
}

describe("the lane of virtual machines", () => {
  let lane: Lane;
  before(async () => {
    lane = await Lane.start({ hosts: 2, memory: 256 });
  });
  after(() => lane?.stop());
  const host = (number: 1 | 2) => lane.hosts[number - 1] as Station;
  const answers = async (from: string, address: string) =>
    (await host(1).run(["ip", "netns", "exec", from, "ping", "-c1", "-W5", address])).status === 0;

  it("has hosts with Debian's kernel, names and addresses on one segment", async () => {
    assert.match(await host(1).sh("uname -r"), /^6\.1\..*-cloud-amd64$/);
    assert.equal(await host(2).sh("hostname; cat /sys/class/net/eth0/address"), "h2\n52:54:00:77:00:02");
    await host(1).sh("ping -c1 -W5 h2 && ping -6 -c1 -W5 h2");
    await lane.segment.sh(`ping -c1 -W5 ${host(2).address}`);
  });

  it("runs commands: status, both outputs, input, environment, what is left in the background", async () => {
    const script = "cat; echo $word >&2; exit 7";
    const outcome = await host(1).run(["sh", "-c", script], { input: "text", env: { word: "err" } });
    assert.deepEqual(outcome, { status: 7, stdout: "text", stderr: "err\n" });
    assert.equal((await host(1).run(["no-such-program"])).status, 127);
    assert.equal((await host(1).run(["sh", "-c", "kill -9 $$"])).status, 137);
    assert.equal(await host(1).sh("sleep 1000 & echo done"), "done");
    const input = Buffer.alloc(300_000, "x");
    assert.equal(await host(1).sh("wc -c", { input }), "300000");
    assert.equal((await host(1).sh("head -c 300000 /dev/zero | tr '\\0' y")).length, 300_000);
    await assert.rejects(host(1).sh("echo why >&2; false"), /h1: .*: why/s);
  });

  it("ends what takes too long, with all that it started", async () => {
    const command = ["sh", "-c", "echo begun; sleep 2000; true"];
    await assert.rejects(host(1).run(command, { timeout: 1500 }), /h1: .*: not done after 1500 ms\nbegun/);
    await host(1).sh("while pgrep -xf 'sleep 2000'; do sleep 0.1; done");
    const job = host(1).spawn(["cat"], { input: "open" });
    job.write("line\n");
    await job.sees(/line/);
    job.kill("SIGTERM");
    assert.equal((await job.ended).status, 143);
  });

  it("shows the clone, read-only, and lets a host write elsewhere, in its memory", async () => {
    assert.equal(await host(1).sh("node -p 'process.version'"), process.version);
    assert.notEqual((await host(1).run(["touch", join(kernelDirectory, "x")])).status, 0);
    await host(1).sh("echo changed >/etc/motd && modprobe dummy && stat -f -c %T /var/lib/tombolo | grep tmpfs");
    assert.doesNotMatch(await host(2).sh("cat /etc/motd || true"), /^changed$/m);
  });

  it("carries two VLANs on one cable: no namespace of one gets a frame of the other", async () => {
    for (const number of [1, 2] as const)
      await host(number).sh(
        [50, 60]
          .map(
            (vlan) => `set -e; ip netns add c${vlan}
              ip link add link eth0 name eth0.${vlan} type vlan id ${vlan}
              ip link set eth0.${vlan} netns c${vlan}
              ip -n c${vlan} address add 10.3.1.${vlan + number}/24 dev eth0.${vlan}
              ip -n c${vlan} link set eth0.${vlan} up`,
          )
          .join("\n"),
      );
    const dump = (netns: string) => ["ip", "netns", "exec", netns, "tcpdump", "-nel", "arp or icmp"];
    const wire = lane.segment.spawn(["tcpdump", "-nel", "-i", "lan0", "vlan"]);
    const other = host(2).spawn(dump("c60"));
    await Promise.all([wire.sees(/listening on/), other.sees(/listening on/)]);
    assert.deepEqual([await answers("c50", "10.3.1.52"), await answers("c50", "10.3.1.62")], [true, false]);
    assert.deepEqual([await answers("c60", "10.3.1.62"), await answers("c60", "10.3.1.52")], [true, false]);
    await other.sees(/10\.3\.1\.61 > 10\.3\.1\.62/);
    for (const job of [wire, other]) job.kill("SIGINT");
    assert.match((await wire.ended).stdout, /vlan 50.*10\.3\.1\.51 > 10\.3\.1\.52/);
    assert.doesNotMatch((await other.ended).stdout, /10\.3\.1\.51/);
    await Promise.all(lane.hosts.map((one) => one.sh("ip netns delete c50; ip netns delete c60")));
  });

  it("makes ipvlan interfaces, and has IPVS, WireGuard and netem", async () => {
    await host(1).sh("ip link add link eth0 name iv0 type ipvlan mode l3 && ip link delete iv0");
    await host(1).sh("ip link add wg0 type wireguard && ip link delete wg0");
    await host(1).sh("modprobe ip_vs_rr && test -e /proc/net/ip_vs");
    await host(1).sh("tc qdisc add dev eth0 root netem delay 1ms && tc qdisc delete dev eth0 root");
  });

  it("cuts a cable, and says that a host is gone", async () => {
    await lane.segment.sh("ip link set h2 down");
    assert.notEqual((await host(1).run(["ping", "-c1", "-W1", "h2"])).status, 0);
    await assert.rejects(host(2).sh("echo b >/proc/sysrq-trigger; sleep 1000"), /h2 is gone/);
    await assert.rejects(host(2).run(["true"]), /h2 is gone/);
  });

  it("leaves nothing", async () => {
    const pids = descendants(process.pid);
    assert.match(pids.map(commandOf).join("\n"), /qemu-system/);
    await lane.stop();
    await nothingIsLeft(pids);
  });

  it("leaves nothing when its process is killed", async () => {
    const program = `import { Lane } from ${JSON.stringify(join(import.meta.dirname, "lane.ts"))};
      await Lane.start({ hosts: 1, memory: 256 });
      console.log("up");`;
    const runner = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(runner.stdout, "data");
    const pids = descendants(runner.pid ?? 0);
    assert.match(pids.map(commandOf).join("\n"), /qemu-system/);
    runner.kill("SIGKILL");
    await nothingIsLeft(pids);
  });
});
