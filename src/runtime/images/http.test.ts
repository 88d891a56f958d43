import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { reasonOf, send } from "./http.ts";

const patient = new AbortController().signal;
const seen: string[] = [];
let servers: Server[];
let addresses: string[];

/** Answers with what was asked; `/to/N` leads to the server N. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = "", headers } = request;
  const body = (await request.toArray()).join("");
  seen.push(`${method} ${url} ${headers.authorization ?? "-"} ${body}`);
  const to = /^\/to\/(\d)$/.exec(url)?.[1];
  if (url === "/circle") response.writeHead(302, { location: "/circle" }).end();
  else if (url === "/never") return;
  else if (to !== undefined) response.writeHead(307, { location: `${addresses[Number(to)]}/there` }).end();
  else response.writeHead(200, { "x-one": "1" }).end("body");
}

before(async () => {
  servers = [0, 1].map(() => createServer((request, response) => void answer(request, response)));
  for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening");
  addresses = servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

test("a password goes to the host that it is for, and to no other", async () => {
  for (const to of [0, 1]) {
    seen.length = 0;
    const reply = await send(`${addresses[0]}/to/${to}`, { headers: { authorization: "secret" } }, patient);
    assert.deepEqual([reply.status, reply.ok, reply.url], [200, true, `${addresses[to]}/there`]);
    assert.equal((await reply.bytes(4)).toString(), "body");
    assert.deepEqual(
      seen,
      ["GET /to/0 secret ", "GET /there secret "].map((line) =>
        to === 0 ? line : line.replace("/to/0", "/to/1").replace("/there secret", "/there -"),
      ),
    );
  }
});

test("bodies are sent as they come, and bounded where they are read", async () => {
  async function* parts() {
    yield Buffer.from("a");
    yield Buffer.from("b");
  }
  seen.length = 0;
  const reply = await send(`${addresses[0]}/put`, { method: "PUT", body: parts() }, patient);
  assert.deepEqual([seen, reply.header("x-one"), reply.header("x-two")], [["PUT /put - ab"], "1", ""]);
  await assert.rejects(reply.bytes(3), { class: "invalid" });
});

test("what goes wrong is told as Go tells it", async () => {
  await assert.rejects(send("http://127.0.0.1:1/v2/", {}, patient), {
    class: "unavailable",
    message: 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
  });
  await assert.rejects(send(`${addresses[0]}/circle`, {}, patient), { message: /stopped after 10 redirects$/ });
  await assert.rejects(send((addresses[0] ?? "").replace("http:", "https:"), {}, patient), {
    message: /: http: server gave HTTP response to HTTPS client$/,
  });
  await assert.rejects(send("ftp://x/", {}, patient), { class: "invalid" });
  const lookup = Object.assign(new Error("x"), { syscall: "getaddrinfo", code: "ENOTFOUND", hostname: "h" });
  assert.equal(reasonOf(lookup), "dial tcp: lookup h: no such host");
  const six = Object.assign(new Error("x"), { syscall: "connect", code: "ENETUNREACH", address: "::1", port: 5 });
  assert.equal(reasonOf(new AggregateError([lookup, six])), "dial tcp [::1]:5: connect: network is unreachable");
});

test("a caller who goes away ends a request", async () => {
  const caller = new AbortController();
  const asked = send(`${addresses[0]}/never`, {}, caller.signal);
  setTimeout(() => caller.abort(new Error("gone")), 20);
  await assert.rejects(asked, { message: "gone" });
});
