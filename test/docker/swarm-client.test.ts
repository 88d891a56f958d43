import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { dockers } from "../support/daemon.ts";
import type { ClusterSpec } from "../../src/model/cluster.ts";
import { detail as system } from "../../src/api/system/testing.ts";
import { serve, type TestServer } from "../../src/api/testing.ts";
import { cluster, detail, leader, playSwarm, standing, worker } from "../../src/api/swarm/testing.ts";

const run = promisify(execFile);

/** A swarm of one manager and one worker that is played, and what was asked of it. */
function play() {
  const { asked, note, swarm } = playSwarm({ init: leader.node.id, unlockKey: "SWMKEY-1-key" });
  const nodes = {
    list: () => [leader, worker],
    inspect: (reference: string) => [leader, worker].find(({ node }) => node.id === reference) ?? leader,
    update: note("node update", undefined),
    remove: note("node rm", undefined),
  };
  return {
    asked,
    engine: {
      swarm: { ...swarm, standing: () => standing },
      nodes,
      services: { list: () => [] },
      tasks: { list: () => [] },
      system: { info: async () => system },
    },
  };
}

/** Runs the client. @returns what it printed, without the last newline */
async function docker(client: string, server: TestServer, ...args: readonly string[]): Promise<string> {
  const env = { ...process.env, DOCKER_HOST: `unix://${server.path}`, DOCKER_CONFIG: `${server.path}.config` };
  return (await run(client, args, { env })).stdout.trimEnd();
}
const words = (text: string) => text.replace(/[ \t]+/g, " ");

