import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { arm, armable, assertAudits, startArmable, useLab } from "../support/lab.ts";
import { assertAgreement, clusterRows } from "../support/ledger.ts";
import { words } from "../support/swarm.ts";
import { until } from "../support/until.ts";

const [manager, worker, witness] = [1, 2, 3] as const;

/** Where a daemon dies: a failpoint, `#N` for the N-th time that it is passed from then on. */
interface Place {
  readonly host: number;
  readonly name: string;
}
/** Two calls that undo one another, and the places that they pass. */
interface Pair {
  /** Who is called. */
  readonly host: number;
  readonly there: string;
  readonly back: string;
  /** What prints `is` when the first one was carried out last. */
  readonly probe: string;
  readonly is: RegExp;
  readonly places: readonly Place[];
}
const at = (host: number, line: string): Place[] => words(line).map((name) => ({ host, name }));
const network: Pair = {
  host: manager,
  there: "network create -d overlay --attachable --subnet 10.20.0.0/28 net",
  back: "network rm net",
  probe: "network ls --format {{.Name}}",
  is: /^net$/m,
  places: at(
    manager,
    "overlay.create.before-etcd overlay.create.after-etcd overlay.remove.before-etcd overlay.remove.after-etcd",
  ),
};
const connection: Pair = {
  host: worker,
  there: "network connect net c",
  back: "network disconnect net c",
  probe: "inspect c",
  is: /"net": \{/,
  places: [
    ...at(worker, "overlay.attach.before-call overlay.attach.after-call overlay.attach.after-store"),
    ...at(worker, "network.connect.before-store network.connect.after-store network.connect.after-kernel"),
    ...at(worker, "network.disconnect.before-store overlay.detach.before-call overlay.detach.after-call"),
    ...at(worker, "store.commit.before#3 store.commit.after#4 dataplane.apply.before#2 dataplane.apply.after#1"),
    ...at(worker, "overlay.rows.before-store#2 overlay.rows.after-store#1"),
    ...at(manager, "overlay.claim.before-etcd overlay.claim.after-etcd"),
    ...at(manager, "overlay.release.before-etcd overlay.release.after-etcd"),
  ],
};
const start: Pair = {
  host: worker,
  there: "start d",
  back: "kill d",
  probe: "inspect d",
  is: /"Status": "running"/,
  places: [
    ...at(worker, "sandbox.open.before-store sandbox.open.after-store sandbox.open.after-kernel"),
    ...at(worker, "container.start.before-runtime container.start.after-runtime container.start.after-store"),
    ...at(worker, "container.exit.after-store"),
  ],
};
const pairs: Readonly<Record<string, Pair>> = {
  "a network": network,
  "a running container on it": connection,
  "a container that starts on it": start,
};
/** What is behind these cannot be taken back any more, though the call is not answered. */
const isCarriedOut =
  /^overlay\.(create|remove)\.after|^network\.connect\.after|^overlay\.detach|^container\.(start|exit)\.after-store/;

describe("kill -9 of a daemon at every step of a network of many hosts", () => {
  const lab = useLab({ hosts: 3, env: armable });
  const host = (number: number) => lab().host(number);
  const run = (number: number, line: string) => host(number).docker(...words(line));
  const isOn = async ({ host: number, probe, is }: Pair) => is.test(await run(number, probe));

  before(async () => {
    await run(manager, "swarm init --dispatcher-heartbeat 1s");
    const token = await run(manager, "swarm join-token -q worker");
    for (const one of [worker, witness]) await run(one, `swarm join --token ${token} ${host(manager).address}:2377`);
    await run(worker, "run -d --name c busybox sleep 1d");
    await run(worker, "create --name d --network net busybox sleep 1d");
    await run(witness, "run -d --name w busybox sleep 1d");
  });

  /** The network is there, and a container of a third host on it. */
  async function haveNetwork(): Promise<void> {
    if ((await run(manager, "network ls -q -f name=net")) !== "") return;
    await run(manager, network.there);
    await run(witness, "network connect net w");
  }

  it("names every place", () => {
    const named = new Set(Object.values(pairs).flatMap(({ places }) => places.map(({ name }) => name.split("#")[0])));
    const inSource = globSync("src/**/*.ts").flatMap((file) =>
      [...readFileSync(file, "utf8").matchAll(/failpoint\("(overlay\.[^"]+)"/g)].map(([, name = ""]) => name),
    );
    assert.deepEqual(
      inSource.filter((name) => !named.has(name)),
      [],
    );
  });

  for (const [what, pair] of Object.entries(pairs))
    describe(what, () => {
      if (pair.host === worker) before(haveNetwork);
      for (const place of pair.places)
        it(`${place.name}: what was answered holds, and every claim is a container's`, () => strike(pair, place));
      it("in the end nothing is left", async () => {
        if (await isOn(pair)) await run(pair.host, pair.back);
        await assertAgreement(lab().hosts, host(manager));
      });
    });

  describe("a wire of which no frame comes out at one end, until it is healed", () => {
    const outage = 2500; // milliseconds: longer than a node waits for a manager that does not answer
    before(haveNetwork);
    for (const way of ["to", "from"] as const)
      for (const verb of ["connect", "disconnect"])
        it(`${way} the host: ${verb} is done or refused, wholly`, async () => {
          await host(worker).cut(way);
          const call = host(worker).tryDocker("network", verb, "net", "c");
          await sleep(outage);
          await host(worker).heal();
          const { status, stderr } = await call;
          await assertAgreement(lab().hosts, host(manager));
          const isDone = (await isOn(connection)) === (verb === "connect");
          assert.equal(isDone, status === 0, stderr);
          // It took the hosts too long to find one another again: who asks then is answered.
          if (!isDone) await run(worker, verb === "connect" ? connection.there : connection.back);
        });
  });

  it("and the network can be removed", async () => {
    await run(witness, "network disconnect net w");
    await run(manager, "network rm net");
    await assertAgreement(lab().hosts, host(manager));
    assert.deepEqual(
      (await clusterRows(host(manager))).networks?.map(({ spec }) => spec.name),
      ["ingress"],
    );
  });

  /** Calls until the daemon has died at the place, and brings it back. */
  async function strike(pair: Pair, place: Place): Promise<void> {
    const struck = host(place.host);
    let hasDied = false;
    const revive = async () => {
      if (hasDied || struck.state() === "running") return;
      hasDied = true;
      await startArmable(struck);
    };
    /** It may die before anybody calls. */
    const probe = async () => {
      for (let tries = 0; ; tries += 1) {
        await revive();
        const found = await isOn(pair).catch((error: unknown) => error as Error);
        if (!(found instanceof Error)) return found;
        if (tries === 3) throw found;
        await sleep(100);
      }
    };
    await arm(struck, place.name);
    for (let calls = 0; !hasDied; calls += 1) {
      assert.ok(calls < 4, "nothing that is called passes this place");
      const wasOn = await probe();
      const line = wasOn ? pair.back : pair.there;
      const { status, stderr } = await meanwhile(host(pair.host).tryDocker(...words(line)), revive);
      // Its connections end before the process is gone.
      if (status !== 0) await until(async () => (await revive(), hasDied), stderr);
      if (hasDied) await assertAgreement(lab().hosts, host(manager));
      const isDone = (await probe()) !== wasOn;
      if (status === 0) assert.ok(isDone, `${line} was answered`);
      else if (place.host === pair.host && !place.name.includes("#"))
        assert.equal(isDone, isCarriedOut.test(place.name), `${line} was carried out`);
    }
    await assertAudits(lab().hosts);
  }
});

/** Does something again and again until the call has ended. @returns its outcome */
async function meanwhile<T>(call: Promise<T>, act: () => Promise<void>): Promise<T> {
  let isOver = false;
  const over = call.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await Promise.race([over, sleep(50)]);
    await act();
  }
  return over;
}
