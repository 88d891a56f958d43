/** Runs in a host of a lane, in a network namespace of its own: what becomes of connections through IPVS, between sandboxes on a bridge. */
import assert from "node:assert/strict";
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { createServer, Socket } from "node:net";
import { after, before, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { ServiceView } from "../../../src/balancers/balancer.ts";
import { ipvs } from "../../../src/balancers/ipvs/index.ts";
import { baseText } from "../../../src/dataplane/base.ts";
import { inOrder, type OwnedStep } from "../../../src/dataplane/order.ts";
import { calls, check } from "../../../src/kernel/libc.ts";
import { createKernel } from "../../../src/kernel/linux-kernel.ts";
import { addressBytes } from "../../../src/lib/address-bytes.ts";
import { keyOf, type NamespaceName, type Owner, type PlanObject } from "../../../src/model/plan.ts";
import { creates, endpointPlan, idOf, networkPlan } from "../../contract/kernel-plans.ts";
import { next } from "./next.ts";

const wish = { number: 1, ipv6: true };
const members = { client: 2, one: 3, two: 4 } as const;
type Name = keyof typeof members;
const idOfSandbox = (name: Name) => idOf(0x10000 + members[name], "5");
const sandbox = (name: Name): NamespaceName => `sandbox:${idOfSandbox(name)}`;
const addresses = (member: number) => [`10.1.0.${member}`, `fd00:1::${member}`];
const virtual = 9;
const [tcp, udp] = [7000, 7001];
const kernel = createKernel({ netnsDir: mkdtempSync("/run/ipvs-"), engine: "test" });
const closing: (() => unknown)[] = [];

/** struct sockaddr_in or sockaddr_in6 */
function place(address: string, port: number): Buffer {
  const bytes = addressBytes(address);
  const head = Buffer.from([bytes.length === 4 ? 2 : 10, 0, port >> 8, port & 0xff]);
  return bytes.length === 4
    ? Buffer.concat([head, bytes, Buffer.alloc(8)])
    : Buffer.concat([head, Buffer.alloc(4), bytes, Buffer.alloc(4)]);
}
const [stream, datagram] = [1, 2]; // SOCK_*
const socketIn = (name: Name, family: number, type: number) =>
  kernel.inside(sandbox(name), () => check("socket", calls.socket(family, type | 0o2000000, 0)));

/** A task: says its name and who asks, then whatever it hears. */
async function serve(name: Name): Promise<void> {
  const [any4, any6] = [tcp, udp].map((port) => place("::", port)) as [Buffer, Buffer];
  const listening = socketIn(name, 10, stream);
  check("bind", calls.bind(listening, any4, any4.length));
  check("listen", calls.listen(listening, 64));
  const server = createServer((socket) => {
    closing.push(() => socket.destroy());
    socket.on("error", () => {});
    socket.write(`${name} ${socket.remoteAddress?.replace("::ffff:", "")}\n`);
    socket.pipe(socket);
  });
  server.listen({ fd: listening });
  await once(server, "listening");
  const hearing = socketIn(name, 10, datagram);
  check("bind", calls.bind(hearing, any6, any6.length));
  const ears = createSocket("udp6");
  ears.on("message", (_, { port, address }) => ears.send(name, port, address));
  ears.bind({ fd: hearing });
  closing.push(
    () => server.close(),
    () => ears.close(),
  );
}

const owner: Owner = "service:it";
let planned: readonly PlanObject[] = [];
/** The service has these tasks from now on. */
function plan(...names: readonly Name[]): void {
  const view: ServiceView = {
    service: {
      ...{ serviceId: "s", networkId: "n", name: "web", aliases: [], ports: [], keepsClient: true },
      addresses: addresses(virtual),
      balance: { by: "least", local: false },
    },
    targets: names.map((name) => ({ taskId: name, addresses: addresses(members[name]), isHere: true })),
    sandbox: idOfSandbox("client"),
    client: "e",
  };
  const wanted = [...ipvs.planClient(view.sandbox), ...ipvs.planService(view)];
  const [before, now] = [planned, wanted].map((objects) => new Set(objects.map(keyOf)));
  const steps: OwnedStep[] = [
    ...wanted.flatMap((object): OwnedStep[] => (before?.has(keyOf(object)) ? [] : [{ verb: "create", object, owner }])),
    ...planned.flatMap((object): OwnedStep[] => (now?.has(keyOf(object)) ? [] : [{ verb: "remove", object, owner }])),
  ];
  kernel.apply(inOrder(steps));
  planned = wanted;
}

/** Somebody who asks one virtual address, and holds what it has begun. */
class Client {
  readonly #address: string;
  readonly #family: number;
  readonly #datagrams: DatagramSocket;
  readonly held: { readonly name: string; readonly socket: Socket }[] = [];
  constructor(address: string) {
    this.#address = address;
    this.#family = address.includes(":") ? 10 : 2;
    this.#datagrams = createSocket(this.#family === 10 ? "udp6" : "udp4");
    this.#datagrams.on("error", () => {});
    const fd = socketIn("client", this.#family, datagram);
    this.#datagrams.bind({ fd });
    closing.push(() => this.#datagrams.close());
  }
  /** @returns who answers, and whom he sees */
  async open(): Promise<string> {
    const fd = socketIn("client", this.#family, stream);
    const to = place(this.#address, tcp);
    check("connect", calls.connect(fd, to, to.length));
    const socket = new Socket({ fd, readable: true, writable: true });
    const [name = "", seen = ""] = (await next(socket)).split(" ");
    this.held.push({ name, socket });
    closing.push(() => socket.destroy());
    assert.equal(seen, addresses(members.client)[this.#family === 10 ? 1 : 0], "the task sees who asks");
    return name;
  }
  async openTwo(): Promise<string[]> {
    return [await this.open(), await this.open()].toSorted();
  }
  async close(name: string): Promise<void> {
    const his = this.held.filter((one) => one.name === name);
    for (const one of his) this.held.splice(this.held.indexOf(one), 1);
    await Promise.all(
      his.map(async ({ socket }) => {
        const closed = once(socket, "close");
        socket.resume().end();
        await closed;
      }),
    );
  }
  say(name: string): Promise<string> {
    const socket = this.held.find((one) => one.name === name)?.socket;
    assert.ok(socket);
    const answer = next(socket);
    socket.write("hello\n");
    return answer;
  }
  /** From one port. @returns who answers; "" when nobody does in a second */
  async datagram(): Promise<string> {
    this.#datagrams.send("?", udp, this.#address);
    const answer = await Promise.race([once(this.#datagrams, "message"), sleep(1000)]);
    return String(answer?.[0] ?? "");
  }
}

before(async () => {
  assert.ok(kernel.hasIpvs());
  kernel.ensureBase(baseText);
  kernel.apply(creates([...networkPlan(wish), ...Object.values(members).flatMap((n) => endpointPlan(wish, n))]));
  for (const name of Object.keys(members) as Name[]) await serve(name);
});
after(() => {
  for (const close of closing) close();
  for (const name of Object.keys(members) as Name[])
    kernel.apply([{ verb: "remove", object: { kind: "namespace", namespace: sandbox(name) } }]);
  kernel.close();
});

for (const [at, family] of ["IPv4", "IPv6"].entries())
  it(`${family}: to the task with the fewest; a task that leaves keeps what it has, until that is forgotten`, async () => {
    const client = new Client(addresses(virtual)[at] ?? "");
    plan("one", "two");
    assert.deepEqual(await client.openTwo(), ["one", "two"]);
    assert.deepEqual(await client.openTwo(), ["one", "two"]);
    await client.close("two");
    assert.deepEqual(await client.openTwo(), ["two", "two"], "by turns it would be one each");
    const flow = await client.datagram();
    assert.match(flow, /^(one|two)$/);
    assert.equal(await client.datagram(), flow, "the next from the same port goes there, too");

    const [left, stays] = flow === "one" ? (["one", "two"] as const) : (["two", "one"] as const);
    const gone = addresses(members[left]);
    plan(stays);
    assert.deepEqual([await client.say(left), await client.say(stays)], ["hello", "hello"]);
    assert.equal(await client.datagram(), left);
    assert.deepEqual(await client.openTwo(), [stays, stays]);

    kernel.forgetConnections(sandbox("client"), gone);
    assert.equal(await client.datagram(), stays, "a datagram goes to another task at once");
    assert.equal(await client.say(left), "ECONNRESET");
    assert.equal(await client.say(stays), "hello");

    plan();
    await assert.rejects(client.open(), { code: "ECONNREFUSED" });
    assert.equal(await client.say(stays), "hello");
    kernel.forgetConnections(sandbox("client"), addresses(members[stays]));
    assert.equal(await client.say(stays), "ECONNRESET");

    plan("client");
    assert.equal(await client.open(), "client", "a task that asks its own service");
  });
