import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { dockers, TestHost } from "../support/daemon.ts";
import { until } from "../support/until.ts";

let host: TestHost;
const ok = (...args: string[]) => host.docker(...args);
const docker = (...args: string[]) => host.try(args);

before(async () => {
  host = await TestHost.start();
  await host.loadBusybox();
});
after(() => host.stop());

const text = randomBytes(1 << 20).toString("base64");

for (const client of dockers) {
  test(`${client}: run tells output, errors and exit codes apart`, async () => {
    const run = (...args: string[]) => host.try(["run", "--rm", ...args], { client });
    const plain = await run("busybox", "sh", "-c", "echo out; echo err >&2; exit 5");
    assert.deepEqual([plain.status, plain.stdout, plain.stderr], [5, "out\n", "err\n"]);
    const missing = await run("busybox", "nosuch");
    assert.equal(missing.status, 127);
    assert.match(missing.stderr, /exec: "nosuch": executable file not found in \$PATH/);
    assert.equal((await run("busybox", "/etc")).status, 126);
    const refused = await run("--device", "/dev/null", "busybox", "true");
    assert.equal(refused.status, 125);
    assert.match(refused.stderr, /HostConfig\.Devices is not supported/);
    const shared = await run("--network", "container:nobody", "busybox", "true");
    assert.match(shared.stderr, /joining network namespace of container: No such container: nobody/);
    assert.doesNotMatch(shared.stderr, /Unable to find image/);
  });

  test(`${client}: standard input goes through byte for byte, and its end arrives`, async () => {
    const there = await host.try(["run", "--rm", "-i", "busybox", "cat"], { client, input: text });
    assert.equal(there.status, 0, there.stderr);
    assert.ok(there.stdout === text);
    const name = await ok("run", "-d", "busybox", "sleep", "1000");
    const exec = await host.try(["exec", "-i", name, "sh", "-c", "cat; exit 9"], { client, input: text });
    assert.equal(exec.status, 9, exec.stderr);
    assert.ok(exec.stdout === text);
    assert.equal((await host.try(["exec", name, "nosuch"], { client })).status, 127);
    await ok("rm", "-f", name);
  });

  test(`${client}: a terminal has its size, and ends with its process`, () => {
    const { status, stdout } = host.terminal(
      `stty rows 31 cols 97; ${client} run --rm -it busybox sh -c 'sleep 0.5; stty size; tty; exit 4'`,
    );
    assert.equal(status, 4, stdout);
    assert.match(stdout, /31 97\n\/dev\/(pts\/0|console)/);
  });

  test(`${client}: system pages answer`, async () => {
    const say = async (...args: string[]) => {
      const { status, stdout, stderr } = await host.try(args, { client });
      assert.equal(status, 0, stderr);
      return stdout;
    };
    const name = await ok("run", "-d", "busybox", "sleep", "1000");
    assert.match(await say("version"), /Server:[^]*API version:\s+1\.50 \(minimum version 1\.24\)/);
    assert.match(await say("info"), /Swarm: inactive/);
    assert.match(await say("system", "df"), /^Images\s+1/m);
    assert.match(await say("top", name), /sleep 1000/);
    assert.match(await say("stats", "--no-stream", name), new RegExp(name.slice(0, 12)));
    assert.match(await say("ps"), /Up .* second/);
    assert.match(await say("network", "inspect", "bridge"), /"Name": "bridge"/);
    assert.match(await say("history", "busybox"), /busybox-static/);
    await ok("rm", "-f", name);
  });
}

test("a terminal is let go by the detach keys, and the container goes on", async () => {
  const id = await ok("create", "-it", "--name", "tty", "busybox", "sh");
  const stream = connect({ path: host.socket, allowHalfOpen: true });
  stream.write(
    `POST /v1.50/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n`,
  );
  let seen = "";
  stream.on("data", (chunk: Buffer) => {
    seen += chunk.toString();
  });
  const sees = (text: RegExp) =>
    until(
      () => text.test(seen),
      () => `${text} in ${JSON.stringify(seen)}`,
    );
  await sees(/101 UPGRADED[^]*raw-stream/);
  await ok("start", "tty");
  stream.write("echo $((6*7))\n");
  await sees(/\b42\r\n/);
  stream.write("\x10\x11");
  await once(stream, "end");
  stream.end();
  assert.equal(await ok("inspect", "-f", "{{.State.Running}}", "tty"), "true");
});

test("wait answers before the start, and tells the exit code after it", async () => {
  const id = await ok("create", "busybox", "sh", "-c", "exit 3");
  const waiting = host.call("POST", `/containers/${id}/wait?condition=next-exit`);
  await ok("start", id);
  assert.deepEqual(JSON.parse((await waiting).body), { StatusCode: 3 });
  assert.match(await ok("ps", "-a", "--filter", `id=${id}`, "--format", "{{.Status}}"), /^Exited \(3\) .* ago$/);
});

test("logs follow what comes, with times, and end with the container", async () => {
  await ok(
    "run",
    "-d",
    "--name",
    "logs",
    "busybox",
    "sh",
    "-c",
    "echo one; sleep 1; echo two >&2; sleep 1; echo three",
  );
  const { stdout: out, stderr: err } = await docker("logs", "-f", "-t", "logs");
  assert.match(out, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one\n\S+ three\n$/);
  assert.match(err, /^\S+ two\n$/);
  assert.equal(await ok("logs", "--tail", "1", "logs"), "three");
});

