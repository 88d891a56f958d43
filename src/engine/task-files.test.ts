import assert from "node:assert/strict";
import { it } from "node:test";
import { fileReference, newFile, newTask } from "../cluster/task-testing.ts";
import { plainContainer } from "../model/container-testing.ts";
import type { FileContent } from "../model/service.ts";
import type { Parts } from "./parts.ts";
import { filesOf } from "./task-files.ts";

const file = (name: string, text: string, wish: Partial<FileContent> = {}) =>
  newFile({ name, data: Buffer.from(text).toString("base64"), ...wish });
/** What has come to a host. */
const partsWith = (secrets: readonly FileContent[], configs: readonly FileContent[]) =>
  ({
    host: { name: "h1" },
    replica: {
      file: (table: string, id: string) => (table === "secrets" ? secrets : configs).find((one) => one.id === id),
    },
  }) as unknown as Pick<Parts, "host" | "replica">;
const texts = (files: ReturnType<typeof filesOf>) => files.map(({ data }) => Buffer.from(data).toString("utf8"));

it("secrets and configs are files with their owners and modes; only those with words have these filled in", () => {
  const [password, page] = [
    file("password", "a\0{{.Service.Name}}"),
    file("page", "{{.Service.Name}}", { templating: "golang" }),
  ];
  const task = newTask(
    {},
    { secrets: [fileReference(password, { uid: 7, gid: 8, mode: 0o400 })], configs: [fileReference(page)] },
  );
  const files = filesOf(partsWith([password], [page]), task);
  assert.deepEqual(texts(files), ["a\0{{.Service.Name}}", "web"]);
  assert.deepEqual(
    files.map(({ uid, gid, mode }) => [uid, gid, mode]),
    [
      [7, 8, 0o400],
      [0, 0, 0o444],
    ],
  );
});

it("words of a config can be other ones of the task, by their targets, and its environment", () => {
  const [password, other] = [file("password", "hush"), file("other", "there")];
  const text = '{{secret "pw"}} {{config "other"}} {{env "A"}}{{env "B"}} {{.Node.Hostname}}';
  const all = file("all", text, { templating: "golang" });
  const task = newTask(
    {},
    {
      container: { ...plainContainer, env: ["A=b=c"] },
      secrets: [fileReference(password, { target: "pw" })],
      configs: [fileReference(other), fileReference(all)],
    },
  );
  assert.equal(texts(filesOf(partsWith([password], [other, all]), task))[2], "hush there b=c h1");
  const wrong = file("all", '{{secret "password"}}', { templating: "golang" });
  const lost = newTask({}, { configs: [fileReference(wrong)] });
  assert.throws(() => filesOf(partsWith([password], [wrong]), lost), /secret target password not found/);
});

it("what has not come yet is waited for, by name", () => {
  const missing = file("password", "");
  const task = newTask({}, { secrets: [fileReference(missing)] });
  assert.throws(() => filesOf(partsWith([], []), task), {
    class: "unavailable",
    message: "secret password has not come from a manager yet",
  });
});
