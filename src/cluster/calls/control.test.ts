import { Code, ConnectError, type ConnectRouter, createClient } from "@connectrpc/connect";
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { after, describe, it } from "node:test";
import { connect as connectTls } from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import { invalid } from "../../lib/errors.ts";
import type { NodeRole } from "../../model/cluster.ts";
import { ControlClient, joinCalls } from "./control-client.ts";
import { callerOf, ControlServer } from "./control-server.ts";
import { dial } from "./dial.ts";
import { Join, Manager, Node } from "../gen/control_pb.ts";
import type { Authority } from "../../model/cluster.ts";
import { finishRotation, startRotation, trustBundle } from "../identity/authority.ts";
import { allowed, type CallName, type Caller } from "../identity/calls.ts";
import { managerName, newSwarmId } from "../identity/names.ts";
import { createRoot } from "../identity/root.ts";
import { clusterId, hour, newAuthority, node, type Node as Holder } from "../identity/testing.ts";
import { digestOf } from "../identity/token.ts";
import { calmTime, until } from "../../../test/support/until.ts";

const authority = newAuthority();
const roots = trustBundle(authority);
const self = node(authority, { role: "manager" });
const credentialsOf = ({ key, cert }: Holder, trusted = roots) => ({ key, certificate: cert, roots: trusted });
/** Files are loaded long before their tests run: no clock that begins here. */
const { signal } = new AbortController();
const open: { close(): unknown }[] = [];
after(async () => {
  for (const one of open) await one.close();
});

interface Wish {
  readonly now?: () => number;
  readonly standing?: (id: string) => NodeRole | undefined;
  readonly isCurrent?: () => boolean;
  readonly root?: string;
  readonly credentials?: ReturnType<typeof credentialsOf>;
}

/** A server whose calls only note that they were made. */
async function serve(wish: Wish = {}) {
  const calls: string[] = [];
  const failures: unknown[] = [];
  const noted = (call: string) => () => {
    calls.push(call);
    return {};
  };
  const routes = (router: ConnectRouter) => {
    router.service(Join, {
      getRootCertificate() {
        calls.push("getRootCertificate");
        return { certificate: wish.root ?? authority.root.certificate };
      },
      issueCertificate({ token }) {
        calls.push("issueCertificate");
        if (token === "wrong") throw invalid("invalid join token");
        if (token === "broken") throw new Error("secret detail");
        return {};
      },
      certificateStatus: noted("certificateStatus"),
    });
    router.service(Node, {
      renewCertificate: noted("renewCertificate"),
      leave: noted("leave"),
      attach: noted("attach"),
      detach: noted("detach"),
      publishLogs: async () => noted("publishLogs")(),
      async *session(messages, context) {
        calls.push("session");
        yield {
          body: { case: "managers", value: { managers: [{ address: callerOf(context).identity?.nodeId ?? "" }] } },
        };
        for await (const _ of messages) yield { body: { case: "registered", value: { period: 1 } } };
      },
    });
    router.service(Manager, {
      addMember: noted("addMember"),
      promoteMember: noted("promoteMember"),
      removeMember: noted("removeMember"),
      askForLogs: noted("askForLogs"),
    });
  };
  const standing = wish.standing ?? (() => "manager");
  const { now = Date.now, isCurrent = () => true } = wish;
  const parts = { routes, standing, isCurrent, now, failed: (error: unknown) => failures.push(error) };
  const server = new ControlServer(wish.credentials ?? credentialsOf(self), clusterId, parts);
  const { port } = await server.listen("127.0.0.1", 0);
  open.push(server);
  return { server, port, address: `127.0.0.1:${port}`, calls, failures };
}

function clientOf(addresses: readonly string[], holder: Holder, trusted = roots): ControlClient {
  const client = new ControlClient(addresses, credentialsOf(holder, trusted));
  open.push(client);
  return client;
}

