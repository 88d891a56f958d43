import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { finishRotation, startRotation, trustBundle } from "./authority.ts";
import { type Disk, disk } from "./disk.ts";
import { keyOf, type NodeFiles, NodeFolder } from "./node-files.ts";
import { createRoot } from "./root.ts";
import { newUnlockKey, seal } from "./seal.ts";
import { newAuthority, node } from "./testing.ts";

const authority = newAuthority();
const addresses = { listenAddress: "0.0.0.0:2377", advertiseAddress: "192.0.2.1:2377", dataPathAddress: "192.0.2.1" };
function filesOf(role: "worker" | "manager", of = authority): NodeFiles {
  const { key, cert, subject } = node(of, { role });
  const { nodeId, clusterId } = subject;
  const state = { nodeId, role, clusterId, managers: ["192.0.2.1:2377", "[2001:db8::1]:2377"], ...addresses };
  return { state, certificate: cert, key, roots: trustBundle(of) };
}

/** Flushing is what takes the time, and no power goes here. */
const quick: Disk = { ...disk, sync: async () => {} };
const open = (path: string, from = quick) => new NodeFolder(path, from);

let data: string;
let count = 0;
before(() => {
  data = mkdtempSync(join(tmpdir(), "identity-"));
});
after(() => rmSync(data, { recursive: true }));
const newPath = () => join(data, `${(count += 1)}`, "swarm");

describe("the node's files", () => {
  it("read back as written; none is a swarm of none", async () => {
    const folder = open(newPath(), disk);
    assert.equal(await folder.read(), undefined);
    const files = filesOf("worker");
    await folder.update(() => files);
    assert.deepEqual(await folder.read(), files);
  });

  it("are nobody else's to read", async () => {
    const path = newPath();
    await open(path).update(() => filesOf("worker"));
    const inside = join(path, readlinkSync(join(path, "current")));
    assert.deepEqual(readdirSync(inside).toSorted(), ["node.crt", "node.key", "roots.pem", "state.json"]);
    for (const name of readdirSync(inside)) assert.equal(statSync(join(inside, name)).mode & 0o777, 0o600);
    for (const directory of [path, inside]) assert.equal(statSync(directory).mode & 0o777, 0o700);
  });

  it("change one after the other, each on what the one before has left; the old key is gone", async () => {
    const path = newPath();
    const folder = open(path);
    await folder.update(() => filesOf("worker"));
    const promoted = filesOf("manager");
    await Promise.all([
      folder.update(() => promoted),
      folder.update((f) => ({ ...(f ?? promoted), state: { ...(f ?? promoted).state, managers: ["192.0.2.9:2377"] } })),
    ]);
    assert.deepEqual(await folder.read(), { ...promoted, state: { ...promoted.state, managers: ["192.0.2.9:2377"] } });
    assert.equal(readdirSync(path).length, 2);
  });

  it("hold a sealed key, which opens with the unlock key alone", async () => {
    const folder = open(newPath());
    const [files, unlockKey] = [filesOf("manager"), newUnlockKey()];
    const { key } = files;
    await folder.update(() => ({ ...files, key: seal(String(key), unlockKey) }));
    const locked = await folder.read();
    assert.ok(locked !== undefined && Buffer.isBuffer(locked.key));
    assert.equal(keyOf(locked, unlockKey), key);
    assert.throws(() => keyOf(locked, newUnlockKey()), { class: "unauthorized" });
    const swapped = { ...locked, key: seal(String(filesOf("manager").key), unlockKey) };
    assert.throws(() => keyOf(swapped, unlockKey), { code: "MISFIT" });
  });

  it("fit with a certificate of the next root by its cross certificate", async () => {
    const during = startRotation(authority, createRoot());
    const folder = open(newPath());
    for (const roots of [trustBundle(authority), trustBundle(during), trustBundle(finishRotation(during))])
      await folder.update(() => ({ ...filesOf("worker", during), roots }));
  });
});

