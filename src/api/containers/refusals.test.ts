import assert from "node:assert/strict";
import { test } from "node:test";
import { maskedPaths, readonlyPaths } from "../../model/system-paths.ts";
import { isNeutral } from "../schemas.ts";
import { created, withHost } from "./create-testing.ts";

test("the hidden paths of /proc and /sys cannot be chosen, but what inspect shows can be sent again", async () => {
  const usual = { MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths };
  assert.equal((await withHost(usual)).status, 201);
  for (const change of [{ Privileged: true }, { MaskedPaths: maskedPaths.slice(1) }, { ReadonlyPaths: ["/proc"] }]) {
    const { status, message } = await withHost({ ...usual, ...change });
    assert.equal(status, 400);
    assert.match(message, /^HostConfig\.(MaskedPaths|ReadonlyPaths) is not supported: which paths/);
  }
});

test("what is not honoured is refused by name, unless it asks for nothing", async () => {
  const refused: Readonly<Record<string, unknown>> = {
    Devices: [{ PathOnHost: "/dev/null" }],
    DeviceRequests: [{ Count: -1 }],
    DeviceCgroupRules: ["c 1:3 rwm"],
    CgroupParent: "/x",
    CgroupnsMode: "host",
    Runtime: "kata",
    StorageOpt: { size: "1G" },
    Isolation: "hyperv",
    UsernsMode: "other",
    UTSMode: "host",
    VolumeDriver: "nfs",
    Annotations: { a: "b" },
    BlkioWeight: 10,
    CpusetCpus: "0",
    CpuRealtimePeriod: 5,
    MemoryReservation: 1,
    MemorySwappiness: 10,
    OomKillDisable: true,
    MaskedPaths: [],
    ReadonlyPaths: [],
    IpcMode: "none",
    KernelMemory: 5,
    FromTheFuture: "x",
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

const bind = (text: string) => withHost({ Binds: [text] });
const mounted = (mount: object) => withHost({ Mounts: [mount] });

const checked = (check: object) => created({ Image: "busybox", Healthcheck: { Test: ["CMD", "true"], ...check } });

const texts: readonly (readonly [string, () => ReturnType<typeof created>, string])[] = [
  ["no image", () => created({}), "config cannot be empty in order to create a container"],
  [
    "a health check that is none",
    () => checked({ Test: ["HTTP", "/"] }),
    'Healthcheck.Test must begin with CMD, CMD-SHELL or NONE: "HTTP"',
  ],
  ["a health check too often", () => checked({ Interval: 5 }), "Interval in Healthcheck cannot be less than 1ms"],
  ["no time for a health check", () => checked({ Timeout: -1 }), "Timeout in Healthcheck cannot be less than 1ms"],
  [
    "a start period of nothing",
    () => checked({ StartPeriod: 1 }),
    "StartPeriod in Healthcheck cannot be less than 1ms",
  ],
  [
    "a start interval of nothing",
    () => checked({ StartInterval: 1 }),
    "StartInterval in Healthcheck cannot be less than 1ms",
  ],
  ["less than no failures", () => checked({ Retries: -1 }), "Retries in Healthcheck cannot be negative"],
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
    "options of a type that there is not",
    () => mounted({ Type: "volume", Source: "a", Target: "/t", ImageOptions: { Subpath: "x" } }),
    'ImageOptions must not be specified on mount type "volume"',
  ],
  [
    "a subpath",
    () => mounted({ Type: "volume", Source: "a", Target: "/t", VolumeOptions: { Subpath: "x" } }),
    "HostConfig.Mounts: VolumeOptions.Subpath is not supported",
  ],
  [
    "options of a volume",
    () =>
      mounted({ Type: "volume", Source: "a", Target: "/t", VolumeOptions: { DriverConfig: { Options: { o: "x" } } } }),
    'HostConfig.Mounts: VolumeOptions.DriverConfig.Options is not supported: a volume is a directory of its host, without option "o"',
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
  ["an unknown limit", () => withHost({ Ulimits: [{ Name: "foo", Soft: 1, Hard: 1 }] }), "invalid ulimit type: foo"],
  [
    "an unknown capability",
    () => withHost({ CapAdd: ["all", "cap_Net_Admin", "foo"] }),
    'invalid CapAdd: unknown capability: "CAP_FOO"',
  ],
  [
    "an unknown capability to drop",
    () => withHost({ CapDrop: ["NET_RAW", "CAP_FOO"] }),
    'invalid CapDrop: unknown capability: "CAP_FOO"',
  ],
  [
    "a setting of the whole host",
    () => withHost({ Sysctls: { "net.core.somaxconn": "1", "kernel.shmmax": "1", "kernel.panic": "1" } }),
    'sysctl "kernel.panic" is not in a separate kernel namespace',
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

test("sysctls of the whole host are refused with runc's texts, those of the container's own namespaces are not", async () => {
  const ofHost: readonly (readonly [object, string, string])[] = [
    [{}, "vm.swappiness", 'sysctl "vm.swappiness" is not in a separate kernel namespace'],
    [{}, "vm/swappiness", 'sysctl "vm.swappiness" is not in a separate kernel namespace'],
    [
      { NetworkMode: "host" },
      "net.core.somaxconn",
      'sysctl "net.core.somaxconn" not allowed in host network namespace',
    ],
    [
      { NetworkMode: "host" },
      "net/core/somaxconn",
      'sysctl "net.core.somaxconn" not allowed in host network namespace',
    ],
    [{ IpcMode: "host" }, "kernel.shmmax", 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'],
    [{ IpcMode: "host" }, "fs.mqueue.msg_max", 'sysctl "fs.mqueue.msg_max" is not allowed in the hosts ipc namespace'],
  ];
  for (const [mode, key, message] of ofHost) {
    const refused = await withHost({ ...mode, Sysctls: { "kernel.domainname": "d", [key]: "1" } });
    assert.deepEqual([refused.status, refused.message], [400, message]);
  }
  const own: readonly (readonly [object, string])[] = [
    [{ IpcMode: "host" }, "net.core.somaxconn"],
    [{ NetworkMode: "none" }, "net/ipv4/conf/eth0.1/forwarding"],
    [{ NetworkMode: "container:other" }, "net.core.somaxconn"],
    [{ NetworkMode: "host" }, "kernel.shmmax"],
    [{ NetworkMode: "host", IpcMode: "host" }, "kernel.domainname"],
  ];
  for (const [mode, key] of own) {
    const { status, message } = await withHost({ ...mode, Sysctls: { [key]: "1" } });
    assert.deepEqual([status, message], [201, undefined], key);
  }
});
