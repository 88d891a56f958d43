import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerRequest } from "../../engine/engine.ts";
import { notFound } from "../../lib/errors.ts";
import { type SomeEngine, serve } from "../testing.ts";
import { isNeutral } from "../schemas.ts";

const otherId = "f".repeat(64);
const volumeMount = {
  type: "volume",
  source: "v",
  target: "/other",
  readOnly: false,
  propagation: "",
  options: "",
  copy: true,
};
const bindMount = { ...volumeMount, type: "bind", source: "/src", target: "/data" };
const tmpMount = { ...volumeMount, type: "tmpfs", source: "", target: "/tmp" };

/** Creates a container over HTTP; @returns the answer and what the engine was asked for */
async function created(body: object, target = "/containers/create") {
  const requests: ContainerRequest[] = [];
  const volumes: unknown[] = [];
  const engine: SomeEngine = {
    containers: {
      create: async (request) => {
        requests.push(request);
        return { id: "c0ffee", warnings: ["from the engine"] };
      },
      inspect: async (name) => {
        if (name !== "other") throw notFound(`No such container: ${name}`);
        return { container: { id: otherId, spec: { mounts: [volumeMount, bindMount, tmpMount] } } } as never;
      },
    },
    volumes: { create: async (request) => volumes.push(request) as never },
  };
  await using server = await serve(engine);
  const { status, json } = await server.ask("POST", target, { body });
  const [request] = requests;
  return { status, json, message: json?.message as string, request, spec: request?.spec, volumes };
}
const withHost = (HostConfig: object, more: object = {}) => created({ Image: "busybox", HostConfig, ...more });

const plainAttachment = { linkLocal: [], aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };
const plainSpec = {
  ...{ image: "busybox", imageId: "", hostname: "", domainname: "", user: "", env: [], entrypoint: [], cmd: [] },
  ...{ workingDir: "", labels: {}, tty: false, openStdin: false, stdinOnce: false, stopSignal: "" },
  ...{ privileged: false, capAdd: [], capDrop: [], securityOptions: [], readOnlyRoot: false, init: false },
  ...{ mounts: [], memory: 0, memorySwap: 0, nanoCpus: 0, cpuShares: 0, pidsLimit: 0, shmSize: 67_108_864 },
  ...{ ulimits: [], sysctls: {}, extraHosts: [], dns: [], dnsSearch: [], dnsOptions: [], groupAdd: [] },
  ...{ oomScoreAdj: 0, restart: { name: "no", maximumRetryCount: 0 }, autoRemove: false, networkMode: "bridge" },
  ...{ ports: [], publishAll: false, exposed: [], pidMode: "", ipcMode: "" },
};

test("a bare request gets Docker's defaults", async () => {
  const { status, json, request } = await created({ Image: "busybox" });
  assert.deepEqual([status, json], [201, { Id: "c0ffee", Warnings: ["from the engine"] }]);
  assert.deepEqual(request?.spec, plainSpec);
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
  assert.deepEqual((await created(body)).spec, plainSpec);
  const again = await created({ ...shown.config, HostConfig: shown.hostConfig });
  assert.deepEqual(again.spec, { ...plainSpec, ipcMode: "private" }); // what inspect shows can be sent again
});

