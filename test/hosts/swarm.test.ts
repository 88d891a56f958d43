import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { attempt } from "../../src/lab/command.ts";
import { kill } from "../../src/lab/processes.ts";
import { swarmDirectory, useSwarm } from "../support/swarm.ts";
import { until } from "../support/until.ts";

describe("a swarm of the lab's hosts", () => {
  const {
    host,
    docker,
    refused,
    nodes,
    rowOf,
    isReady,
    stateOf,
    token,
    address,
    joinWith,
    post,
    tombolo,
    crash,
    etcds,
  } = useSwarm();

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
      await until(async () => (await rowOf("h2"))?.status === "Down", "h2 is down");
      await docker(1, "node rm h2");
      assert.equal(await rowOf("h2"), undefined);
    });

    it("listens at one port and tells another, as the user says", async () => {
      await docker(1, "swarm init --listen-addr eth0:3377 --advertise-addr eth0:4000");
      await until(() => isReady("h1"), "ready");
      assert.match(await docker(1, "swarm join-token worker"), /192\.0\.2\.1:4000$/m);
      await docker(2, `swarm join --token ${await token("worker")} ${host(1).address}:3377`);
      await until(() => isReady("h2"), "h2 is ready");
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
        [`swarm join --token ${secret} 192.0.2.1:99999`, /invalid remote address 192\.0\.2\.1:99999/],
        [
          `swarm join --token ${other} ${address(1)}`,
          /InvalidArgument desc = A valid join token is necessary to join this cluster/,
        ],
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
      assert.match(stale.answer, /update out of sequence/);
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
      await until(async () => (await rowOf("h2"))?.status === "Down", "h2 is down");
      await host(2).heal();
      await until(() => isReady("h2"), "h2 is ready");
      for (const number of [1, 2]) {
        await host(number).kill();
        await host(number).start();
        await until(async () => (await isReady("h1")) && (await isReady("h2")), `ready after h${number} came back`);
      }
      await crash(1);
      await host(1).start();
      await until(async () => (await isReady("h1")) && (await isReady("h2")), "ready after a power cut");
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
      const flags = () => ["--since", since, "--until", String(Date.now() / 1000 + 0.5), "--filter", "type=node"];
      for (const line of [
        'swarm create {"name":"h2"}',
        'swarm update {"availability.new":"pause","availability.old":"active","name":"h2"}',
        'swarm update {"name":"h2","state.new":"down","state.old":"ready"}',
        'swarm remove {"name":"h2"}',
      ])
        await until(
          async () => (await host(1).docker("events", ...flags(), "--format", format)).split("\n").includes(line),
          line,
        );
    });

    it("are removed by force, and then nobody", async () => {
      await docker(1, "swarm init");
      await joinWith(2, await token("worker"));
      await docker(1, "node rm --force h2");
      await until(
        async () =>
          /removed from the swarm|ertificate/.test(await host(2).docker("info", "--format", "{{.Swarm.Error}}")),
        "h2 knows that it was removed",
      );
      assert.equal(await rowOf("h2"), undefined);
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
        const listens = async () => (await host(1).try("busybox", "nc", "127.0.0.1", "2379")).status === 0;
        await until(listens, "their etcd listens");
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
      await until(async () => (await isReady("h1")) && (await isReady("h2")) && (await isReady("h3")), "all are ready");
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
      assert.match(
        await refused(1, "swarm leave"),
        /Swarm is encrypted and locked\. Please unlock it first or use `--force`/,
      );
      const unlock = (text: string) => post(1, "/swarm/unlock", { UnlockKey: text });
      assert.equal((await unlock(`SWMKEY-1-${"A".repeat(43)}`)).status, 401);
      assert.equal((await unlock(key)).status, 200);
      await until(() => isReady("h1"), "ready");
      await docker(1, "swarm update --autolock=false");
      await until(() => files().some((text) => text.includes("PRIVATE KEY")), "keys in clear again");
      assert.equal((await unlock(key)).status, 409);
    });
  });
});
