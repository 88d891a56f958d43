import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { invalid } from "../lib/errors.ts";
import { playedProcess, type SomeEngine, serve, type TestServer } from "./testing.ts";
import { frame } from "./streams.ts";
import { calmTime } from "../../test/support/until.ts";

type Process = ReturnType<typeof playedProcess>;

function containers(process: Process, spec: object, more: object = {}): SomeEngine {
  const container = { spec: { tty: false, openStdin: true, stdinOnce: true, ...spec } };
  return {
    containers: { inspect: async () => ({ container }) as never, attach: async () => process, ...more },
  };
}

const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";

/** Sends a request by hand; @returns the connection and its answer's head */
async function open(server: TestServer, path: string, headers = upgrade, body = "") {
  const socket = server.connect();
  const type = body === "" ? "" : "Content-Type: application/json\r\n";
  socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\n${headers}${type}Content-Length: ${body.length}\r\n\r\n${body}`);
  const [first] = (await once(socket, "data")) as [Buffer];
  const text = first.toString("latin1");
  const end = text.indexOf("\r\n\r\n") + 4;
  const rest = first.subarray(end);
  if (rest.length > 0) socket.unshift(rest);
  return { socket, head: text.slice(0, end) };
}

const all = "stream=1&stdin=1&stdout=1&stderr=1";
const rest = async (socket: AsyncIterable<Buffer>) => {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
};

describe("attach", () => {
  test("frames output without a terminal, and half-closes", async () => {
    const process = playedProcess();
    await using server = await serve(containers(process, {}));
    const { socket, head } = await open(server, `/v1.50/containers/c/attach?${all}`);
    assert.match(head, /^HTTP\/1\.1 101 UPGRADED\r\n/);
    assert.match(head, /\r\nContent-Type: application\/vnd\.docker\.multiplexed-stream\r\n/);
    assert.match(head, /\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n/);
    socket.end("typed");
    while (!process.stdinClosed) await process.told();
    assert.equal(process.heard.join(""), "typed");
    process.say("stdout", "still here");
    process.say("stderr", "oops");
    process.close();
    assert.deepEqual(
      await rest(socket),
      Buffer.concat([frame("stdout", Buffer.from("still here")), frame("stderr", Buffer.from("oops"))]),
    );
  });

  test("before API 1.42 the type does not tell frames from raw bytes", async () => {
    const process = playedProcess();
    await using server = await serve(containers(process, {}));
    const { head, socket } = await open(server, `/v1.41/containers/c/attach?${all}`);
    assert.match(head, /raw-stream/);
    process.say("stdout", "x");
    process.close();
    assert.deepEqual(await rest(socket), frame("stdout", Buffer.from("x")));
    socket.end();
  });

  test("sends raw bytes with a terminal, and lets go at the detach keys", async () => {
    const process = playedProcess();
    await using server = await serve(containers(process, { tty: true }));
    const { socket, head } = await open(server, `/containers/c/attach?${all}&detachKeys=ctrl-a,d`);
    assert.match(head, /raw-stream/);
    process.say("stdout", "$ ");
    const [prompt] = await once(socket, "data");
    assert.equal(String(prompt), "$ ");
    socket.write("ls\x01d");
    assert.equal((await rest(socket)).length, 0);
    socket.end();
    assert.deepEqual([process.heard, process.closed, process.stdinClosed], [["ls"], true, false]);
  });

  test("refuses bad detach keys before the upgrade", async () => {
    await using server = await serve(containers(playedProcess(), {}));
    const { socket, head } = await open(server, `/containers/c/attach?${all}&detachKeys=ctrl-1`);
    assert.match(head, /^HTTP\/1\.1 400 /);
    assert.match(String(await rest(socket)), /Invalid detach keys \(ctrl-1\) provided/);
    socket.end();
  });

  test("leaves standard input open where it is not for one client only", async () => {
    const process = playedProcess();
    await using server = await serve(containers(process, { stdinOnce: false }));
    const { socket } = await open(server, `/containers/c/attach?${all}`);
    socket.end();
    await rest(socket);
    assert.deepEqual([process.closed, process.stdinClosed], [true, false]);
  });

  test("passes on only the streams that were asked for", async () => {
    const process = playedProcess();
    await using server = await serve(containers(process, {}));
    const { socket } = await open(server, "/containers/c/attach?stream=1&stderr=1");
    process.say("stdout", "no");
    process.say("stderr", "yes");
    process.close();
    assert.deepEqual(await rest(socket), frame("stderr", Buffer.from("yes")));
    socket.end();
  });

  test("logs=1 sends what was before, first", async () => {
    const process = playedProcess();
    const logs = async () => ({
      tty: false,
      lines: (async function* () {
        yield { stream: "stdout", data: Buffer.from("old\n"), time: "" } as const;
      })(),
    });
    await using server = await serve(containers(process, {}, { logs }));
    process.say("stdout", "new\n");
    process.close();
    const { socket } = await open(server, "/containers/c/attach?logs=1&stream=1&stdout=1");
    const expected = Buffer.concat(["old\n", "new\n"].map((text) => frame("stdout", Buffer.from(text))));
    assert.deepEqual(await rest(socket), expected);
    socket.end();
  });

  test("clients that do not upgrade get 200 and the same stream until the connection ends", async () => {
    const process = playedProcess();
    await using server = await serve(containers(process, {}));
    const { socket, head } = await open(server, "/containers/c/attach?stream=1&stdout=1", "");
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
    assert.doesNotMatch(head, /Transfer-Encoding|Content-Length/i);
    process.say("stdout", "hi");
    process.close();
    assert.deepEqual(await rest(socket), frame("stdout", Buffer.from("hi")));
    socket.end();
  });

  test("a client that vanishes lets go of the process", async () => {
    const process = playedProcess();
    await using server = await serve(containers(process, {}));
    const { socket } = await open(server, "/containers/c/attach?stream=1&stdout=1");
    socket.destroy();
    process.say("stdout", "anyone?");
    while (!process.closed) await process.told();
  });

  test("closing the server ends attached clients, and quickly", async () => {
    const process = playedProcess();
    const server = await serve(containers(process, {}));
    const { socket } = await open(server, `/containers/c/attach?${all}`);
    const started = calmTime();
    const left = rest(socket).then(() => socket.end());
    await server[Symbol.asyncDispose]();
    await left;
    assert.ok(calmTime() - started < 1000);
  });

  test("a slow reader holds the process back", async () => {
    const process = playedProcess();
    let taken = 0;
    const output = (async function* () {
      for (; taken < 400; taken += 1) yield { stream: "stdout", data: Buffer.alloc(64 << 10) } as const;
    })();
    await using server = await serve(containers({ ...process, output } as Process, { tty: true }));
    const { socket } = await open(server, "/containers/c/attach?stream=1&stdout=1");
    socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.ok(taken < 100, `${taken} chunks of 64 KiB were taken`);
    assert.equal((await rest(socket)).length, 400 * (64 << 10));
    socket.end();
  });
});

describe("exec", () => {
  const spec = {
    id: "e",
    containerId: "c",
    args: ["cat", "-u"],
    env: [],
    user: "me",
    workingDir: "",
    tty: false,
    stdin: true,
    privileged: false,
  };
  const detail = { spec, running: false, pid: 0, detachKeys: "", attach: { stdout: true, stderr: false } };

  test("create asks the engine for what the client says", async () => {
    const seen: unknown[] = [];
    const create = async (...request: unknown[]) => {
      seen.push(request);
      return "e1";
    };
    await using server = await serve({ execs: { create } });
    const body = {
      Cmd: ["ls", "-l"],
      AttachStdout: true,
      Tty: true,
      Env: ["A=b"],
      User: "u",
      WorkingDir: "/w",
      DetachKeys: "",
    };
    const { status, json } = await server.ask("POST", "/containers/c/exec", { body });
    assert.deepEqual([status, json], [201, { Id: "e1" }]);
    const expected = {
      args: ["ls", "-l"],
      env: ["A=b"],
      user: "u",
      workingDir: "/w",
      tty: true,
      stdin: false,
      privileged: false,
      detachKeys: "",
      attach: { stdout: true, stderr: false },
    };
    assert.deepEqual(seen, [["c", expected]]);
    const none = await server.ask("POST", "/containers/c/exec", { body: { Cmd: [] } });
    assert.deepEqual([none.status, none.json.message], [400, "No exec command specified"]);
  });

  test("start reads its body before the stream, and half-closes", async () => {
    const process = playedProcess();
    const sizes: unknown[] = [];
    const start = async (_: string, options: object) => {
      sizes.push(options);
      return process;
    };
    await using server = await serve({ execs: { inspect: () => detail, start } });
    const body = '{"Detach":false,"Tty":false,"ConsoleSize":[24,80]}';
    const { socket, head } = await open(server, "/exec/e/start", upgrade, body);
    assert.match(head, /^HTTP\/1\.1 101 /);
    socket.end("in");
    while (!process.stdinClosed) await process.told();
    process.say("stderr", "not wanted");
    process.say("stdout", "out");
    process.close();
    assert.deepEqual(await rest(socket), frame("stdout", Buffer.from("out")));
    assert.deepEqual([process.heard, sizes], [["in"], [{ detach: false, size: [24, 80] }]]);
  });

  test("why a command does not start is told in the stream; a detached one gets an error", async () => {
    let exitCode: number | undefined;
    const start = async () => {
      exitCode = 127;
      throw invalid("OCI runtime exec failed: not found");
    };
    const inspect = () => (exitCode === undefined ? detail : { ...detail, exitCode });
    await using server = await serve({ execs: { inspect, start } });
    const { socket, head } = await open(server, "/exec/e/start", upgrade, "{}");
    assert.match(head, /^HTTP\/1\.1 101 /);
    const text = Buffer.from("OCI runtime exec failed: not found\r\n");
    assert.deepEqual(await rest(socket), frame("stdout", text));
    socket.end();
    const { status, json } = await server.ask("POST", "/exec/e/start", { body: { Detach: true } });
    assert.deepEqual([status, json.message], [400, "OCI runtime exec failed: not found"]);
  });

  test("inspect has Docker's fields", async () => {
    await using server = await serve({ execs: { inspect: () => ({ ...detail, exitCode: 3, detachKeys: "a,b" }) } });
    assert.deepEqual((await server.ask("GET", "/exec/e/json")).json, {
      ID: "e",
      Running: false,
      ExitCode: 3,
      ProcessConfig: { tty: false, entrypoint: "cat", arguments: ["-u"], privileged: false, user: "me" },
      OpenStdin: true,
      OpenStderr: false,
      OpenStdout: true,
      CanRemove: true,
      ContainerID: "c",
      DetachKeys: "YWI=",
      Pid: 0,
    });
  });
});

describe("streams that only come", () => {
  test("wait sends its head at once, and the outcome when it is there", async () => {
    const { promise: done, resolve: end } = Promise.withResolvers<{ exitCode: number; error: string }>();
    const conditions: string[] = [];
    const wait = async (_: string, condition: string) => {
      conditions.push(condition);
      return { done };
    };
    await using server = await serve({ containers: { wait } });
    const { socket, head } = await open(server, "/containers/c/wait?condition=removed", "Connection: close\r\n");
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n[^]*Content-Type: application\/json/);
    end({ exitCode: 125, error: "it broke" });
    assert.match(String(await rest(socket)), /\{"StatusCode":125,"Error":\{"Message":"it broke"\}\}\n/);
    socket.end();
    await server.ask("POST", "/containers/c/wait");
    await server.ask("POST", "/v1.29/containers/c/wait?condition=removed");
    assert.deepEqual(conditions, ["removed", "not-running", "not-running"]);
    const bad = await server.ask("POST", "/containers/c/wait?condition=never");
    assert.deepEqual([bad.status, bad.json.message], [400, 'invalid condition: "never"']);
  });

  test("logs reads its options, and stops the engine when the client leaves", async () => {
    const seen: unknown[] = [];
    const { promise: gone, resolve: left } = Promise.withResolvers<void>();
    const logs = async (_: string, options: object, signal: AbortSignal) => {
      seen.push(options);
      const lines = (async function* () {
        yield { stream: "stderr", data: Buffer.from("a\n"), time: "2026-01-01T00:00:00.082Z" } as const;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        left();
      })();
      return { tty: false, lines };
    };
    await using server = await serve({ containers: { logs } });
    const socket = server.connect();
    const query = "follow=1&stdout=0&stderr=true&since=1700000000.5&tail=7&timestamps=1";
    socket.write(`GET /containers/c/logs?${query} HTTP/1.0\r\n\r\n`);
    let text = "";
    while (!text.includes("a\n")) text += String((await once(socket, "data"))[0]);
    assert.match(text, /multiplexed-stream/);
    const line = frame("stderr", Buffer.from("2026-01-01T00:00:00.082000000Z a\n"));
    assert.ok(text.endsWith(String(line)));
    socket.destroy();
    await gone;
    const options = { follow: true, stdout: false, stderr: true, since: 1_700_000_000_500, until: 0, tail: 7 };
    assert.deepEqual(seen, [options]);
    const bad = await server.ask("GET", "/containers/c/logs?stdout=false");
    assert.deepEqual([bad.status, bad.json.message], [400, "Bad parameters: you must choose at least one stream"]);
  });

  test("events come as lines, with nanoseconds that no number holds", async () => {
    const asked: unknown[] = [];
    const subscribe = async function* (options: object) {
      asked.push(options);
      const common = { id: "i", scope: "local", timeNano: 1_700_000_000_123_456_789n } as const;
      yield { ...common, type: "container", action: "start", attributes: { image: "busybox", name: "n" } } as const;
      yield { ...common, type: "network", action: "create", attributes: {} } as const;
    };
    await using server = await serve({ events: { subscribe } });
    const { text } = await server.ask("GET", '/events?since=1&until=2&filters={"type":["network","container"]}');
    const lines = text.trimEnd().split("\n");
    assert.equal(
      lines[0],
      '{"status":"start","id":"i","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"i","Attributes":{"image":"busybox","name":"n"}},"scope":"local","time":1700000000,"timeNano":1700000000123456789}',
    );
    assert.match(lines[1] ?? "", /^\{"Type":"network"/);
    assert.deepEqual(asked, [{ since: 1000, until: 2000, filters: new Map([["type", ["network", "container"]]]) }]);
    const wrong = async (query: string) => (await server.ask("GET", `/events?${query}`)).json.message;
    assert.equal(await wrong('filters={"colour":["red"]}'), "invalid filter 'colour'");
    assert.equal(await wrong("since=5&until=4"), "`since` time (5) cannot be after `until` time (4)");
  });
});
