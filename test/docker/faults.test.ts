import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { inside, TestHost, useHost } from "../support/daemon.ts";
import { TestLan } from "../support/lan.ts";
import { soon, until } from "../support/until.ts";

/** A call of the story, what takes it back, and the failpoints that it passes: `#N` for the N-th time. */
interface Step {
  readonly call: string;
  readonly undo: readonly string[];
  readonly places: readonly string[];
}
const words = (line: string) => line.split(" ").filter(Boolean);
const step = (call: string, undo: string | readonly string[] = [], ...places: readonly string[]): Step => ({
  call,
  undo: [undo].flat(),
  places: places.flatMap(words),
});
/** The same place of the daemon's many, at each of these passes. */
const passes = (name: string, ...numbers: readonly number[]) => numbers.map((number) => `${name}#${number}`).join(" ");

const create = "create --name c --network one --ip 10.80.0.9 -p 18080:80 -v kept:/kept -v fresh:/home busybox sleep 1d";
const story: readonly Step[] = [
  step(
    "network create --subnet 10.80.0.0/24 one",
    "network rm one",
    "network.create.before-store network.create.after-store network.create.after-kernel",
    "store.commit.before store.commit.after dataplane.apply.before dataplane.apply.after",
  ),
  step("network create two", "network rm two"),
  step("volume create kept", "volume rm kept", "volume.create.before-store volume.create.after-store"),
  step(
    create,
    "rm -f c",
    "container.create.before-runtime container.create.after-runtime container.create.after-store",
    "runtime.create.before-snapshot runtime.create.after-snapshot store.commit.before store.commit.after",
  ),
  step(
    "start c",
    "kill c",
    "container.start.before-runtime container.start.after-runtime container.start.after-store",
    "runtime.start.before-task runtime.start.before-start runtime.start.after-start",
    "sandbox.open.before-store sandbox.open.after-store sandbox.open.after-kernel",
    passes("store.commit.before", 1, 2),
    passes("store.commit.after", 1, 2),
    "dataplane.apply.before dataplane.apply.after",
  ),
  step(
    "network connect --alias other two c",
    "network disconnect two c",
    "network.connect.before-store network.connect.after-store network.connect.after-kernel",
    "dataplane.apply.before dataplane.apply.after",
  ),
  step("exec c true"),
  step("network disconnect two c", "network connect two c", "network.disconnect.before-store store.commit.after"),
  step("run --rm --name r --network two busybox true", "rm -f r", passes("store.commit.before", 2, 4)),
  step("kill c", "start c", "container.exit.after-store dataplane.apply.before dataplane.apply.after"),
  step("wait c"),
  step(
    "rm -v c",
    [create, "start c", "kill c"],
    "container.remove.before-store container.remove.after-store container.remove.before-runtime",
    "container.remove.after-runtime runtime.remove.before-container runtime.remove.before-snapshot",
    "runtime.remove.after-snapshot store.commit.before store.commit.after",
  ),
  step("volume rm kept", "volume create kept", "volume.remove.before-store volume.remove.after-store"),
  step("volume rm fresh"),
  step(
    "network rm one",
    "network create --subnet 10.80.0.0/24 one",
    "network.remove.before-store network.remove.after-store dataplane.apply.before dataplane.apply.after",
  ),
  step("network rm two"),
];
/** On a LAN there is more to make and more to ask; the rest is as above. */
const lan =
  "network create -d macvlan --subnet 10.0.0.0/8 --gateway 10.1.1.1 --ip-range 10.3.1.0/24 -o parent=lan0 -o host_access=true lan";