for (const client of dockers) {
  test(`swarm init, join-token, join and unlock-key of ${client}`, async () => {
    const { engine, asked } = play();
    await using server = await serve(engine);
    const command = (...args: string[]) => docker(client, server, ...args);
    const printed = await command("swarm", "init", "--autolock", "--task-history-limit", "0", "--cert-expiry", "9000h");
    assert.match(printed, /^Swarm initialized: current node \(leader0000000000000000000\) is now a manager\./);
    assert.match(printed, /docker swarm join --token SWMTKN-1-dd-worker 192\.0\.2\.1:2377/);
    assert.match(printed, /SWMKEY-1-key/);
    const spec = asked.splice(0, 1).map(({ what }) => (what as { spec: ClusterSpec }).spec)[0] ?? cluster.spec;
    assert.deepEqual([spec.autolock, spec.taskHistoryLimit], [true, 0]);
    assert.equal(spec.certificates.nodeExpiry, 9000 * 3_600_000);
    assert.equal(await command("swarm", "join-token", "-q", "worker"), "SWMTKN-1-dd-worker");
    assert.match(await command("swarm", "join-token", "manager"), /join --token SWMTKN-1-dd-manager 192\.0\.2\.1:2377/);
    assert.equal(await command("swarm", "unlock-key", "-q"), "SWMKEY-1-key");
    const joined = await command("swarm", "join", "192.0.2.1", "--token", "SWMTKN-1-dd-worker");
    assert.equal(joined, "This node joined a swarm as a manager.");
    const addressing = {
      listenAddress: "0.0.0.0:2377",
      advertiseAddress: "",
      dataPathAddress: "",
      availability: "active",
    };
    const wish = { ...addressing, remotes: ["192.0.2.1:2377"], token: "SWMTKN-1-dd-worker" };
    assert.deepEqual(asked, [{ verb: "join", what: wish }]);
  });

  test(`swarm update, ca and leave of ${client} change what they name, and nothing else`, async () => {
    const { engine, asked } = play();
    await using server = await serve(engine);
    const command = (...args: string[]) => docker(client, server, ...args);
    const none = { worker: false, manager: false, unlockKey: false };
    await command("swarm", "update", "--dispatcher-heartbeat", "20s");
    await command("swarm", "join-token", "--rotate", "-q", "worker");
    await command("swarm", "ca", "--rotate", "-d");
    await command("swarm", "leave", "--force");
    assert.match(await command("swarm", "ca"), /^-----BEGIN CERTIFICATE-----/);
    const { spec } = cluster;
    const rotated = { ...spec, certificates: { ...spec.certificates, forceRotate: 1 } };
    assert.deepEqual(asked, [
      { verb: "update", what: { version: 10, spec: { ...spec, heartbeatPeriod: 20_000 }, rotate: none } },
      { verb: "update", what: { version: 10, spec, rotate: { ...none, worker: true } } },
      { verb: "update", what: { version: 10, spec: rotated, rotate: none } },
      { verb: "leave", what: true },
    ]);
  });

  test(`node ls, inspect, update and rm of ${client}`, async () => {
    const { engine, asked } = play();
    await using server = await serve(engine);
    const command = (...args: string[]) => docker(client, server, ...args);
    const [head = "", ...lines] = words(await command("node", "ls")).split("\n");
    assert.equal(head.trim(), "ID HOSTNAME STATUS AVAILABILITY MANAGER STATUS ENGINE VERSION");
    assert.deepEqual(
      lines.map((line) => line.trim()),
      ["leader0000000000000000000 * h1 Ready Active Leader 28.0.0", "worker0000000000000000000 h2 Down Drain 28.0.0"],
    );
    assert.equal(await command("node", "ls", "--format", "{{.TLSStatus}}"), "Ready\nReady");
    const pretty = words(await command("node", "inspect", "--pretty", "self"));
    for (const line of [
      "ID: leader0000000000000000000",
      " - rack=r1",
      "Hostname: h1",
      "Joined at: 2023-11-14 22:13:20 +0000 utc",
      " State: Ready",
      " Raft Status: Reachable",
      " Leader: Yes",
      " Architecture: x86_64",
      " CPUs: 2",
      "Engine Version: 28.0.0",
    ])
      assert.ok(pretty.includes(`${line}\n`), `${line} in ${pretty}`);
    assert.match(pretty, /Issuer Public Key: \S/);
    await command("node", "update", "--availability", "pause", "--label-add", "a=b", leader.node.id);
    await command("node", "promote", worker.node.id);
    await command("node", "rm", "-f", "h2");
    const labels = { rack: "r1", a: "b" };
    assert.deepEqual(asked, [
      { verb: "node update", what: [leader.node.id, { version: 9, role: "manager", availability: "pause", labels }] },
      {
        verb: "node update",
        what: [worker.node.id, { version: 1, role: "manager", availability: "drain", labels: {} }],
      },
      { verb: "node rm", what: ["h2", true] },
    ]);
    assert.match(await command("node", "ps"), /^ID +NAME/);
    assert.match(await command("service", "ls"), /^ID +NAME/);
  });

  test(`info of ${client}`, async () => {
    const { engine } = play();
    await using server = await serve(engine);
    const info = await docker(client, server, "info");
    for (const line of [
      " Swarm: active",
      "  NodeID: leader0000000000000000000",
      "  Is Manager: true",
      `  ClusterID: ${cluster.id}`,
      "  Managers: 1",
      "  Nodes: 2",
      "  Default Address Pool: 10.0.0.0/8  ",
      "  SubnetSize: 24",
      "  Data Path Port: 4789",
      "   Task History Retention Limit: 5",
      "   Snapshot Interval: 10000",
      "   Heartbeat Period: 5 seconds",
      "   Expiry Duration: 3 months",
      "  Autolock Managers: false",
      "  Root Rotation In Progress: false",
      "  Node Address: 192.0.2.1",
      "   192.0.2.1:2377",
    ])
      assert.ok(info.includes(`\n${line}\n`), `${line} in ${info}`);
    const control = { ...standing.control, cluster: detail(), nodes: 2, managers: 2 };
    const swarm = { ...engine.swarm, standing: () => ({ ...standing, control }) };
    await using other = await serve({ ...engine, swarm });
    const env = { ...process.env, DOCKER_HOST: `unix://${other.path}`, DOCKER_CONFIG: `${other.path}.config` };
    const { stderr, stdout } = await run(client, ["info"], { env });
    assert.match(stderr + stdout, /WARNING: Running Swarm in a two-manager configuration/);
  });
}
