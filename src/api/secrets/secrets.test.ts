import assert from "node:assert/strict";
import { test } from "node:test";
import type { FileContent } from "../../model/service.ts";
import { serve } from "../testing.ts";

const row: FileContent = {
  id: "u9axmcdj086ppix4jh28nc8h5",
  version: 7,
  createdAt: 1_700_000_000_000,
  updatedAt: 1_700_000_002_000,
  name: "c1",
  labels: { x: "y" },
  data: "Y29uZgo=",
  templating: "golang",
};

test("a config is shown with Docker's fields in Docker's order, a secret without its data", async () => {
  const verbs = { list: () => [row], inspect: () => row };
  await using server = await serve({ secrets: verbs, configs: verbs });
  const expected = {
    ID: row.id,
    Version: { Index: 7 },
    CreatedAt: "2023-11-14T22:13:20.000Z",
    UpdatedAt: "2023-11-14T22:13:22.000Z",
    Spec: { Name: "c1", Labels: { x: "y" }, Data: "Y29uZgo=", Templating: { Name: "golang" } },
  };
  assert.equal((await server.ask("GET", "/configs/c1")).text, `${JSON.stringify(expected)}\n`);
  assert.equal((await server.ask("GET", "/configs")).text, `${JSON.stringify([expected])}\n`);
  const { Data: _, ...Spec } = expected.Spec;
  assert.equal((await server.ask("GET", "/secrets/c1")).text, `${JSON.stringify({ ...expected, Spec })}\n`);
  assert.equal((await server.ask("GET", "/secrets")).text, `${JSON.stringify([{ ...expected, Spec }])}\n`);
});

test("create, update and remove reach the engine", async () => {
  const seen: unknown[] = [];
  const secrets = {
    create: async (...all: unknown[]) => (seen.push(all), row.id),
    update: async (...all: unknown[]) => void seen.push(all),
    remove: async (...all: unknown[]) => void seen.push(all),
  };
  await using server = await serve({ secrets });
  const body = { Name: "s", Labels: { a: "b" }, Data: "YWJj", Templating: { Name: "golang" }, Driver: null };
  const created = await server.ask("POST", "/secrets/create", { body });
  assert.deepEqual([created.status, created.json], [201, { ID: row.id }]);
  const labels = { Name: "s", Labels: { a: "c" } };
  assert.equal((await server.ask("POST", "/secrets/s/update?version=7", { body: labels })).status, 200);
  assert.equal(
    (await server.ask("POST", "/secrets/s/update?version=7", { body: { ...labels, Data: "YQ==" } })).status,
    200,
  );
  assert.equal((await server.ask("DELETE", "/secrets/s")).status, 204);
  assert.deepEqual(seen, [
    [{ name: "s", labels: { a: "b" }, data: "YWJj", templating: "golang" }],
    ["s", { version: 7, name: "s", labels: { a: "c" } }],
    ["s", { version: 7, name: "s", labels: { a: "c" }, data: "YQ==" }],
    ["s"],
  ]);
});

test("what is no secret is refused, and the data is not repeated", async () => {
  await using server = await serve({ secrets: {}, configs: {} });
  const refused = async (path: string, body: object, message: string) => {
    const answer = await server.ask("POST", path, { body });
    assert.deepEqual([answer.status, answer.json?.message], [400, message]);
  };
  const secret = { Name: "s", Data: "YWJj" };
  await refused("/secrets/create", { ...secret, Data: "ge heim" }, "Data is no base64");
  const driver = "Driver is not supported: there are no plugins, the swarm keeps the data of secrets itself";
  await refused("/secrets/create", { ...secret, Driver: { Name: "vault" } }, driver);
  await refused(
    "/configs/create",
    { ...secret, Driver: { Name: "x" } },
    "Driver is not supported: this field is not known",
  );
  const option = 'Templating.Options is not supported: there is no option "a"';
  await refused("/secrets/create", { ...secret, Templating: { Name: "golang", Options: { a: "b" } } }, option);
  const old = "templating is not supported on the specified API version: 1.36";
  await refused("/v1.36/secrets/create", { ...secret, Templating: { Name: "golang" } }, old);
  await refused("/secrets/s/update?version=x", secret, "invalid secret version");
  await refused("/configs/s/update", secret, "invalid config version");
});