test("every field that is honoured reaches the engine", async () => {
  const { request, volumes } = await created(
    {
      ...{
        Image: "busybox",
        Hostname: "h",
        Domainname: "d",
        User: "u",
        Env: ["A=b", "C"],
        Entrypoint: "/e",
        Cmd: ["x", "y"],
      },
      ...{ WorkingDir: "/w", Labels: { l: "v" }, Tty: true, OpenStdin: true, StdinOnce: true, StopSignal: "SIGUSR1" },
      ...{ StopTimeout: 0, ExposedPorts: { "53/udp": {} }, Volumes: { "/anon": {} }, Healthcheck: { Test: ["NONE"] } },
      HostConfig: {
        ...{ Privileged: true, CapAdd: ["NET_ADMIN"], CapDrop: ["ALL"], SecurityOpt: ["no-new-privileges"] },
        ...{ ReadonlyRootfs: true, Init: true, Memory: 64 << 20, MemorySwap: -1, CpuQuota: 50_000, CpuPeriod: 100_000 },
        ...{ CpuShares: 512, PidsLimit: 100, ShmSize: 1 << 20, Sysctls: { "net.ipv4.ip_forward": "1" } },
        ...{
          Ulimits: [{ Name: "nofile", Soft: 10, Hard: 20 }],
          ExtraHosts: ["a:1.2.3.4", "b=[fd00::1]", "c:host-gateway"],
        },
        ...{ Dns: ["1.1.1.1"], DnsSearch: ["s"], DnsOptions: ["ndots:1"], GroupAdd: ["g"], OomScoreAdj: -5 },
        ...{ RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 }, PublishAllPorts: true },
        ...{ PortBindings: { "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "8080" }, {}], "81": [] } },
        ...{ PidMode: "host", IpcMode: "container:other", Runtime: "runc", UsernsMode: "host", MemorySwappiness: -1 },
        ...{ Binds: ["/src:/data:ro,z,rshared"], Tmpfs: { "/run": "size=1m" } },
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
    ...plainSpec,
    ...{ hostname: "h", domainname: "d", user: "u", env: ["A=b", "C"], entrypoint: ["/e"], cmd: ["x", "y"] },
    ...{ workingDir: "/w", labels: { l: "v" }, tty: true, openStdin: true, stdinOnce: true, stopSignal: "SIGUSR1" },
    ...{ stopTimeout: 0, privileged: true, capAdd: ["NET_ADMIN"], capDrop: ["ALL"] },
    ...{ securityOptions: ["no-new-privileges"], readOnlyRoot: true, init: true, memory: 64 << 20, memorySwap: -1 },
    ...{
      nanoCpus: 500_000_000,
      cpuShares: 512,
      pidsLimit: 100,
      shmSize: 1 << 20,
      sysctls: { "net.ipv4.ip_forward": "1" },
    },
    ...{
      ulimits: [{ name: "nofile", soft: 10, hard: 20 }],
      extraHosts: ["a:1.2.3.4", "b=[fd00::1]", "c:host-gateway"],
    },
    ...{ dns: ["1.1.1.1"], dnsSearch: ["s"], dnsOptions: ["ndots:1"], groupAdd: ["g"], oomScoreAdj: -5 },
    ...{ restart: { name: "on-failure", maximumRetryCount: 3 }, publishAll: true, pidMode: "host" },
    ...{ ipcMode: `container:${otherId}` },
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

test("what is not honoured is refused by name, unless it asks for nothing", async () => {
  const refused: Readonly<Record<string, unknown>> = {
    ...{ Devices: [{ PathOnHost: "/dev/null" }], DeviceRequests: [{ Count: -1 }], DeviceCgroupRules: ["c 1:3 rwm"] },
    ...{ CgroupParent: "/x", CgroupnsMode: "host", Runtime: "kata", StorageOpt: { size: "1G" }, Isolation: "hyperv" },
    ...{ UsernsMode: "other", UTSMode: "host", VolumeDriver: "nfs", Annotations: { a: "b" }, BlkioWeight: 10 },
    ...{ CpusetCpus: "0", CpuRealtimePeriod: 5, MemoryReservation: 1, MemorySwappiness: 10, OomKillDisable: true },
    ...{ MaskedPaths: [], ReadonlyPaths: [], IpcMode: "none", KernelMemory: 5, FromTheFuture: "x" },
    LogConfig: { Type: "syslog" },
  };
  for (const [field, value] of Object.entries(refused)) {
    const { status, message } = await withHost({ [field]: value });
    assert.equal(status, 400, field);
    assert.match(message, new RegExp(`^HostConfig\\.${field}(\\.Type)? is not supported: .{15}`), field);
    const neutral = isNeutral(value) ? null : typeof value === "string" ? "" : null;
    assert.equal((await withHost({ [field]: neutral })).status, 201, field);
  }
  const config: Readonly<Record<string, unknown>> = {
    NetworkDisabled: true,
    Healthcheck: { Test: ["CMD", "true"] },
    Future: 1,
  };
  for (const [field, value] of Object.entries(config))
    assert.match(
      (await created({ Image: "busybox", [field]: value })).message,
      new RegExp(`^${field} is not supported: `),
    );
  const option = await withHost({ LogConfig: { Type: "json-file", Config: { "max-size": "1m" } } });
  assert.equal(option.message, 'HostConfig.LogConfig.Config is not supported: the log has no option "max-size"');
});

const modeConflict = (mode: string, more: object, host: object = {}) =>
  created({ Image: "busybox", ...more, HostConfig: { NetworkMode: mode, ...host } });

test("network modes conflict with what they cannot have (Docker's texts)", async () => {
  const cases: readonly (readonly [object, object, string])[] = [
    [{ Hostname: "h" }, {}, "conflicting options: hostname and the network mode"],
    [{}, { Dns: ["1.1.1.1"] }, "conflicting options: dns and the network mode"],
    [{}, { ExtraHosts: ["a:1.1.1.1"] }, "conflicting options: custom host-to-IP mapping and the network mode"],
    [{}, { PublishAllPorts: true }, "conflicting options: port publishing and the container type network mode"],
    [
      {},
      { PortBindings: { "80/tcp": [{}] } },
      "conflicting options: port publishing and the container type network mode",
    ],
    [{ ExposedPorts: { "80/tcp": {} } }, {}, "conflicting options: port exposing and the container type network mode"],
    [{ MacAddress: "02:42:ac:11:00:05" }, {}, "conflicting options: mac-address and the network mode"],
    [
      { NetworkingConfig: { EndpointsConfig: { n: {} } } },
      {},
      "container sharing network namespace with another container or host cannot be connected to any other network",
    ],
  ];
  for (const [more, host, text] of cases) {
    const { status, message } = await modeConflict("container:other", more, host);
    assert.deepEqual([status, message], [400, text]);
  }
  const none = await modeConflict("none", { NetworkingConfig: { EndpointsConfig: { n: {} } } });
  assert.equal(
    none.message,
    "container cannot be connected to multiple networks with one of the networks in private (none) mode",
  );
  assert.match(
    (await modeConflict("host", {}, { Links: ["a:b"] })).message,
    /^conflicting options: host type networking/,
  );
  assert.match(
    (await modeConflict("bridge", {}, { Links: ["a:b"] })).message,
    /^HostConfig\.Links is not supported on/,
  );
  assert.equal((await modeConflict("container:", {})).message, "invalid container format container:<name|id>");
  const gone = await modeConflict("container:gone", {});
  assert.deepEqual([gone.status, gone.message], [404, "No such container: gone"]);
});

test("modes without networks of their own", async () => {
  const shared = await modeConflict("container:other", {});
  assert.deepEqual([shared.spec?.networkMode, shared.request?.attachments], [`container:${otherId}`, []]);
  const host = await modeConflict("host", { NetworkingConfig: { EndpointsConfig: { host: {} } } });
  assert.deepEqual(host.request?.attachments, [{ network: "host", ...plainAttachment }]);
  assert.notEqual(host.spec?.hostname, "");
  const named = await modeConflict("default", {
    NetworkingConfig: { EndpointsConfig: { default: { Aliases: ["a"] } } },
  });
  assert.deepEqual(named.request?.attachments, [{ network: "bridge", ...plainAttachment, aliases: ["a"] }]);
});

test("endpoint settings are checked, and the network named", async () => {
  const EndpointsConfig = { n: { IPAMConfig: { IPv4Address: "x" } } };
  const { message } = await modeConflict("n", { NetworkingConfig: { EndpointsConfig } });
  assert.equal(message, "invalid config for network n: invalid endpoint settings:\ninvalid IPv4 address: x");
});

const mac = "02:42:ac:11:00:05";
test("the MAC address of old clients belongs to the main network", async () => {
  const body = { Image: "busybox", MacAddress: mac, HostConfig: { NetworkMode: "n" } };
  const old = await created(body, "/v1.43/containers/create");
  assert.deepEqual([old.request?.attachments[0]?.mac, old.json.Warnings.length], [mac, 1]);
  const newer = await created(body, "/v1.44/containers/create");
  assert.equal(newer.request?.attachments[0]?.mac, mac);
  assert.match(newer.json.Warnings[1], /^The container-wide MacAddress field is now deprecated/);
  const NetworkingConfig = { EndpointsConfig: { n: { MacAddress: "02:42:ac:11:00:06" } } };
  const twice = await created({ ...body, NetworkingConfig });
  assert.match(twice.message, /^the container-wide MAC address must match the endpoint-specific MAC address/);
  const ignored = await created({ ...body, MacAddress: "", NetworkingConfig }, "/v1.43/containers/create");
  assert.equal(ignored.request?.attachments[0]?.mac, undefined);
  const other = await created({ ...body, NetworkingConfig: { EndpointsConfig: { m: {} } } });
  assert.equal(
    other.message,
    "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
  );
});

test("several networks at create need API 1.44", async () => {
  const body = {
    Image: "busybox",
    NetworkingConfig: { EndpointsConfig: { a: {}, b: {} } },
    HostConfig: { NetworkMode: "b" },
  };
  const old = await created(body, "/v1.43/containers/create");
  assert.equal(old.message, "Container cannot be created with multiple network endpoints: a, b");
  const { request } = await created(body, "/v1.44/containers/create");
  assert.deepEqual(
    request?.attachments.map((a) => a.network),
    ["b", "a"],
  );
});

test("sysctls of eth0 move to the endpoint for old clients", async () => {
  const key = "com.docker.network.endpoint.sysctls";
  const Sysctls = { "net.ipv4.conf.eth0.log_martians": "1", "net.core.somaxconn": "5" };
  const body = { Image: "busybox", HostConfig: { NetworkMode: "n", Sysctls } };
  const { spec, request, json } = await created(body, "/v1.46/containers/create");
  assert.deepEqual(spec?.sysctls, { "net.core.somaxconn": "5" });
  assert.deepEqual(request?.attachments[0]?.driverOptions, { [key]: "net.ipv4.conf.IFNAME.log_martians=1" });
  assert.match(json.Warnings[1], /^Migrated sysctl "net\.ipv4\.conf\.eth0\.log_martians" to DriverOpts/);
  const newer = await created(body);
  assert.match(newer.message, /must be supplied using driver option 'com\.docker\.network\.endpoint\.sysctls'$/);
});

test("AutoRemove is the client's own business before API 1.25", async () => {
  const body = { Image: "busybox", HostConfig: { AutoRemove: true } };
  assert.equal((await created(body, "/v1.24/containers/create")).spec?.autoRemove, false);
  assert.equal((await created(body)).spec?.autoRemove, true);
  const both = await withHost({ AutoRemove: true, RestartPolicy: { Name: "always" } });
  assert.equal(both.message, "can't create 'AutoRemove' container with restart policy");
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
  assert.equal((await withHost({ VolumesFrom: ["gone"] })).status, 404);
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

const texts: readonly (readonly [string, () => ReturnType<typeof created>, string])[] = [
  ["no image", () => created({}), "config cannot be empty in order to create a container"],
  ["half a bind", () => bind("a:b:c:d"), "invalid volume specification: 'a:b:c:d'"],
  ["an empty source", () => bind(":/b"), "invalid volume specification: ':/b'"],
  ["an unknown mode", () => bind("/a:/b:rx"), "invalid mode: rx"],
  [
    "a relative target",
    () => bind("/a:b"),
    `invalid volume specification: '/a:b': invalid mount config for type "bind": invalid mount path: 'b' mount path must be absolute`,
  ],
  [
    "the root as target",
    () => bind("/a:/"),
    `invalid volume specification: '/a:/': invalid mount config for type "bind": invalid specification: destination can't be '/'`,
  ],
  [
    "a bad volume name",
    () => bind("a b:/c"),
    `create a b: "a b" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  ],
  ["a target twice", () => withHost({ Binds: ["/a:/c"], Tmpfs: { "/c": "" } }), "Duplicate mount point: /c"],
  [
    "a bind without source",
    () => mounted({ Type: "bind", Target: "/t" }),
    'invalid mount config for type "bind": field Source must not be empty',
  ],
  [
    "a mount without target",
    () => mounted({ Type: "volume" }),
    'invalid mount config for type "volume": field Target must not be empty',
  ],
  [
    "options of another type",
    () => mounted({ Type: "bind", Source: "/a", Target: "/t", TmpfsOptions: {} }),
    'TmpfsOptions must not be specified on mount type "bind"',
  ],
  [
    "a subpath",
    () => mounted({ Type: "volume", Source: "a", Target: "/t", VolumeOptions: { Subpath: "x" } }),
    "HostConfig.Mounts: VolumeOptions.Subpath is not supported",
  ],
  ["a bad port", () => withHost({ PortBindings: { "99999/tcp": [{}] } }), 'invalid port specification: "99999/tcp"'],
  ["a bad protocol", () => created({ Image: "busybox", ExposedPorts: { "80/icmp": {} } }), "invalid proto: icmp"],
  [
    "a bad host port",
    () => withHost({ PortBindings: { "80/tcp": [{ HostPort: "80-70" }] } }),
    'invalid port specification: "80-70"',
  ],
  ["a bad host address", () => withHost({ PortBindings: { "80/tcp": [{ HostIp: "x" }] } }), "invalid IP address: x"],
  ["little memory", () => withHost({ Memory: 1000 }), "Minimum memory limit allowed is 6MB"],
  [
    "swap without memory",
    () => withHost({ MemorySwap: 1 << 30 }),
    "You should always set the Memory limit when using Memoryswap limit, see usage",
  ],
  [
    "less swap than memory",
    () => withHost({ Memory: 1 << 30, MemorySwap: 1 << 29 }),
    "Minimum memoryswap limit should be larger than memory limit, see usage",
  ],
  [
    "two kinds of CPU limit",
    () => withHost({ NanoCpus: 1e9, CpuQuota: 1000 }),
    "Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
  ],
  [
    "an unknown policy",
    () => withHost({ RestartPolicy: { Name: "often" } }),
    "invalid restart policy: unknown policy 'often'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
  ],
  [
    "a count for always",
    () => withHost({ RestartPolicy: { Name: "always", MaximumRetryCount: 2 } }),
    "invalid restart policy: maximum retry count can only be used with 'on-failure'",
  ],
  [
    "a negative count",
    () => withHost({ RestartPolicy: { Name: "on-failure", MaximumRetryCount: -2 } }),
    "invalid restart policy: maximum retry count cannot be negative",
  ],
  [
    "a soft limit above the hard one",
    () => withHost({ Ulimits: [{ Name: "nofile", Soft: 3, Hard: 2 }] }),
    "ulimit soft limit must be less than or equal to hard limit: 3 > 2",
  ],
  [
    "a bad score",
    () => withHost({ OomScoreAdj: 1001 }),
    "Invalid value 1001, range for oom score adj is [-1000, 1000]",
  ],
  ["a bad host line", () => withHost({ ExtraHosts: ["abc"] }), 'bad format for add-host: "abc"'],
  ["a bad host address line", () => withHost({ ExtraHosts: ["a:b"] }), 'invalid IP address in add-host: "b"'],
  ["a bad name server", () => withHost({ Dns: ["x"] }), "x is not an ip address"],
  [
    "a relative directory",
    () => created({ Image: "busybox", WorkingDir: "w" }),
    "the working directory 'w' is invalid, it needs to be an absolute path",
  ],
  ["a nameless variable", () => created({ Image: "busybox", Env: ["=x"] }), "invalid environment variable: =x"],
  ["an unknown signal", () => created({ Image: "busybox", StopSignal: "FOO" }), "Invalid signal: FOO"],
  ["an unknown PID mode", () => withHost({ PidMode: "mine" }), "invalid PID mode: mine"],
];
for (const [what, make, message] of texts)
  test(`create refuses ${what}`, async () => {
    const { status, message: said } = await make();
    assert.deepEqual([status, said], [400, message]);
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
