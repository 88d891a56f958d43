import assert from "node:assert/strict";
import { it } from "node:test";
import { useHost } from "../support/daemon.ts";

const host = useHost({ clear: true });
const groups = async (...options: string[]) => {
  const line = await host().docker("run", "--rm", ...options, "busybox", "grep", "Groups", "/proc/self/status");
  return line.replace("Groups:", "").trim();
};

it("a process has its own group among the supplementary ones", async () => {
  assert.equal(await groups(), "0");
  assert.equal(await groups("-u", "1000:1000"), "1000");
  assert.equal(await groups("-u", "1000"), "0");
  assert.equal(await groups("-u", "nobody"), "65534");
  assert.equal(await groups("--group-add", "5"), "0 5");
  assert.equal(await groups("--group-add", "users", "-u", "1:tty"), "5 100");
});

it("so does a further one", async () => {
  const id = await host().docker("run", "-d", "-u", "1000:1000", "--group-add", "5", "busybox", "sleep", "1000");
  const line = await host().docker("exec", "-u", "7:8", id, "grep", "Groups", "/proc/self/status");
  assert.equal(line.replace("Groups:", "").trim(), "5 8");
});

it("the image of a container cannot be reclaimed, and inspect shows what it may not see", async () => {
  const reclaimable = async () =>
    (await host().docker("system", "df", "--format", "{{.Type}} {{.Reclaimable}}")).split("\n")[0];
  assert.match((await reclaimable()) ?? "", /^Images \d[\d.]*MB \(100%\)$/);
  const id = await host().docker("create", "busybox");
  assert.match((await reclaimable()) ?? "", /^Images 0B/);
  const shown = "{{len .HostConfig.MaskedPaths}} {{len .HostConfig.ReadonlyPaths}}";
  assert.equal(await host().docker("inspect", "-f", shown, id), "12 5");
  const free = await host().docker("create", "--privileged", "busybox");
  assert.equal(await host().docker("inspect", "-f", shown, free), "0 0");
});
