import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { arm, startArmable } from "../support/lab.ts";
import { swarmDirectory, useSwarm } from "../support/swarm.ts";
import { until } from "../support/until.ts";

describe("a swarm whose hosts fail", () => {
  const {
    lab,
    host,
    docker,
    refused,
    nodes,
    rowOf,
    isReady,
    managersOf,
    stateOf,
    token,
    joinWith,
    keepSwarm,
    threeManagers,
    crash,
    signal,
    etcds,
  } = useSwarm();

  describe("several managers", () => {
    it("do without one: another leads, a worker finds another, and who comes back is one of them", async () => {
      await docker(1, "swarm init --dispatcher-heartbeat 1s");
      const secret = await token("manager");
      await joinWith(2, secret);
      await joinWith(3, await token("worker"));
      await docker(1, "node promote h3");
      await until(async () => (await managersOf()) === 3, "three managers");
      await crash(1);
      await until(
        async () => (await nodes(2).catch(() => [])).some(({ name, manager }) => name !== "h1" && manager === "Leader"),
        "another leads",
      );
      await docker(2, "node update --label-add a=b h3");
      await until(async () => (await rowOf("h1", 3))?.manager === "Unreachable", "h1 is unreachable");
      for (const name of ["h2", "h3"]) assert.equal(await isReady(name, 2), true);
      await host(1).start();
      await until(async () => (await managersOf(1)) === 3, "h1 is back");
      assert.equal((await nodes(1)).filter(({ manager }) => manager === "Leader").length, 1);
    });

    const leaderOf = async (number: number) =>
      (await nodes(number).catch(() => [])).filter(({ manager }) => manager === "Leader").map(({ name }) => name);
    /** Exactly one of them leads, and all say the same. */
    const agree = async () => {
      const said = await Promise.all([1, 2, 3].map(leaderOf));
      return said.every((list) => list.length === 1 && list[0] === said[0]?.[0]);
    };
    const full = (number: number) => `${swarmDirectory(host(number))}/full`;
    const troubles: Record<string, Record<"begin" | "end", (leader: number) => Promise<unknown>>> = {
      "is cut off": { begin: (leader) => host(leader).cut(), end: (leader) => host(leader).heal() },
      "is not heard any more": { begin: (leader) => host(leader).cut("from"), end: (leader) => host(leader).heal() },
      "sleeps past its lease": {
        begin: async (leader) => signal(leader, "SIGSTOP"),
        end: async (leader) => signal(leader, "SIGCONT"),
      },
      "has no room on its disk": {
        begin: (leader) => host(leader).try("dd", "if=/dev/zero", `of=${full(leader)}`, "bs=64k"),
        end: (leader) => host(leader).run("rm", full(leader)),
      },
    };
    describe("do without the leader", () => {
      keepSwarm();
      before(async () => {
        for (const one of lab().hosts) {
          await one.run("mkdir", "-p", swarmDirectory(one));
          await one.run("mount", "-t", "tmpfs", "-o", "size=200m", "swarm", swarmDirectory(one));
        }
      });
      after(async () => {
        for (const one of lab().hosts) await one.run("umount", "-l", swarmDirectory(one));
      });
      for (const [what, { begin, end }] of Object.entries(troubles))
        it(`when it ${what}; afterwards one leads, and nothing is lost`, async () => {
          await threeManagers("--dispatcher-heartbeat 1s");
          await until(agree, "one leads");
          const [name = ""] = await leaderOf(1);
          const leader = Number(name.slice(1));
          const other = (leader % 3) + 1;
          try {
            await begin(leader);
            // etcd has room set aside for its log: a full disk alone does not end it.
            const isGone = async () =>
              (await leaderOf(other)).some((one) => one !== name) ||
              (await rowOf(name, other))?.manager === "Unreachable";
            if (what !== "has no room on its disk") await until(isGone, "the others do without it");
            await host(other).docker("node", "update", "--label-add", `seen=${what}`, "h2");
          } finally {
            await end(leader);
          }
          await until(agree, "one leads, and all agree");
          assert.equal(await host(leader).docker("node", "inspect", "-f", "{{.Spec.Labels.seen}}", "h2"), what);
          const write = `node update --label-add after=all h2`;
          const writes = async () => (await host(leader).tryDocker(...write.split(" "))).status === 0;
          await until(writes, "who was away writes again");
        });
    });

    it("say that there is no majority, go on reading, and one of them begins anew", async () => {
      await threeManagers("--dispatcher-heartbeat 1s");
      for (const number of [2, 3]) await crash(number);
      await until(
        async () =>
          /The swarm does not have a leader/.test(
            (await host(1).tryDocker("node", "update", "--label-add", "a=b", "h1")).stderr,
          ),
        "no majority",
      );
      assert.deepEqual(
        (await nodes(1)).map(({ name, status, manager }) => [name, status, manager]),
        [
          ["h1", "Ready", "Reachable"],
          ["h2", "Unknown", "Unknown"],
          ["h3", "Unknown", "Unknown"],
        ],
      );
      assert.match(await refused(1, "swarm join-token worker"), /The swarm does not have a leader/);
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
      // The others come back to find that they are no managers any more, and can be again.
      for (const number of [2, 3]) await host(number).start();
      await until(async () => (await isReady("h2")) && (await isReady("h3")), "the others are back");
      await until(() => etcds(2).length + etcds(3).length === 0, "their etcd ends");
      for (const name of ["h2", "h3"]) {
        await docker(1, `node promote ${name}`);
        await until(async () => (await rowOf(name))?.manager === "Reachable", `${name} is a manager again`);
      }
      // Its row is there a moment before it answers.
      const answers = async () => (await host(3).tryDocker("node", "update", "--label-add", "c=d", "h1")).status === 0;
      await until(answers, "the last of them answers");
      await until(
        async () =>
          (await host(2).docker("node", "inspect", "-f", "{{json .Spec.Labels}}", "h1")) === '{"a":"b","c":"d"}',
        "all have it",
      );
    });

    it("are demoted and promoted again, removed while they are away, and leave", async () => {
      await threeManagers();
      await docker(1, "node demote h2 h3");
      for (const number of [2, 3]) {
        await until(() => etcds(number).length === 0, `etcd ends on h${number}`);
        await until(async () => (await rowOf(`h${number}`))?.manager === "", `h${number} is no manager`);
        assert.equal(await isReady(`h${number}`), true);
        const says = async () => (await host(number).tryDocker("node", "ls")).stderr;
        await until(async () => /Worker nodes can't be used/.test(await says()), `h${number} is a worker`);
      }
      await docker(1, "node promote h2 h3");
      await until(async () => (await managersOf(1)) === 3, "both are managers");
      await crash(2);
      await docker(1, "node demote h2");
      await docker(1, "node rm --force h2");
      await host(2).start();
      const isRemoved = async () =>
        (await host(2).docker("info", "-f", "{{.Swarm.Error}}")).endsWith("was removed from the swarm");
      await until(isRemoved, "h2 knows that it was removed");
      await sleep(2500);
      assert.deepEqual(etcds(2), [], "h2 begins no etcd any more");
      await until(isRemoved, "h2 says that it was removed");
      assert.match(
        await refused(3, "swarm leave"),
        /You are attempting to leave the swarm on a node that is participating as a manager/,
      );
      await docker(3, "swarm leave --force");
      await until(async () => (await rowOf("h3"))?.status === "Down", "h3 is down");
      await until(async () => (await rowOf("h3"))?.manager === "", "h3 is no manager");
      const writes = async () =>
        (await host(1).tryDocker("node", "update", "--label-add", "still=writes", "h1")).status === 0;
      await until(writes, "who is left alone writes");
    });
  });

  describe("kill -9", () => {
    before(async () => {
      for (const one of [host(1), host(2)]) {
        await one.kill();
        await startArmable(one);
      }
    });
    const strike = async (number: number, place: string, call: () => Promise<unknown>) => {
      await arm(host(number), place);
      await call().catch(() => {});
      await until(() => host(number).state() !== "running", `died at ${place}`);
      await startArmable(host(number));
    };

    for (const place of ["begin", "before-etcd", "after-etcd", "before-files", "after-files"])
      it(`in swarm init, ${place}: the same command then succeeds, or says that it has`, async () => {
        await strike(1, `swarm.init.${place}`, () => docker(1, "swarm init"));
        if (place === "after-files") assert.match(await refused(1, "swarm init"), /already part of a swarm/);
        else await docker(1, "swarm init");
        await until(() => isReady("h1"), "ready");
        assert.equal((await nodes()).length, 1);
      });

    for (const place of ["before-files", "after-files"])
      it(`in swarm join, ${place}: the same command then succeeds, and makes no second node`, async () => {
        await docker(1, "swarm init");
        const secret = await token("worker");
        await strike(2, `swarm.join.${place}`, () => joinWith(2, secret));
        if (place === "before-files") await joinWith(2, secret);
        await until(() => isReady("h2"), "ready");
        assert.equal((await nodes()).length, 2);
      });

    for (const place of ["before-etcd", "after-etcd", "before-files"])
      it(`while a node becomes a manager, ${place}: it becomes one`, async () => {
        await docker(1, "swarm init");
        const secret = await token("manager");
        await strike(2, `swarm.promote.${place}`, () => joinWith(2, secret));
        await until(async () => (await managersOf(1)) === 2, "two managers");
        await until(() => isReady("h1", 2), "h2 can be asked");
        await docker(2, "node update --label-add a=b h1");
      });

    for (const place of ["before-exchange", "between"])
      it(`while a cluster is begun anew, ${place}: nothing is lost`, async () => {
        await docker(1, "swarm init --task-history-limit 9");
        const id = await docker(1, "node ls -q");
        await strike(1, `swarm.recover.${place}`, () => docker(1, "swarm init --force-new-cluster"));
        await until(() => isReady("h1"), "ready");
        assert.equal(await docker(1, "node ls -q"), id);
        await docker(1, "swarm init --force-new-cluster");
        await docker(1, "node update --label-add a=b h1");
      });

    it("in swarm leave of one of two managers, before its vote is taken: the other one takes it, and writes", async () => {
      await docker(1, "swarm init");
      await joinWith(2, await token("manager"));
      await until(async () => (await managersOf(1)) === 2, "two managers");
      await strike(2, "swarm.leave.before-vote", () => docker(2, "swarm leave --force"));
      await until(() => etcds(2).length === 0, "etcd ends on h2");
      await until(async () => (await rowOf("h2"))?.manager === "", "h2 is no manager");
      await docker(1, "node update --label-add a=b h1");
      await docker(2, "swarm leave --force");
      assert.equal(await stateOf(2), "inactive");
    });

    for (const place of ["before-files", "after-files"])
      it(`in swarm leave, ${place}: the same command then succeeds`, async () => {
        await docker(1, "swarm init");
        await strike(1, `swarm.leave.${place}`, () => docker(1, "swarm leave --force"));
        if (place === "before-files") await docker(1, "swarm leave --force");
        assert.equal(await stateOf(1), "inactive");
      });
  });
});