/** A session that stays open; `ended` resolves with the error that ends it. */
async function openSession(client: ControlClient) {
  const opened = Promise.withResolvers<string>();
  const stop = Promise.withResolvers<void>();
  async function* up() {
    yield { body: { case: "beat" as const, value: {} } };
    await stop.promise;
  }
  const ended = client.use(async (calls) => {
    for await (const { body } of calls.node.session(up(), { signal }))
      if (body.case === "registered") opened.resolve(calls.address);
  }, signal);
  ended.catch(opened.reject);
  return { address: await opened.promise, ended, stop: () => stop.resolve() };
}

/** Makes a call by its name and tells how it went. */
async function attempt(address: string, tls: Parameters<typeof dial>[1], call: string): Promise<Code | "done"> {
  const link = await dial(address, { ca: roots, ...tls }, signal);
  const service = [Join, Node, Manager].find((s) => s.methods.some((m) => m.localName === call));
  assert.ok(service);
  const client = createClient(service, link.transport) as unknown as Record<string, (x: unknown) => unknown>;
  try {
    const answer = client[call]?.(["session", "publishLogs"].includes(call) ? (async function* () {})() : {});
    if (call === "session") await Array.fromAsync(answer as AsyncIterable<unknown>);
    else await answer;
    return "done";
  } catch (error) {
    return ConnectError.from(error).code;
  } finally {
    link.close();
  }
}

const methods = [Join, Node, Manager].flatMap((s) => s.methods.map((m) => m.localName));

describe("who may make which call, over TLS", async () => {
  const [worker, manager] = [node(authority), node(authority, { role: "manager" })];
  const [removed, demoted] = [node(authority), node(authority, { role: "manager" })];
  const expired = node(authority, { role: "manager", expiry: hour }, Date.now() - 2 * hour);
  const foreign = node(authority, { role: "manager", clusterId: newSwarmId() });
  const other = node(newAuthority(), { role: "manager" });
  const rows = new Map<string, NodeRole>([
    [worker.subject.nodeId, "worker"],
    [manager.subject.nodeId, "manager"],
    [demoted.subject.nodeId, "worker"],
    [expired.subject.nodeId, "manager"],
  ]);
  const hosts: readonly (readonly [string, Holder | undefined, Caller | "removed"])[] = [
    ["nobody", undefined, "nobody"],
    ["a worker", worker, "worker"],
    ["a manager", manager, "manager"],
    ["a manager that was demoted", demoted, "worker"],
    ["a removed node", removed, "removed"],
    ["a manager whose certificate expired", expired, "nobody"],
    ["a manager of another swarm of this CA", foreign, "nobody"],
    ["a manager of another CA", other, "nobody"],
  ];
  const { address, calls } = await serve({ standing: (id) => rows.get(id) });

  it("every call has its line in the table", () => {
    for (const method of methods) assert.ok(Object.hasOwn(allowed, method), method);
  });

  for (const [who, holder, as] of hosts)
    it(`${who}: as ${as}`, async () => {
      for (const method of methods) {
        calls.length = 0;
        const tls = holder === undefined ? {} : { key: holder.key, cert: holder.cert };
        const code = await attempt(address, tls, method);
        const may = as !== "removed" && allowed[method as CallName].includes(as);
        const refused = as === "nobody" ? Code.Unauthenticated : Code.PermissionDenied;
        assert.deepEqual([method, code, calls.length], [method, may ? "done" : refused, may ? 1 : 0]);
      }
    });
});