const storyOnLan: readonly Step[] = [
  step(
    lan,
    "network rm lan",
    "network.create.before-store network.create.after-store network.create.after-kernel",
    "store.commit.before store.commit.after dataplane.apply.before dataplane.apply.after",
  ),
  step(
    "create --name c --network lan --ip 10.3.1.9 busybox sleep 1d",
    "rm -f c",
    "store.commit.before store.commit.after",
  ),
  step(
    "start c",
    "kill c",
    "sandbox.open.before-store sandbox.open.after-store sandbox.open.after-kernel",
    passes("store.commit.before", 1, 2),
    passes("store.commit.after", 1, 2),
    "dataplane.apply.before dataplane.apply.after",
  ),
  step("network disconnect lan c", "network connect lan c", "network.disconnect.before-store dataplane.apply.after"),
  step(
    "network connect lan c",
    "network disconnect lan c",
    "network.connect.before-store network.connect.after-store network.connect.after-kernel",
    "dataplane.apply.before",
  ),
  step("run --rm --name r --network lan busybox true", "rm -f r", "dataplane.apply.before dataplane.apply.after"),
  step("rm -f c"),
  step(
    "network rm lan",
    lan,
    "network.remove.before-store network.remove.after-store dataplane.apply.before dataplane.apply.after",
  ),
];
/** What the daemon answers where the call had been carried out before it died. */
const carriedOut =
  /already exists|is already in use by container|is not connected to network|No such container: c|no such volume|network \S+ not found|No such network|is not running/i;

