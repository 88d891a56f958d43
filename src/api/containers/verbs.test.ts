import assert from "node:assert/strict";
import { test } from "node:test";
import { EngineError } from "../../lib/errors.ts";
import { type SomeEngine, serve } from "../testing.ts";

/** An engine whose container verbs write down what they were asked. */
function recorder(): { seen: unknown[]; engine: SomeEngine } {
  const seen: unknown[] = [];
  const note =
    (name: string, result?: unknown) =>
    async (...all: unknown[]) => {
      seen.push([name, ...all]);
      return result as never;
    };
  const container = { spec: { tty: true }, shown: { hostConfig: { ConsoleSize: [24, 80] } } };
  const names = ["start", "stop", "restart", "kill", "pause", "unpause", "rename", "remove", "resize"];
  const verbs = Object.fromEntries(names.map((name) => [name, note(name)]));
  const prune = note("prune", { ids: ["a"], freed: 5 });
  return {
    seen,
    engine: {
      containers: { ...verbs, prune, update: note("update", ["w"]), inspect: async () => ({ container }) as never },
    },
  };
}

test("verbs reach the engine with their options", async () => {
  const { seen, engine } = recorder();
  await using server = await serve(engine);
  const post = async (path: string) => (await server.ask("POST", `/containers/c/${path}`)).status;
  const all = [
    "start",
    "stop?t=0&signal=INT",
    "stop",
    "restart?t=-1",
    "kill?signal=HUP",
    "pause",
    "unpause",
    "rename?name=d",
  ];
  for (const path of all) assert.equal(await post(path), 204, path);
  assert.equal(await post("resize?h=10&w=20"), 200);
  assert.equal((await server.ask("DELETE", "/containers/c?force=1&v=true&link=no")).status, 204);
  assert.deepEqual((await server.ask("POST", "/containers/prune")).json, {
    ContainersDeleted: ["a"],
    SpaceReclaimed: 5,
  });
  assert.deepEqual(seen, [
    ["start", "c"],
    ["resize", "c", 80, 24],
    ["stop", "c", { timeout: 0, signal: "INT" }],
    ["stop", "c", {}],
    ["restart", "c", { timeout: -1 }],
    ["kill", "c", "HUP"],
    ["pause", "c"],
    ["unpause", "c"],
    ["rename", "c", "d"],
    ["resize", "c", 20, 10],
    ["remove", "c", { force: true, volumes: true, link: false }],
    ["prune", new Map()],
  ]);
  const bad = await server.ask("POST", "/containers/c/stop?t=soon");
  assert.deepEqual([bad.status, bad.json.message], [400, 'invalid value "soon" for t: not a whole number']);
});

test("start refuses the HostConfig of clients that are too old, and knows 304", async () => {
  const start = async () => {
    throw new EngineError("not-modified", "container is already running");
  };
  await using server = await serve({ containers: { start } });
  const { status, json } = await server.ask("POST", "/containers/c/start", { body: { Binds: ["/a:/b"] } });
  assert.equal(status, 400);
  assert.match(json.message, /^starting container with non-empty request body was deprecated/);
  const again = await server.ask("POST", "/containers/c/start");
  assert.deepEqual([again.status, again.text], [304, ""]);
});

test("update changes only what is said, and refuses what is not supported", async () => {
  const { seen, engine } = recorder();
  await using server = await serve(engine);
  const update = (body: object) => server.ask("POST", "/containers/c/update", { body });
  const fromClient = {
    Memory: 64 << 20,
    NanoCpus: 0,
    CpusetCpus: "",
    BlkioWeight: 0,
    PidsLimit: null,
    RestartPolicy: { Name: "" },
  };
  assert.deepEqual((await update(fromClient)).json, { Warnings: ["w"] });
  await update({ PidsLimit: -1, RestartPolicy: { Name: "always" } });
  assert.deepEqual(seen, [
    ["update", "c", { memory: 64 << 20 }],
    ["update", "c", { pidsLimit: 0, restart: { name: "always", maximumRetryCount: 0 } }],
  ]);
  assert.match((await update({ CpusetCpus: "0" })).json.message, /^HostConfig\.CpusetCpus is not supported/);
  assert.equal((await update({ Memory: 5 })).json.message, "Minimum memory limit allowed is 6MB");
});

const stat = { name: "x", size: 5, mode: 420, mtime: "2026-01-01T00:00:00Z", linkTarget: "" };

test("archives go both ways", async () => {
  let closed = 0;
  const readArchive = async () => ({
    stat,
    tar: (async function* () {
      try {
        yield Buffer.from("tar");
        yield Buffer.from("ball");
      } finally {
        closed += 1;
      }
    })(),
  });
  const written: unknown[] = [];
  const writeArchive = async (name: string, path: string, tar: AsyncIterable<Uint8Array>, options: object) => {
    const chunks = [];
    for await (const chunk of tar) chunks.push(chunk);
    written.push([name, path, Buffer.concat(chunks).toString(), options]);
  };
  const statPath = async () => stat;
  await using server = await serve({ containers: { readArchive, statPath, writeArchive } });
  const get = await server.ask("GET", "/containers/c/archive?path=/x");
  assert.equal(get.text, "tarball");
  const head = await server.ask("HEAD", "/containers/c/archive?path=/x");
  for (const { headers } of [get, head])
    assert.deepEqual(
      JSON.parse(Buffer.from(String(headers["x-docker-container-path-stat"]), "base64").toString()),
      stat,
    );
  assert.equal(closed, 1);
  const put = await server.ask("PUT", "/containers/c/archive?path=/y&noOverwriteDirNonDir=true", { body: "bytes" });
  const options = { noOverwriteDirNonDir: true, copyUidGid: false };
  assert.deepEqual([put.status, written], [200, [["c", "/y", "bytes", options]]]);
  assert.equal((await server.ask("GET", "/containers/c/archive")).status, 400);
});

test("stats come once or as a stream", async () => {
  let nanoseconds = 0;
  const usage = async () => {
    nanoseconds += 1000;
    const sample = { read: "2026-01-01T00:00:00Z", cpuNanoseconds: nanoseconds, memory: 5, memoryLimit: 10, pids: 2 };
    return { container: { id: "i", name: "n" }, usage: sample } as never;
  };
  await using server = await serve({ containers: { usage } });
  const { json } = await server.ask("GET", "/containers/c/stats?stream=0&one-shot=1");
  assert.deepEqual(
    [json.name, json.memory_stats.usage, json.memory_stats.limit, json.pids_stats.current],
    ["/n", 5, 10, 2],
  );
  assert.deepEqual([json.cpu_stats.cpu_usage.total_usage, json.precpu_stats.cpu_usage.total_usage], [1000, 0]);
  assert.ok(json.cpu_stats.system_cpu_usage > 1e9);
  const later = (await server.ask("GET", "/containers/c/stats?stream=false")).json;
  assert.deepEqual([later.cpu_stats.cpu_usage.total_usage, later.precpu_stats.cpu_usage.total_usage], [3000, 2000]);
  assert.ok(later.cpu_stats.system_cpu_usage > later.precpu_stats.system_cpu_usage);
});

for (const path of ["changes", "attach/ws"])
  test(`${path} is refused with a reason`, async () => {
    await using server = await serve({});
    const { status, json } = await server.ask("GET", `/containers/c/${path}`);
    assert.equal(status, 501);
    assert.match(json.message, /not (kept|supported)/);
  });