describe("files that are not right", () => {
  const other = filesOf("worker");
  const stateWith = (files: NodeFiles, change: object) => JSON.stringify({ ...files.state, ...change });
  const broken: readonly (readonly [string, string, (files: NodeFiles) => string, string, RegExp])[] = [
    ["no JSON", "state.json", () => "{", "UNREADABLE", /state.json is not a node's state/],
    ["a field less", "state.json", (f) => stateWith(f, { managers: undefined }), "UNREADABLE", /state.json/],
    ["another role", "state.json", (f) => stateWith(f, { role: "manager" }), "MISFIT", /differ in role/],
    ["another node", "state.json", (f) => stateWith(f, { nodeId: "x" }), "MISFIT", /differ in nodeId/],
    ["another swarm", "state.json", (f) => stateWith(f, { clusterId: "x" }), "MISFIT", /differ in clusterId/],
    ["no certificate", "node.crt", () => "", "UNREADABLE", /node.crt holds no certificate/],
    ["a broken certificate", "node.crt", (f) => f.certificate.replace("MII", "MIJ"), "UNREADABLE", /node.crt/],
    [
      "another's certificate",
      "node.crt",
      () => other.certificate,
      "MISFIT",
      /node.crt and state.json differ in nodeId/,
    ],
    ["another's key", "node.key", () => String(other.key), "MISFIT", /node.key is not the key of node.crt/],
    ["half a key", "node.key", (f) => String(f.key).slice(0, 80), "UNREADABLE", /node.key holds no private key/],
    ["an empty key", "node.key", () => "", "UNREADABLE", /node.key/],
    ["another root", "roots.pem", () => createRoot().certificate, "MISFIT", /node.crt is not of a root in roots.pem/],
    ["no root", "roots.pem", () => "", "UNREADABLE", /roots.pem holds no certificate/],
  ];
  for (const [what, name, content, code, message] of broken)
    it(`${name} with ${what}: ${code}`, async () => {
      const path = newPath();
      const files = await open(path).update(() => filesOf("worker"));
      writeFileSync(join(path, "current", name), content(files));
      await assert.rejects(open(path).read(), { code, message });
    });

  for (const name of ["state.json", "node.crt", "node.key", "roots.pem"])
    it(`${name} missing`, async () => {
      const path = newPath();
      await open(path).update(() => filesOf("worker"));
      rmSync(join(path, "current", name));
      await assert.rejects(open(path).read(), {
        code: "MISSING",
        message: new RegExp(`${name} is missing$`),
      });
    });

  it("are not written either: the old ones stay", async () => {
    const folder = open(newPath());
    const files = await folder.update(() => filesOf("worker"));
    await assert.rejects(
      folder.update((f) => ({ ...(f ?? files), key: other.key })),
      { code: "MISFIT" },
    );
    assert.deepEqual(await folder.read(), files);
  });
});

/** A disk that does `left` steps; at the next the process dies, in the middle of a file. `steps` are those that were done. */
function dying(left: number): { readonly disk: Disk; readonly steps: string[] } {
  const steps: string[] = [];
  const changes = ["makeDirectory", "create", "sync", "link", "rename", "remove"] as const;
  const wrapped = changes.map((name) => [
    name,
    async (path: string, content: string) => {
      if (steps.length >= left) {
        if (steps.length === left && name === "create") writeFileSync(path, content.slice(0, content.length / 2));
        steps.length = left + 1;
        throw new Error("died");
      }
      await (quick[name] as (path: string, content: string) => Promise<void>)(path, content);
      steps.push(name);
    },
  ]);
  return { disk: { ...quick, ...(Object.fromEntries(wrapped) as Partial<Disk>) }, steps };
}

describe("a crash between any two steps", () => {
  const old = filesOf("worker");
  const renewed = filesOf("manager", startRotation(authority, createRoot()));

  for (const [what, first] of [
    ["of the first write", undefined],
    ["of a change", old],
  ] as const)
    it(`${what} leaves the files from before or those from after, and the next change succeeds`, async () => {
      const outcomes = new Set<string>();
      for (let left = 0, done = false; !done; left += 1) {
        const path = newPath();
        if (first !== undefined) await open(path).update(() => first);
        done = await open(path, dying(left).disk)
          .update(() => renewed)
          .then(
            () => true,
            () => false,
          );
        const found = await open(path).read();
        assert.deepEqual(found, found?.state.role === "manager" ? renewed : first, `after ${left} steps`);
        outcomes.add(found?.state.role ?? "none");
        await open(path).update(() => renewed);
        assert.deepEqual([await open(path).read(), readdirSync(path).length], [renewed, 2]);
      }
      assert.deepEqual([...outcomes], [first?.state.role ?? "none", "manager"]);
    });

  it("of leaving leaves a swarm or none, and the next leave takes all away", async () => {
    for (let left = 0, done = false; !done; left += 1) {
      const path = newPath();
      await open(path).update(() => old);
      done = await open(path, dying(left).disk)
        .remove()
        .then(
          () => true,
          () => false,
        );
      assert.deepEqual(await open(path).read(), left === 0 ? old : undefined);
      await open(path).remove();
      assert.throws(() => readFileSync(path), { code: "ENOENT" });
    }
  });

  it("nothing is moved into place before it is on the disk, and the move is flushed", async () => {
    const { disk: recording, steps } = dying(Number.POSITIVE_INFINITY);
    await open(newPath(), recording).update(() => old);
    const file = ["create", "sync"];
    const files = [...file, ...file, ...file, ...file];
    assert.deepEqual(steps, ["makeDirectory", "sync", ...files, "sync", "link", "rename", "sync"]);
  });
});