test("an older client makes, starts, reads and removes a container", async () => {
  const config = {
    Image: "busybox",
    Cmd: ["echo", "old"],
    HostConfig: { NetworkMode: "default", LogConfig: { Type: "" } },
  };
  const made = await host.call("POST", "/v1.24/containers/create?name=old", config);
  assert.equal(made.status, 201, made.body);
  assert.equal((await host.call("POST", "/v1.24/containers/old/start")).status, 204);
  assert.deepEqual(JSON.parse((await host.call("POST", "/v1.24/containers/old/wait")).body), { StatusCode: 0 });
  assert.equal((await host.call("GET", "/v1.24/containers/old/logs?stdout=1")).body, "\x01\0\0\0\0\0\0\x04old\n");
  const { Config } = JSON.parse((await host.call("GET", "/v1.24/containers/old/json")).body);
  assert.equal(typeof Config.MacAddress, "string");
  assert.equal((await host.call("DELETE", "/v1.24/containers/old")).status, 204);
  assert.equal((await host.call("GET", "/v1.24/containers/old/json")).status, 404);
});

test("networks come, show their containers, and go", async () => {
  await ok("network", "create", "--subnet", "10.91.0.0/24", "--gateway", "10.91.0.1", "--label", "a=b", "api_net");
  await ok(
    "run",
    "-d",
    "--name",
    "member",
    "--network",
    "api_net",
    "--ip",
    "10.91.0.9",
    "-p",
    "18091:80",
    "busybox",
    "sleep",
    "1000",
  );
  const [network] = JSON.parse(await ok("network", "inspect", "api_net"));
  assert.deepEqual(network.IPAM.Config, [{ Subnet: "10.91.0.0/24", Gateway: "10.91.0.1" }]);
  assert.deepEqual(
    Object.values<{ Name: string; IPv4Address: string }>(network.Containers).map((c) => [c.Name, c.IPv4Address]),
    [["member", "10.91.0.9/24"]],
  );
  assert.equal(await ok("port", "member"), "80/tcp -> 0.0.0.0:18091");
  assert.match(await ok("ps", "--filter", "name=member", "--format", "{{.Ports}}"), /0\.0\.0\.0:18091->80\/tcp/);
  const busy = await docker("network", "rm", "api_net");
  assert.match(busy.stderr, /network api_net has active endpoints \(name:"member" id:"[0-9a-f]{12}"\)/);
  await ok("rm", "-f", "member");
  await ok("network", "rm", "api_net");
  assert.match((await docker("network", "inspect", "api_net")).stderr, /network api_net not found/);
});

test("what is not there is looked for everywhere, then said", async () => {
  const { status: code, stderr: err } = await docker("inspect", "nothing-of-that-name");
  assert.deepEqual([code, err.trim()], [1, "Error: No such object: nothing-of-that-name"]);
});

test("events tell what was done", async () => {
  const since = String(Date.now() / 1000);
  await ok("run", "--rm", "--name", "eventful", "busybox", "true");
  const later = String(Date.now() / 1000 + 0.5);
  const lines = await ok(
    "events",
    "--since",
    since,
    "--until",
    later,
    "--filter",
    "container=eventful",
    "--format",
    "{{.Type}} {{.Action}}",
  );
  for (const line of ["container create", "container start", "container die", "container destroy"])
    assert.ok(lines.split("\n").includes(line), `${line} is not in:\n${lines}`);
});

test("-v makes a missing directory of the host, --mount refuses it", async () => {
  const made = join(host.directory, "made/deep");
  assert.equal(
    await ok("run", "--rm", "-v", `${made}:/data`, "busybox", "sh", "-c", "echo hi > /data/file; echo done"),
    "done",
  );
  assert.equal(readFileSync(join(made, "file"), "utf8"), "hi\n");
  const missing = join(host.directory, "missing");
  const { status, stderr } = await docker(
    "run",
    "--rm",
    "--mount",
    `type=bind,src=${missing},dst=/data`,
    "busybox",
    "true",
  );
  assert.equal(status, 125);
  assert.match(stderr, /invalid mount config for type "bind": bind source path does not exist: .*missing/);
});

test("what needs a swarm is refused", async () => {
  assert.match((await docker("service", "ls")).stderr, /This node is not a swarm manager/);
  assert.match((await docker("node", "ls")).stderr, /This node is not a swarm manager/);
});

test("an image is saved, imported, tagged and removed", async () => {
  const file = join(host.directory, "saved.tar");
  await ok("save", "-o", file, "busybox");
  assert.ok(readFileSync(file).length > 1 << 20);
  await ok("import", join(host.directory, "images/busybox-root.tar"), "imported:1");
  assert.equal((await docker("run", "--rm", "imported:1", "echo", "hi")).stdout, "hi\n");
  await ok("tag", "imported:1", "imported:2");
  assert.match(await ok("images", "imported"), /imported\s+2[^]*imported\s+1|imported\s+1[^]*imported\s+2/);
  await ok("rmi", "imported:1", "imported:2");
  assert.equal(await ok("images", "-q", "imported"), "");
  writeFileSync(file, "no archive");
  assert.notEqual((await docker("load", "-i", file)).status, 0);
});
