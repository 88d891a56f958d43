import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect as connectTo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, beforeEach, describe, it } from "node:test";
import { baseText } from "../../src/dataplane/base.ts";
import { Believed } from "../../src/dataplane/believed.ts";
import { type Kernel, KernelError, type KernelEvent, type Step } from "../../src/kernel/kernel.ts";
import { calls } from "../../src/kernel/libc.ts";
import { createKernel } from "../../src/kernel/linux-kernel.ts";
import { linkTypes } from "../../src/kernel/netlink/link-words.ts";
import type { Message } from "../../src/kernel/netlink/message.ts";
import { neighbourTypes } from "../../src/kernel/netlink/neighbour-words.ts";
import { dumps } from "../../src/kernel/netlink/socket.ts";
import { programSocket } from "../../src/kernel/wireguard/program-device.ts";
import { type ChainObject, keyOf, type NamespaceName, type PlanObject } from "../../src/model/plan.ts";
import { kernelContract } from "../contract/kernel.ts";
import { creates, endpointPlan, idOf, networkPlan, ports, removes } from "../contract/kernel-plans.ts";
import { assertHolds, listAll, type OpenKernel } from "../contract/kernel-support.ts";
import { until } from "../support/until.ts";

const directory = mkdtempSync(join(tmpdir(), "tombolo-kernel-"));
const engine = "test";

/** Runs a command in the namespace in which this thread is. @throws when it fails */
function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
  return stdout;
}
const connect = (name = engine) => createKernel({ netnsDir: directory, engine: name });

/** A datagram to an address that leads to this one, here. */
function begin(address: string): void {
  const six = address.includes(":");
  const to = six ? "2001:db8::9" : "192.0.2.9";
  const words = [
    `address add ${address}/${six ? "128 nodad" : "32"} dev lo`,
    `${six ? "-6" : "-4"} route replace ${to} dev lo`,
  ];
  for (const word of words) run("ip", ...word.split(" "));
  const table = `${six ? "ip6" : "ip"} to_${address.replaceAll(/[.:]/g, "_")}`;
  run("nft", "add", "table", ...table.split(" "));
  run("nft", `add chain ${table} out { type nat hook output priority -100; }`);
  run("nft", `add rule ${table} out ${six ? "ip6" : "ip"} daddr ${to} dnat to ${address}`);
  run("bash", "-c", `echo hello > /dev/udp/${to}/9`);
  run("nft", "delete", "table", ...table.split(" "));
}

/** Each kernel gets a network namespace of its own as the host's: this thread moves into a new one. */
function open(): OpenKernel {
  assert.equal(calls.unshare(0x40000000), 0, "needs root");
  const kernel = connect();
  const programs: ChildProcess[] = [];
  return {
    kernel,
    foreignBridge(name, address) {
      run("ip", "link", "add", name, "up", "type", "bridge");
      run("ip", "address", "add", address, "dev", name);
    },
    foreignVxlan: (name, vni, udpPort) =>
      void run(
        "ip",
        "link",
        "add",
        name,
        ..."type vxlan local 192.0.2.9 id".split(" "),
        `${vni}`,
        "dstport",
        `${udpPort}`,
      ),
    deleteLink: (name, namespace = "host") => kernel.inside(namespace, () => run("ip", "link", "del", name)),
    deleteTunnel: ({ namespace, link, mac, destination }) =>
      kernel.inside(namespace, () => run("bridge", "fdb", "del", mac, "dev", link, "dst", destination)),
    track: (namespace, address) => kernel.inside(namespace, () => begin(address)),
    wireguard: () => startWireguard(kernel, programs),
    flushRules: () => void run("nft", "flush", "ruleset"),
    alterChain: ({ family, name }: ChainObject, how) =>
      void (how === "empty"
        ? run("nft", "flush", "chain", family, "tombolo", name)
        : run("nft", "add", "rule", family, "tombolo", name, "accept")),
    close() {
      for (const namespace of kernel.namespaces())
        kernel.apply([{ verb: "remove", object: { kind: "namespace", namespace } }]);
      kernel.close();
      for (const program of programs) program.kill();
    },
  };
}