describe("a host that joins", () => {
  const digest = digestOf(authority.root.certificate);

  it("checks the root's digest, then calls over a connection that the root has verified", async () => {
    const { address, calls } = await serve();
    const join = await joinCalls(address, digest, signal);
    assert.equal(join.root, authority.root.certificate);
    await join.calls.issueCertificate({});
    assert.deepEqual(calls, ["getRootCertificate", "issueCertificate"]);
    join.close();
  });

  it("sends nothing to who has another root", async () => {
    const { address, calls } = await serve({ root: createRoot().certificate });
    await assert.rejects(joinCalls(address, digest, signal), {
      message: `remote CA does not match fingerprint. Expected: ${digest}`,
    });
    assert.deepEqual(calls, ["getRootCertificate"]);
  });

  it("sends nothing to who shows the right root and is not of it, or is a worker", async () => {
    const impostors = [node(newAuthority(), { role: "manager" }), node(authority, { role: "worker" })];
    for (const impostor of impostors) {
      const { address, calls } = await serve({ credentials: credentialsOf(impostor) });
      await assert.rejects(joinCalls(address, digest, signal), { class: "unavailable" });
      assert.deepEqual(calls, ["getRootCertificate"]);
    }
  });

  it("is told errors that are meant for it, and of others nothing", async () => {
    const { address, failures } = await serve();
    const join = await joinCalls(address, digest, signal);
    await assert.rejects(join.calls.issueCertificate({ token: "wrong" }), {
      code: Code.InvalidArgument,
      rawMessage: "invalid join token",
    });
    assert.equal(failures.length, 0);
    await assert.rejects(join.calls.issueCertificate({ token: "broken" }), {
      code: Code.Internal,
      rawMessage: "internal error",
    });
    assert.match(String(failures[0]), /secret detail/);
    join.close();
  });
});

describe("a connection that may be no more is cut within 5 s", () => {
  it("when its node is removed", async () => {
    const worker = node(authority);
    let row: NodeRole | undefined = "worker";
    const { address } = await serve({ standing: () => row });
    const session = await openSession(clientOf([address], worker));
    row = undefined;
    const since = calmTime();
    await assert.rejects(session.ended, { class: "unavailable" });
    assert.ok(calmTime() - since < 5000);
    await assert.rejects(openSession(clientOf([address], worker)), { class: "forbidden", message: /was removed/ });
  });

  it("but by a manager that may not have seen its row nothing is said of it", async () => {
    const { address } = await serve({ standing: () => undefined, isCurrent: () => false });
    await assert.rejects(openSession(clientOf([address], node(authority))), { class: "unavailable" });
  });

  it("when its certificate expires", async () => {
    const { address } = await serve();
    const short = node(authority, { expiry: hour }, Date.now() - hour + 2500);
    const since = calmTime();
    const session = await openSession(clientOf([address], short));
    await assert.rejects(session.ended, { class: "unavailable" });
    assert.ok(calmTime() - since < 2500 + 5000);
  });
});

it("a stranger stays for half a minute, and 512 are enough", async () => {
  let late = 0;
  const { address, server } = await serve({ now: () => Date.now() + late });
  const strangers: Awaited<ReturnType<typeof dial>>[] = [];
  for (let n = 0; n < 512; n++) strangers.push(await dial(address, { ca: roots }, signal));
  const more = await dial(address, { ca: roots }, signal).catch(() => undefined);
  await until(() => more?.isUp() !== true, "one more is cut off");
  assert.ok(strangers.every(({ isUp }) => isUp()));
  const session = await openSession(clientOf([address], node(authority)));
  late = 31_000;
  server.look();
  await until(() => strangers.every(({ isUp }) => !isUp()), "all are cut off");
  session.stop();
  await session.ended;
});

it("speaks TLS 1.3 and resumes no session, also after an exchange", async () => {
  const { port, server } = await serve();
  const { key, cert } = node(authority);
  const place = { port, host: "127.0.0.1", servername: managerName, ALPNProtocols: ["h2"] };
  const options = { ...place, ca: roots, key, cert };
  for (let n = 0; n < 2; n++) {
    const old = connectTls({ ...options, maxVersion: "TLSv1.2" });
    await assert.rejects(once(old, "secureConnect"), /version/);
    const first = connectTls(options).on("error", () => {});
    const [session] = (await once(first, "session")) as [Buffer];
    const second = connectTls({ ...options, session }).on("error", () => {});
    await once(second, "secureConnect");
    const seen = [second.getProtocol(), second.isSessionReused()];
    for (const socket of [first, second]) socket.destroy();
    assert.deepEqual(seen, ["TLSv1.3", false]);
    server.exchange(credentialsOf(self));
  }
});

