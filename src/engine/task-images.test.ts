import assert from "node:assert/strict";
import { it } from "node:test";
import { newTask } from "../cluster/task-testing.ts";
import { notFound, system } from "../lib/errors.ts";
import { TaskImages } from "./task-images.ts";

interface Pull {
  readonly auth: unknown;
  readonly signal: AbortSignal;
  readonly done: PromiseWithResolvers<void>;
}
function play(logins: Readonly<Record<string, string>> = {}) {
  const pulls: Pull[] = [];
  const images = {
    find: () => Promise.reject(notFound("No such image: busybox")),
    pull: (_image: string, { auth }: { auth?: unknown }, _progress: unknown, signal: AbortSignal) => {
      const done = Promise.withResolvers<void>();
      // A pull that is called off takes its time to end.
      signal.addEventListener("abort", () => setTimeout(() => done.reject(system("it was called off")), 20));
      pulls.push({ auth, signal, done });
      return done.promise;
    },
  };
  const one = new TaskImages(images as never, { registryAuth: (id) => logins[id] });
  const need = (id: string) => {
    const { template, ...task } = newTask({ id });
    const needed = one.need({ ...task, template: id in logins ? { ...template, registryAuth: "" } : template });
    needed.catch(() => {});
    return needed;
  };
  return { one, need, pulls };
}
const turns = () => new Promise((resolve) => void setImmediate(resolve));

it("a task that comes when a pull was just called off has its own", async () => {
  const { one, need, pulls } = play();
  const first = need("a");
  await turns();
  one.cancel("a");
  await assert.rejects(first, /not to run any more/);
  const second = need("b");
  await turns();
  assert.deepEqual([pulls.length, pulls[0]?.signal.aborted, pulls[1]?.signal.aborted], [2, true, false]);
  await new Promise((resolve) => void setTimeout(resolve, 40));
  const third = need("c");
  await turns();
  assert.equal(pulls.length, 2, "the end of the first has not taken the second along");
  pulls[1]?.done.resolve();
  await Promise.all([second, third]);
});

it("tasks of one image and different logins do not share a pull, nor its refusal", async () => {
  const login = (name: string) => Buffer.from(JSON.stringify({ username: name, password: "p" })).toString("base64url");
  const { need, pulls } = play({ a: login("anna"), b: login("bert"), c: login("bert") });
  const [first, second, third] = [need("a"), need("b"), need("c")];
  await turns();
  assert.equal(pulls.length, 2);
  pulls[0]?.done.reject(notFound("pull access denied"));
  pulls[1]?.done.resolve();
  await assert.rejects(first, { class: "system", message: "No such image: busybox: pull access denied" });
  await Promise.all([second, third]);
});
