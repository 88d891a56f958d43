import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inside, TestHost, useHost } from "../support/daemon.ts";
import { TestLan } from "../support/lan.ts";

/** A call of the story, and what takes it back where it had been carried out before the daemon died. */
interface Step {
  readonly call: readonly string[];
  readonly undo?: readonly string[];
}
const words = (line: string) => line.split(" ");
const step = (call: string, undo?: string): Step => ({
  call: words(call),
  ...(undo !== undefined && { undo: words(undo) }),
});
const story: readonly Step[] = [
  step("network create --subnet 10.80.0.0/24 one", "network rm one"),
  step("network create two", "network rm two"),
  step("volume create kept", "volume rm kept"),
  step(
    "create --name c --network one --ip 10.80.0.9 -p 18080:80 -v kept:/kept -v fresh:/home busybox sleep 1d",
    "rm -f c",
  ),
  step("start c"),
  step("network connect --alias other two c", "network disconnect two c"),
  step("exec c true"),
  step("network disconnect two c", "network connect two c"),
  step("run --rm --network two busybox true"),
  step("kill c"),
  step("wait c"),
  step("rm -v c", ""),
  step("volume rm kept", "volume create kept"),
  step("volume rm fresh", "volume create fresh"),
  step("network rm one", "network create --subnet 10.80.0.0/24 one"),
  step("network rm two", "network create two"),
];
/** What the daemon answers where the call had been carried out before it died. */
const carriedOut =
  /already exists|is already in use by container|is not connected to network|No such container: c|no such volume|network \S+ not found|No such network|is not running/i;

