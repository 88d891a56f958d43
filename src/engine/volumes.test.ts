import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { KeyedLock } from "../lib/keyed-lock.ts";
import type { Mount } from "../model/container.ts";
import { plainContainer } from "../model/container-testing.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";
import { createContainer } from "./create-container.ts";
import type { ContainerRequest } from "./engine.ts";
import { EventBus } from "./events.ts";
import type { Parts } from "./parts.ts";
import { createVolumes, strayVolumes, volumePath } from "./volumes.ts";

const wish = (name: string) => ({ name, driver: "local", labels: {}, options: {} });
const full = new Error("the disk is full");

/** Volumes over a store that takes its time, and refuses what the test says. */
async function host(test: TestContext) {
  const dataRoot = await mkdtemp(join(tmpdir(), "tombolo-volumes-"));
  test.after(() => rm(dataRoot, { recursive: true }));
  const memory = createMemoryStore();
  const play = { isFull: false };
  const store: Store = {
    snapshot: () => memory.snapshot(),
    watch: (signal) => memory.watch(signal),
    close: () => memory.close(),
    async update(change) {
      if (play.isFull) throw full;
      const done = await memory.update(change);
      await sleep(20);
      return done;
    },
  };
  const processes = { create: async () => {}, remove: async () => {}, populate: async () => {}, logPath: () => "" };
  const parts = {
    store,
    runtime: { processes, images: { find: async () => ({ id: "sha256:1", tags: [], config: { Cmd: ["sh"] } }) } },
    drivers: new Map(),
    host: { dns: () => ({ servers: [], search: [], options: [] }) },
    addresses: { expect() {} },
    settings: { dataRoot, dns: {} },
    bus: new EventBus(),
    locks: new KeyedLock(),
  } as unknown as Parts;
  const isThere = (name: string) => existsSync(volumePath(parts, name));
  const rows = () =>
    store
      .snapshot()
      .list("volumes")
      .map(({ name }) => name);
  const run = (...names: string[]) => createContainer(parts, request(names));
  return { parts, play, processes, volumes: createVolumes(parts), isThere, rows, run };
}

function request(names: readonly string[]): ContainerRequest {
  const mounts = names.map(
    (source): Mount => ({
      ...{ type: "volume", source, target: `/${source}`, readOnly: false, propagation: "", options: "", copy: true },
    }),
  );
  const shown = { hostConfig: {}, config: {} } as ContainerRequest["shown"];
  return { name: "", spec: { ...plainContainer, mounts }, attachments: [], shown, platform: "" };
}

describe("a volume that is removed while", () => {
  it("one of that name is made is made again", async (test) => {
    const { volumes, isThere, rows } = await host(test);
    await volumes.create(wish("data"));
    await Promise.all([volumes.remove("data", false), volumes.create(wish("data"))]);
    assert.deepEqual([rows(), isThere("data")], [["data"], true]);
  });
  it("a container with it is made is made again", async (test) => {
    const { volumes, isThere, rows, run } = await host(test);
    await volumes.create(wish("data"));
    await Promise.all([volumes.remove("data", false), run("data")]);
    assert.deepEqual([rows(), isThere("data")], [["data"], true]);
  });
  it("a container with it was begun stays", async (test) => {
    const { volumes, isThere, rows, run } = await host(test);
    await volumes.create(wish("data"));
    const [, removed] = await Promise.allSettled([run("data"), sleep(1).then(() => volumes.remove("data", false))]);
    assert.match(String(removed.status === "rejected" && removed.reason), /remove data: volume is in use/);
    assert.deepEqual([rows(), isThere("data")], [["data"], true]);
  });
});

it("containers with the same volumes in another order do not wait for each other for ever", async (test) => {
  const { rows, run } = await host(test);
  await Promise.all([run("one", "two"), run("two", "one")]);
  assert.deepEqual(rows(), ["one", "two"]);
});

describe("what fails leaves no directory behind, and takes none away:", () => {
  it("a volume that the store refuses", async (test) => {
    const { parts, play, volumes, isThere } = await host(test);
    await volumes.create(wish("kept"));
    play.isFull = true;
    for (const name of ["new", "kept"]) await assert.rejects(volumes.create(wish(name)), full);
    assert.deepEqual([isThere("new"), isThere("kept"), await strayVolumes(parts)], [false, true, []]);
  });
  it("a container that containerd refuses", async (test) => {
    const { parts, processes, volumes, isThere, run } = await host(test);
    await volumes.create(wish("kept"));
    processes.create = () => Promise.reject(full);
    await assert.rejects(run("new", "kept"), full);
    assert.deepEqual([isThere("kept"), await strayVolumes(parts)], [true, []]);
  });
  it("names that lead elsewhere", async (test) => {
    const { parts, volumes, run } = await host(test);
    const other = join(parts.settings.dataRoot, "other");
    await writeFile(other, "");
    await assert.rejects(volumes.remove("../other", false), /^EngineError: get \.\.\/other: no such volume$/);
    await assert.rejects(run("../other"), /includes invalid characters for a local volume name/);
    assert.ok(existsSync(other));
  });
});
