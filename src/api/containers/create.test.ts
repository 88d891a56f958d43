import assert from "node:assert/strict";
import { test } from "node:test";
import { plainContainer } from "../../model/container-testing.ts";
import { created, otherId, plainAttachment, withHost } from "./create-testing.ts";

test("a bare request gets Docker's defaults", async () => {
  const { status, json, request } = await created({ Image: "busybox" });
  assert.deepEqual([status, json], [201, { Id: "c0ffee", Warnings: ["from the engine"] }]);
  assert.deepEqual(request?.spec, plainContainer);
  assert.deepEqual(request?.attachments, [{ network: "bridge", ...plainAttachment }]);
  assert.deepEqual([request?.name, request?.platform], ["", ""]);
});

test("null and neutral values of every field are defaults, too", async () => {
  const { request: bare } = await created({ Image: "busybox" });
  const shown = bare?.shown ?? { config: {}, hostConfig: {} };
  const nulls = (keys: object) => Object.fromEntries(Object.keys(keys).map((key) => [key, null]));
  const body = {
    ...nulls(shown.config),
    Image: "busybox",
    HostConfig: nulls(shown.hostConfig),
    NetworkingConfig: null,
  };
  assert.deepEqual((await created(body)).spec, plainContainer);
  const again = await created({ ...shown.config, HostConfig: shown.hostConfig });
  assert.deepEqual(again.spec, { ...plainContainer, ipcMode: "private" }); // what inspect shows can be sent again
});

test("every field that is honoured reaches the engine", async () => {
  const { request, volumes } = await created(
    {
      Image: "busybox",
      Hostname: "h",
      Domainname: "d",
      User: "u",
      Env: ["A=b", "C"],
      Entrypoint: "/e",
      Cmd: ["x", "y"],

      WorkingDir: "/w",
      Labels: { l: "v" },
      Tty: true,
      OpenStdin: true,
      StdinOnce: true,
      StopSignal: "SIGUSR1",
      StopTimeout: 0,
      ExposedPorts: { "53/udp": {} },
      Volumes: { "/anon": {} },
      Healthcheck: { Test: ["CMD-SHELL", "test -e /up"], Interval: 1_500_000_000, Timeout: 1e6, Retries: 2 },
      Shell: ["/bin/ash", "-c"],
      HostConfig: {
        Privileged: true,
        CapAdd: ["NET_ADMIN"],
        CapDrop: ["ALL"],
        SecurityOpt: ["no-new-privileges"],
        ReadonlyRootfs: true,
        Init: true,
        Memory: 64 << 20,
        MemorySwap: -1,
        CpuQuota: 50_000,
        CpuPeriod: 100_000,
        CpuShares: 512,
        PidsLimit: 100,
        ShmSize: 1 << 20,
        Sysctls: { "net.ipv4.ip_forward": "1" },
        Ulimits: [{ Name: "nofile", Soft: 10, Hard: 20 }],
        ExtraHosts: ["a:1.2.3.4", "b=[fd00::1]", "c:host-gateway"],

        Dns: ["1.1.1.1"],
        DnsSearch: ["s"],
        DnsOptions: ["ndots:1"],
        GroupAdd: ["g"],
        OomScoreAdj: -5,
        RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 },
        PublishAllPorts: true,
        PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8080" }, {}], "81": [] },
        PidMode: "host",
        IpcMode: "container:other",
        Runtime: "runc",
        UsernsMode: "host",
        MemorySwappiness: -1,
        Binds: ["/src:/data:ro,z,rshared"],
        Tmpfs: { "/run": "size=1m" },
        Mounts: [
          { Type: "volume", Source: "named", Target: "/deep/er", VolumeOptions: { NoCopy: true, Labels: { x: "y" } } },
        ],
      },
      NetworkingConfig: {
        EndpointsConfig: {
          net2: { Aliases: ["two"], GwPriority: 5, DriverOpts: { k: "v" } },
          bridge: null,
        },
      },
    },
    "/containers/create?name=/web&platform=linux/arm64",
  );
  const mount = { source: "", readOnly: false, propagation: "", options: "", copy: false };
  assert.deepEqual(request?.spec, {
    ...plainContainer,
    hostname: "h",
    domainname: "d",
    user: "u",
    env: ["A=b", "C"],
    entrypoint: ["/e"],
    cmd: ["x", "y"],
    workingDir: "/w",
    labels: { l: "v" },
    tty: true,
    openStdin: true,
    stdinOnce: true,
    stopSignal: "SIGUSR1",
    stopTimeout: 0,
    healthCheck: {
      ...{
        test: ["CMD-SHELL", "test -e /up"],
        interval: 1500,
        timeout: 1,
        startPeriod: 0,
        startInterval: 0,
        retries: 2,
      },
    },
    shell: ["/bin/ash", "-c"],
    privileged: true,
    capAdd: ["NET_ADMIN"],
    capDrop: ["ALL"],
    securityOptions: ["no-new-privileges"],
    readOnlyRoot: true,
    init: true,
    memory: 64 << 20,
    memorySwap: -1,
    nanoCpus: 500_000_000,
    cpuShares: 512,
    pidsLimit: 100,
    shmSize: 1 << 20,
    sysctls: { "net.ipv4.ip_forward": "1" },

    ulimits: [{ name: "nofile", soft: 10, hard: 20 }],
    extraHosts: ["a:1.2.3.4", "b=[fd00::1]", "c:host-gateway"],

    dns: ["1.1.1.1"],
    dnsSearch: ["s"],
    dnsOptions: ["ndots:1"],
    groupAdd: ["g"],
    oomScoreAdj: -5,
    restart: { name: "on-failure", maximumRetryCount: 3 },
    publishAll: true,
    pidMode: "host",
    ipcMode: `container:${otherId}`,
    ports: [
      { protocol: "tcp", containerPort: 80, hostIp: "127.0.0.1", hostPort: "8080" },
      { protocol: "tcp", containerPort: 80, hostIp: "", hostPort: "" },
    ],
    exposed: [
      { protocol: "udp", port: 53 },
      { protocol: "tcp", port: 81 }, // keys that are numbers come first in JSON
      { protocol: "tcp", port: 80 },
    ],
    mounts: [
      {
        ...mount,
        type: "bind",
        source: "/src",
        target: "/data",
        readOnly: true,
        propagation: "rshared",
        createSource: true,
      },
      { ...mount, type: "tmpfs", target: "/run", options: "size=1m" },
      { ...mount, type: "volume", target: "/anon", copy: true },
      { ...mount, type: "volume", source: "named", target: "/deep/er" },
    ],
  });
  assert.deepEqual(request?.attachments, [
    { network: "bridge", ...plainAttachment },
    { network: "net2", ...plainAttachment, aliases: ["two"], gatewayPriority: 5, driverOptions: { k: "v" } },
  ]);
  assert.deepEqual([request?.name, request?.platform], ["web", "linux/arm64"]);
  assert.deepEqual(volumes, [{ driver: "local", name: "named", labels: { x: "y" }, options: {} }]);
});

