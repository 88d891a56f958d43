import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Outcome } from "../../src/lab/command.ts";
import { type Lab, openLab, startLab } from "../../src/lab/lab.ts";
import { kill, processesIn } from "../../src/lab/processes.ts";
import { registry } from "../../src/lab/registry.ts";
import { labName, leftOf, tomboloLab, tracesOf, useBusybox, useLab } from "../support/lab.ts";
import { stalled } from "../support/until.ts";

const image = useBusybox();
const scratch = mkdtempSync(join(tmpdir(), "tombolo-lab-"));
after(() => rmSync(scratch, { recursive: true }));

function succeeds({ status, stdout, stderr }: Outcome): string {
  assert.equal(status, 0, stderr);
  return stdout;
}
function refuses({ status, stderr }: Outcome, reason: RegExp): void {
  assert.notEqual(status, 0);
  assert.match(stderr, reason);
}
const ping = (to: string, seconds = 5) => [
  ...["busybox", to.includes(":") ? "ping6" : "ping", "-c", "1"],
  ...["-W", `${seconds}`, to],
];

describe("three hosts", () => {
  const lab = useLab({ hosts: 3 });
  const reaches = async (from: string, to: string, seconds?: number) =>
    (
      await lab()
        .host(from)
        .try(...ping(to, seconds))
    ).status === 0;

  it("have their own names, processes, devices and /run", async () => {
    for (const host of lab().hosts) {
      assert.equal(await host.run("hostname"), host.name);
      assert.equal(await host.run("cat", "/etc/hostname"), host.name);
      assert.match(await host.run("ls", "/sys/class/net"), /^docker0\neth0\nlo$/m);
      assert.match(await host.run("cat", "/proc/1/cmdline"), new RegExp(`${host.directory}\0${host.name}\0$`));
      assert.equal(await host.run("docker", "info", "--format", "{{.Name}}"), host.name);
    }
    await lab().host(1).run("touch", "/run/mine", "/etc/mine");
    for (const path of ["/run/mine", "/etc/mine"]) {
      assert.notEqual((await lab().host(2).try("test", "-e", path)).status, 0);
      assert.ok(!existsSync(path), `${path} is the machine's`);
    }
  });

  it("reach each other and the gateway over both families, and the gateway them", async () => {
    for (const host of lab().hosts) {
      const others = lab().hosts.flatMap(({ address, address6, name }) => [address, address6, name]);
      for (const to of [...others, "192.0.2.254", "2001:db8::fe", "gateway"])
        assert.ok(await reaches(host.name, to), `${host.name} to ${to}`);
      for (const to of [host.address, host.address6]) await lab().outside(...ping(to));
      assert.match(await host.run("ip", "route", "get", "198.51.100.1"), /via 192\.0\.2\.254 dev eth0/);
      assert.match(await host.run("ip", "-6", "route", "get", "2001:db8:1::1"), /via 2001:db8::fe dev eth0/);
    }
  });

  it("run containers on networks of their own, which reach the other hosts", async () => {
    await Promise.all(
      lab().hosts.map(async (host) => {
        const to = lab().host((host.number % 3) + 1).address;
        await host.docker("network", "create", "net");
        await host.docker("run", "--rm", "--network", "net", "busybox", ...ping(to));
        await host.docker("network", "rm", "net");
      }),
    );
  });

  it("lose what a cut wire carries, also one way, and have it back", async () => {
    const [one, two, three] = ["h1", "h2", "h3"] as const;
    succeeds(await tomboloLab("link", one, "cut", "--name", lab().name));
    assert.ok(!(await reaches(two, one, 1)));
    assert.ok(await reaches(two, three));
    succeeds(await tomboloLab("link", one, "heal", "--name", lab().name));
    assert.ok(await reaches(two, one));
    for (const way of ["to", "from"] as const) {
      const seen = await neighbourSeen(two, way);
      assert.deepEqual(seen, { request: way === "to", answer: false }, `cut ${way}`);
      assert.ok(await reaches(two, three));
    }
  });

  /** Cuts h1 one way. @returns whether its request comes to the other host, and the answer to it */
  async function neighbourSeen(other: string, way: "to" | "from"): Promise<{ request: boolean; answer: boolean }> {
    const [one, two] = [lab().host("h1"), lab().host(other)];
    for (const host of [one, two]) await host.run("ip", "neighbour", "flush", "dev", "eth0");
    await one.cut(way);
    const answer = (await one.try(...ping(two.address, 1))).status === 0;
    // Who is asked learns the address of who asks.
    const request = (await two.run("ip", "neighbour", "show", one.address)).includes("lladdr");
    await one.heal();
    assert.ok(await reaches("h1", two.address));
    return { request, answer };
  }

  it("keep their containers when a daemon is killed, and it finds them again", async () => {
    const host = lab().host("h2");
    await host.docker("run", "-d", "--name", "stays", "busybox", "sleep", "1d");
    const began = await host.docker("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", "stays");
    succeeds(await tomboloLab("kill", "h2", "--name", lab().name));
    assert.equal(host.state(), "stopped");
    assert.match(succeeds(await tomboloLab("list")), new RegExp(`^${lab().name} +h2 +192\\.0\\.2\\.2 +stopped `, "m"));
    refuses(await tomboloLab("kill", "h2", "--name", lab().name), /no tombolod runs on h2/);
    assert.match(await host.run("busybox", "ps", "-o", "args"), /^sleep 1d$/m);
    succeeds(await tomboloLab("start", "h2", "--name", lab().name));
    assert.equal(await host.docker("inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", "stays"), began);
    assert.equal(await host.docker("exec", "stays", "echo", "alive"), "alive");
    refuses(await tomboloLab("start", "h2", "--name", lab().name), /tombolod runs already on h2/);
    await host.docker("rm", "-f", "stays");
  });

  it("tell why a daemon does not start, and start it once that is mended", async () => {
    const host = lab().host("h3");
    const settings = join(host.directory, "daemon.json");
    await host.kill();
    writeFileSync(settings, '{"bridge": "no good name"}');
    refuses(await tomboloLab("start", "h3", "--name", lab().name), /tombolod on h3 ended:\n[^]*not an interface name/);
    writeFileSync(settings, "{}");
    await host.start();
  });

  it("are in the list, with their sockets", async () => {
    const lines = succeeds(await tomboloLab("list")).split("\n");
    assert.match(lines[0] ?? "", /^NAME +HOST +ADDRESS +DAEMON +SOCKET$/);
    const mine = lines.filter((line) => line.startsWith(`${lab().name} `)).map((line) => line.split(/ +/));
    assert.deepEqual(
      mine,
      lab().hosts.map(({ name, address, socket }) => [lab().name, name, address, "running", `unix://${socket}`]),
    );
  });

  it("run commands, whose output and status are passed on", async () => {
    const exec = (...command: string[]) => tomboloLab("exec", "--name", lab().name, ...command);
    const { status, stdout, stderr } = await exec("h1", "--", "sh", "-c", "hostname; echo no >&2; exit 7");
    assert.deepEqual({ status, stdout, stderr }, { status: 7, stdout: "h1\n", stderr: "no\n" });
    assert.equal((await exec("h1", "--", "sh", "-c", "kill -9 $$")).status, 137);
    assert.match(succeeds(await exec("switch", "--", "ip", "-br", "link")), /^u3@/m);
  });

  it("refuse what cannot be, with the reason", async () => {
    const on = ["--name", lab().name];
    refuses(await tomboloLab("exec", "h4", ...on, "--", "true"), /has no host "h4": there are h1, h2, h3/);
    refuses(await tomboloLab("link", "h1", "bend", ...on), /"bend" is neither cut nor heal/);
    refuses(await tomboloLab("link", "h1", "cut", "--to", "--from", ...on), /cannot be used with option/);
    refuses(await tomboloLab("up", ...on), /there is a lab "test-/);
    assert.equal(lab().host(1).state(), "running");
  });
});

it("what cannot be a lab is refused, and nothing is left of it", async () => {
  const name = labName("-none");
  const up = (...args: string[]) => tomboloLab("up", "--name", name, ...args);
  for (const verb of ["down", "kill h1", "start h1", "link h1 cut"])
    refuses(await tomboloLab(...verb.split(" "), "--name", name), /there is no lab/);
  refuses(await tomboloLab("exec", "h1", "--name", name, "--", "true"), /there is no lab/);
  for (const hosts of ["0", "17", "-1", "three"]) refuses(await up("--hosts", hosts), /1 to 16 hosts|wants a number/);
  refuses(await tomboloLab("up", "--name", "../up"), /is no name for a lab/);
  refuses(await up("--image", join(scratch, "none.tar")), /there is no file/);
  refuses(await up("--dir", "/usr"), /\/usr is not an empty directory/);
  refuses(await up("--dir", join(scratch, "a".repeat(90))), /longer than 107 bytes/);
  writeFileSync(join(scratch, "bad.tar"), "no archive");
  refuses(await up("--hosts", "1", "--image", join(scratch, "bad.tar")), /invalid|archive/i);
  assert.throws(() => openLab(name), /there is no lab/);
});

describe("the end of a lab", () => {
  /** A lab made by the command, with a container on each host. */
  async function make(name: string, ...args: string[]): Promise<{ lab: Lab; stdout: string }> {
    const stdout = succeeds(await tomboloLab("up", "--name", name, "--image", image(), ...args));
    const lab = openLab(name);
    for (const host of lab.hosts) await host.docker("run", "-d", "busybox", "sleep", "1d");
    return { lab, stdout };
  }

  it("leaves nothing; three hosts are up in less than 15 s", async (t) => {
    const [began, lost] = [performance.now(), stalled()];
    const { lab, stdout } = await make(labName("-a"));
    t.diagnostic(
      `three hosts and containers: ${Math.round(performance.now() - began)} ms; ${/\d\.\d s/.exec(stdout)?.[0]}`,
    );
    assert.ok(Number(/in (\d+\.\d) s/.exec(stdout)?.[1]) < 15 + (stalled() - lost) / 1000, stdout);
    assert.match(stdout, new RegExp(`docker -H unix://${lab.host(1).socket} `));
    assert.match(stdout, /^h2: starts containerd and tombolod$/m);
    const traces = tracesOf(lab);
    assert.equal(traces.containers.size, 3);
    assert.notDeepEqual(leftOf(traces), []);
    succeeds(await tomboloLab("down", "--name", lab.name));
    assert.deepEqual(leftOf(traces), []);
    refuses(await tomboloLab("down", "--name", lab.name), /there is no lab/);
  });

  it("leaves nothing after kill -9 of everything, under /run too", async () => {
    const directory = mkdtempSync("/run/tombolo-lab-");
    const { lab } = await make(labName("-b"), "--hosts", "2", "--dir", directory);
    assert.equal(await lab.host(2).run("hostname"), "h2");
    const traces = tracesOf(lab);
    await kill(processesIn(lab.hosts.map((host) => host.pin)));
    assert.deepEqual(
      lab.hosts.map((host) => host.state()),
      ["gone", "gone"],
    );
    refuses(await tomboloLab("exec", "h1", "--name", lab.name, "--", "true"), /h1 is gone/);
    assert.deepEqual(
      leftOf(traces).filter((line) => line.startsWith("process")),
      [],
    );
    succeeds(await tomboloLab("down", "--name", lab.name));
    assert.deepEqual(leftOf(traces), []);
  });

  it("ends what was sent into its namespaces from outside", async () => {
    const lab = await startLab({ name: labName("-c"), hosts: 1 });
    const traces = tracesOf(lab);
    await lab.host(1).run("sh", "-c", "sleep 1d >/dev/null 2>&1 &");
    const outside = lab.tryOutside("sleep", "1d");
    await lab.down();
    assert.equal((await outside).status, 137);
    assert.deepEqual(leftOf(traces), []);
  });

  it("spares a process that got the pid of one of ours", async () => {
    const lab = await startLab({ name: labName("-d"), hosts: 1 });
    const host = lab.host(1);
    await host.kill();
    // The file now names the host's first process, as after a pid was given again.
    await host.run("sh", "-c", "echo 1 >/run/tombolo/tombolod.pid");
    await assert.rejects(host.kill(), /no tombolod runs on h1/);
    assert.equal(host.state(), "stopped");
    await kill([{ ...(host.processes()[0] ?? assert.fail()), started: "1" }]);
    assert.equal(host.state(), "stopped");
    await lab.down();
  });

  it("comes by itself when making it is interrupted at the terminal", async () => {
    const name = labName("-f");
    const up = spawn("bin/tombolo", ["lab", "up", "--hosts", "2", "--name", name], { detached: true });
    let stderr = "";
    up.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    while (!existsSync(join(registry, name, "h2/tombolod.log"))) await sleep(5);
    const traces = tracesOf(openLab(name));
    process.kill(-(up.pid ?? assert.fail()), "SIGINT"); // Ctrl-C reaches the whole group
    await once(up, "close");
    assert.notEqual(up.exitCode, 0);
    assert.match(stderr, /interrupted: nothing is left of the lab/);
    assert.deepEqual(leftOf(traces), []);
  });

  it("comes also to one that was broken off while it was made", async () => {
    const name = labName("-e");
    const directory = join(scratch, "broken");
    mkdirSync(directory);
    const up = spawn("bin/tombolo", ["lab", "up", "--hosts", "2", "--name", name, "--dir", directory]);
    while (!existsSync(join(directory, "h2/net"))) await sleep(5);
    up.kill("SIGKILL");
    await once(up, "close");
    const traces = tracesOf(openLab(name));
    succeeds(await tomboloLab("down", "--name", name));
    assert.deepEqual(leftOf(traces), []);
  });
});
