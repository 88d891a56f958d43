import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { attempt, run } from "../../src/lab/command.ts";
import { until } from "../support/swarm.ts";
import { assertNoneFailed, useWebSwarm } from "../support/web-swarm.ts";

const moment = 1000; // milliseconds in which every node knows of a task
const count = 6;
const fiveDays = 5 * 24 * 3600; // seconds
const ingress = "--net=/run/tombolo/netns/ingress_sbox";

describe("services under faults", () => {
  const web = useWebSwarm();
  const { host, docker } = web;

  const runs = (wanted: number) =>
    until(
      async () => (await docker(1, "service ls --format {{.Replicas}}").catch(() => "")) === `${wanted}/${wanted}`,
      20_000,
      `${wanted} tasks`,
    );

  it("keep connections while daemons are away, and are called by name while they are healthy", async () => {
    await docker(1, "swarm init");
    const secret = await web.token("worker");
    for (const number of [2, 3]) await web.joinWith(number, secret);
    await web.serve(count, "");
    await restartDaemons();
    await hearOfHealth();
    await web.clear();
  });

  /** The worker with the client, the one where requests come in, and the only manager. */
  async function restartDaemons(): Promise<void> {
    const flows = [
      await web.flowVirtual(2, { protocol: "tcp", patience: 5000 }),
      await web.flowVirtual(2, { protocol: "udp", patience: 5000 }),
      await web.flowMesh(3, { protocol: "tcp", patience: 5000 }),
      await web.flowMesh(3, { protocol: "udp", patience: 5000 }),
    ];
    const assertAlive = async (when: string) => {
      for (const [at, { flow, first }] of flows.entries())
        assert.equal(await flow.say("there"), at % 2 === 0 ? "there" : first, `flow ${at}, ${when}`);
    };
    const idle = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
    for (const enter of [await web.inside(2, "asks"), host(3).enter("nsenter", ingress)])
      assert.equal(await run([...enter, "cat", idle]), String(fiveDays), "an idle connection is kept");
    const loads = await web.askBoth(2, 200);
    const virtual = await web.virtual("web");
    for (const number of [2, 3, 1]) {
      await web.crash(number);
      await assertAlive(`h${number} is down`);
      if (number === 1)
        for (const one of [2, 3]) {
          assert.equal((await web.named(one, "tasks.web")).length, count, `names on h${one}`);
          assert.deepEqual(await web.named(one, "web"), [virtual]);
        }
      await host(number).start();
      await assertAlive(`h${number} is back`);
    }
    await assertNoneFailed(loads);
    await runs(count);
    for (const { flow } of flows) flow.end();
  }

  /** A task has names, and gets connections, while it is healthy. */
  async function hearOfHealth(): Promise<void> {
    const check = "--health-cmd|test -e /well|--health-interval|200ms|--health-start-period|1h|--health-retries|1";
    const place = "--constraint|node.hostname==h2|--network|shop|--restart-condition|none|--stop-signal|SIGKILL";
    await host(1).docker(
      ..."service create -d -q --no-resolve-image --name sick".split(" "),
      ...`${check}|--health-start-interval|200ms|${place}|busybox|httpd|-f|-h|/etc`.split("|"),
    );
    const found = () => docker(2, "ps -q -f label=com.docker.swarm.service.name=sick");
    await until(async () => (await found()) !== "", 10_000, "its container");
    const task = await found();
    const named = () => web.named(3, "tasks.sick");
    await sleep(moment);
    assert.deepEqual(await named(), []);
    const url = `http://${await web.virtual("sick")}/group`;
    const ask = async () => (await attempt([...(await web.inside(3, "asks")), "wget", "-qO-", "-T", "2", url])).status;
    assert.notEqual(await ask(), 0);
    await docker(2, `exec ${task} touch /well`);
    await until(async () => (await named()).length === 1, 5000, "it has a name");
    assert.equal(await ask(), 0);
    await docker(2, `exec ${task} rm /well`);
    await until(async () => (await named()).length === 0, 5000, "it has none any more");
    await docker(1, "service rm sick");
  }
});
