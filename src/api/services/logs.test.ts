import assert from "node:assert/strict";
import { test } from "node:test";
import type { TaskLine } from "../../engine/engine.ts";
import { notFound, system } from "../../lib/errors.ts";
import { serve } from "../testing.ts";

const line = (stream: TaskLine["stream"], text: string): TaskLine => ({
  stream,
  time: "2026-01-02T03:04:05.5Z",
  data: Buffer.from(`${text}\n`),
  taskId: "t1",
  serviceId: "s1",
  nodeId: "n1",
});
/** The verbs with a log of these lines, and what was asked of it. */
function play(lines: readonly TaskLine[], { tty = false, failure = "" } = {}) {
  const seen: unknown[] = [];
  const logs = (reference: string, options: object) => {
    if (reference === "none") throw notFound("service none not found");
    seen.push([reference, options]);
    const read = async function* () {
      yield* lines;
      if (failure !== "") throw system(failure);
    };
    return { tty, lines: read() };
  };
  return { seen, engine: { services: { logs }, tasks: { logs } } };
}
const frames = (text: string) => {
  const bytes = Buffer.from(text);
  const found: [stream: number, text: string][] = [];
  for (let at = 0; at < bytes.length; at += 8 + bytes.readUInt32BE(at + 4))
    found.push([bytes[at] ?? 0, bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at + 4)).toString()]);
  return found;
};

test("lines are framed, with times and whose they are where it is asked for", async () => {
  const { engine, seen } = play([line("stdout", "a"), line("stderr", "b")]);
  await using server = await serve(engine);
  const plain = await server.ask("GET", "/services/web/logs?stdout=1&stderr=true");
  assert.equal(plain.headers["content-type"], "application/vnd.docker.multiplexed-stream");
  assert.deepEqual(frames(plain.text), [
    [1, "a\n"],
    [2, "b\n"],
  ]);
  const old = await server.ask(
    "GET",
    "/v1.41/tasks/t1/logs?stdout=1&details=1&timestamps=1&follow=1&tail=5&since=1700000000.5",
  );
  assert.equal(old.headers["content-type"], "application/vnd.docker.raw-stream");
  const details = "com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1";
  assert.equal(frames(old.text)[0]?.[1], `2026-01-02T03:04:05.500000000Z ${details} a\n`);
  const usual = { follow: false, stdout: true, stderr: true, since: 0 };
  assert.deepEqual(seen, [
    ["web", usual],
    ["t1", { ...usual, follow: true, stderr: false, since: 1_700_000_000_500, tail: 5 }],
  ]);
});

test("what could not be had is said at the end; a terminal's output is raw", async () => {
  const broken = play([line("stdout", "a")], { failure: "warning: incomplete" });
  await using server = await serve(broken.engine);
  const { text } = await server.ask("GET", "/services/web/logs?stdout=1&tail=all");
  assert.deepEqual(frames(text), [
    [1, "a\n"],
    [3, "Error grabbing logs: warning: incomplete\n\n"],
  ]);
  await using other = await serve(play([line("stdout", "a")], { tty: true, failure: "x" }).engine);
  assert.equal((await other.ask("GET", "/services/web/logs?stdout=1")).text, "a\nError grabbing logs: x\n\n");
});

test("what cannot be asked is refused before anything is sent", async () => {
  await using server = await serve(play([]).engine);
  const refused = async (path: string, status: number, message: string) => {
    const answer = await server.ask("GET", path);
    assert.deepEqual([answer.status, answer.json.message], [status, message]);
  };
  await refused("/services/web/logs", 400, "Bad parameters: you must choose at least one stream");
  await refused("/services/web/logs?stdout=1&tail=x", 400, 'tail value must be a positive integer or "all"');
  await refused("/tasks/t/logs?stdout=1&tail=-1", 400, "negative tail values not supported");
  await refused("/services/none/logs?stdout=1", 404, "service none not found");
});