/** Every failpoint of the source, the N-th pass for those that one story passes many times. */
const names = globSync("src/**/*.ts")
  .flatMap((file) => [...readFileSync(file, "utf8").matchAll(/failpoint\("([^"]+)"/g)].map(([, name = ""]) => name))
  // Those of a swarm need several hosts: test/hosts/swarm-faults.test.ts, overlay-faults.test.ts.
  .filter((name) => !/^(swarm|overlay)\./.test(name))
  .toSorted();
const often: Readonly<Record<string, readonly number[]>> = { store: [2, 5, 9, 14], dataplane: [1, 2, 4, 6, 8] };
const places = names.flatMap((name) => {
  const passes = often[name.split(".")[0] ?? ""];
  return passes === undefined ? [name] : passes.map((pass) => `${name}#${pass}`);
});

describe("kill -9 between any two steps", () => {
  it("names every place once", () => assert.equal(new Set(names).size, names.length));
  killAt(places, story, () => undefined);
});

/** On a LAN there is more to make and more to ask; the rest is as above. */
describe("kill -9 between any two steps, on a LAN", () => {
  const lan = "network create -d macvlan --subnet 10.0.0.0/8 --gateway 10.1.1.1 --ip-range 10.3.1.0/24 -o parent=lan0";
  const onLan = [
    step(`${lan} -o host_access=true lan`, "network rm lan"),
    step("create --name c --network lan --ip 10.3.1.9 busybox sleep 1d", "rm -f c"),
    step("start c"),
    step("network disconnect lan c", "network connect lan c"),
    step("network connect lan c", "network disconnect lan c"),
    step("run --rm --network lan busybox true"),
    step("rm -f c", ""),
    step("network rm lan", `${lan} lan`),
  ];
  const own = places.filter((place) => /^(network|sandbox|dataplane|store)/.test(place));
  killAt(own, onLan, (host) => {
    const cable = new TestLan();
    cable.plug(host.namespace, "lan0");
    host.here("ip", "link", "set", "lan0", "up");
    return cable;
  });
});

function killAt(at: readonly string[], calls: readonly Step[], prepare: (host: TestHost) => TestLan | undefined): void {
  let host: TestHost;
  let lan: TestLan | undefined;
  before(async () => {
    host = await TestHost.start();
    await host.loadBusybox();
    lan = prepare(host);
  });
  after(async () => {
    lan?.stop();
    await host.stop();
  });

  for (const place of at)
    it(`at ${place}: the audit is zero after the restart, and the same call succeeds`, async () => {
      await host.stopDaemon();
      const armed = host.spawnDaemon({ TOMBOLO_FAILPOINT: `${place}=kill` });
      while (!host.ended && !(await host.answers())) await sleep(20);
      let died = host.ended;
      if (died) await revive(host);
      for (const { call, undo } of calls) {
        const first = await host.try(call);
        await sleep(first.status === 0 ? 0 : 50);
        if (!died && armed.signalCode === "SIGKILL") {
          died = true;
          await revive(host);
          if (first.status !== 0) await again(host, call, undo);
        } else assert.equal(first.status, 0, `docker ${call.join(" ")}: ${first.stderr}\n${host.log}`);
      }
      assert.ok(died, "the story does not pass this place");
      await host.clear();
      await host.auditIsZero();
    });
}

async function revive(host: TestHost): Promise<void> {
  await host.startDaemon();
  await host.auditIsZero();
}

async function again(host: TestHost, call: readonly string[], undo: readonly string[] | undefined): Promise<void> {
  const second = await host.try(call);
  if (second.status === 0) return;
  assert.match(second.stderr, carriedOut, `docker ${call.join(" ")}: ${second.stderr}`);
  if (undo === undefined || undo[0] === "") return;
  await host.docker(...undo);
  await host.docker(...call);
}

describe("what others undo is put right", () => {
  const host = useHost({ clear: true });

  /** Resolves with the milliseconds that it took. @throws after five seconds */
  async function until(holds: () => boolean | Promise<boolean>): Promise<number> {
    const begun = performance.now();
    while (!(await holds())) {
      assert.ok(performance.now() - begun < 5000, "not within five seconds");
      await sleep(20);
    }
    return performance.now() - begun;
  }
  const reaches = (namespace: string, address: string) => {
    try {
      inside(namespace, "busybox", "ping", "-c1", "-W1", address);
      return true;
    } catch {
      return false;
    }
  };
  /** Traffic that goes on meanwhile: a ping each 50 ms. */
  async function twoThatTalk(): Promise<{ a: string; b: string }> {
    await host().docker(
      "network",
      "create",
      "--subnet",
      "10.81.0.0/24",
      "-o",
      "com.docker.network.bridge.name=br-talk",
      "talk",
    );
    await host().docker(
      "run",
      "-d",
      "--name",
      "a",
      "--network",
      "talk",
      "--ip",
      "10.81.0.11",
      "busybox",
      "sleep",
      "1d",
    );
    await host().docker(
      "run",
      "-d",
      "--name",
      "b",
      "--network",
      "talk",
      "--ip",
      "10.81.0.12",
      "-p",
      "8080:80",
      "busybox",
      "httpd",
      "-f",
      "-h",
      "/etc",
    );
    const a = await host().sandboxOf("a");
    host().background(a, "busybox", "ping", "-q", "-i", "0.05", "10.81.0.12");
    host().background(a, "busybox", "ping", "-q", "-i", "0.05", "198.51.100.2");
    return { a, b: await host().sandboxOf("b") };
  }
  const quick = 1500; // milliseconds: one second after the kernel's event, and a slow machine's share

  it("nft flush ruleset", async () => {
    const { a } = await twoThatTalk();
    // Elements are the audit's business: some come and go with the packets.
    const rules = () => host().here("nft", "-s", "-t", "list", "ruleset").length;
    const before = rules();
    host().here("nft", "flush", "ruleset");
    assert.ok((await until(() => rules() >= before)) < quick);
    await host().auditIsZero();
    assert.ok(reaches(a, "10.81.0.12") && reaches(a, "198.51.100.2"));
    assert.match(host().there("timeout", "5", "busybox", "wget", "-qO-", "http://198.51.100.1:8080/group"), /^root:/);
  });

  it("ip link del of a bridge under traffic", async () => {
    const { a } = await twoThatTalk();
    host().here("ip", "link", "del", "br-talk");
    assert.ok((await until(() => reaches(a, "10.81.0.12"))) < quick);
    assert.ok((await until(() => reaches(a, "198.51.100.2"))) < quick);
  });

  it("ip link del of a container's cable under traffic", async () => {
    const { a } = await twoThatTalk();
    inside(a, "ip", "link", "del", "eth0");
    assert.ok((await until(() => reaches(a, "10.81.0.12"))) < quick);
    assert.match(inside(a, "ip", "addr", "show", "eth0"), /inet 10\.81\.0\.11\/24/);
  });

  it("a port that was taken off its bridge, an address that was flushed, a table that was deleted", async () => {
    const { a } = await twoThatTalk();
    const [port = ""] = readPorts();
    host().here("ip", "link", "set", port, "nomaster");
    assert.ok((await until(() => readPorts().includes(port))) < quick);
    host().here("ip", "addr", "flush", "dev", "br-talk");
    assert.ok((await until(() => reaches(a, "198.51.100.2"))) < quick);
    host().here("nft", "delete", "table", "ip", "tombolo");
    assert.ok((await until(() => reaches(a, "198.51.100.2"))) < quick);
  });
  const readPorts = () =>
    (JSON.parse(host().here("ip", "-json", "link", "show", "master", "br-talk")) as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .toSorted();

  it("containerd killed: containers go on, calls work again", async () => {
    await twoThatTalk();
    const pidfile = `${host().execRoot}/containerd/containerd.pid`;
    const old = readFileSync(pidfile, "utf8");
    process.kill(Number(old), "SIGKILL");
    await until(() => readFileSync(pidfile, "utf8") !== old);
    await until(async () => (await host().try(["run", "--rm", "--network", "talk", "busybox", "true"])).status === 0);
    assert.equal(
      await host()
        .docker("ps", "-q", "--filter", "name=a", "--filter", "name=b")
        .then((t) => t.split("\n").length),
      2,
    );
    assert.equal(await host().docker("exec", "a", "echo", "still here"), "still here");
    await host().docker("kill", "a");
    assert.equal(await host().docker("wait", "a"), "137");
  });

  it("the logger killed: output goes on", async () => {
    await host().docker("run", "-d", "--name", "talker", "busybox", "sh", "-c", "while sleep 0.2; do date +%s%N; done");
    const pidfile = `${host().execRoot}/logger.pid`;
    const old = readFileSync(pidfile, "utf8");
    process.kill(Number(old), "SIGKILL");
    await until(() => readFileSync(pidfile, "utf8") !== old);
    const seen = await host().docker("logs", "talker");
    await until(async () => (await host().docker("logs", "talker")).length > seen.length);
  });
});

describe("many at once", () => {
  const host = useHost({ args: ["--default-address-pool", "base=10.96.0.0/12,size=24"] });
  const containers = Array.from({ length: 20 }, (_, i) => `c${i}`);
  const networks = Array.from({ length: 10 }, (_, i) => `n${i}`);

  it("200 parallel network connects: every address is one container's, and every call answers", async () => {
    for (const name of networks) await host().docker("network", "create", name);
    for (const name of containers) await host().docker("run", "-d", "--name", name, "busybox", "sleep", "1d");
    const pairs = networks.flatMap((network) => containers.map((container) => ({ network, container })));
    const connect = (verb: string) =>
      Promise.all(
        pairs.map(({ network, container }) =>
          host().call("POST", `/networks/${network}/${verb}`, { Container: container }),
        ),
      );
    for (const { status, body } of await connect("connect")) assert.equal(status, 200, body);
    await host().auditIsZero();
    const addresses: string[] = [];
    for (const network of networks) {
      const found = JSON.parse(await host().get(`/networks/${network}`)) as {
        Containers: Record<string, { IPv4Address: string }>;
      };
      addresses.push(...Object.values(found.Containers).map((c) => c.IPv4Address));
    }
    assert.deepEqual([addresses.length, new Set(addresses).size], [200, 200]);
    for (const { status, body } of await connect("disconnect")) assert.equal(status, 200, body);
    await host().auditIsZero();
    await host().clear();
  });
});