describe("kill -9 between any two steps", () => {
  it("names every place", () => {
    const files = globSync("src/**/*.ts").filter((file) => !file.endsWith(".test.ts"));
    const places = files.flatMap((file) =>
      [...readFileSync(file, "utf8").matchAll(/failpoint\("([^"]+)"/g)].map(([, name = ""]) => name),
    );
    assert.equal(new Set(places).size, places.length, "each name is one place's");
    const named = new Set(story.flatMap((one) => one.places.map((place) => place.split("#")[0])));
    // Those of a swarm need several hosts: test/hosts/swarm-faults.test.ts, overlay-faults.test.ts.
    assert.deepEqual(
      places.filter((name) => !/^(swarm|overlay)\./.test(name) && !named.has(name)),
      [],
    );
  });
  killAlong(story, () => undefined);
});

describe("kill -9 between any two steps, on a LAN", () => {
  killAlong(storyOnLan, (host) => {
    const cable = new TestLan();
    cable.plug(host.namespace, "lan0");
    host.here("ip", "link", "set", "lan0", "up");
    return cable;
  });
});

/** Each call is made once for each place that it passes, is taken back, and is made again for the next. */
function killAlong(steps: readonly Step[], prepare: (host: TestHost) => TestLan | undefined): void {
  let host: TestHost;
  let cable: TestLan | undefined;
  before(async () => {
    host = await TestHost.prepare();
    await host.startArmable();
    await host.loadBusybox();
    cable = prepare(host);
  });
  after(async () => {
    cable?.stop();
    await host.stop();
  });

  for (const { call, undo, places } of steps) {
    for (const [index, place] of places.entries())
      it(`${call}, at ${place}: the audit is zero after the restart, and the same call succeeds`, async () => {
        if (index > 0) await takeBack(host, undo);
        host.arm(`${place}=kill`);
        const { status } = await host.try(words(call));
        await until(
          () => host.ended,
          () => `the call passes this place\n${host.log}`,
        );
        await host.startArmable();
        await host.auditIsZero();
        if (status !== 0) await again(host, call, undo);
        await host.auditIsZero();
      });
    if (places.length === 0)
      it(`${call}, afterwards`, async () => {
        const { status, stderr } = await host.try(words(call));
        assert.equal(status, 0, `${stderr}\n${host.log}`);
        await host.auditIsZero();
      });
  }
}

async function again(host: TestHost, call: string, undo: readonly string[]): Promise<void> {
  const second = await host.try(words(call));
  if (second.status === 0) return;
  assert.match(second.stderr, carriedOut, `docker ${call}: ${second.stderr}`);
  await takeBack(host, undo);
  await host.docker(...words(call));
}

/** What was not carried out needs no taking back: the next call tells. */
async function takeBack(host: TestHost, undo: readonly string[]): Promise<void> {
  for (const line of undo) await host.try(words(line));
}

describe("what others undo is put right", () => {
  const host = useHost({ clear: true });

  const reaches = (namespace: string, address: string) => {
    try {
      inside(namespace, "timeout", "0.3", "busybox", "ping", "-c1", address);
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

  it("nft flush ruleset", async () => {
    const { a } = await twoThatTalk();
    // Elements are the audit's business: some come and go with the packets.
    const rules = () => host().here("nft", "-s", "-t", "list", "ruleset").length;
    const before = rules();
    host().here("nft", "flush", "ruleset");
    await until(() => rules() >= before, "the rules are back", soon);
    await host().auditIsZero();
    assert.ok(reaches(a, "10.81.0.12") && reaches(a, "198.51.100.2"));
    assert.match(host().there("timeout", "5", "busybox", "wget", "-qO-", "http://198.51.100.1:8080/group"), /^root:/);
  });

  it("ip link del of a bridge under traffic", async () => {
    const { a } = await twoThatTalk();
    host().here("ip", "link", "del", "br-talk");
    await until(() => reaches(a, "10.81.0.12"), "a reaches b", soon);
    await until(() => reaches(a, "198.51.100.2"), "a reaches the outside", soon);
  });

  it("ip link del of a container's cable under traffic", async () => {
    const { a } = await twoThatTalk();
    inside(a, "ip", "link", "del", "eth0");
    await until(() => reaches(a, "10.81.0.12"), "a reaches b", soon);
    assert.match(inside(a, "ip", "addr", "show", "eth0"), /inet 10\.81\.0\.11\/24/);
  });

  it("a port that was taken off its bridge, an address that was flushed, a table that was deleted", async () => {
    const { a } = await twoThatTalk();
    const [port = ""] = readPorts();
    host().here("ip", "link", "set", port, "nomaster");
    await until(() => readPorts().includes(port), "the port is back", soon);
    host().here("ip", "addr", "flush", "dev", "br-talk");
    await until(() => reaches(a, "198.51.100.2"), "a reaches the outside", soon);
    host().here("nft", "delete", "table", "ip", "tombolo");
    await until(() => reaches(a, "198.51.100.2"), "a reaches the outside", soon);
  });
  const readPorts = () =>
    (JSON.parse(host().here("ip", "-json", "link", "show", "master", "br-talk")) as { ifname: string }[])
      .map(({ ifname }) => ifname)
      .toSorted();

  /** Resolves when another one has taken its place. While none has, there is no file. */
  async function killProgram(name: string): Promise<void> {
    const pidfile = `${host().execRoot}/${name}`;
    const read = () => (existsSync(pidfile) ? readFileSync(pidfile, "utf8") : "");
    const old = read();
    process.kill(Number(old), "SIGKILL");
    await until(() => !["", old].includes(read()), `another ${name}`);
  }

  it("containerd killed: containers go on, calls work again", async () => {
    await twoThatTalk();
    await killProgram("containerd/containerd.pid");
    await until(
      async () => (await host().try(["run", "--rm", "--network", "talk", "busybox", "true"])).status === 0,
      "calls work",
    );
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

  it("the logger killed: no line is lost, neither of who goes on nor of who ends meanwhile, and calls work", async () => {
    const count = (to: number) => `i=0; while [ $i -lt ${to} ]; do echo $i; i=$((i+1)); sleep 0.05; done`;
    await host().docker("run", "-d", "--name", "talker", "busybox", "sh", "-c", count(10_000));
    await host().docker("run", "-d", "--name", "ends", "busybox", "sh", "-c", `sleep 0.5; ${count(3)}`);
    const told = async (name: string) => (await host().docker("logs", name)).split("\n").filter(Boolean).map(Number);
    const killed = killProgram("logger.pid");
    const during = await host().docker("run", "--rm", "busybox", "echo", "meanwhile");
    await killed;
    const seen = await told("talker");
    await until(async () => (await told("talker")).length > seen.length, "it tells more");
    // One that it had read, and had not written yet, is gone with it.
    const numbers = await told("talker");
    assert.ok(new Set(numbers).size >= (numbers.at(-1) ?? 0), `in ${numbers.join(" ")}`);
    await until(async () => (await told("ends")).length === 3, "it has told all");
    assert.equal(during, "meanwhile");
  });
});

describe("many at once", () => {
  const host = useHost({ args: ["--default-address-pool", "base=10.96.0.0/12,size=24"] });
  const containers = Array.from({ length: 20 }, (_, i) => `c${i}`);
  const networks = Array.from({ length: 10 }, (_, i) => `n${i}`);

  it("200 parallel network connects: every address is one container's, and every call answers", async () => {
    for (const name of networks) await host().docker("network", "create", name);
    await Promise.all(containers.map((name) => host().docker("run", "-d", "--name", name, "busybox", "sleep", "1d")));
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
