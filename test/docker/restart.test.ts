import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import { TestHost, useHost } from "../support/daemon.ts";
import { processesOf } from "../support/leftovers.ts";
import { calmSleep, until } from "../support/until.ts";

const status = "{{.State.Status}} {{.State.ExitCode}}";

describe("containers and the daemon's end", () => {
  const host = useHost({ clear: true });
  const docker = (...args: string[]) => host().docker(...args);
  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    it(`${signal}: containers run on, no ping is lost, the next start finds them`, async () => {
      await docker("network", "create", "--subnet", "10.82.0.0/24", "net");
      await docker(
        "run",
        "-d",
        "--name",
        "b",
        "--network",
        "net",
        "-p",
        "8080:80",
        "busybox",
        "httpd",
        "-f",
        "-h",
        "/etc",
      );
      await docker(
        "run",
        "-d",
        "--name",
        "a",
        "--network",
        "net",
        "busybox",
        "sh",
        "-c",
        "while sleep 0.1; do echo tick; done",
      );
      const pid = await docker("inspect", "-f", "{{.State.Pid}}", "b");
      const log = await docker("inspect", "-f", "{{.LogPath}}", "a");
      const ping = host().background(
        await host().sandboxOf("a"),
        "busybox",
        "ping",
        "-i",
        "0.01",
        "-c",
        "300",
        "10.82.0.2",
      );
      let seen = "";
      ping.stdout?.on("data", (chunk: Buffer) => (seen += chunk.toString()));
      await until(() => seen.includes(" seq="), "pings are answered");
      await host().stopDaemon(signal);
      const ticks = readFileSync(log, "utf8").length;
      await until(() => readFileSync(log, "utf8").length > ticks, "output is written without the daemon");
      await host().startDaemon();
      await once(ping, "exit");
      assert.match(seen, /300 packets transmitted, 300 packets received, 0% packet loss/);
      await host().auditIsZero();
      assert.equal(await docker("inspect", "-f", "{{.State.Pid}}", "b"), pid);
      assert.equal(await docker("ps", "--format", "{{.Names}}"), "a\nb");
      assert.match(await docker("exec", "a", "wget", "-qO-", "http://b/group"), /^root:x:0:/);
      assert.match(host().there("busybox", "wget", "-qO-", "http://198.51.100.1:8080/group"), /^root:x:0:/);
      assert.match(await docker("logs", "--tail", "1", "a"), /^tick$/);
      await docker("stop", "-t", "0", "b");
      assert.equal(await docker("inspect", "-f", status, "b"), "exited 137");
    });

  it("health checks that were under way keep nobody from their containers", async () => {
    const names = ["w", "x", "y", "z"];
    for (const name of names)
      await docker(
        "run",
        "-d",
        "--name",
        name,
        "--health-cmd",
        "true",
        "--health-interval",
        "50ms",
        "busybox",
        "sleep",
        "1d",
      );
    const seen = () => docker("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", ...names);
    const before = await seen();
    await host().stopDaemon("SIGKILL");
    await host().startDaemon();
    assert.equal(await seen(), before);
    for (const name of names) await docker("exec", name, "true");
  });

  it("what ended meanwhile is recorded, with its exit code", async () => {
    await docker("run", "-d", "--name", "short", "busybox", "sh", "-c", "sleep 1; echo said last; exit 7");
    await host().stopDaemon();
    await calmSleep(1500);
    await host().startDaemon();
    await until(async () => (await docker("inspect", "-f", status, "short")) === "exited 7");
    assert.equal(await docker("logs", "short"), "said last");
  });

  it("restart policies: after an exit, and after the daemon's start", async () => {
    const start = (name: string, policy: string, ...command: string[]) =>
      docker("run", "-d", "--name", name, "--restart", policy, "busybox", ...command);
    const count = (name: string) => docker("inspect", "-f", "{{.RestartCount}}", name).then(Number);
    await start("fails", "on-failure:2", "false");
    await start("succeeds", "on-failure", "true");
    await start("again", "always", "sh", "-c", "sleep 0.2");
    await until(
      async () => (await count("fails")) === 2 && (await docker("inspect", "-f", status, "fails")) === "exited 1",
    );
    assert.equal(await docker("inspect", "-f", status, "succeeds"), "exited 0");
    assert.equal(await count("succeeds"), 0);
    await until(async () => (await count("again")) >= 2);
    await docker("rm", "-f", "again");
    await start("always", "always", "sleep", "1d");
    await start("unless", "unless-stopped", "sleep", "1d");
    await start("stopped", "unless-stopped", "sleep", "1d");
    await docker("stop", "-t", "0", "always", "stopped");
    await docker("kill", "unless"); // by the user's hand: stays, as with Docker
    await host().stopDaemon();
    await host().startDaemon();
    await until(async () => (await docker("inspect", "-f", "{{.State.Status}}", "always")) === "running");
    assert.equal(await docker("inspect", "-f", "{{.State.Status}}", "stopped"), "exited");
  });

  it("a container that a signal ended while the daemon was away starts again when its policy says so", async () => {
    await docker("run", "-d", "--name", "phoenix", "--restart", "unless-stopped", "busybox", "sleep", "1d");
    const pid = await docker("inspect", "-f", "{{.State.Pid}}", "phoenix");
    await host().stopDaemon();
    process.kill(Number(pid), "SIGKILL");
    await until(() => !existsSync(`/proc/${pid}`), "it is gone");
    await host().startDaemon();
    await until(async () => {
      const now = await docker("inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "phoenix");
      return now.startsWith("running ") && now !== `running ${pid}`;
    });
  });

  it("everything ended, as after a boot: containers that should run do, the others are told as they are", async () => {
    await docker("network", "create", "net");
    await docker("run", "-d", "--name", "boots", "--network", "net", "--restart", "always", "busybox", "sleep", "1d");
    await docker("run", "-d", "--name", "stays", "--network", "net", "busybox", "sleep", "1d");
    const pids = (await docker("inspect", "-f", "{{.State.Pid}}", "boots", "stays")).split("\n").map(Number);
    await host().stopDaemon();
    for (const pid of pids) process.kill(pid, "SIGKILL");
    for (const name of linksOf(host())) host().here("ip", "link", "del", name);
    host().here("nft", "flush", "ruleset");
    await host().startDaemon();
    await until(async () => (await docker("inspect", "-f", "{{.State.Status}}", "boots")) === "running");
    assert.equal(await docker("inspect", "-f", status, "stays"), "exited 137");
    assert.match(await docker("run", "--rm", "--network", "net", "busybox", "ping", "-c1", "boots"), / 0% packet loss/);
    await host().auditIsZero();
  });
});

/** Bridges and cables. */
const linksOf = (host: TestHost) =>
  (JSON.parse(host.here("ip", "-json", "link", "show", "type", "bridge")) as { ifname: string }[]).map((l) => l.ifname);

describe("what the daemon refuses to start with", () => {
  let host: TestHost;
  before(async () => {
    host = await TestHost.prepare();
  });
  after(() => host.stop());

  async function refusal(...args: string[]): Promise<string> {
    const child = host.spawnDaemon({}, args);
    const [code] = (await once(child, "exit")) as [number];
    assert.equal(code, 1, host.log);
    return host.log;
  }
  const file = () => join(host.dataRoot, "tombolo.db");

  it("a bridge docker0 that is not ours is named, with the way out, and stays as it is", async () => {
    host.here("ip", "link", "add", "docker0", "type", "bridge");
    host.here("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0");
    const link = host.here("ip", "addr", "show", "docker0");
    const text = await refusal();
    assert.match(
      text,
      /^tombolod: the interface docker0 is there already and probably dockerd's \(bridge\)\. .*--bridge tombolo0 --bip 172\.31\.0\.1\/16/,
    );
    assert.equal(host.here("ip", "addr", "show", "docker0"), link);
    await host.startDaemon({}, ["--bridge", "tombolo0", "--bip", "172.31.0.1/16"]);
    assert.match(host.here("ip", "addr", "show", "tombolo0"), /inet 172\.31\.0\.1\/16/);
    assert.equal(host.here("ip", "addr", "show", "docker0"), link);
    await host.auditIsZero();
    await host.stopDaemon();
    host.here("ip", "link", "del", "docker0");
    host.here("ip", "link", "del", "tombolo0");
  });

  it("a start that is refused ends the programs that it began", async () => {
    const other = await TestHost.prepare({ args: ["-H", "unix:///no/such/directory/docker.sock"] });
    try {
      const before = processesOf(other.directory).lines;
      await assert.rejects(other.startDaemon(), /no\/such\/directory/);
      assert.deepEqual(processesOf(other.directory).lines, before);
    } finally {
      await other.stop();
    }
  });

  it("a second daemon with the same roots", async () => {
    await host.startDaemon();
    const second = await TestHost.prepare();
    second.spawnDaemon({}, ["--data-root", host.dataRoot]);
    await until(() => second.ended, "it ends");
    assert.match(second.log, /^tombolod: .*(locked|in use|another tombolod|running)/i);
    await second.stop();
    await host.stopDaemon();
  });

  it("a store of a newer version is left untouched", async () => {
    const db = new DatabaseSync(file());
    const { user_version: version } = db.prepare("PRAGMA user_version").get() as { user_version: number };
    db.exec("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)");
    db.close();
    const bytes = readFileSync(file());
    assert.match(
      await refusal(),
      /^tombolod: .*tombolo\.db was written by a newer tombolod \(format 99, this one knows \d+\)/,
    );
    assert.deepEqual(readFileSync(file()), bytes);
    const back = new DatabaseSync(file());
    back.exec(`PRAGMA user_version = ${version}`);
    back.close();
  });

  it("a damaged store is left untouched", async () => {
    const good = readFileSync(file());
    const bad = Buffer.from(good);
    bad.fill(0x55, 4096, 6000);
    writeFileSync(file(), bad);
    assert.match(await refusal(), /^tombolod: .*tombolo\.db/);
    assert.deepEqual(readFileSync(file()), bad);
    writeFileSync(file(), good);
    await host.startDaemon();
    await host.auditIsZero();
  });

  it("settings that make no sense, in one line", async () => {
    await host.stopDaemon();
    assert.match(await refusal("--bip", "300.1.1.1/16"), /^tombolod: .*300\.1\.1\.1\/16.*$/m);
    assert.match(await refusal("--no-such-flag"), /^tombolod: unknown option '--no-such-flag'\n$/);
    const config = join(host.directory, "daemon.json");
    writeFileSync(config, '{"no-such-key": 1}');
    assert.match(
      await refusal("--config-file", config),
      /the following directives don't match any configuration option: no-such-key\n$/,
    );
    await host.startDaemon();
  });
});

describe("beside others on the host", () => {
  it("a firewall that drops what containers forward is named, with the mend, in docker info and the log", async () => {
    const host = await TestHost.prepare();
    try {
      host.here(
        "nft",
        "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
      );
      const table = host.here("nft", "list", "table", "ip", "filter");
      await host.startDaemon();
      const warning =
        /another firewall drops what containers forward: nftables chain \\?"ip filter FORWARD\\?" has policy drop\. To let them through: nft 'insert rule ip filter FORWARD meta iifkind \\?"bridge\\?" accept/;
      assert.match((await host.try(["info"])).stdout + (await host.try(["info"])).stderr, warning);
      assert.match(host.log, warning);
      assert.equal(host.here("nft", "list", "table", "ip", "filter"), table);
      await host.loadBusybox();
      const ping = (seconds: number) => ["run", "--rm", "busybox", "ping", "-c1", `-W${seconds}`, "198.51.100.2"];
      assert.notEqual((await host.try(ping(1))).status, 0);
      const { Warnings: said = [] } = JSON.parse(await host.get("/info")) as { Warnings?: string[] };
      const mend = /To let them through: (.*)$/.exec(said.find((line) => warning.test(line)) ?? "")?.[1] ?? "";
      host.here("sh", "-c", mend);
      assert.equal((await host.try(ping(5))).status, 0, mend);
    } finally {
      await host.stop();
    }
  });

  it("two daemons with different roots live in two namespaces", async () => {
    const one = await TestHost.start();
    const two = await TestHost.start();
    try {
      for (const host of [one, two]) {
        await host.loadBusybox();
        await host.docker("run", "-d", "--name", "same", "-p", "8080:80", "busybox", "sleep", "1d");
      }
      await one.docker("rm", "-f", "same");
      assert.equal(await two.docker("ps", "--format", "{{.Names}}"), "same");
      await two.auditIsZero();
    } finally {
      await one.stop();
      await two.stop();
    }
  });
});
