import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, it } from "node:test";
import { baseText } from "../../src/dataplane/base.ts";
import { inOrder } from "../../src/dataplane/order.ts";
import type { Kernel } from "../../src/kernel/kernel.ts";
import { calls } from "../../src/kernel/libc.ts";
import { createKernel } from "../../src/kernel/linux-kernel.ts";
import type { NamespaceName, PlanObject } from "../../src/model/plan.ts";
import {
  everybody,
  floodTo,
  four,
  type Member,
  memberObjects,
  networkObjects,
  peerObjects,
  sandboxOf,
  six,
} from "../support/tunnel-plan.ts";

const network: NamespaceName = "network:0k3v9m2q7w1x5z8b4n6c0d2fg";
const machine: NamespaceName = "sandbox:machine";

/** Runs a command in the namespace in which this thread is. */
function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
  return stdout;
}
const words = (text: string) => run(...(text.split(" ") as [string, ...string[]]));

/** A kernel and the way into its host's namespace. */
interface Host {
  readonly kernel: Kernel;
  readonly at: <R>(body: () => R) => R;
}
let directory: string;
let first: Host;
let second: Host;

/** Two hosts: this thread's new namespace, and one that a cable leads to. */
beforeEach(() => {
  assert.equal(calls.unshare(0x40000000), 0, "needs root");
  words("ip link set lo up");
  directory = mkdtempSync(join(tmpdir(), "tombolo-tunnels-"));
  const open = (name: string) => {
    const kernel = createKernel({ netnsDir: join(directory, name), engine: name });
    kernel.ensureBase(baseText);
    return kernel;
  };
  const one = open("one");
  const peer = { namespace: machine, name: "underlay", mac: "02:00:00:00:00:22" };
  put({ kernel: one, at: (body) => body() }, [
    { kind: "namespace", namespace: machine },
    { kind: "link", type: "veth", namespace: "host", name: "underlay", mac: "02:00:00:00:00:21", peer },
  ]);
  first = { kernel: one, at: (body) => body() };
  const there = <R>(body: () => R) => one.inside(machine, body);
  second = { kernel: there(() => open("two")), at: there };
  for (const [host, number] of [
    [first, 1],
    [second, 2],
  ] as const)
    host.at(() => {
      words(`ip address add 192.0.2.${number}/24 dev underlay`);
      words(`ip address add 2001:db8::${number}/64 dev underlay nodad`);
    });
});

afterEach(() => {
  for (const { kernel, at } of [second, first])
    at(() => {
      for (const namespace of kernel.namespaces())
        kernel.apply([{ verb: "remove", object: { kind: "namespace", namespace } }]);
      kernel.close();
    });
  for (const name of ["one", "two"]) calls.umount2(join(directory, name), 2);
  rmSync(directory, { recursive: true });
});

function put({ kernel, at }: Host, objects: readonly PlanObject[]): void {
  at(() => kernel.apply(inOrder(objects.map((object) => ({ verb: "create", object, owner: network })))));
}
const take = ({ kernel, at }: Host, objects: readonly PlanObject[]) =>
  at(() => kernel.apply(inOrder(objects.map((object) => ({ verb: "remove", object, owner: network })))));

/** A network over both hosts, with container 2 on the first and 3 on the second. */
function connect(one: string, two: string, mtu: number): readonly [Member, Member] {
  const members = [
    { number: 2, at: one },
    { number: 3, at: two },
  ] as const;
  for (const [host, own, other] of [
    [first, members[0], members[1]],
    [second, members[1], members[0]],
  ] as const) {
    put(host, [{ kind: "namespace", namespace: sandboxOf(own) }, ...networkObjects(network, own.at, mtu)]);
    put(host, [...memberObjects(network, own, mtu), ...peerObjects(network, other)]);
  }
  return members;
}

/** Whether an answer comes within so many seconds: more than one where it shall, as the kernel asks for a neighbour once a second. */
function pings({ kernel, at }: Host, from: Member, address: string, seconds: number, size = 56): boolean {
  const command = address.includes(":") ? "ping6" : "ping";
  return at(() =>
    kernel.inside(sandboxOf(from), () => {
      const { status } = spawnSync("busybox", [command, "-c", "1", "-W", `${seconds}`, "-s", `${size}`, address]);
      return status === 0;
    }),
  );
}
const reaches = (host: Host, from: Member, address: string, size?: number) => pings(host, from, address, 20, size);
const missing = (host: Host, from: Member, address: string) => !pings(host, from, address, 1);
/** Frames that the first host sent into its tunnel. */
function sent(): number {
  const printed = first.kernel.inside(network, () => words("ip -json -statistics link show vxlan0"));
  return (JSON.parse(printed) as { stats64: { tx: { packets: number } } }[])[0]?.stats64.tx.packets ?? -1;
}

