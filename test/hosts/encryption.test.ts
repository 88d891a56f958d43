import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { run as runCommand } from "../../src/lab/command.ts";
import { useEncryptedSwarm } from "../support/encrypted-swarm.ts";
import { calmTime, until } from "../support/until.ts";

const program = "/usr/bin/wireguard-go";

describe("encrypted networks of the lab's hosts", () => {
  const {
    host,
    docker,
    refused,
    token,
    joinWith,
    rowOf,
    hosts,
    taps,
    run,
    pings,
    reaches,
    programs,
    privateKeys,
    assertNowhere,
    holdersOf,
    echoRequests,
    canaries,
    begin,
    namespaceOf,
    flood,
    addressOf,
    tombolo,
    rotate,
  } = useEncryptedSwarm();
  const inspected = (number: number, network: string) => host(number).docker("network", "inspect", network);
  const allReach = () => Promise.all(hosts.flatMap((from) => hosts.map((to) => reaches(from, `c${from}`, `c${to}`))));
  const assertSecret = () => assert.equal(canaries(), 0, "canaries on the wire");

  it("carry containers of all hosts without a word in clear, and end with the last container", async () => {
    await begin(["--opt", "encrypted"]);
    await Promise.all(hosts.map((number) => run(number, `c${number}`)));
    await allReach();
    for (const number of hosts) {
      assert.equal(programs(number).length, 1, `h${number}`);
      assert.match(
        await host(number).docker("info", "--format", "{{json .Warnings}}"),
        /WARNING: encrypted networks go through wireguard-go/,
      );
    }
    assert.ok(taps.every(({ frames }) => frames > 10));
    assertSecret();
    await docker(3, "rm -f c3");
    await until(() => programs(3).length === 0, "h3 needs it no more");
    assert.ok(await pings(1, "c1", "c2", 20));
    // A host that leaves and comes back is another node, with other keys.
    await docker(3, "swarm leave");
    await joinWith(3, await token("worker"));
    await run(3, "d3");
    await reaches(3, "d3", "c1");
    assertSecret();
  });

  it("go on while daemons are started again, and have their keys in memory alone", async () => {
    await begin(["--opt", "encrypted"]);
    await Promise.all([run(1, "a"), run(2, "b")]);
    await reaches(1, "a", "b");
    const before = programs(2);
    const stop = await flood(1, "a", await addressOf(2, "b"));
    for (const number of [2, 1] as const) {
      await host(number).kill();
      await host(number).start();
    }
    assert.deepEqual((await stop()).lost, []);
    assert.deepEqual(programs(2), before, "the same program");
    assert.ok(await pings(2, "b", "a", 20));
    assertSecret();
    const secrets = await privateKeys(2);
    assert.equal(secrets.length, 1);
    assertNowhere(2, secrets);
  });

  it("send nothing while wireguard-go is gone, say why, and go on when it is back", async () => {
    await begin(["--opt", "encrypted"]);
    await Promise.all([run(1, "a"), run(2, "b")]);
    await reaches(1, "a", "b");
    // On this host it cannot be started again.
    await host(2).run("mount", "--bind", "/dev/null", program);
    for (const { pid } of programs(2)) process.kill(pid, "SIGKILL");
    await sleep(300);
    assert.ok(!(await pings(2, "b", "a")));
    assert.ok(!(await pings(1, "a", "b")));
    await until(async () => /wireguard-go does not run/.test(await inspected(2, "net")), "inspect says why");
    assert.match(
      (await host(2).tryDocker("run", "--rm", "--network", "net", "busybox", "true")).stderr,
      /encrypted networks are not possible on (this host|node h2): th(is|e) kernel (there )?has no WireGuard/,
    );
    assert.match(
      await host(2).docker("info", "--format", "{{json .Warnings}}"),
      /encrypted networks end with this host/,
    );
    await host(2).run("umount", program);
    await reaches(1, "a", "b");
    assertSecret();
  });

  it("say nothing over a container's way out while its interface is gone", async () => {
    await begin(["--opt", "encrypted", "--ipv6"]);
    await Promise.all([run(1, "a"), run(2, "b")]);
    await reaches(1, "a", "b");
    const inside = ["nsenter", `--net=${await namespaceOf(1, "a")}`];
    const ping = `busybox ping -c1 -W1 -p c5 ${await addressOf(2, "b")} >/dev/null`;
    for (let count = 0; count < 5; count += 1) {
      await runCommand([...inside, "sh", "-c", `ip link delete eth0; for i in $(seq 50); do ${ping}; done; true`]);
      await reaches(1, "a", "b");
    }
    assertSecret();
    // Its daemon begins again, and finds the routes that it made.
    await host(1).kill();
    await host(1).start();
    const routes = async () => (await runCommand([...inside, "ip", "route"])).match(/^unreachable /gm);
    assert.equal((await routes())?.length, 1);
    await docker(1, "network connect bridge a");
    await docker(1, "network disconnect net a");
    assert.equal(await routes(), null, "it is on the network no more");
  });

  it("are refused where no host can encrypt, and on the hosts that cannot, with the mend; no network is made", async () => {
    for (const number of hosts) await host(number).run("mount", "--bind", "/dev/null", program);
    const mend =
      /the kernel there has no WireGuard \(module wireguard\), and wireguard-go is not installed \(package wireguard-go\)/;
    const create = "network create -d overlay --attachable --opt encrypted";
    try {
      await begin([]);
      const why = await refused(1, `${create} secret`);
      assert.match(why, mend);
      assert.match(why, /encrypted networks are not possible on h1, h2, h3: /);
      assert.doesNotMatch(await docker(1, "network ls"), /secret/);
      await host(1).run("umount", program);
      // A host tells it with its next beat.
      const isMade = async () => (await host(1).tryDocker(...`${create} secret`.split(" "))).status === 0;
      await until(isMade, "one host that can is enough");
      assert.match(await inspected(1, "secret"), /encrypted networks are not possible on h2, h3: /);
      assert.match(await refused(2, "run --name a --network secret busybox true"), mend);
      assert.match(await refused(3, "run --name b --network secret busybox true"), /not possible on node h3: /);
      await docker(2, "rm a");
      await run(1, "a", "secret");
      await docker(1, "rm -f a");
      const service = "service create -d -q --no-resolve-image --stop-signal SIGKILL --network secret --name";
      await docker(1, `${service} some --replicas 2 busybox sleep 1d`);
      await docker(1, `${service} every --mode global busybox sleep 1d`);
      const shown = async (name: string) => {
        const format = "{{.Node}} {{.CurrentState}} {{.Error}}";
        const lines = (await host(1).docker("service", "ps", "--no-trunc", "--format", format, name)).split("\n");
        return lines.map((line) => line.replace(/ (less than a|\d+) second.* ago/i, "")).toSorted();
      };
      const become = (name: string, ...lines: string[]) =>
        until(async () => (await shown(name)).join() === lines.join(), `${name}: ${lines.join(", ")}`);
      const waits = `Pending "encrypted networks are not possible on 1 node: docker network inspect says why"`;
      await become("some", "h1 Running ", "h1 Running ");
      await become("every", "h1 Running ", `h2 ${waits}`, `h3 ${waits}`);
      await host(2).run("umount", program);
      await become("every", "h1 Running ", "h2 Running ", `h3 ${waits}`);
      await docker(1, "service rm some every");
      await until(async () => (await docker(1, "ps -aq")) + (await docker(2, "ps -aq")) === "", "tasks go");
    } finally {
      for (const number of hosts) await host(number).try("umount", program);
    }
  });

  it("have a new pair of keys after a restart of the machine, which the others hear of", async () => {
    await begin(["--opt", "encrypted"]);
    await Promise.all([run(1, "a"), run(2, "b")]);
    await reaches(1, "a", "b");
    const before = await privateKeys(2);
    await host(2).kill();
    for (const { pid } of programs(2)) process.kill(pid, "SIGKILL");
    await host(2).start();
    await reaches(2, "b", "a");
    await reaches(1, "a", "b");
    assert.notDeepEqual(await privateKeys(2), before);
    assertSecret();
  });

  it("have wireguard-go started again where it stands still; the daemon goes on meanwhile, and nothing leaves", async () => {
    await begin(["--opt", "encrypted"]);
    await Promise.all([run(1, "a"), run(2, "b")]);
    await reaches(1, "a", "b");
    const all = programs(2);
    for (const { pid } of all) process.kill(pid, "SIGSTOP");
    await docker(1, "rm -f a");
    await run(1, "a");
    const began = calmTime();
    await docker(2, "ps");
    assert.ok(calmTime() - began < 2000, `${calmTime() - began} ms`);
    assert.ok(!(await pings(2, "b", "a")));
    const isAnother = () => programs(2).length === 1 && programs(2)[0]?.pid !== all[0]?.pid;
    await until(isAnother, "another one runs");
    await reaches(2, "b", "a");
    assertSecret();
  });

  it("get other keys by command and by age with nothing lost and nothing in clear, and have those before nowhere", async () => {
    await begin(["--opt", "encrypted"]);
    await Promise.all(hosts.map((number) => run(number, `c${number}`)));
    await allReach();
    const pairs = [
      [1, 2],
      [2, 3],
      [3, 1],
    ] as const;
    const flows = [];
    for (const [from, to] of pairs) flows.push(await flood(from, `c${from}`, await addressOf(to, `c${to}`)));
    assert.match((await tombolo(2, "rotate-keys")).stderr, /This node is not a swarm manager/);
    const seen = new Map(hosts.map((number) => [number, new Set<string>()]));
    const note = async () => {
      for (const [number, keys] of seen) for (const key of await privateKeys(number)) keys.add(key);
    };
    const least = () => Math.min(...[...seen.values()].map((keys) => keys.size));
    await note();
    for (const _ of [1, 2]) {
      assert.equal(await rotate(), "New keys are in use on h1, h2, h3.\n");
      await note();
    }
    assert.equal((await tombolo(1, "rotate-keys", "--every", "1s")).stdout, "Keys are used for 1 s.\n");
    const count = least();
    await until(async () => (await note(), least() > count), "other keys by age");
    await tombolo(1, "rotate-keys", "--every", "12h");
    for (const stop of flows) {
      const { answered, lost } = await stop();
      assert.deepEqual(lost, []);
      assert.ok(answered > 300, `${answered} answered`);
    }
    await until(() => hosts.every((number) => programs(number).length === 1), "one key each");
    assert.ok(least() >= 4, `${least()} keys`);
    for (const [number, keys] of seen) {
      assert.equal((await privateKeys(number)).length, 1);
      assertNowhere(number, keys);
    }
    assertSecret();
  });

  it("have a host back that was away while keys were rotated once, and three times; the others lose nothing", async () => {
    await begin(["--opt", "encrypted"], "--dispatcher-heartbeat 1s");
    await Promise.all(hosts.map((number) => run(number, `c${number}`)));
    await allReach();
    const stop = await flood(1, "c1", await addressOf(2, "c2"));
    for (const times of [1, 3]) {
      await host(3).cut();
      await until(async () => (await rowOf("h3"))?.status === "Down", "h3 is down");
      for (let count = 1; count <= times; count += 1)
        assert.equal(
          await rotate(),
          "New keys are in use on h1, h2.\nNot there, to get theirs when they are back: h3.\n",
        );
      assert.ok(!(await pings(3, "c3", "c1")));
      await host(3).heal();
      const healed = Date.now();
      await Promise.all([reaches(3, "c3", "c1", 5000), reaches(2, "c2", "c3", 5000)]);
      await until(async () => (await rowOf("h3"))?.status === "Ready", `h3 is ready ${Date.now() - healed}`);
    }
    assert.deepEqual((await stop()).lost, []);
    await until(() => hosts.every((number) => programs(number).length === 1), "one key each");
    assertSecret();
  });

  it("keep each host's private key to itself, and what two hosts say from a third and from who says it again", async () => {
    await begin(["--opt", "encrypted"]);
    await Promise.all(hosts.map((number) => run(number, `c${number}`)));
    await allReach();
    const keys = await Promise.all(hosts.map(async (number) => [number, await privateKeys(number)] as const));
    for (const [owner, secrets] of keys)
      for (const number of hosts) {
        if (number !== owner) assertNowhere(number, secrets);
        const holders = await holdersOf(number, secrets);
        assert.equal(holders.includes("wireguard-go"), number === owner, `h${owner}'s key on h${number}: ${holders}`);
        if (number !== owner) assert.deepEqual(holders, [], `h${owner}'s key on h${number}`);
      }
    // What h1 has said to h2: WireGuard's messages of type 4, from its first to the fourth after UDP's header at 34.
    const frames = taps[1]?.keep(1000);
    const asked = () => Promise.all([echoRequests(2, "c2"), echoRequests(3, "c3")]);
    const [before2, before3] = await asked();
    for (let count = 0; count < 5; count += 1) assert.ok(await pings(1, "c1", "c2", 20));
    assert.deepEqual(await asked(), [before2 + 5, before3]);
    const [source, destination] = [1, 2].map((number) => Buffer.from(host(number).address.split(".").map(Number)));
    const said = (frames?.() ?? []).filter(
      (frame) =>
        frame.subarray(26, 30).equals(source ?? frame) &&
        frame.subarray(30, 34).equals(destination ?? frame) &&
        [4793, 4794].includes(frame.readUInt16BE(36)) &&
        frame[42] === 4 &&
        frame.length > 150,
    );
    assert.ok(said.length >= 5, `${said.length} frames`);
    const texts = said.map((frame) => frame.subarray(42).toString("hex"));
    for (const to of [3, 2]) {
      const port = said[0]?.readUInt16BE(36) ?? 0;
      const say = `const s = require("dgram").createSocket("udp4");
        for (const text of ${JSON.stringify(texts)}) for (let n = 0; n < 20; n++) s.send(Buffer.from(text, "hex"), ${port}, "${host(to).address}");
        setTimeout(() => s.close(), 300);`;
      await host(1).run(process.execPath, "-e", say);
    }
    // What comes last through the same ports has come after all of it.
    for (const to of ["c2", "c3"]) assert.ok(await pings(1, "c1", to, 20));
    assert.deepEqual(await asked(), [before2 + 6, before3 + 1], "delivered again");
    assertSecret();
  });

  it("are plain with --opt encrypted=false", async () => {
    await begin(["--opt", "encrypted=false"]);
    await Promise.all([run(1, "a"), run(2, "b")]);
    await reaches(1, "a", "b");
    assert.notEqual(canaries(), 0, "the tap reads what is in clear");
    assert.equal(programs(1).length, 0);
  });
});
