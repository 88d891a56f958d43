import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { run as runCommand } from "../../src/lab/command.ts";
import { useEncryptedSwarm } from "../support/encrypted-swarm.ts";
import { until } from "../support/until.ts";

const underlay = ["nsenter", "--net=/run/tombolo/netns/network-encrypted"];
const rotatingFor = 300_000; // milliseconds
/** The switch counts every frame of a host, and those that are VXLAN in clear: no tap of this process could miss any of them. */
const counters = `table bridge soak {
  counter frames { }
  counter clear { }
  chain c {
    type filter hook prerouting priority -400;
    iifname "u*" counter name frames
    iifname "u*" udp dport 4789 counter name clear
  }
}
`;

describe("encrypted networks, with a tapped wire", () => {
  const swarm = useEncryptedSwarm();
  const { lab, host, docker, rowOf, hosts, run, reaches, programs, frames, canaries, begin, namespaceOf } = swarm;
  const blasters: ChildProcess[] = [];
  const inSwitch = (...command: string[]) => runCommand(["nsenter", `--net=${lab().switch}`, ...command]);
  const counted = async (name: "frames" | "clear") =>
    Number(/packets (\d+)/.exec(await inSwitch("nft", "list", "counter", "bridge", "soak", name))?.[1]);

  /** Pings from a container without end, whatever becomes of its network: large ones, 500 a second. */
  async function blast(number: number, from: string, to: string): Promise<void> {
    const ping = `while :; do busybox ping -i 0.002 -s 1000 -W 1 -p c5 ${to}; sleep 0.05; done >/dev/null 2>&1`;
    const command = [`--net=${await namespaceOf(number, from)}`, "sh", "-c", ping];
    blasters.push(spawn("nsenter", command, { detached: true, stdio: "ignore" }));
  }
  async function endBlasts(): Promise<void> {
    for (const child of blasters.splice(0)) {
      const gone = once(child, "exit");
      process.kill(-(child.pid ?? 0), "SIGKILL");
      await gone;
    }
  }

  const addressOf = async (number: number, isIpv6: boolean) =>
    host(number).docker(
      "inspect",
      "-f",
      `{{.NetworkSettings.Networks.net.${isIpv6 ? "GlobalIPv6Address" : "IPAddress"}}}`,
      `c${number}`,
    );
  const all = async (...numbers: number[]) => {
    for (const from of numbers)
      for (const to of numbers) if (from !== to) await reaches(from, `c${from}`, `c${to}`, 30_000);
  };
  async function attach(number: number, isIpv6: boolean, ...to: number[]): Promise<void> {
    await run(number, `c${number}`);
    for (const other of to) {
      await blast(number, `c${number}`, await addressOf(other, isIpv6));
      await blast(other, `c${other}`, await addressOf(number, false));
    }
  }
  const links = (number: number) => programs(number).flatMap(({ command }) => /tw[gh]\w+/.exec(command)?.[0] ?? []);
  const end = (number: number, signal: NodeJS.Signals) => {
    for (const { pid } of programs(number)) process.kill(pid, signal);
  };
  const deleteLinks = async (number: number) => {
    for (const link of links(number)) await host(number).run(...underlay, "ip", "link", "delete", link);
  };

  const phases: Readonly<Record<string, (isIpv6: boolean) => Promise<unknown>>> = {
    async "first containers"(isIpv6) {
      await run(1, "c1");
      await attach(2, isIpv6, 1);
      await all(1, 2);
    },
    async "a third host"(isIpv6) {
      await attach(3, isIpv6, 1);
      await all(1, 2, 3);
    },
    "nothing happens": () => sleep(3000),
    async "all rules flushed, ten times"() {
      for (let count = 0; count < 10; count += 1)
        await Promise.all(hosts.map((number) => host(number).run("nft", "flush", "ruleset")));
      await all(1, 2, 3);
    },
    async "WireGuard's interface deleted"() {
      await deleteLinks(2);
      await all(1, 2, 3);
    },
    async "its interface deleted, its address elsewhere"() {
      const [address = ""] = (await host(2).run(...underlay, "ip", "-6", "-br", "address", "show", "scope", "global"))
        .split(/\s+/)
        .filter((word) => word.startsWith("fd"));
      await host(2).run("ip", "address", "add", address, "dev", "lo");
      await deleteLinks(2);
      await all(1, 2, 3);
      await host(2).run("ip", "address", "delete", address, "dev", "lo");
    },
    async "its routes removed"() {
      for (const link of links(2)) await host(2).run(...underlay, "ip", "-6", "route", "flush", "dev", link);
      await all(1, 2, 3);
    },
    async "wireguard-go killed"() {
      end(2, "SIGKILL");
      await all(1, 2, 3);
    },
    async "wireguard-go standing still"() {
      end(3, "SIGSTOP");
      await all(1, 2, 3);
    },
    async "a worker's daemon killed"() {
      await host(2).kill();
      await host(2).start();
      await all(1, 2, 3);
    },
    async "the manager's daemon killed"() {
      await host(1).kill();
      await host(1).start();
      await all(1, 2, 3);
    },
    async "keys rotated twice"() {
      for (const _ of [1, 2]) await swarm.rotate();
      await all(1, 2, 3);
    },
    async "keys rotated while a host is away"() {
      await host(3).cut();
      await until(async () => (await rowOf("h3"))?.status === "Down", "h3 is down");
      for (const _ of [1, 2]) await swarm.rotate();
      await host(3).heal();
      await all(1, 2, 3);
    },
    async "a daemon killed while keys are rotated"() {
      const rotating = swarm.tombolo(1, "rotate-keys");
      await sleep(2300);
      await host(3).kill();
      await host(3).start();
      await rotating;
      await all(1, 2, 3);
    },
    async "a machine restarted: a key that nobody has heard of"() {
      await host(2).kill();
      end(2, "SIGKILL");
      await host(2).start();
      await all(1, 2, 3);
    },
    async "last containers"() {
      for (const number of [3, 2, 1]) await docker(number, `rm -f c${number}`);
      await until(() => hosts.every((number) => programs(number).length === 0), "no wireguard-go");
    },
  };

  for (const isOver6 of [false, true])
    for (const [what, flags] of [
      ["IPv4", []],
      ["IPv4 and IPv6 with multicast", ["--ipv6", "--opt", "multicast=true"]],
    ] as const)
      it(`say nothing in clear, whatever happens: ${what} over ${isOver6 ? "IPv6" : "IPv4"}`, async (t) => {
        await inSwitch("nft", counters);
        try {
          await begin(["--opt", "encrypted", ...flags], "--dispatcher-heartbeat 1s", isOver6);
          for (const [name, act] of Object.entries(phases)) {
            const before = await counted("frames");
            await act(flags.length > 0);
            t.diagnostic(`${name}: ${(await counted("frames")) - before} frames`);
            assert.equal(await counted("clear"), 0, `${name}: VXLAN in clear`);
            assert.equal(canaries(), 0, `${name}: canaries`);
          }
          t.diagnostic(
            `${await counted("frames")} frames in ${Object.keys(phases).length} cases, 0 in clear; ${frames()} tapped`,
          );
        } finally {
          await endBlasts();
          await inSwitch("nft", "delete", "table", "bridge", "soak");
        }
      });

  it("are seen by the counter and the taps when they are not encrypted", async () => {
    await inSwitch("nft", counters);
    await begin([]);
    await run(1, "c1");
    await run(2, "c2");
    await all(1, 2);
    assert.notEqual(await counted("clear"), 0);
    assert.notEqual(canaries(), 0);
    await inSwitch("nft", "delete", "table", "bridge", "soak");
  });

  it("lose nothing while keys are rotated again and again", async (t) => {
    await begin(["--opt", "encrypted"]);
    for (const number of hosts) await run(number, `c${number}`);
    await all(1, 2, 3);
    const floods = [];
    for (const [from, to] of [
      [1, 2],
      [2, 3],
      [3, 1],
    ] as const)
      floods.push(await swarm.flood(from, `c${from}`, await addressOf(to, false)));
    let rotations = 0;
    for (const late = Date.now() + rotatingFor; Date.now() < late; rotations += 1) await swarm.rotate();
    const results = await Promise.all(floods.map((stop) => stop()));
    const answered = results.reduce((sum, one) => sum + one.answered, 0);
    t.diagnostic(
      `${rotations} rotations, ${answered} pings answered, ${results.flatMap(({ lost }) => lost).length} lost`,
    );
    for (const { lost } of results) assert.deepEqual(lost, []);
    assert.equal(canaries(), 0);
  });
});
