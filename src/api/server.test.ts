import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { EngineError, type ErrorClass } from "../lib/errors.ts";
import { createApiServer } from "./server.ts";
import { serve, type TestServer } from "./testing.ts";

const system = { info: async () => ({ version: "1.2.3", kernelVersion: "6.18", runtime: {} }) } as never;

describe("the server", () => {
  let server: TestServer;
  before(async () => {
    const networks = {
      inspect: (reference: string) => {
        throw new EngineError(reference as ErrorClass, `text of ${reference}`);
      },
      list: () => {
        throw new TypeError("a fault of ours");
      },
      create: async (spec: { name: string }) => ({ id: "1", warning: spec.name }),
    };
    server = await serve({ system, networks });
  });
  after(() => server[Symbol.asyncDispose]());
  const refused = async (method: string, path: string, status: number, message: string, options = {}) => {
    const answer = await server.ask(method, path, options);
    assert.deepEqual([answer.status, answer.json?.message], [status, message]);
    assert.equal(answer.headers["content-type"], "application/json");
  };

  test("answers a ping with what clients negotiate by, whatever the method", async () => {
    const get = await server.ask("GET", "/_ping");
    assert.equal(get.text, "OK");
    const head = await server.ask("HEAD", "/v1.24/_ping");
    assert.equal(head.text, "");
    for (const { status, headers } of [get, head]) {
      assert.equal(status, 200);
      assert.equal(headers["api-version"], "1.50");
      assert.equal(headers.ostype, "linux");
      assert.equal(headers["docker-experimental"], "false");
      assert.equal(headers["builder-version"], "1");
      assert.equal(headers.swarm, "inactive");
    }
  });

  test("speaks 1.24 to 1.50, and says so to others", async () => {
    for (const version of ["/v1.24", "/v1.50", ""])
      assert.equal((await server.ask("GET", `${version}/version`)).status, 200);
    const new_ = "is too new. Maximum supported API version is 1.50";
    await refused("GET", "/v1.51/version", 400, `client version 1.51 ${new_}`);
    await refused("GET", "/v2.0/version", 400, `client version 2.0 ${new_}`);
    const old = "is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version";
    await refused("GET", "/v1.10/version", 400, `client version 1.10 ${old}`);
    await refused("GET", "/v0.99/version", 400, `client version 0.99 ${old}`);
  });

  test("knows no other page", async () => {
    for (const path of ["/", "/nothing", "/v1.50/", "/v1.50/nothing", "//", "/containers", "/v1.x/info", "/%zz"])
      await refused("GET", path, 404, "page not found");
    await refused("PUT", "/networks", 404, "page not found");
    await refused("GET", "/networks/%zz", 400, "invalid URL escape in the path");
  });

  const statuses: Readonly<Record<ErrorClass, number>> = {
    "not-found": 404,
    invalid: 400,
    conflict: 409,
    forbidden: 403,
    unavailable: 503,
    "not-implemented": 501,
    unauthorized: 401,
    system: 500,
    "not-modified": 304,
  };
  for (const [name, status] of Object.entries(statuses))
    test(`maps errors of class ${name} to ${status}`, async () => {
      const { status: got, text } = await server.ask("GET", `/networks/${name}`);
      assert.equal(got, status);
      assert.equal(text, status === 304 ? "" : `{"message":"text of ${name}"}\n`);
    });

  test("logs faults of its own and goes on", async () => {
    await refused("GET", "/networks", 500, "a fault of ours");
    assert.match(server.errors.join(), /TypeError: a fault of ours/);
    assert.equal((await server.ask("GET", "/_ping")).status, 200);
  });

  const create = (body: unknown, headers = {}) => ({ body, headers });
  const eof = "invalid JSON: got EOF while reading request body";
  const bad: readonly (readonly [string, ReturnType<typeof create>, RegExp])[] = [
    [
      "a wrong type",
      create("{}", { "Content-Type": "text/plain" }),
      /^unsupported Content-Type header \(text\/plain\): must be 'application\/json'$/,
    ],
    ["no type", create("{}", { "Content-Type": "" }), /^malformed Content-Type header \(\)$/],
    ["half a type", create("{}", { "Content-Type": "json" }), /^malformed Content-Type header \(json\)$/],
    ["blanks only", create("  \n"), new RegExp(`^${eof}$`)],
    ["broken JSON", create('{"Name":'), /^invalid JSON: /],
    ["no JSON", create("hello"), /^invalid JSON: /],
    ["an array", create("[]"), /^invalid JSON: document: /],
    ["two documents", create('{"Name":"a"}{"Name":"b"}'), /^unexpected content after JSON$/],
    ["rubbish after it", create('{"Name":"a"} x'), /^unexpected content after JSON$/],
    ["a number for a text", create('{"Name":5}'), /^invalid JSON: Name: /],
    ["a text for a flag", create('{"Internal":"yes"}'), /^invalid JSON: Internal: /],
    ["a text for a list", create('{"IPAM":{"Config":"x"}}'), /^invalid JSON: IPAM\.Config: /],
    ["deep nesting", create(`${"[".repeat(100_000)}`), /^invalid JSON: exceeded max depth$/],
    [
      "deep nesting in a known field",
      create(`{"Name":"a","X":${'{"a":'.repeat(5000)}1${"}".repeat(5000)}}`),
      /max depth/,
    ],
  ];
  for (const [what, options, message] of bad)
    test(`refuses a body with ${what}`, async () => {
      const { status, json } = await server.ask("POST", "/networks/create", options);
      assert.equal(status, 400);
      assert.match(json.message, message);
    });

  test("refuses a body beyond 4 MiB, announced or not", async () => {
    const body = `{"Name":"${"x".repeat(5 << 20)}"}`;
    for (const headers of [{}, { "Transfer-Encoding": "chunked" }]) {
      const answer = await server.ask("POST", "/networks/create", { body, headers });
      assert.deepEqual([answer.status, answer.json.message], [413, "request body is larger than 4194304 bytes"]);
    }
  });

  test("takes an absent body for all defaults, and fields that nobody knows", async () => {
    assert.equal((await server.ask("POST", "/networks/create")).status, 201);
    const body = '{"Name":"n","Labels":{"__proto__":"x"},"Neverland":{"a":[1]},"Options":null} \n';
    const type = { "Content-Type": "Application/JSON; charset=utf-8" };
    const { status, json } = await server.ask("POST", "/networks/create", { body, headers: type });
    assert.deepEqual([status, json.Warning], [201, "n"]);
  });

  test("has a socket for its group only, and lets nobody listen there twice", async () => {
    assert.equal((await stat(server.path)).mode & 0o777, 0o660);
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const second = createApiServer({ engine: {} as never, log });
    await assert.rejects(second.listen({ path: server.path }), {
      class: "conflict",
      message: `another daemon listens at ${server.path}`,
    });
    assert.equal((await server.ask("GET", "/_ping")).status, 200);
  });

  test("answers an upgrade that fails as plain HTTP", async () => {
    const socket = server.connect();
    socket.write(
      "POST /exec/x/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n{}",
    );
    const chunks = await socket.toArray();
    socket.end();
    const text = Buffer.concat(chunks).toString();
    assert.match(text, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(text, /\r\n\r\n\{"message":"unsupported Content-Type header/);
  });
});