test("volumes of other containers come along, but for what is mounted over them", async () => {
  const { spec } = await withHost({ VolumesFrom: ["other:ro"], Binds: ["mine:/data"] });
  assert.deepEqual(
    spec?.mounts.map((m) => [m.source, m.target, m.readOnly, m.copy]),
    [
      ["mine", "/data", false, true],
      ["v", "/other", true, false],
    ],
  );
  const gone = await withHost({ VolumesFrom: ["gone"] });
  assert.deepEqual([gone.status, gone.message], [400, "No such container: gone"]);
});

const bind = (text: string) => withHost({ Binds: [text] });
const mounted = (mount: object) => withHost({ Mounts: [mount] });

test("binds in all their forms", async () => {
  const first = async (text: string) => {
    const { type, source, target, readOnly, copy, propagation } = (await bind(text)).spec?.mounts[0] ?? ({} as never);
    return [type, source, target, readOnly, copy, propagation];
  };
  assert.deepEqual(await first("/a//b/:/c/"), ["bind", "/a/b", "/c", false, false, ""]);
  assert.deepEqual(await first("vol:/c:nocopy,ro"), ["volume", "vol", "/c", true, false, ""]);
  assert.deepEqual(await first("/c"), ["volume", "", "/c", false, true, ""]);
  assert.deepEqual(await first("/a:/c:Z,rslave,cached"), ["bind", "/a", "/c", false, false, "rslave"]);
});

test("mounts in all their forms", async () => {
  const tmpfs = await mounted({
    Type: "tmpfs",
    Target: "/t",
    TmpfsOptions: { SizeBytes: 5, Mode: 0o1777, Options: [["noexec"]] },
  });
  assert.equal(tmpfs.spec?.mounts[0]?.options, "size=5,mode=1777,noexec");
  const strict = await mounted({ Type: "bind", Source: "/a", Target: "/t", BindOptions: { Propagation: "rshared" } });
  assert.deepEqual([strict.spec?.mounts[0]?.propagation, strict.spec?.mounts[0]?.createSource], ["rshared", undefined]);
  const made = await mounted({ Type: "bind", Source: "/a", Target: "/t", BindOptions: { CreateMountpoint: true } });
  assert.equal(made.spec?.mounts[0]?.createSource, true);
});

test("ports of a range are each exposed and published", async () => {
  const { spec } = await withHost({ PortBindings: { "8000-8001/UDP": [{ HostPort: "9000-9010" }] } });
  assert.deepEqual(
    spec?.ports.map((p) => [p.protocol, p.containerPort, p.hostPort]),
    [
      ["udp", 8000, "9000-9010"],
      ["udp", 8001, "9000-9010"],
    ],
  );
  assert.deepEqual(spec?.exposed.length, 2);
});
