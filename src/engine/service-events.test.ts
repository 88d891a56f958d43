import assert from "node:assert/strict";
import { test } from "node:test";
import { newSpec, playCluster } from "./cluster-testing.ts";
import { EventBus } from "./events.ts";
import { createFileContents } from "./secrets.ts";
import { publishServices } from "./service-events.ts";
import { createServices } from "./services.ts";

test("services, secrets and configs are told of, with what has changed", async () => {
  const { store, parts } = await playCluster();
  const bus = new EventBus();
  const [services, secrets] = [createServices(parts), createFileContents(parts, "secrets")];
  const end = new AbortController();
  const following = (async () => {
    let before = store.snapshot();
    for await (const commit of store.watch(end.signal)) {
      publishServices(bus, before, commit);
      before = commit.snapshot;
    }
  })();
  const id = await services.create(newSpec());
  const { container } = newSpec().task;
  const spec = newSpec({
    mode: { kind: "replicated", replicas: 3 },
    task: { container: { ...container, image: "b:2" } },
  });
  await services.update("web", { version: 1, spec, registryAuthFrom: "spec" });
  const updating = { state: "updating", startedAt: 0, message: "m" } as const;
  const update = (value: object) => store.update((tx) => tx.put("services", { ...services.inspect("web"), ...value }));
  await update({ update: updating });
  await update({ updatedAt: 5 });
  await update({ update: { ...updating, state: "completed" } });
  const secret = await secrets.create({ name: "s", labels: {}, data: "YQ==" });
  await secrets.update("s", { version: 1, name: "s", labels: { a: "b" } });
  await secrets.remove("s");
  await services.remove("web");
  end.abort();
  await following;
  const seen = [];
  const past = { since: 0, until: Date.now(), filters: new Map() };
  for await (const { type, action, id: of, attributes, scope } of bus.subscribe(past, AbortSignal.timeout(1000)))
    seen.push([type, action, of, attributes, scope]);
  const web = (action: string, more = {}) => ["service", action, id, { name: "web", ...more }, "swarm"];
  const changes = { "image.old": "busybox", "image.new": "b:2", "replicas.old": "1", "replicas.new": "3" };
  assert.deepEqual(seen, [
    web("create"),
    web("update", changes),
    web("update", { "updatestate.new": "updating" }),
    web("update", { "updatestate.old": "updating", "updatestate.new": "completed" }),
    ["secret", "create", secret, { name: "s" }, "swarm"],
    ["secret", "update", secret, { name: "s" }, "swarm"],
    ["secret", "remove", secret, { name: "s" }, "swarm"],
    web("remove"),
  ]);
});
