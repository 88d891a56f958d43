import assert from "node:assert/strict";
import { test } from "node:test";
import { notFound } from "../../lib/errors.ts";
import type { Image } from "../../runtime/runtime.ts";
import { serve } from "../testing.ts";
import { isNameOnly, readAuthHeader, withTag } from "./wire.ts";

const image: Image = {
  id: "sha256:aa",
  tags: ["busybox:latest", "host:5000/b:1"],
  digests: ["busybox@sha256:bb"],
  createdAt: "2024-01-01T00:00:00Z",
  author: "",
  comment: "c",
  architecture: "amd64",
  os: "linux",
  size: 1234,
  config: { Cmd: ["sh"], Env: ["PATH=/bin"], Labels: { l: "v" } },
  layers: ["sha256:cc"],
  layerSizes: [1234],
  history: [
    { createdAt: "2024-01-01T00:00:00Z", createdBy: "first", comment: "", size: 10 },
    { createdAt: "2024-01-01T00:00:01Z", createdBy: "second", comment: "x", size: 0 },
  ],
};
const bare: Image = { ...image, id: "sha256:dd", tags: [], digests: [], createdAt: "2025-01-01T00:00:00Z", config: {} };

const find = async (name: string) => {
  if (name !== "busybox") throw notFound(`No such image: ${name}`);
  return image;
};

test("list filters and sorts, newest first", async () => {
  await using server = await serve({ images: { list: async () => [image, bare], find } });
  const ids = async (filters: object, version = "") => {
    const { json } = await server.ask(
      "GET",
      `${version}/images/json?filters=${encodeURIComponent(JSON.stringify(filters))}`,
    );
    return json.map?.((i: { Id: string }) => i.Id) ?? json.message;
  };
  assert.deepEqual(await ids({}), ["sha256:dd", "sha256:aa"]);
  assert.deepEqual(await ids({ dangling: ["true"] }), ["sha256:dd"]);
  assert.deepEqual(await ids({ dangling: { false: true } }), ["sha256:aa"]);
  assert.deepEqual(await ids({ label: ["l=v"] }), ["sha256:aa"]);
  for (const pattern of ["busybox", "busy*", "host:5000/b:?", "host:5000/*"])
    assert.deepEqual(await ids({ reference: [pattern] }), ["sha256:aa"], pattern);
  assert.deepEqual(await ids({ reference: ["busy"] }), []);
  assert.deepEqual(await ids({ since: ["busybox"] }), ["sha256:dd"]);
  assert.deepEqual(await ids({ before: ["busybox"] }), []);
  assert.deepEqual(await ids({ until: ["2024-06-01"] }), ["sha256:aa"]);
  assert.equal(await ids({ colour: ["red"] }), "invalid filter 'colour'");
  const old = (await server.ask("GET", "/v1.42/images/json?filter=busybox")).json;
  assert.deepEqual([old.length, old[0].VirtualSize, old[0].RepoTags], [1, 1234, ["busybox:latest"]]);
  const untagged = (await server.ask("GET", "/v1.42/images/json")).json[0];
  assert.deepEqual([untagged.RepoTags, untagged.RepoDigests], [["<none>:<none>"], ["<none>@<none>"]]);
});

test("inspect and history, by names with slashes, too", async () => {
  const names: string[] = [];
  const images = { find: async (name: string) => (names.push(name), image) };
  await using server = await serve({ images });
  const { json } = await server.ask("GET", "/images/host:5000/a/b:1/json");
  assert.deepEqual(json.RootFS, { Type: "layers", Layers: ["sha256:cc"] });
  assert.deepEqual([json.Config.Cmd, json.Config.Hostname, json.VirtualSize], [["sh"], undefined, undefined]);
  const old = (await server.ask("GET", "/v1.43/images/b/json")).json;
  assert.deepEqual([old.Config.Hostname, old.VirtualSize, old.Container], ["", 1234, ""]);
  const history = (await server.ask("GET", "/images/b/history")).json;
  assert.deepEqual(
    history.map((h: { Id: string; CreatedBy: string }) => [h.Id, h.CreatedBy]),
    [
      ["sha256:aa", "second"],
      ["<missing>", "first"],
    ],
  );
  assert.deepEqual(names, ["host:5000/a/b:1", "b", "b"]);
});