for (const [family, one, two, mtu] of [
  ["IPv4", "192.0.2.1", "192.0.2.2", 1450],
  ["IPv6", "2001:db8::1", "2001:db8::2", 1430],
] as const)
  it(`carries packets between hosts over ${family}, and floods none for an IPv4 address that is known`, () => {
    const [near, far] = connect(one, two, mtu);
    assert.ok(reaches(first, near, four(far)), "IPv4");
    assert.ok(reaches(first, near, four(far), mtu - 28), "as long as the MTU");
    assert.equal(sent(), 2);
    assert.ok(missing(first, near, "10.8.0.9"));
    // A solicitation has nowhere to go yet.
    assert.ok(missing(first, near, six(far)));
    put(first, [floodTo(network, two)]);
    put(second, [floodTo(network, one)]);
    assert.ok(reaches(first, near, six(far)), "IPv6");
  });

it("makes the tunnel as a plan has no words for: checksums on, default TTL, no learning", () => {
  connect("2001:db8::1", "2001:db8::2", 1430);
  const text = first.kernel.inside(network, () => words("ip -d link show vxlan0"));
  assert.match(text, / nolearning ttl auto .*udpcsum noudp6zerocsumtx noudp6zerocsumrx/);
  assert.match(words("ss -Huln"), /\[::\]:4789/);
  assert.doesNotMatch(
    first.kernel.inside(network, () => words("ss -Huln")),
    /4789/,
  );
  assert.doesNotMatch(words("ip -o link show"), /vxlan|tmp/);
});

it("stops carrying when a tunnel's entry goes, and goes on when it is there again", () => {
  const [near, far] = connect("192.0.2.1", "192.0.2.2", 1450);
  const entries = peerObjects(network, far).filter(({ kind }) => kind === "tunnel");
  take(first, entries);
  assert.ok(missing(first, near, four(far)));
  put(first, entries);
  assert.ok(reaches(first, near, four(far)));
});

it("sends what has no entry to all hosts of the zero MAC", () => {
  const [near] = connect("192.0.2.1", "192.0.2.2", 1450);
  put(
    first,
    ["192.0.2.2", "192.0.2.3", "192.0.2.4"].map((host) => floodTo(network, host)),
  );
  const list = () => first.kernel.inside(network, () => words("bridge fdb show dev vxlan0"));
  assert.equal(list().match(new RegExp(`^${everybody} dst`, "gm"))?.length, 3);
  take(first, [floodTo(network, "192.0.2.3")]);
  assert.doesNotMatch(list(), /192\.0\.2\.3/);
  const before = sent();
  assert.ok(missing(first, near, "10.8.0.9"));
  assert.ok(sent() > before);
});

it("says whose the UDP port is when it is another program's, and leaves no link", async () => {
  const socket = createSocket("udp4");
  await new Promise<void>((resolve) => socket.bind(4789, "0.0.0.0", resolve));
  try {
    assert.throws(() => put(first, networkObjects(network, "192.0.2.1", 1450)), {
      code: "EADDRINUSE",
      message: /^UDP port 4789 of this host is another program's: /,
    });
    assert.deepEqual(
      first.kernel.list(network, "link").map(({ object }) => "name" in object && object.name),
      ["br0"],
    );
    assert.doesNotMatch(words("ip -o link show"), /vxlan|tmp/);
  } finally {
    socket.close();
  }
  put(first, networkObjects(network, "192.0.2.1", 1450));
});

it("makes the tunnel past what a crash left of it, in either namespace", () => {
  const [namespace, ...links] = networkObjects(network, "192.0.2.1", 1450);
  assert.ok(namespace);
  put(first, [namespace]);
  const name = `tmp${createHash("sha256").update(`${network} vxlan0`).digest("hex").slice(0, 12)}`;
  for (const where of ["host", network] as const) {
    words(`ip link add ${name} type vxlan id 4097 local 192.0.2.1 dstport 4789 nolearning`);
    if (where !== "host") words(`ip link set ${name} netns ${first.kernel.namespacePath(network)}`);
    put(first, links);
    assert.doesNotMatch(words("ip -o link show") + first.kernel.inside(network, () => words("ip -o link show")), /tmp/);
    take(first, links);
  }
});

it("has everything with its owner when the process that made it was killed, and takes it away", () => {
  const objects = [...networkObjects(network, "192.0.2.1", 1450), floodTo(network, "192.0.2.2")];
  const script = `
    const { createKernel } = await import(${JSON.stringify(new URL("../../src/kernel/linux-kernel.ts", import.meta.url).href)});
    const kernel = createKernel({ netnsDir: ${JSON.stringify(join(directory, "one"))}, engine: "one" });
    kernel.apply(${JSON.stringify(objects)}.map((object) => ({ verb: "create", object, owner: ${JSON.stringify(network)} })));
    process.kill(process.pid, "SIGKILL");`;
  assert.equal(spawnSync(process.execPath, ["--input-type=module", "-e", script]).signal, "SIGKILL");
  const kinds = ["namespace", "link", "tunnel"] as const;
  assert.deepEqual(
    kinds.flatMap((kind) => first.kernel.list(network, kind)),
    objects.map((object) => ({ object, owner: network })),
  );
  take(first, objects);
  assert.ok(!first.kernel.namespaces().includes(network));
  put(first, objects);
});
