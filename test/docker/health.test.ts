import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { buildBusybox } from "../../tools/busybox-image.ts";
import { useHost } from "../support/daemon.ts";
import { until } from "../support/until.ts";

interface Health {
  readonly Status: string;
  readonly FailingStreak: number;
  readonly Log: readonly {
    readonly Start: string;
    readonly End: string;
    readonly ExitCode: number;
    readonly Output: string;
  }[];
}

describe("health checks", () => {
  const host = useHost({ clear: true });
  const docker = (line: string) => host().docker(...line.split(" "));
  const run = (name: string, check: string, flags: string, command = "sleep 1d") =>
    host().docker(
      "run",
      "-d",
      "--name",
      name,
      "--health-cmd",
      check,
      ...flags.split(" "),
      "busybox",
      ...command.split(" "),
    );
  const health = async (name: string) =>
    JSON.parse(await host().docker("inspect", "-f", "{{json .State.Health}}", name)) as Health;
  async function becomes(name: string, status: string): Promise<Health> {
    let now = await health(name);
    await until(
      async () => (now = await health(name)).Status === status,
      () => `${name} is ${status}: ${JSON.stringify(now)}`,
    );
    return now;
  }
  const shown = (filter: string) => docker(`ps --format {{.Names}}:{{.Status}} --filter ${filter}`);

  it("a container is starting, healthy, unhealthy, and says so everywhere", async () => {
    const since = (Date.now() / 1000).toFixed(3);
    const often = "--health-interval 100ms --health-retries 2 --health-start-period 1m --health-start-interval 100ms";
    await run("web", "test -e /up || { echo it is down; false; }", often);
    assert.match(await shown("health=starting"), /^web:Up .* \(health: starting\)$/);
    await docker("exec web touch /up");
    assert.equal((await becomes("web", "healthy")).FailingStreak, 0);
    assert.match(await shown("health=healthy"), /^web:Up .* \(healthy\)$/);
    assert.equal(await shown("health=none"), "");
    await docker("exec web rm /up");
    const { FailingStreak, Log } = await becomes("web", "unhealthy");
    assert.ok(FailingStreak >= 2, String(FailingStreak));
    assert.ok(Log.length <= 5 && Date.parse(Log[0]?.Start ?? "") > 0, JSON.stringify(Log));
    assert.deepEqual([Log.at(-1)?.ExitCode, Log.at(-1)?.Output], [1, "it is down\n"]);
    assert.match(await shown("health=unhealthy"), /^web:Up .* \(unhealthy\)$/);
    await docker("exec web touch /up");
    await becomes("web", "healthy");
    await docker("kill web");
    assert.equal((await health("web")).Status, "unhealthy");
    assert.equal(await host().docker("inspect", "-f", "{{json .ExecIDs}}", "web"), "null");
    const until = (Date.now() / 1000 + 0.2).toFixed(3);
    const events = await host().docker(
      "events",
      "--since",
      since,
      "--until",
      until,
      "--filter",
      "event=health_status",
      "--format",
      "{{.Action}}",
    );
    assert.deepEqual(events.split("\n"), [
      "health_status: healthy",
      "health_status: unhealthy",
      "health_status: healthy",
    ]);
    await docker("start web");
    await becomes("web", "healthy");
  });

  it("a check that takes too long, or does not run, has failed, and leaves no process", async () => {
    await run("slow", "echo begun; exec sleep 1000", "--health-interval 100ms --health-timeout 1s --health-retries 1");
    const [first] = (await becomes("slow", "unhealthy")).Log;
    assert.deepEqual([first?.ExitCode, first?.Output], [-1, "Health check exceeded timeout (1s): begun\n"]);
    await docker("pause slow");
    const seen = (await health("slow")).Log.at(-1)?.Start;
    await sleep(600);
    assert.equal((await health("slow")).Log.at(-1)?.Start, seen, "nobody looks while it is paused");
    await docker("unpause slow");
    await docker("rm -f slow");
    const body = {
      Image: "busybox",
      Cmd: ["sleep", "1d"],
      Healthcheck: { Test: ["CMD", "/nope"], Interval: 1e8, Retries: 1 },
    };
    assert.equal((await host().call("POST", "/containers/create?name=bad", body)).status, 201);
    await docker("start bad");
    const [result] = (await becomes("bad", "unhealthy")).Log;
    assert.equal(result?.ExitCode, -1);
    assert.match(result?.Output ?? "", /\/nope.*no such file or directory/);
  });

  it("much output is cut, and the shell can be chosen", async () => {
    const Healthcheck = { Test: ["CMD-SHELL", "4097"], Interval: 1e8 };
    const body = { Image: "busybox", Cmd: ["sleep", "1d"], Shell: ["seq", "1"], Healthcheck };
    await host().call("POST", "/containers/create?name=much", body);
    await docker("start much");
    const [result] = (await becomes("much", "healthy")).Log;
    assert.deepEqual([result?.ExitCode, result?.Output.length, result?.Output.slice(0, 4)], [0, 4099, "1\n2\n"]);
    assert.ok(result?.Output.endsWith("..."));
  });

  it("an image brings its check, which the user changes, or turns off", async () => {
    const { root } = await buildBusybox(join(host().directory, "images"));
    const change = "HEALTHCHECK --interval=1h --retries=7 CMD true";
    await host().docker("import", "-c", change, "-c", "CMD sleep 1d", root, "checked");
    const config = (name: string) =>
      host()
        .docker("inspect", "-f", "{{json .Config.Healthcheck}}", name)
        .then((text) => JSON.parse(text) as object);
    await docker("run -d --name own --health-interval 100ms checked");
    await becomes("own", "healthy");
    assert.deepEqual(await config("own"), { Test: ["CMD-SHELL", "true"], Interval: 1e8, Retries: 7 });
    await docker("run -d --name off --no-healthcheck checked");
    assert.deepEqual(await config("off"), { Test: ["NONE"], Interval: 36e11, Retries: 7 }); // the words of the image stay, as in Docker
    assert.equal(await health("off"), null);
    assert.match(await shown("health=none"), /^off:Up [^(]*$/);
    await docker("rm -f own off");
    await docker("rmi checked");
  });

  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    it(`goes on over the daemon's end by ${signal}, and ends what it had begun`, async () => {
      await run("web", "rm /hangs && exec sleep 1234; true", "--health-interval 100ms --health-retries 1");
      await becomes("web", "healthy");
      await docker("exec web touch /hangs");
      const hung = async () => (await docker("top web -eo args")).includes("sleep 1234");
      await until(hung, "a check hangs");
      await host().stopDaemon(signal);
      await host().startDaemon();
      assert.equal((await health("web")).Status, "healthy");
      await until(async () => !(await hung()), "the former daemon's check ends");
      await until(async () => (await health("web")).Log.length > 0, "somebody looks");
      assert.equal((await health("web")).Status, "healthy");
    });

  it("a health that there is not is no filter", async () => {
    const { status, stderr } = await host().try(["ps", "--filter", "health=fine"]);
    assert.notEqual(status, 0);
    assert.match(
      stderr,
      /invalid filter 'health=fine': invalid value for health \(fine\): must be one of none, starting, healthy, unhealthy/,
    );
  });
});