/** Where the kernel has no WireGuard its links are those that wireguard-go has made. @returns the names of two */
function startWireguard(kernel: Kernel, programs: ChildProcess[]): string[] {
  const names = ["twg", "twh"].map((name) => name + process.pid.toString(36));
  for (const name of kernel.hasWireguard() ? [] : names) {
    programs.push(spawn("wireguard-go", ["-f", name], { stdio: "ignore" }));
    for (let tries = 0; !existsSync(programSocket(name)); tries += 1) {
      assert.ok(tries < 200, "wireguard-go does not start");
      run("sleep", "0.02");
    }
  }
  return names;
}

after(() => {
  calls.umount2(directory, 2);
  rmSync(directory, { recursive: true });
});

kernelContract("Linux", open);

describe("Linux, beyond the contract", () => {
  let opened: OpenKernel;
  let kernel: Kernel;
  const wish = { number: 2, ipv6: true };
  const all = () => [...networkPlan(wish), ...endpointPlan(wish, 2, ports)];
  beforeEach(() => {
    opened = open();
    kernel = opened.kernel;
    kernel.ensureBase(baseText);
  });
  afterEach(() => opened.close());
  const bridge: PlanObject = {
    kind: "link",
    type: "bridge",
    namespace: "host",
    name: "br-9",
    mac: "52:00:00:00:00:09",
  };

  it("has everything with its owner after a restart", () => {
    const odd = { number: 4, options: { "com.docker.network.driver.mtu": "1500" } };
    const wanted = [...all(), ...networkPlan(odd)];
    kernel.apply(creates(wanted));
    const again = connect();
    const found = listAll(again);
    for (const { object, owner } of wanted) {
      // Sysctls have no mark at all.
      if (object.kind === "sysctl") continue;
      assert.equal(found.get(keyOf(object))?.owner, owner);
    }
    again.apply(creates(wanted));
    assertHolds(again, wanted);
    again.close();
  });

  it("leaves another engine's objects alone", () => {
    const other = connect("other");
    const objects: PlanObject[] = [
      { ...bridge, name: "br-8" } as PlanObject,
      { kind: "address", namespace: "host", link: "br-8", address: "10.8.0.1/24" },
      { kind: "neighbour", namespace: "host", link: "br-8", address: "10.8.0.2", mac: "02:42:00:00:00:01" },
    ];
    other.apply(creates(objects.map((object) => ({ owner: "network:o", object }))));
    assertHolds(kernel, []);
    const [link] = objects;
    assert.ok(link);
    kernel.apply([{ verb: "remove", object: link }]);
    assert.throws(() => kernel.apply(creates([{ owner: "network:n", object: link }])), { code: "EEXIST" });
    assert.equal(other.list("host", "link").length, 1);
    assert.deepEqual(
      kernel.hostRoutes().filter(({ to }) => !to.includes(":")),
      [{ to: "10.8.0.0/24", link: "br-8" }],
    );
    other.close();
  });

  it("tells the host's routes, without those that cover everybody, and what is of one link only", () => {
    run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1");
    for (const name of ["up0", "up1"]) run("ip", "link", "set", name, "up");
    run("ip", "address", "add", "192.0.2.1/24", "dev", "up0");
    run("ip", "address", "add", "2001:db8::1/64", "dev", "up0", "nodad");
    for (const to of ["default", "0.0.0.0/1", "128.0.0.0/1", "10.7.0.0/16", "2001:db8:7::/48", "default via fe80::2"])
      run("ip", ...(to.includes(":") ? ["-6"] : []), "route", "add", ...to.split(" "), "dev", "up0");
    run("ip", "route", "add", "10.8.0.0/16", "nexthop", "dev", "up0", "nexthop", "dev", "up1");
    const told = new Set(kernel.hostRoutes().map(({ to, link }) => `${to} ${link}`));
    const wanted = ["192.0.2.0/24", "2001:db8::/64", "10.7.0.0/16", "2001:db8:7::/48"].map((to) => `${to} up0`);
    assert.deepEqual(told, new Set([...wanted, "10.8.0.0/16 "]));
  });

  it("tells where programs of the host wait, in both families, and not who is connected", async () => {
    run("ip", "link", "set", "lo", "up");
    assert.deepEqual(kernel.waitingPorts(), []);
    const server = createServer().listen(8080, "127.0.0.1");
    const datagrams = createSocket({ type: "udp6", ipv6Only: true }).bind(53);
    await Promise.all([once(server, "listening"), once(datagrams, "listening")]);
    const client = connectTo(8080, "127.0.0.1");
    await once(client, "connect");
    assert.deepEqual(kernel.waitingPorts(), [
      { protocol: "tcp", address: "127.0.0.1", port: 8080 },
      { protocol: "udp", address: "::", port: 53 },
    ]);
    client.destroy();
    server.close();
    datagrams.close();
  });

  it("sees that a link is down, and lifts it", () => {
    kernel.apply(creates([{ owner: "network:n", object: bridge }]));
    run("ip", "link", "set", "br-9", "down");
    const [found] = kernel.list("host", "link");
    assert.notDeepEqual(found?.object, bridge);
    kernel.apply([{ verb: "change", object: bridge, was: bridge, owner: "network:n" }]);
    assertHolds(kernel, [{ owner: "network:n", object: bridge }]);
  });

  it("lists neither addresses nor routes, neighbours and entries that others made", () => {
    kernel.apply(creates(all()));
    const { name = "" } =
      all().flatMap(({ object }) => (object.kind === "link" && object.type === "bridge" ? object : []))[0] ?? {};
    run("ip", "address", "add", "192.0.2.9/24", "dev", name);
    run("ip", "route", "add", "198.51.100.0/24", "dev", name);
    run("ip", "neigh", "add", "192.0.2.10", "lladdr", "02:00:00:00:00:01", "dev", name);
    assertHolds(kernel, all());
  });

  it("gives Linux's own explanation of a refusal", () => {
    const route: PlanObject = { kind: "route", namespace: "host", to: "10.7.0.0/16", link: "br-9", via: "10.8.0.1" };
    const steps = creates([bridge, route].map((object) => ({ owner: "network:n", object })));
    assert.throws(() => kernel.apply(steps), { message: "Network is unreachable: Nexthop has invalid gateway" });
  });

  it("leaves no half-made link", () => {
    const veth = endpointPlan(wish, 2).filter(({ object }) => object.kind === "namespace" || object.kind === "link");
    assert.throws(() => kernel.apply(creates(veth)), { code: "ENODEV", step: 1 });
    assert.deepEqual(kernel.list("host", "link"), []);
  });

  it("keeps the users' rules and the elements while it mends the base", () => {
    kernel.apply(creates(all()));
    run("nft", "add", "rule", "ip", "tombolo", "DOCKER-USER", "ip", "saddr", "192.0.2.9", "drop");
    run("nft", "add", "chain", "ip", "tombolo", "mine");
    run("nft", "flush", "chain", "ip", "tombolo", "forward");
    run("nft", "delete", "chain", "ip", "tombolo", "forward");
    run("nft", "add", "rule", "ip", "tombolo", "guard", "accept");
    run("nft", "flush", "chain", "ip6", "tombolo", "translate");
    run("nft", "delete", "map", "ip6", "tombolo", "published_at");
    const intact = run("nft", "list", "map", "ip", "tombolo", "published");
    kernel.ensureBase(baseText);
    assert.equal(run("nft", "list", "map", "ip", "tombolo", "published"), intact);
    assert.match(run("nft", "list", "chain", "ip", "tombolo", "DOCKER-USER"), /ip saddr 192\.0\.2\.9 drop/);
    assert.match(run("nft", "list", "chain", "ip", "tombolo", "forward"), /hook forward[^]*oifname vmap @to/);
    assert.doesNotMatch(run("nft", "list", "chain", "ip", "tombolo", "guard"), /^\t\taccept$/m);
    kernel.apply(creates(all()));
    assertHolds(kernel, all());
  });

  it("makes the base anew when its text is another, and keeps the users' rules", () => {
    run("nft", "add", "rule", "ip", "tombolo", "DOCKER-USER", "ip", "saddr", "192.0.2.9", "counter", "drop");
    kernel.ensureBase((namespace) => {
      const { ip = "", ...others } = baseText(namespace);
      const other = ip.replace(
        "set open { type ipv4_addr . inet_proto . inet_service; }",
        "set open { type ipv4_addr; }",
      );
      return { ...others, ip: other };
    });
    assert.match(
      run("nft", "list", "chain", "ip", "tombolo", "DOCKER-USER"),
      /ip saddr 192\.0\.2\.9 counter packets 0 bytes 0 drop/,
    );
    assert.match(run("nft", "list", "set", "ip", "tombolo", "open"), /type ipv4_addr\n/);
  });

  it("mends what cannot be mended in place by making the table anew", () => {
    run("nft", "flush", "chain", "ip", "tombolo", "forward");
    run("nft", "delete", "chain", "ip", "tombolo", "forward");
    run("nft", "add", "chain", "ip", "tombolo", "forward");
    kernel.ensureBase(baseText);
    assert.match(run("nft", "list", "chain", "ip", "tombolo", "forward"), /hook forward/);
  });

  it("writes nothing when the base is as it should be", async () => {
    const seen: KernelEvent[] = [];
    kernel.events((event) => seen.push(event));
    kernel.ensureBase(baseText);
    kernel.apply(creates([{ owner: "network:n", object: bridge }]));
    await until(() => seen.some((event) => event.kind === "link"));
    assert.deepEqual(
      seen.filter((event) => event.kind === "chain" || event.kind === "element"),
      [],
    );
  });

  it("says that it lost events, and goes on", async () => {
    const seen: KernelEvent[] = [];
    kernel.events((event) => seen.push(event));
    kernel.apply(creates([{ owner: "network:n", object: bridge }]));
    const neighbours = Array.from(
      { length: 30_000 },
      (_, i): PlanObject => ({
        kind: "neighbour",
        namespace: "host",
        link: "br-9",
        address: `10.9.${(i >> 8) & 0x7f}.${i & 0xff}`,
        mac: `02:42:00:${i < 15_000 ? "00" : "01"}:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 0xff).toString(16).padStart(2, "0")}`,
      }),
    );
    kernel.apply(creates(neighbours.map((object) => ({ owner: "endpoint:e", object }))));
    await until(() => seen.some((event) => event.kind === "lost"));
    kernel.apply(creates([{ owner: "network:n", object: { ...bridge, name: "br-8" } as PlanObject }]));
    await until(() => seen.some((event) => event.kind === "link" && event.name === "br-8"));
  });

  it("pins a namespace past the end of the process that made it", () => {
    const id = idOf(99, "5");
    const script = `
      const { createKernel } = await import(${JSON.stringify(new URL("../../src/kernel/linux-kernel.ts", import.meta.url).href)});
      const kernel = createKernel({ netnsDir: ${JSON.stringify(directory)}, engine: "test" });
      const namespace = "sandbox:${id}";
      kernel.apply([{ verb: "create", owner: namespace, object: { kind: "namespace", namespace } }]);
      kernel.sysctl(namespace, "net.ipv4.ip_forward", "1");
      process.kill(process.pid, "SIGKILL");`;
    assert.equal(spawnSync(process.execPath, ["--input-type=module", "-e", script]).signal, "SIGKILL");
    const namespace: NamespaceName = `sandbox:${id}`;
    assert.deepEqual(kernel.namespaces(), [namespace]);
    assert.equal(kernel.sysctl(namespace, "net.ipv4.ip_forward"), "1");
    assert.equal(kernel.link(namespace, "lo")?.up, true);
  });

  it("does not take a left-over file for a namespace, and pins over it", () => {
    const namespace: NamespaceName = `sandbox:${idOf(98, "5")}`;
    const object: PlanObject = { kind: "namespace", namespace };
    kernel.apply([{ verb: "create", owner: namespace, object }]);
    calls.umount2(kernel.namespacePath(namespace), 2);
    assert.deepEqual(kernel.namespaces(), []);
    assert.throws(() => kernel.inside(namespace, () => 1), KernelError);
    kernel.apply([{ verb: "create", owner: namespace, object }]);
    assert.deepEqual(kernel.namespaces(), [namespace]);
  });

  it("comes back from a body that throws, also out of two namespaces", () => {
    const [one, two] = [idOf(1, "5"), idOf(2, "5")].map((id): NamespaceName => `sandbox:${id}`) as [
      NamespaceName,
      NamespaceName,
    ];
    for (const namespace of [one, two])
      kernel.apply([{ verb: "create", owner: namespace, object: { kind: "namespace", namespace } }]);
    kernel.sysctl("host", "net.ipv4.ip_forward", "0");
    kernel.sysctl(one, "net.ipv4.ip_forward", "1");
    const nested = () =>
      kernel.inside(two, () => {
        throw new Error("out");
      });
    const read = kernel.inside(one, () => {
      assert.throws(nested, /out/);
      return kernel.sysctl("host", "net.ipv4.ip_forward") + run("cat", "/proc/sys/net/ipv4/ip_forward").trim();
    });
    assert.equal(read, "01");
    assert.equal(run("cat", "/proc/sys/net/ipv4/ip_forward").trim(), "0");
  });

  it("runs nft text in a sandbox as one transaction", () => {
    const namespace: NamespaceName = `sandbox:${idOf(3, "5")}`;
    kernel.apply([{ verb: "create", owner: namespace, object: { kind: "namespace", namespace } }]);
    kernel.nft(namespace, "table ip resolver { chain out { }; }");
    assert.throws(() => kernel.nft(namespace, "add chain ip resolver more\nadd rule ip resolver nochain drop"), {
      code: "ENOENT",
    });
    const text = kernel.inside(namespace, () => run("nft", "list", "ruleset"));
    assert.match(text, /chain out/);
    assert.doesNotMatch(text, /more/);
    const rules: PlanObject = { kind: "chain", namespace, family: "ip", name: "c", rules: ["drop"] };
    kernel.apply(creates([{ owner: "network:n", object: rules }]));
    assert.deepEqual(kernel.list(namespace, "chain"), [{ owner: "network:n", object: rules }]);
  });

  it("makes 500 endpoints in seconds, and each as fast as the first", (t) => {
    const plain = { number: 1 };
    const published = (i: number) => [
      { protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 10_000 + i } as const,
    ];
    const plans = Array.from({ length: 500 }, (_, i) => endpointPlan(plain, i + 2, published(i)));
    kernel.apply(creates(networkPlan(plain)));
    const times = plans.map((plan) => time(() => kernel.apply(creates(plan))));
    const listing = time(() => assert.equal(kernel.list("host", "link").length, 501));
    const checking = time(() => assertHolds(kernel, [...networkPlan(plain), ...plans.flat()]));
    const removing = time(() => kernel.apply(linksTogether(plans.flatMap(removes))));
    const sum = (list: readonly number[]) => Math.round(list.reduce((a, b) => a + b, 0));
    const report = {
      first100: sum(times.slice(0, 100)),
      last100: sum(times.slice(-100)),
      all: sum(times),
      listing,
      checking,
      removing,
    };
    assert.ok(report.all < 15_000, JSON.stringify(report));
    assert.ok(report.removing < 10_000, JSON.stringify(report));
    assert.ok(report.last100 < 5 * report.first100 + 500, JSON.stringify(report));
    t.diagnostic(JSON.stringify(report));
    assertHolds(kernel, networkPlan(plain));
  });

  it("reads a namespace's links and forwarding entries once for all kinds, and names routes' links one by one", () => {
    const read: string[] = [];
    const note = (request: unknown) => {
      const { type, body } = request as Message;
      read.push(`${type}/${body.readUInt8(0)}`);
    };
    kernel.apply(creates(all()));
    dumps.subscribe(note);
    try {
      const { length } = kernel.namespaces();
      new Believed().readAll(kernel);
      const times = (what: string) => read.filter((one) => one === what).length;
      assert.ok(length > 0);
      assert.equal(times(`${linkTypes.get}/0`), 1 + length, "links");
      assert.equal(times(`${neighbourTypes.get}/7`), 1 + length, "forwarding entries");
      read.length = 0;
      kernel.hostRoutes();
      assert.equal(times(`${linkTypes.get}/0`), 0);
    } finally {
      dumps.unsubscribe(note);
    }
  });

  it("leaks no descriptor", () => {
    const open = () => readdirSync("/proc/self/fd").length;
    const wanted = all();
    kernel.apply(creates(wanted));
    kernel.apply(removes(wanted));
    const before = open();
    for (let i = 0; i < 5; i++) {
      kernel.apply(creates(wanted));
      assertHolds(kernel, wanted);
      kernel.apply(removes(wanted));
    }
    assert.equal(open(), before);
  });
});

/** Namespaces last, links before them: so the links go at once. */
function linksTogether(steps: readonly Step[]): Step[] {
  const rank = ({ object: { kind } }: Step) => (kind === "namespace" ? 2 : kind === "link" ? 1 : 0);
  return steps.toSorted((a, b) => rank(a) - rank(b));
}

/** Milliseconds. */
function time(body: () => void): number {
  const start = performance.now();
  body();
  return Math.round(performance.now() - start);
}