it("certificate and roots are exchanged while streams go on; once the old root is gone, so are its nodes", async () => {
  const { server, address } = await serve();
  const session = await openSession(clientOf([address], node(authority)));
  const during: Authority = startRotation(authority, createRoot());
  const renewed = node(during, { role: "manager" });
  server.exchange(credentialsOf(renewed, trustBundle(during)));
  // Those that know only the old root, only the new one, and hold certificates of either.
  const next = during.next?.certificate ?? "";
  for (const [holder, trusted] of [
    [node(authority), roots],
    [node(during), roots],
    [node(during), next],
  ] as const) {
    const one = await openSession(clientOf([address], holder, trusted));
    one.stop();
    await one.ended;
  }
  let ended = false;
  session.ended.catch(() => (ended = true));
  await sleep(1500);
  assert.equal(ended, false);
  const finished = finishRotation(during);
  server.exchange(credentialsOf(node(finished, { role: "manager" }), trustBundle(finished)));
  await assert.rejects(session.ended, { class: "unavailable" });
});

/** Passes bytes on until it is frozen: from then on it keeps connections and says nothing, as a host without power does. */
async function proxyTo(port: number) {
  const sockets = new Set<Socket>();
  let frozen = false;
  const proxy = createServer((socket) => {
    const far = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [socket, far],
      [far, socket],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes) => void (frozen || to.write(bytes)));
      from.on("error", () => to.destroy()).on("close", () => to.destroy());
    }
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  const close = () => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  };
  open.push({ close });
  return { address: `127.0.0.1:${(proxy.address() as AddressInfo).port}`, freeze: () => (frozen = true) };
}

describe("a node finds another manager within 3 s", () => {
  const again = async (client: ControlClient, lose: () => unknown) => {
    const first = await openSession(client);
    // The session is run again elsewhere, so `ended` goes on: a call tells where the client is.
    const since = calmTime();
    await lose();
    for (;;) {
      const address = await client.use(async (c) => {
        await c.node.renewCertificate({}, { signal });
        return c.address;
      }, signal);
      if (address !== first.address) break;
      await sleep(20);
    }
    const second = await openSession(client);
    assert.notEqual(second.address, first.address);
    assert.ok(calmTime() - since < 3000, `${calmTime() - since} ms`);
    for (const one of [first, second]) one.stop();
    await Promise.all([first.ended, second.ended]);
  };

  it("when its own ends", async () => {
    const [a, b] = [await serve(), await serve()];
    await again(clientOf([a.address, b.address], node(authority)), () => a.server.close());
  });

  it("when its own answers no more, and another one neither", async () => {
    const [a, b, c] = [await serve(), await serve(), await serve()];
    const [pa, pb] = [await proxyTo(a.port), await proxyTo(b.port)];
    pb.freeze();
    await again(clientOf([pa.address, pb.address, c.address], node(authority)), () => pa.freeze());
  });

  it("and says why when there is none", async () => {
    const { server, address } = await serve();
    await server.close();
    await assert.rejects(openSession(clientOf([address], node(authority))), {
      class: "unavailable",
      message: new RegExp(`^no manager answers: ${address}: connect ECONNREFUSED`),
    });
    await assert.rejects(openSession(clientOf([], node(authority))), { message: /none is known/ });
  });

  it("goes on with its streams when its certificate is renewed", async () => {
    const { address, calls } = await serve();
    const client = clientOf([address], node(authority));
    const session = await openSession(client);
    client.setCredentials(credentialsOf(node(authority)));
    await client.use(async (c) => void (await c.node.renewCertificate({})), signal);
    session.stop();
    await session.ended;
    assert.deepEqual(calls, ["session", "renewCertificate"]);
  });
});
