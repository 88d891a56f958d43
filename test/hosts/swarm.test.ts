import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { attempt } from "../../src/lab/command.ts";
import type { LabHost } from "../../src/lab/host.ts";
import { kill, processesIn } from "../../src/lab/processes.ts";
import { useLab } from "../support/lab.ts";

describe("a swarm of the lab's hosts", () => {
  const lab = useLab({ hosts: 3 });
  const host = (number: number) => lab().host(number);
  const words = (line: string) => line.split(" ").filter(Boolean);
  const docker = (number: number, line: string) => host(number).docker(...words(line));
  /** Runs a docker command that must be refused. @returns what it said */
  async function refused(number: number, line: string): Promise<string> {
    const { status, stderr } = await host(number).tryDocker(...words(line));
    assert.notEqual(status, 0, `${line} was not refused`);
    return stderr;
  }
  /** @throws when it is not so in time */
  async function until(isSo: () => boolean | Promise<boolean>, milliseconds: number, what: string): Promise<void> {
    for (const began = Date.now(); !(await isSo()); await sleep(50))
      assert.ok(Date.now() - began < milliseconds, `not within ${milliseconds} ms: ${what}`);
  }

  interface Row {
    readonly name: string;
    readonly status: string;
    readonly availability: string;
    /** Leader, Reachable, Unreachable; "" of a worker. */
    readonly manager: string;
  }
  /** `docker node ls`, by the nodes' names. */
  async function nodes(number = 1): Promise<Row[]> {
    const format = "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}";
    const lines = (await host(number).docker("node", "ls", "--format", format)).split("\n");
    return lines
      .map((line) => line.split(" "))
      .map(([name = "", status = "", availability = "", manager = ""]) => ({ name, status, availability, manager }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }
  const rowOf = async (name: string, number = 1) =>
    (await nodes(number).catch(() => [])).find((row) => row.name === name);
  const isReady = async (name: string, number = 1) => (await rowOf(name, number))?.status === "Ready";
  const managersOf = async (number = 1) =>
    (await nodes(number).catch(() => [])).filter(({ manager }) => ["Leader", "Reachable"].includes(manager)).length;
  const stateOf = (number: number) => host(number).docker("info", "--format", "{{.Swarm.LocalNodeState}}");
  const token = (role: "worker" | "manager", number = 1) => docker(number, `swarm join-token -q ${role}`);
  const address = (number: number) => `${host(number).address}:2377`;
  const joinWith = (number: number, secret: string, to = 1) =>
    docker(number, `swarm join --token ${secret} ${address(to)}`);
  /** A swarm of all three hosts. */
  async function threeManagers(flags = ""): Promise<void> {
    await docker(1, `swarm init ${flags}`);
    const secret = await token("manager");
    for (const number of [2, 3]) await joinWith(number, secret);
    await until(async () => (await managersOf()) === 3, 15_000, "three managers");
  }
  /** A call for which the docker client has no words, or needs a terminal. */
  async function post(number: number, path: string, body: object): Promise<{ status: number; body: string }> {
    const headers = { "Content-Type": "application/json" };
    const asked = request({ socketPath: host(number).socket, method: "POST", path, headers });
    asked.end(JSON.stringify(body));
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    return { status: answer.statusCode ?? 0, body: Buffer.concat(await answer.toArray()).toString() };
  }
  /** The daemon, and its etcd, as when a host loses its power. */
  async function crash(number: number): Promise<void> {
    await kill(processesIn([host(number).pin]).filter(({ command }) => /bin\/tombolod|^etcd /.test(command)));
  }
  /** Stops, or goes on with, a host's daemon and etcd. */
  function signal(number: number, name: "SIGSTOP" | "SIGCONT"): void {
    for (const { pid, command } of processesIn([host(number).pin]))
      if (/bin\/tombolod|^etcd /.test(command)) process.kill(pid, name);
  }
  const etcds = (number: number) =>
    processesIn([host(number).pin]).filter(({ command }) => command.startsWith("etcd "));
  const swarmDirectory = ({ directory }: LabHost) => join(directory, "data/swarm");

  afterEach(async () => {
    for (const one of lab().hosts) {
      await one.heal();
      if (one.state() !== "running") await one.start();
      await one.tryDocker("swarm", "leave", "--force");
      assert.equal(await stateOf(one.number), "inactive");
      assert.deepEqual(etcds(one.number), [], `etcd on ${one.name}`);
      const left = existsSync(swarmDirectory(one)) ? readdirSync(swarmDirectory(one)) : [];
      assert.deepEqual(
        left.filter((name) => name !== "joining.key"),
        [],
      );
    }
  });

  describe("a swarm", () => {
    it("is begun, joined and shown as in the article", async () => {
      const said = await docker(1, "swarm init");
      assert.match(said, /^Swarm initialized: current node \([0-9a-z]{25}\) is now a manager\.$/m);
      assert.match(
        said,
        new RegExp(`docker swarm join --token SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25} ${address(1)}$`, "m"),
      );
      const secret = await token("worker");
      for (const number of [2, 3])
        assert.equal(
          await docker(number, `swarm join ${address(1)} --token ${secret}`),
          "This node joined a swarm as a worker.",
        );
      assert.match(
        await docker(1, "node ls"),
        /^ID +HOSTNAME +STATUS +AVAILABILITY +MANAGER STATUS +ENGINE VERSION\n[0-9a-z]{25} \* +h1 +Ready +Active +Leader +\S+/,
      );
      assert.deepEqual(
        (await nodes()).map(({ name, status, availability }) => [name, status, availability]),
        ["h1", "h2", "h3"].map((name) => [name, "Ready", "Active"]),
      );
      assert.equal(await host(1).docker("info", "--format", "{{.Swarm.Nodes}} {{.Swarm.Managers}}"), "3 1");
      assert.equal(await stateOf(2), "active");
      assert.match(await docker(1, "node inspect self --pretty"), /^Hostname:\s+h1$[^]*Leader:\s+Yes[^]*TLS Info:/m);
      assert.equal(
        await host(2).docker(
          "info",
          "--format",
          "{{(index .Swarm.RemoteManagers 0).Addr}} {{.Swarm.ControlAvailable}}",
        ),
        `${address(1)} false`,
      );
      const worker = /Worker nodes can't be used to view or modify cluster state/;
      for (const line of ["node ls", "swarm join-token worker", "node inspect self"])
        assert.match(await refused(2, line), worker);
      await docker(2, "swarm leave");
      await until(async () => (await rowOf("h2"))?.status === "Down", 1000, "h2 is down");
      await docker(1, "node rm h2");
      assert.equal(await rowOf("h2"), undefined);
    });

    it("refuses what cannot be, in Docker's words, and leaves nothing behind", async () => {
      const off = /This node is not a swarm manager\. Use "docker swarm init" or "docker swarm join"/;
      for (const line of ["node ls", "swarm join-token worker", "swarm update --task-history-limit 3", "service ls"])
        assert.match(await refused(1, line), off, line);
      assert.match(await refused(1, "swarm leave"), /This node is not part of a swarm/);
      assert.match(
        await refused(1, "swarm init --advertise-addr 203.0.113.9"),
        /203\.0\.113\.9 is not an address of this host, which has 192\.0\.2\.1 on eth0, 2001:db8::1 on eth0/,
      );
      assert.match(await refused(1, "swarm init --cert-expiry 30m"), /minimum certificate expiry time is: 1h0m0s/);
      assert.equal(await stateOf(1), "inactive");
      await docker(1, "swarm init");
      const secret = await token("worker");
      const other = secret.replace(/-.{25}$/, `-${"1".repeat(25)}`);
      const digest = secret.replace(/-.{50}-/, `-${"1".repeat(50)}-`);
      const cases: [string, RegExp][] = [
        [`swarm join --token nonsense ${address(1)}`, /invalid join token/],
        [`swarm join --token ${other} ${address(1)}`, /A valid join token is necessary to join this cluster/],
        [`swarm join --token ${digest} ${address(1)}`, /remote CA does not match fingerprint\. Expected: [0-9a-f]{64}/],
        [`swarm join --token ${secret} ${host(3).address}:2377`, /192\.0\.2\.3:2377: .*ECONNREFUSED/],
      ];
      for (const [line, text] of cases) assert.match(await refused(2, line), text, line);
      assert.equal(await stateOf(2), "inactive");
      assert.deepEqual(
        (await nodes()).map(({ name }) => name),
        ["h1"],
      );
      await joinWith(2, secret);
      const already = /This node is already part of a swarm\. Use "docker swarm leave"/;
      for (const line of ["swarm init", `swarm join --token ${secret} ${address(1)}`])
        for (const number of [1, 2]) assert.match(await refused(number, line), already);
      assert.match(await refused(1, "node inspect nobody"), /node nobody not found/i);
      assert.match(await refused(1, "node rm h2"), /node [0-9a-z]{25} is not down and can't be removed/);
      assert.match(await refused(1, "node rm --force h1"), /must be demoted to worker before removal/);
      assert.match(await refused(1, "node demote h1"), /attempting to demote the last manager of the swarm/);
      assert.match(await refused(1, "swarm leave"), /Removing the last manager erases all current state of the swarm/);
      assert.match(await refused(1, "node ls --filter role=king"), /[Ii]nvalid role filter/);
      const id = await docker(1, "node inspect -f {{.ID}} h2");
      const stale = await post(1, `/nodes/${id}/update?version=0`, { Role: "worker", Availability: "drain" });
      assert.match(stale.body, /update out of sequence/);
      assert.equal((await rowOf("h2"))?.availability, "Active");
    });

    it("gives out tokens that die at once when they are rotated, and who has joined stays", async () => {
      await docker(1, "swarm init");
      const old = await token("worker");
      await joinWith(2, old);
      const renewed = await docker(1, "swarm join-token --rotate -q worker");
      assert.notEqual(renewed, old);
      assert.match(await refused(3, `swarm join --token ${old} ${address(1)}`), /A valid join token is necessary/);
      await joinWith(3, renewed);
      assert.deepEqual(
        (await nodes()).map(({ status }) => status),
        ["Ready", "Ready", "Ready"],
      );
    });

    it("keeps what the user says of nodes and of itself", async () => {
      await docker(1, "swarm init --task-history-limit 3 --availability drain");
      await joinWith(2, await token("worker"));
      assert.equal((await rowOf("h1"))?.availability, "Drain");
      await docker(1, "node update --label-add rack=r1 --label-add ssd --availability pause h2");
      assert.equal((await rowOf("h2"))?.availability, "Pause");
      assert.equal(
        await host(1).docker("node", "inspect", "-f", "{{json .Spec.Labels}}", "h2"),
        '{"rack":"r1","ssd":""}',
      );
      assert.equal(
        await docker(1, "node ls -q --filter node.label=rack=r1"),
        await docker(1, "node inspect -f {{.ID}} h2"),
      );
      assert.equal(await docker(1, "node ls -q --filter node.label=rack=r2"), "");
      assert.equal((await docker(1, "node ls -q --filter role=worker")).split("\n").length, 1);
      await docker(1, "node update --label-rm ssd h2");
      await docker(1, "swarm update --task-history-limit 7 --dispatcher-heartbeat 2s");
      const spec = JSON.parse(await host(1).docker("info", "--format", "{{json .Swarm.Cluster.Spec}}"));
      assert.deepEqual(
        [spec.Orchestration.TaskHistoryRetentionLimit, spec.Dispatcher.HeartbeatPeriod],
        [7, 2_000_000_000],
      );
      assert.equal(
        await docker(1, "node ps self"),
        "ID        NAME      IMAGE     NODE      DESIRED STATE   CURRENT STATE   ERROR     PORTS",
      );
    });
  });

  describe("nodes that go and come", () => {
    it("are down three heartbeats after the last one, ready when they are back, and the same after restarts", async () => {
      await docker(1, "swarm init --dispatcher-heartbeat 1s");
      await joinWith(2, await token("worker"));
      const ids = await docker(1, "node ls -q");
      await host(2).cut();
      await until(async () => (await rowOf("h2"))?.status === "Down", 7000, "h2 is down");
      await host(2).heal();
      await until(() => isReady("h2"), 10_000, "h2 is ready");
      for (const number of [1, 2]) {
        await host(number).kill();
        await host(number).start();
        await until(
          async () => (await isReady("h1")) && (await isReady("h2")),
          10_000,
          `ready after h${number} came back`,
        );
      }
      await crash(1);
      await host(1).start();
      await until(async () => (await isReady("h1")) && (await isReady("h2")), 15_000, "ready after a power cut");
      assert.equal(await docker(1, "node ls -q"), ids);
    });

    it("are told as events, with what has changed", async () => {
      await docker(1, "swarm init");
      const since = String(Date.now() / 1000);
      await joinWith(2, await token("worker"));
      await docker(1, "node update --availability pause h2");
      await docker(2, "swarm leave");
      await docker(1, "node rm h2");
      const format = "{{.Scope}} {{.Action}} {{json .Actor.Attributes}}";
      const flags = ["--since", since, "--until", String(Date.now() / 1000 + 0.5), "--filter", "type=node"];
      const told = await host(1).docker("events", ...flags, "--format", format);
      for (const line of [
        'swarm create {"name":"h2"}',
        'swarm update {"availability.new":"pause","availability.old":"active","name":"h2"}',
        'swarm update {"name":"h2","state.new":"down","state.old":"ready"}',
        'swarm remove {"name":"h2"}',
      ])
        assert.ok(told.split("\n").includes(line), `${line} is not in\n${told}`);
    });

    it("are removed by force, and then nobody", async () => {
      await docker(1, "swarm init");
      await joinWith(2, await token("worker"));
      await docker(1, "node rm --force h2");
      await until(
        async () =>
          /removed from the swarm|ertificate/.test(await host(2).docker("info", "--format", "{{.Swarm.Error}}")),
        10_000,
        "h2 knows that it was removed",
      );
      assert.equal(await rowOf("h2"), undefined);
    });
  });

  describe("several managers", () => {
    it("do without one: another leads, a worker finds another, and who comes back is one of them", async () => {
      await docker(1, "swarm init --dispatcher-heartbeat 1s");
      const secret = await token("manager");
      await joinWith(2, secret);
      await joinWith(3, await token("worker"));
      await docker(1, "node promote h3");
      await until(async () => (await managersOf()) === 3, 20_000, "three managers");
      await crash(1);
      await until(
        async () => (await nodes(2).catch(() => [])).some(({ name, manager }) => name !== "h1" && manager === "Leader"),
        15_000,
        "another leads",
      );
      await docker(2, "node update --label-add a=b h3");
      await until(async () => (await rowOf("h1", 3))?.manager === "Unreachable", 15_000, "h1 is unreachable");
      for (const name of ["h2", "h3"]) assert.equal(await isReady(name, 2), true);
      await host(1).start();
      await until(async () => (await managersOf(1)) === 3, 20_000, "h1 is back");
      assert.equal((await nodes(1)).filter(({ manager }) => manager === "Leader").length, 1);
    });

    const leaderOf = async (number: number) =>
      (await nodes(number).catch(() => [])).filter(({ manager }) => manager === "Leader").map(({ name }) => name);
    /** Exactly one of them leads, and all say the same. */
    const agree = async () => {
      const said = await Promise.all([1, 2, 3].map(leaderOf));
      return said.every((list) => list.length === 1 && list[0] === said[0]?.[0]);
    };
    const troubles: Record<string, { begin: () => Promise<unknown>; end: () => Promise<unknown> }> = {
      "is cut off": { begin: () => host(1).cut(), end: () => host(1).heal() },
      "is not heard any more": { begin: () => host(1).cut("from"), end: () => host(1).heal() },
      "sleeps past its lease": { begin: async () => signal(1, "SIGSTOP"), end: async () => signal(1, "SIGCONT") },
      "has no room on its disk": {
        begin: () => host(1).try("dd", "if=/dev/zero", `of=${swarmDirectory(host(1))}/full`, "bs=64k"),
        end: () => host(1).run("rm", `${swarmDirectory(host(1))}/full`),
      },
    };
    for (const [what, { begin, end }] of Object.entries(troubles))
      it(`do without the leader when it ${what}; afterwards one leads, and nothing is lost`, async () => {
        await host(1).run("mkdir", "-p", swarmDirectory(host(1)));
        await host(1).run("mount", "-t", "tmpfs", "-o", "size=200m", "swarm", swarmDirectory(host(1)));
        try {
          await threeManagers("--dispatcher-heartbeat 1s");
          await begin();
          // etcd has room set aside for its log: a full disk alone does not end it.
          const isGone = async () =>
            (await leaderOf(2)).some((name) => name !== "h1") || (await rowOf("h1", 2))?.manager === "Unreachable";
          if (what !== "has no room on its disk") await until(isGone, 25_000, "the others do without it");
          await docker(2, "node update --label-add seen=yes h2");
          await end();
          await until(agree, 30_000, "one leads, and all agree");
          const labels = await host(1).docker("node", "inspect", "-f", "{{json .Spec.Labels}}", "h2");
          assert.equal(labels, '{"seen":"yes"}');
          await docker(1, "node update --label-add after=all h2");
        } finally {
          await end().catch(() => {});
          for (const number of [1, 2, 3]) await host(number).tryDocker("swarm", "leave", "--force");
          await host(1).run("umount", "-l", swarmDirectory(host(1)));
        }
      });

    it("say that there is no majority, go on reading, and one of them begins anew", async () => {
      await threeManagers("--dispatcher-heartbeat 1s");
      for (const number of [2, 3]) await crash(number);
      await until(
        async () =>
          /The swarm does not have a leader/.test(
            (await host(1).tryDocker("node", "update", "--label-add", "a=b", "h1")).stderr,
          ),
        20_000,
        "no majority",
      );
      assert.equal((await nodes(1)).length, 3);
      await docker(1, "swarm init --force-new-cluster");
      await docker(1, "node update --label-add a=b h1");
      assert.deepEqual(
        (await nodes(1)).map(({ name, manager }) => [name, manager]),
        [
          ["h1", "Leader"],
          ["h2", ""],
          ["h3", ""],
        ],
      );
    });

    it("are demoted and promoted again, and leave", async () => {
      await threeManagers();
      await docker(1, "node demote h2");
      await until(() => etcds(2).length === 0, 15_000, "etcd ends on h2");
      await until(async () => (await rowOf("h2"))?.manager === "", 5000, "h2 is no manager");
      assert.equal(await isReady("h2"), true);
      assert.match(await refused(2, "node ls"), /Worker nodes can't be used/);
      await docker(1, "node promote h2");
      await until(async () => (await managersOf(1)) === 3, 20_000, "h2 is a manager");
      assert.match(
        await refused(3, "swarm leave"),
        /You are attempting to leave the swarm on a node that is participating as a manager/,
      );
      await docker(3, "swarm leave --force");
      await until(async () => (await rowOf("h3"))?.status === "Down", 5000, "h3 is down");
      assert.equal((await rowOf("h3"))?.manager, "");
      await docker(1, "node update --label-add still=writes h2");
    });
  });

  describe("an etcd that the user runs", () => {
    it("has the swarm's rows, is left as it was, and outlives the managers", async () => {
      const data = join(host(1).directory, "their-etcd");
      const etcd = ["etcd", "--data-dir", data, "--log-level", "error"];
      const urls = [
        "--listen-client-urls",
        "http://127.0.0.1:2379",
        "--advertise-client-urls",
        "http://127.0.0.1:2379",
      ];
      const peers = ["--listen-peer-urls", "http://127.0.0.1:2380"];
      const [file = "", ...args] = host(1).enter(...etcd, ...urls, ...peers);
      const theirs = spawn(file, args, { stdio: "ignore" });
      try {
        await host(1).kill();
        await host(1).start({ args: ["--external-etcd", "http://127.0.0.1:2379"] });
        await docker(1, "swarm init");
        await joinWith(2, await token("worker"));
        assert.deepEqual(
          (await nodes()).map(({ status }) => status),
          ["Ready", "Ready"],
        );
        assert.equal(etcds(1).length, 1, "no etcd of ours beside theirs");
        await docker(1, "swarm leave --force");
        await host(1).kill();
        await host(1).start();
      } finally {
        await kill(etcds(1));
        theirs.kill("SIGKILL");
        rmSync(data, { recursive: true });
      }
    });
  });

  describe("a backup", () => {
    it("begins the swarm again on another host: tokens, labels and workers are as they were", async () => {
      await docker(1, "swarm init --task-history-limit 9");
      const secret = await token("worker");
      await joinWith(2, secret);
      await docker(1, "node update --label-add rack=r1 h2");
      const file = join(host(1).directory, "backup.json");
      const tombolo = (number: number, ...args: string[]) =>
        attempt([
          join(import.meta.dirname, "../../bin/tombolo"),
          "-H",
          `unix://${host(number).socket}`,
          "swarm",
          ...args,
        ]);
      assert.equal((await tombolo(1, "backup", file)).status, 0);
      assert.equal(statSync(file).mode & 0o777, 0o600);
      assert.match((await tombolo(1, "backup", file)).stderr, /EEXIST/);
      assert.match((await tombolo(1, "restore", file)).stderr, /already part of a swarm/);
      await crash(1);
      const restored = await tombolo(3, "restore", file);
      assert.equal(restored.status, 0, restored.stderr);
      assert.deepEqual(
        (await nodes(3)).map(({ name, status, manager }) => [name, status, manager]),
        [
          ["h1", "Down", ""],
          ["h2", "Down", ""],
          ["h3", "Ready", "Leader"],
        ],
      );
      assert.equal(await token("worker", 3), secret);
      assert.equal(await host(3).docker("node", "inspect", "-f", "{{json .Spec.Labels}}", "h2"), '{"rack":"r1"}');
      writeFileSync(file, "{}");
      assert.match((await tombolo(1, "restore", file)).stderr, /cannot connect|is not a backup of a swarm/);
      rmSync(file);
    });
  });

  describe("secrets", () => {
    it("the root CA is rotated, node by node, while the swarm goes on", async () => {
      await docker(1, "swarm init");
      await joinWith(2, await token("worker"));
      const before = await docker(1, "swarm ca");
      await docker(1, "swarm ca --rotate -q");
      const after = await docker(1, "swarm ca");
      assert.notEqual(after, before);
      assert.match(after, /BEGIN CERTIFICATE/);
      assert.equal(await host(1).docker("info", "--format", "{{.Swarm.Cluster.RootRotationInProgress}}"), "false");
      assert.deepEqual(
        (await nodes()).map(({ status }) => status),
        ["Ready", "Ready"],
      );
      await joinWith(3, await token("worker"));
      for (const number of [1, 2]) {
        await host(number).kill();
        await host(number).start();
      }
      await until(
        async () => (await isReady("h1")) && (await isReady("h2")) && (await isReady("h3")),
        15_000,
        "all are ready",
      );
    });

    it("a manager's keys are sealed when the swarm is autolocked, and it waits for the unlock key", async () => {
      const said = await docker(1, "swarm init --autolock");
      const key = /SWMKEY-1-[\w+/]{43}/.exec(said)?.[0] ?? "";
      assert.equal(await docker(1, "swarm unlock-key -q"), key);
      const files = () => {
        const folder = join(swarmDirectory(host(1)), "node/current");
        return readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"));
      };
      for (const text of files()) assert.doesNotMatch(text, /PRIVATE KEY|DATA KEY/);
      const found = await attempt(["grep", "-rlaE", "PRIVATE KEY|SWMKEY|heartbeatPeriod", host(1).directory + "/data"]);
      assert.equal(found.stdout, "", "in clear on the disk");
      await crash(1);
      await host(1).start();
      assert.equal(await stateOf(1), "locked");
      assert.match(await refused(1, "node ls"), /Swarm is encrypted and needs to be unlocked before it can be used/);
      const unlock = (text: string) => post(1, "/swarm/unlock", { UnlockKey: text });
      assert.equal((await unlock(`SWMKEY-1-${"A".repeat(43)}`)).status, 401);
      assert.equal((await unlock(key)).status, 200);
      await until(() => isReady("h1"), 10_000, "ready");
      await docker(1, "swarm update --autolock=false");
      await until(() => files().some((text) => text.includes("PRIVATE KEY")), 3000, "keys in clear again");
      assert.equal((await unlock(key)).status, 409);
    });
  });

  describe("kill -9", () => {
    const after = async (number: number, place: string, call: () => Promise<unknown>) => {
      await host(number).kill();
      await host(number).start({ env: { TOMBOLO_FAILPOINT: `${place}=kill` } });
      await call().catch(() => {});
      await until(() => host(number).state() !== "running", 15_000, `died at ${place}`);
      await host(number).start();
    };

    for (const place of ["begin", "before-etcd", "after-etcd", "before-files", "after-files"])
      it(`in swarm init, ${place}: the same command then succeeds, or says that it has`, async () => {
        await after(1, `swarm.init.${place}`, () => docker(1, "swarm init"));
        if (place === "after-files") assert.match(await refused(1, "swarm init"), /already part of a swarm/);
        else await docker(1, "swarm init");
        await until(() => isReady("h1"), 10_000, "ready");
        assert.equal((await nodes()).length, 1);
      });

    for (const place of ["before-files", "after-files"])
      it(`in swarm join, ${place}: the same command then succeeds, and makes no second node`, async () => {
        await docker(1, "swarm init");
        const secret = await token("worker");
        await after(2, `swarm.join.${place}`, () => joinWith(2, secret));
        if (place === "before-files") await joinWith(2, secret);
        await until(() => isReady("h2"), 10_000, "ready");
        assert.equal((await nodes()).length, 2);
      });

    for (const place of ["before-etcd", "after-etcd", "before-files"])
      it(`while a node becomes a manager, ${place}: it becomes one`, async () => {
        await docker(1, "swarm init");
        const secret = await token("manager");
        await after(2, `swarm.promote.${place}`, () => joinWith(2, secret));
        await until(async () => (await managersOf(1)) === 2, 20_000, "two managers");
        await until(() => isReady("h1", 2), 20_000, "h2 can be asked");
        await docker(2, "node update --label-add a=b h1");
      });

    for (const place of ["before-files", "after-files"])
      it(`in swarm leave, ${place}: the same command then succeeds`, async () => {
        await docker(1, "swarm init");
        await after(1, `swarm.leave.${place}`, () => docker(1, "swarm leave --force"));
        if (place === "before-files") await docker(1, "swarm leave --force");
        assert.equal(await stateOf(1), "inactive");
      });
  });
});
