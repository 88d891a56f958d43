import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerDetail, Filters } from "../../engine/engine.ts";
import type { ContainerState } from "../../model/container.ts";
import { maskedPaths, readonlyPaths } from "../../model/system-paths.ts";
import { serve } from "../testing.ts";
import { createBody } from "./create-body.ts";
import { containerJson } from "./inspect.ts";
import { summaryJson } from "./list.ts";
import { parseProcess } from "./process-table.ts";
import { statusText } from "./status.ts";
import { readCreateBody } from "./wire.ts";

const id = "ab".repeat(32);
const zero = "0001-01-01T00:00:00Z";
const started = "2026-01-02T03:04:05.000Z";
const now = Date.parse(started) + 3000;
const running: ContainerState = {
  status: "running",
  pid: 42,
  exitCode: 0,
  error: "",
  oomKilled: false,
  startedAt: started,
  finishedAt: zero,
  restartCount: 0,
  stoppedByUser: false,
};

const body = createBody.parse({
  Image: "busybox",
  Cmd: ["sh", "-c", "echo a b"],
  ExposedPorts: { "443/tcp": {} },
  Labels: { l: "v" },
  HostConfig: {
    NetworkMode: "bridge",
    PortBindings: { "80/tcp": [{ HostPort: "8080" }] },
    Binds: ["/a:/b:ro", "vol:/w"],
  },
});
const { request } = readCreateBody(body, { name: "web", platform: "", version: 50, mountsOfOthers: [] });
const [attachment = { network: "" } as never] = request.attachments;
const ports = [{ protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 }] as const;
const detail: ContainerDetail = {
  container: {
    id,
    name: "web",
    createdAt: started,
    state: running,
    shown: request.shown,
    spec: { ...request.spec, imageId: "sha256:1", hostname: "abababababab", env: ["PATH=/bin"] },
    attachments: request.attachments,
  },
  networks: [
    {
      attachment,
      network: {
        id: "n1",
        scope: "local",
        spec: { name: "bridge" },
        pools: [],
        predefined: true,
        createdAt: "",
      } as never,
      endpoint: {
        id: "e1",
        networkId: "n1",
        sandboxId: id,
        containerId: id,
        containerName: "web",
        mac: "02:00:00:00:00:01",

        interfaceName: "eth0",
        linkLocal: [],
        names: ["web"],
        sysctls: {},
        gatewayPriority: 0,
        addresses: [
          { address: "172.17.0.2", prefix: 16, gateway: "172.17.0.1" },
          { address: "fd00::2", prefix: 64, gateway: "fd00::1" },
        ],
        ports,
      },
    },
  ],
  ports,
  execIds: [],
  health: { failingStreak: 0, log: [] },
  paths: { directory: "/d", hosts: "/d/hosts", hostname: "/d/hostname", resolvConf: "/d/resolv.conf", log: "/d/log" },
  mountSources: ["/a", "/volumes/vol/_data"],
  sandboxKey: "/run/netns/x",
};
// any: the test looks at what it expects
const inspect = (change: Partial<ContainerDetail> = {}, version = 50): any =>
  containerJson({ ...detail, ...change }, version, false);

test("inspect has Docker's fields in Docker's order", () => {
  const shown = inspect();
  assert.equal(
    Object.keys(shown).join(" "),
    "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings",
  );
  assert.deepEqual([shown.Id, shown.Name, shown.Path, shown.Args], [id, "/web", "sh", ["-c", "echo a b"]]);
  assert.deepEqual(shown.State, {
    Status: "running",
    Running: true,
    Paused: false,
    Restarting: false,
    OOMKilled: false,
    Dead: false,
    Pid: 42,
    ExitCode: 0,
    Error: "",
    StartedAt: started,
    FinishedAt: zero,
  });
  assert.equal(
    Object.keys(shown.Config).join(" "),
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd Image Volumes WorkingDir Entrypoint OnBuild Labels",
  );
  assert.deepEqual([shown.Config.Hostname, shown.Config.Env], ["abababababab", ["PATH=/bin"]]);
  assert.deepEqual(shown.Config.ExposedPorts, { "443/tcp": {}, "80/tcp": {} });
  assert.deepEqual(shown.HostConfig.PortBindings, { "80/tcp": [{ HostIp: "", HostPort: "8080" }] });
});