test("a pull tells its progress, and an error after the first line as a line", async () => {
  const seen: unknown[] = [];
  const pull = async (reference: string, options: object, tell: (p: object) => void) => {
    seen.push([reference, options]);
    if (reference.startsWith("gone")) throw notFound("manifest unknown");
    tell({ status: "Pulling", id: "latest" });
    tell({ status: "Downloading", progressDetail: { current: 1, total: 2 }, id: "x" });
    if (reference.startsWith("half")) throw notFound("connection lost");
  };
  await using server = await serve({ images: { pull } });
  const auth = Buffer.from(JSON.stringify({ username: "u", password: "p", other: 5, email: "" })).toString("base64url");
  const good = await server.ask("POST", "/images/create?fromImage=busybox&tag=1.36&platform=linux/arm64", {
    headers: { "X-Registry-Auth": auth },
  });
  assert.equal(good.headers["content-type"], "application/json");
  const line = '{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"x"}\r\n';
  assert.equal(good.text, `{"status":"Pulling","id":"latest"}\r\n${line}`);
  const gone = await server.ask("POST", "/images/create?fromImage=gone");
  assert.deepEqual([gone.status, gone.json.message], [404, "manifest unknown"]);
  const half = await server.ask("POST", "/images/create?fromImage=half&tag=sha256:ab");
  assert.equal(half.status, 200);
  assert.ok(half.text.endsWith('{"errorDetail":{"message":"connection lost"},"error":"connection lost"}\r\n'));
  assert.deepEqual(seen, [
    ["busybox:1.36", { platform: "linux/arm64", auth: { username: "u", password: "p" }, allTags: false }],
    ["gone", { allTags: true }],
    ["half@sha256:ab", { allTags: false }],
  ]);
  assert.equal((await server.ask("POST", "/images/create")).status, 400);
});

