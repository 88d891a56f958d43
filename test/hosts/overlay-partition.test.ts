import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertAgreement } from "../support/ledger.ts";
import { useSwarm } from "../support/swarm.ts";
import { until } from "../support/until.ts";

describe("a network of many hosts while no manager answers", () => {
  const { host, docker, refused, oneManager, empty, crash } = useSwarm();
  const inspect = (format: string, name = "b") => host(2).docker("inspect", "-f", format, name);
  const address = () => inspect("{{.NetworkSettings.Networks.net.IPAddress}}");
  const status = () => inspect("{{.State.Status}}");
  const pings = async (number: number, from: string, to: string) =>
    (await host(number).tryDocker("exec", from, "ping", "-c1", "-W2", to)).status === 0;
  /** Other hosts hear of a container a moment after the call. */
  const reaches = (number: number, from: string, to: string, what = `${from} reaches ${to}`) =>
    until(() => pings(number, from, to), what);
  const run = (number: number, name: string, ...flags: string[]) =>
    host(number).docker("run", "-d", "--name", name, "--network", "net", ...flags, "busybox", "sleep", "1d");

  beforeEach(async () => {
    await oneManager("--dispatcher-heartbeat 1s");
    await docker(1, "network create -d overlay --attachable --subnet 10.20.0.0/16 net");
  });
  afterEach(async () => {
    await Promise.all([1, 2, 3].map(empty));
  });
  /** The manager comes back: what the hosts have and what the cluster has are the same. */
  async function heal(): Promise<void> {
    await host(1).heal();
    if (host(1).state() !== "running") await host(1).start();
    await assertAgreement([1, 2, 3].map(host), host(1));
  }

  for (const [what, begin] of [
    ["is gone", () => crash(1)],
    ["is cut off", () => host(1).cut()],
  ] as const)
    it(`it ${what}: what is under way between other hosts goes on, and who would come onto the network is told why not`, async () => {
      await run(2, "b");
      await run(3, "c");
      await reaches(2, "b", "c");
      await host(3).docker("exec", "-d", "c", "sh", "-c", "sleep 60 | nc -l -p 9000 > /tmp/got");
      const lines = "for i in $(seq 80); do echo $i; sleep 0.1; done | nc c 9000";
      const flow = host(2).docker("exec", "b", "sh", "-c", lines);
      const ping = host(2).docker("exec", "b", "ping", "-c8", "-W20", "c");
      await sleep(1000);
      await begin();
      assert.match(await refused(2, "run --rm --network net busybox true"), /no manager answers: 192\.0\.2\.1:2377: /);
      await docker(3, "run -d --name late busybox sleep 1d");
      assert.match(await refused(3, "network connect net late"), /no manager answers: 192\.0\.2\.1:2377: /);
      await flow;
      assert.match(await ping, /8 packets transmitted, 8 packets received/);
      const got = await host(3).docker("exec", "c", "cat", "/tmp/got");
      assert.deepEqual(
        got.split("\n"),
        Array.from({ length: 80 }, (_, i) => String(i + 1)),
      );
      await heal();
      await docker(3, "network connect net late");
      await until(() => pings(3, "late", "b"), "the other host has heard of it, too");
    });

  it("a container that is restarted, by a user or by its policy, runs again with what it had", async () => {
    await run(3, "c");
    await run(2, "b", "--restart", "always");
    const had = await address();
    await crash(1);
    const isBack = async (how: string) => {
      await until(async () => (await status()) === "running", `${how}: it runs`);
      assert.equal(await address(), had, how);
      await reaches(3, "c", "b", how);
      await reaches(2, "b", "c", how);
    };
    await docker(2, "restart -t 0 b");
    await isBack("docker restart");
    await host(2).run("kill", "-9", await inspect("{{.State.Pid}}"));
    await until(async () => (await inspect("{{.RestartCount}}")) === "1", "its policy counts");
    await isBack("its process was killed");
    const pid = await inspect("{{.State.Pid}}");
    await host(2).kill();
    await host(2).run("kill", "-9", pid);
    await host(2).start();
    await isBack("the host's daemon and the process were killed");
    await heal();
    assert.equal(await address(), had);

    await crash(1);
    await docker(2, "stop -t 0 b");
    assert.match(await refused(2, "start b"), /no manager answers/, "what was stopped has given up what it had");
    await heal();
    await docker(2, "start b");
    await isBack("docker start");
  });

  it("a container that cannot be started again gives back what it had", async () => {
    await host(2).run("mkdir", "/tmp/once");
    await run(2, "b", "--restart", "always", "--mount", "type=bind,src=/tmp/once,dst=/once");
    await host(2).run("rmdir", "/tmp/once");
    assert.match(await refused(2, "restart -t 0 b"), /bind source path does not exist/);
    assert.equal(await status(), "exited");
    await assertAgreement([1, 2, 3].map(host), host(1));
  });
});