test("inspect shows the health of a container that is looked at, docker ps its status", () => {
  const healthCheck = {
    test: ["CMD", "true"],
    interval: 1500,
    timeout: 0,
    startPeriod: 0,
    startInterval: 0,
    retries: 2,
  };
  const { container } = detail;
  const state = { ...running, health: "starting" } as const;
  const result = { start: started, end: started, exitCode: -1, output: "no" };
  const looked = {
    container: { ...container, state, spec: { ...container.spec, healthCheck } },
    health: { failingStreak: 1, log: [result] },
  };
  const { State, Config } = inspect(looked);
  assert.deepEqual(State.Health, {
    Status: "starting",
    FailingStreak: 1,
    Log: [{ Start: started, End: started, ExitCode: -1, Output: "no" }],
  });
  assert.deepEqual(Config.Healthcheck, { Test: ["CMD", "true"], Interval: 1_500_000_000, Retries: 2 });
  assert.equal(statusText(state, now), "Up 3 seconds (health: starting)");
  assert.equal(statusText({ ...state, health: "healthy" }, now), "Up 3 seconds (healthy)");
});

test("inspect shows networks, ports and mounts", () => {
  const { NetworkSettings, Mounts } = inspect();
  assert.deepEqual(NetworkSettings.Networks.bridge, {
    IPAMConfig: null,
    Links: null,
    Aliases: null,
    MacAddress: "02:00:00:00:00:01",
    DriverOpts: null,
    GwPriority: 0,

    NetworkID: "n1",
    EndpointID: "e1",
    Gateway: "172.17.0.1",
    IPAddress: "172.17.0.2",
    IPPrefixLen: 16,
    IPv6Gateway: "fd00::1",
    GlobalIPv6Address: "fd00::2",
    GlobalIPv6PrefixLen: 64,
    DNSNames: null,
  });
  assert.deepEqual([NetworkSettings.IPAddress, NetworkSettings.Gateway], ["172.17.0.2", "172.17.0.1"]);
  assert.deepEqual(NetworkSettings.Ports, { "443/tcp": null, "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }] });
  assert.deepEqual(Mounts, [
    { Type: "bind", Source: "/a", Destination: "/b", Mode: "", RW: false, Propagation: "rprivate" },
    {
      Type: "volume",
      Name: "vol",
      Source: "/volumes/vol/_data",
      Destination: "/w",
      Driver: "local",
      Mode: "z",
      RW: true,
      Propagation: "",
    },
  ]);
});

test("inspect of a container that does not run shows no ports, and its wishes", () => {
  const { container } = detail;
  const networks = [{ attachment: { ...attachment, network: "later", ipv4: "10.0.0.9" } }];
  const { NetworkSettings } = inspect({ networks, sandboxKey: "", container });
  assert.deepEqual([NetworkSettings.Ports, NetworkSettings.SandboxID, NetworkSettings.IPAddress], [{}, "", ""]);
  assert.deepEqual(NetworkSettings.Networks.later.IPAMConfig, { IPv4Address: "10.0.0.9" });
});

test("inspect shows what update changed, and the MAC address where old clients look", () => {
  const spec = {
    ...detail.container.spec,
    memory: 5 << 20,
    pidsLimit: 7,
    restart: { name: "always", maximumRetryCount: 0 } as const,
  };
  const { HostConfig } = inspect({ container: { ...detail.container, spec } });
  assert.deepEqual([HostConfig.Memory, HostConfig.MemorySwap, HostConfig.PidsLimit], [5 << 20, 10 << 20, 7]);
  assert.deepEqual(HostConfig.RestartPolicy, { Name: "always", MaximumRetryCount: 0 });
  assert.deepEqual([HostConfig.MaskedPaths, HostConfig.ReadonlyPaths], [maskedPaths, readonlyPaths]);
  const free = inspect({ container: { ...detail.container, spec: { ...spec, privileged: true } } }).HostConfig;
  assert.deepEqual([free.MaskedPaths, free.ReadonlyPaths], [null, null]);
  assert.equal(inspect({}, 43).Config.MacAddress, "02:00:00:00:00:01");
  assert.equal(inspect().Config.MacAddress, undefined);
});

test("list shows a line of docker ps", () => {
  assert.deepEqual(summaryJson(detail, 50, now), {
    Id: id,
    Names: ["/web"],
    Image: "busybox",
    ImageID: "sha256:1",
    Command: "sh -c 'echo a b'",
    Created: Date.parse(started) / 1000,
    Ports: [
      { IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp" },
      { PrivatePort: 443, Type: "tcp" },
    ],
    Labels: { l: "v" },
    State: "running",
    Status: "Up 3 seconds",
    HostConfig: { NetworkMode: "bridge" },
    NetworkSettings: { Networks: inspect().NetworkSettings.Networks },
    Mounts: inspect().Mounts,
  });
});

const ended = { finishedAt: started, exitCode: 3 } as const;
const states: readonly (readonly [Partial<ContainerState>, string])[] = [
  [{}, "Up 3 seconds"],
  [{ status: "paused" }, "Up 3 seconds (Paused)"],
  [{ status: "restarting", ...ended }, "Restarting (3) 3 seconds ago"],
  [{ status: "exited", ...ended }, "Exited (3) 3 seconds ago"],
  [{ status: "created", startedAt: zero }, "Created"],
  [{ status: "dead" }, "Dead"],
];
for (const [change, text] of states)
  test(`the status text of ${change.status ?? "running"} is "${text}"`, () => {
    assert.equal(statusText({ ...running, ...change }, now), text);
  });

test("list passes on its options", async () => {
  const seen: unknown[] = [];
  const list = async (filters: Filters, options: object) => {
    seen.push([[...filters], options]);
    return [];
  };
  await using server = await serve({ containers: { list } });
  assert.deepEqual((await server.ask("GET", "/containers/json")).json, []);
  await server.ask("GET", "/containers/json?all=1&limit=-1&filters=%7B%22status%22%3A%5B%22exited%22%5D%7D");
  await server.ask("GET", "/containers/json?all=False&limit=4&since=x");
  const bad = await server.ask("GET", "/containers/json?limit=many");
  assert.equal(bad.status, 400);
  assert.deepEqual(seen, [
    [[], { all: false, limit: 0 }],
    [[["status", ["exited"]]], { all: true, limit: 0 }],
    [[["since", ["x"]]], { all: false, limit: 4 }],
  ]);
});

test("top prints this process as ps would", async () => {
  const pids = async () => [process.pid, 2 ** 22 + 1]; // the second cannot be
  await using server = await serve({ containers: { pids } });
  const { json } = await server.ask("GET", "/containers/c/top");
  assert.deepEqual(json.Titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
  assert.equal(json.Processes.length, 1);
  assert.deepEqual(json.Processes[0].slice(0, 3), [
    String(process.getuid?.()),
    String(process.pid),
    String(process.ppid),
  ]);
  const own = await server.ask("GET", "/containers/c/top?ps_args=-o%20pid,comm");
  assert.deepEqual([own.json.Titles, own.json.Processes[0][0]], [["PID", "COMM"], String(process.pid)]);
  const bad = await server.ask("GET", "/containers/c/top?ps_args=--forest");
  assert.match(bad.json.message, /^ps arguments "--forest" are not supported: known are -ef, aux and -o with uid,/);
});

test("a process's name may hold brackets and blanks", () => {
  const stat = "7 (a) b (c)) S 1 7 7 34817 7 0 0 0 0 0 150 50 0 0 20 0 1 0 100 8192 3 0";
  const { name, parent, cpuTime, virtual, resident, terminal, command } = parseProcess(
    7,
    stat,
    "Uid:\t0\t5\t0\t0\n",
    "",
  );
  assert.deepEqual([name, parent, cpuTime, virtual, resident, terminal], ["a) b (c)", 1, 2, 8192, 3 * 4096, 34_817]);
  assert.equal(command, "[a) b (c)]");
});
