import assert from "node:assert/strict";
import { test } from "node:test";
import { playCluster } from "./cluster-testing.ts";
import { createFileContents } from "./secrets.ts";

const data = (text: string) => Buffer.from(text).toString("base64");
const wish = { name: "s1", labels: { a: "b" }, data: data("abc") };
const rpc = (code: string, text: string) => `rpc error: code = ${code} desc = ${text}`;

test("a secret is made once by its name, found, changed in its labels, and removed", async () => {
  const { store, parts } = await playCluster();
  const secrets = createFileContents(parts, "secrets");
  const id = await secrets.create(wish);
  assert.match(id, /^[0-9a-z]{25}$/);
  const taken = { class: "conflict", message: rpc("AlreadyExists", "secret s1 already exists") };
  await assert.rejects(secrets.create(wish), taken);
  for (const reference of [id, "s1", id.slice(0, 8)]) assert.equal(secrets.inspect(reference).id, id);
  assert.throws(() => secrets.inspect("s2"), { class: "not-found", message: "secret s2 not found" });
  await secrets.create({ ...wish, name: "t" });
  const names = (key: string, value: string) =>
    secrets
      .list(new Map([[key, [value]]]))
      .map(({ name }) => name)
      .toSorted();
  assert.deepEqual([names("name", "s"), names("names", "s"), names("label", "a=b")], [["s1"], [], ["s1", "t"]]);
  assert.throws(() => names("foo", "s"), { class: "invalid", message: "invalid filter 'foo'" });
  const change = { version: 1, name: "s1", labels: { c: "d" } };
  const only = { class: "invalid", message: rpc("InvalidArgument", "only updates to Labels are allowed") };
  await assert.rejects(secrets.update("s1", { ...change, name: "s2" }), only);
  await assert.rejects(secrets.update("s1", { ...change, data: data("abd") }), only);
  const late = { class: "system", message: rpc("Unknown", "update out of sequence") };
  await assert.rejects(secrets.update("s1", { ...change, version: 2 }), late);
  await secrets.update("s1", { ...change, data: wish.data });
  assert.deepEqual([secrets.inspect("s1").labels, secrets.inspect("s1").version], [{ c: "d" }, 2]);
  await secrets.remove("s1");
  await assert.rejects(secrets.remove("s1"), { class: "not-found" });
  assert.deepEqual(store.snapshot().where("names", "id", id), []);
  await secrets.create(wish);
});

test("names, sizes and templates are checked with Docker's texts", async () => {
  const { parts } = await playCluster();
  const refused = (table: "secrets" | "configs", change: object, message: string) =>
    assert.rejects(createFileContents(parts, table).create({ ...wish, ...change }), { class: "invalid", message });
  const name = rpc(
    "InvalidArgument",
    "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]",
  );
  for (const bad of ["a b", "-a", "a-", "x".repeat(65)]) await refused("secrets", { name: bad }, name);
  await refused("configs", { name: "" }, rpc("InvalidArgument", "name must be provided"));
  const size = (kind: string, most: number) =>
    rpc("InvalidArgument", `${kind} data must be larger than 0 and less than ${most} bytes`);
  await refused("secrets", { data: data("x".repeat(512_000)) }, size("secret", 512_000));
  await refused("configs", { data: data("x".repeat(1_024_000)) }, size("config", 1_024_000));
  await refused("configs", { data: "" }, size("config", 1_024_000));
  await refused("configs", { templating: "jinja" }, 'Templating.Name "jinja" is not known: golang is');
  const open = "template: expansion:1: unclosed action";
  await refused("configs", { templating: "golang", data: data("{{.Node") }, open);
  await createFileContents(parts, "configs").create({ ...wish, name: "a", data: data("{{.Node") });
  await createFileContents(parts, "configs").create({ ...wish, name: "a.b-c_d", data: data("x".repeat(1_023_999)) });
});