test("a client that leaves stops its pull", async () => {
  const { promise: running, resolve: begun } = Promise.withResolvers<void>();
  const { promise: stop, resolve: stopped } = Promise.withResolvers<void>();
  const pull = async (_: string, __: object, ___: unknown, signal: AbortSignal) => {
    signal.addEventListener("abort", () => stopped());
    begun();
    await stop;
  };
  await using server = await serve({ images: { pull } });
  const socket = server.connect();
  socket.write("POST /images/create?fromImage=a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  await running;
  socket.destroy();
  await stop;
});

test("import, load and save carry bytes", async () => {
  const seen: unknown[] = [];
  const all = async (archive: AsyncIterable<Uint8Array>) => {
    const chunks = [];
    for await (const chunk of archive) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  const images = {
    import: async (archive: AsyncIterable<Uint8Array>, options: object) => {
      seen.push([await all(archive), options]);
      return "sha256:ff";
    },
    load: async (archive: AsyncIterable<Uint8Array>, tell: (p: object) => void) => {
      tell({ status: "Loading", progressDetail: { current: 1 } });
      tell({ stream: `Loaded ${await all(archive)}\n` });
    },
    find,
    save: async function* (names: readonly string[]) {
      yield Buffer.from(names.join());
    },
  };
  await using server = await serve({ images });
  const made = await server.ask(
    "POST",
    "/images/create?fromSrc=-&repo=a/b&tag=c&message=m&changes=CMD%20x&changes=ENV%20y",
    { body: "tar" },
  );
  assert.deepEqual(made.json, { status: "sha256:ff" });
  assert.deepEqual(seen, [["tar", { reference: "a/b:c", changes: ["CMD x", "ENV y"], message: "m" }]]);
  assert.equal((await server.ask("POST", "/images/create?fromSrc=http://x/y")).status, 501);
  assert.equal(
    (await server.ask("POST", "/images/load?quiet=1", { body: "tar" })).text,
    '{"stream":"Loaded tar\\n"}\r\n',
  );
  assert.match((await server.ask("POST", "/images/load?quiet=0", { body: "tar" })).text, /"Loading"/);
  assert.equal((await server.ask("GET", "/images/get?names=busybox&names=busybox")).text, "busybox,busybox");
  assert.equal((await server.ask("GET", "/images/busybox/get")).headers["content-type"], "application/x-tar");
  const missing = await server.ask("GET", "/images/get?names=busybox&names=gone");
  assert.deepEqual([missing.status, missing.json.message], [404, "No such image: gone"]);
});

test("tag, push, remove, prune and login", async () => {
  const seen: unknown[] = [];
  const note =
    (result: unknown) =>
    async (...all: unknown[]) => {
      seen.push(all.filter((a) => typeof a !== "function" && !(a instanceof AbortSignal)));
      return result as never;
    };
  const images = {
    tag: note(undefined),
    push: note(undefined),
    remove: note([{ untagged: "a" }, { deleted: "b" }]),
    prune: note({ done: [], freed: 7 }),
    login: note({ status: "Login Succeeded", identityToken: "t" }),
  };
  await using server = await serve({ images });
  assert.equal((await server.ask("POST", "/images/a/tag?repo=b/c&tag=1")).status, 201);
  assert.equal((await server.ask("POST", "/images/a/tag")).status, 400);
  assert.equal((await server.ask("POST", "/images/b/c/push?tag=1")).status, 200);
  const removed = [{ Untagged: "a" }, { Deleted: "b" }];
  assert.deepEqual((await server.ask("DELETE", "/images/b/c:1?force=1")).json, removed);
  assert.deepEqual((await server.ask("POST", "/images/prune")).json, { ImagesDeleted: null, SpaceReclaimed: 7 });
  const auth = await server.ask("POST", "/auth", {
    body: { username: "u", password: "p", email: "", serveraddress: "s" },
  });
  assert.deepEqual(auth.json, { Status: "Login Succeeded", IdentityToken: "t" });
  const login = { username: "u", password: "p", serveraddress: "s" };
  assert.deepEqual(seen, [["a", "b/c:1"], ["b/c:1", undefined], ["b/c:1", true], [new Map()], [login]]);
});

test("names with the tag that comes beside them", () => {
  assert.equal(withTag("a", ""), "a");
  assert.equal(withTag("a:", ""), "a");
  assert.equal(withTag("host:5000/a", "1"), "host:5000/a:1");
  assert.equal(withTag("a", "sha256:ab"), "a@sha256:ab");
  assert.deepEqual(["a", "h:5000/a", "a:1", "h:5000/a:1", "a@sha256:ab"].map(isNameOnly), [
    true,
    true,
    false,
    false,
    false,
  ]);
});

test("a login that cannot be read counts as none", () => {
  const coded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  for (const header of [undefined, "", "!", coded(null), coded([]), coded({}), coded({ username: 5 })])
    assert.equal(readAuthHeader(header), undefined);
  assert.deepEqual(readAuthHeader(coded({ identitytoken: "t" })), { identitytoken: "t" });
});

test("a registry is asked for what it has, with the client's login", async () => {
  const seen: unknown[] = [];
  const distribution = async (name: string, auth: unknown) => {
    seen.push([name, auth]);
    const platforms = [{ os: "linux", architecture: "arm", variant: "v7" }];
    return { mediaType: "m", digest: "sha256:aa", size: 5, platforms };
  };
  await using server = await serve({ images: { distribution } });
  const auth = Buffer.from('{"username":"ali","password":"x"}').toString("base64url");
  const headers = { "X-Registry-Auth": auth };
  const { text } = await server.ask("GET", "/distribution/host:5000/a/b:1/json", { headers });
  const expected = {
    Descriptor: { mediaType: "m", digest: "sha256:aa", size: 5 },
    Platforms: [{ architecture: "arm", os: "linux", variant: "v7" }],
  };
  assert.equal(text, `${JSON.stringify(expected)}\n`);
  assert.deepEqual(seen, [["host:5000/a/b:1", { username: "ali", password: "x" }]]);
  const whole = await server.ask("GET", `/distribution/${"a".repeat(64)}/json`);
  assert.deepEqual([whole.status, whole.json.message], [500, "no manifest found for full image ID"]);
});
