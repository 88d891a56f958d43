import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { attempt, run } from "../../src/lab/command.ts";
import type { Flow } from "../support/flow.ts";
import { calmTime, stalled, until } from "../support/until.ts";
import { assertNoneFailed, useWebSwarm } from "../support/web-swarm.ts";

const all = [1, 2, 3] as const;
const moment = 1000; // milliseconds in which every node knows of a task's end
const heartbeat = 1000; // milliseconds
/** Three heartbeats, and one in which the last one may have come. */
const detection = 4 * heartbeat;
const count = 6;
const fiveDays = 5 * 24 * 3600; // seconds
const ingress = "--net=/run/tombolo/netns/ingress_sbox";
const ended = /^(ECONNRESET|EPIPE|end)$/;

describe("services under faults", () => {
  const web = useWebSwarm();
  const { host, docker, rowOf } = web;

  /** A host that has one of the service's containers, by the name that its task gives. */
  async function hostOf(task: string): Promise<number> {
    for (const number of all) if ((await docker(number, `ps -q -f id=${task}`)) !== "") return number;
    return assert.fail(`${task} runs nowhere`);
  }
  const addressOf = (number: number, task: string) =>
    host(number).docker("inspect", "-f", "{{.NetworkSettings.Networks.shop.IPAddress}}", task);
  const runs = (wanted: number) =>
    until(
      async () => (await docker(1, "service ls --format {{.Replicas}}").catch(() => "")) === `${wanted}/${wanted}`,
      `${wanted} tasks`,
    );

  it("lose no request while tasks are replaced, the leader is killed, and no manager is left", async (test) => {
    await web.threeManagers();
    await web.serve(10, "");
    const first = await web.askBoth(3, 500);
    await web.roll({ order: "stop-first", parallelism: 5 });
    await web.roll({ order: "stop-first", parallelism: 5, isRollback: true });
    await assertNoneFailed(first);

    const second = await web.askBoth(3, 500);
    const leader = (await web.nodes(3)).find(({ manager }) => manager === "Leader")?.name;
    const number = Number(leader?.slice(1));
    await web.crash(number);
    await until(
      async () =>
        (await web.nodes((number % 3) + 1).catch(() => [])).some(
          (row) => row.manager === "Leader" && row.name !== leader,
        ),
      "another leader",
    );
    for (const other of all) if (other !== number) await web.crash(other);
    await sleep(3000);
    for (const one of all) await host(one).start();
    await until(async () => (await web.managersOf()) === 3, "three managers");
    await assertNoneFailed(second);
    await runs(10);
    test.diagnostic(`the leader was ${leader}`);
    await web.clear();
  });

  it("keep connections while daemons restart, and fail for moments with tasks and hosts", async () => {
    await docker(1, "swarm init");
    const secret = await web.token("worker");
    for (const number of [2, 3]) await web.joinWith(number, secret);
    await web.serve(count, "--restart-delay 0s");
    await restartDaemons();
    await docker(1, `swarm update --dispatcher-heartbeat ${heartbeat}ms`);
    await hearOfHealth();
    await loseTasks();
    await loseHost();
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
    await until(async () => (await found()) !== "", "its container");
    const task = await found();
    const named = () => web.named(3, "tasks.sick");
    await sleep(moment);
    assert.deepEqual(await named(), []);
    const url = `http://${await web.virtual("sick")}/group`;
    const ask = async () => (await attempt([...(await web.inside(3, "asks")), "wget", "-qO-", "-T", "2", url])).status;
    assert.notEqual(await ask(), 0);
    await docker(2, `exec ${task} touch /well`);
    await until(async () => (await named()).length === 1, "it has a name");
    assert.equal(await ask(), 0);
    await docker(2, `exec ${task} rm /well`);
    await until(async () => (await named()).length === 0, "it has none any more");
    await docker(1, "service rm sick");
  }
  /** Its process is killed, a container removed by force, another one taken off its network. */
  async function loseTasks(): Promise<void> {
    const ways = [
      async (number: number, task: string) => {
        const pid = await docker(number, `inspect -f {{.State.Pid}} ${task}`);
        return () => host(number).run("kill", "-9", pid);
      },
      async (number: number, task: string) => () => docker(number, `rm -f ${task}`),
      async (number: number, task: string) => () => docker(number, `network disconnect shop ${task}`),
    ];
    for (const way of ways) {
      const loads = await web.askBoth(1, 200);
      const flows = await flowsToOne();
      const number = await hostOf(flows.task);
      const address = await addressOf(number, flows.task);
      const lose = await way(number, flows.task);
      const [from, within] = [Date.now(), deadline(moment)];
      await lose();
      await until(async () => !(await web.named(1, "tasks.web")).includes(address), "no name leads to it", moment);
      await moves(flows, within);
      const to = within.wall();
      await runs(count);
      await assertNoneFailed(loads, { from: from - 500, to });
    }
  }

  /** A time from now in which something is to be so, if the machine is calm. */
  interface Deadline {
    /** Milliseconds. */
    left(): number;
    /** When it is over, as far as the machine has been calm until now: milliseconds since 1970. */
    wall(): number;
  }
  function deadline(milliseconds: number): Deadline {
    const [calm, wall, lost] = [calmTime(), Date.now(), stalled()];
    return {
      left: () => calm + milliseconds - calmTime(),
      wall: () => wall + milliseconds + stalled() - lost,
    };
  }
  interface Flows {
    readonly task: string;
    readonly streams: readonly Flow[];
    readonly datagrams: readonly Flow[];
  }
  /** Streams and datagrams that one task has, by the virtual address and by the mesh. @param isRight of the task's host */
  async function flowsToOne(isRight = (_: number) => true): Promise<Flows> {
    const open = [
      () => web.flowVirtual(1, { protocol: "tcp" }),
      () => web.flowMesh(2, { protocol: "tcp" }),
      () => web.flowVirtual(1, { protocol: "udp", patience: 100 }),
      () => web.flowMesh(2, { protocol: "udp", patience: 100 }),
    ];
    let task: string | undefined;
    const found: Flow[] = [];
    for (const one of open)
      for (let tries = 0; ; tries += 1) {
        assert.ok(tries < 50, `no flow to ${task}`);
        const { flow, first } = await one();
        if (task === undefined && first !== "silence" && isRight(await hostOf(first))) task = first;
        if (first === task) {
          found.push(flow);
          break;
        }
        flow.end();
      }
    return { task: task ?? "", streams: found.slice(0, 2), datagrams: found.slice(2) };
  }
  /** Streams are reset, datagrams go to somebody else, within a moment. */
  async function moves({ task, streams, datagrams }: Flows, { left }: Deadline): Promise<void> {
    for (const [at, flow] of datagrams.entries())
      await until(
        async () => /^[0-9a-f]{12}$/.test(await flow.say("hello")) && (await flow.say("hello")) !== task,
        `datagrams ${at} go to another task`,
        left(),
      );
    for (const [at, flow] of streams.entries()) assert.match(await flow.say("hello"), ended, `stream ${at}`);
    for (const flow of [...streams, ...datagrams]) flow.end();
  }

  async function loseHost(): Promise<void> {
    const flows = await flowsToOne((number) => number === 3);
    const loads = await web.askBoth(1, 200, [1, 2]);
    const [from, within] = [Date.now(), deadline(detection + moment)];
    await host(3).cut();
    await web.crash(3);
    await moves(flows, within);
    const to = within.wall();
    await until(async () => (await rowOf("h3"))?.status === "Down", "it is down");
    await sleep(2000);
    const replicas = async () => docker(1, "service ls -f name=web --format {{.Replicas}}");
    await until(async () => (await replicas()) === `${count}/${count}`, "its tasks are not counted");
    await assertNoneFailed(loads, { from: from - 500, to });
    await host(3).heal();
    await host(3).start();
    await until(() => web.isReady("h3"), "it is back");
    await runs(count);
  }
});
