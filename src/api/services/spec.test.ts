import assert from "node:assert/strict";
import { test } from "node:test";
import { withDefaults } from "./shown.ts";
import { rich, specFrom } from "./spec-testing.ts";

const id = "a22j6sda9j8484zhhs2ws5bu3";
const plain = { TaskTemplate: { ContainerSpec: { Image: "busybox" } } };
/** A spec with other fields of its container. */
const withContainer = (fields: object, others: object = {}) => ({
  ...others,
  TaskTemplate: { ContainerSpec: { Image: "busybox", ...fields } },
});
const withTemplate = (fields: object) => ({ TaskTemplate: { ...plain.TaskTemplate, ...fields } });
const rpc = (text: string) => `rpc error: code = InvalidArgument desc = ${text}`;
const refused = (body: object, message: string | RegExp, errorClass = "invalid") =>
  assert.throws(() => specFrom(body), { class: errorClass, message });

test("what a client sends is shown again as Docker shows it, whatever its order was", () => {
  const reversed = (value: unknown): unknown =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(
          Object.entries(value)
            .toReversed()
            .map(([key, member]) => [key, reversed(member)]),
        )
      : value;
  const { shown } = specFrom(reversed(rich) as object, { name: "k1", networks: [id] });
  assert.equal(JSON.stringify(shown), JSON.stringify(rich));
  const { Runtime: _, ...task } = rich.TaskTemplate;
  assert.equal(JSON.stringify(specFrom(rich, { networks: [id] }).task.shown.task), JSON.stringify(task));
});

test("what is left out is filled in where Docker does so", () => {
  const shown = (body: object) => specFrom(body).shown;
  const least = {
    Name: "web",
    Labels: {},
    TaskTemplate: { ContainerSpec: { Image: "busybox", Isolation: "default" }, ForceUpdate: 0, Runtime: "container" },
    Mode: { Replicated: { Replicas: 1 } },
  };
  const empty = { Env: [], Labels: null, TTY: false, Init: null, Privileges: null, Secrets: null, Unknown: null };
  assert.equal(JSON.stringify(shown(withContainer(empty, { Name: "x", Later: {} }))), JSON.stringify(least));
  const job = shown({ ...plain, Mode: { ReplicatedJob: { MaxConcurrent: 2 } } });
  assert.deepEqual(job.Mode, { ReplicatedJob: { MaxConcurrent: 2, TotalCompletions: 2 } });
  assert.deepEqual(shown({ ...plain, Mode: { GlobalJob: {} } }).Mode, { GlobalJob: {} });
  const ports = shown({ ...plain, EndpointSpec: { Ports: [{ TargetPort: 80 }] } });
  const port = { Protocol: "tcp", TargetPort: 80, PublishMode: "ingress" };
  assert.equal(JSON.stringify(ports.EndpointSpec), JSON.stringify({ Mode: "vip", Ports: [port] }));
  const privileges = shown(withContainer({ Privileges: { NoNewPrivileges: true } })).TaskTemplate;
  assert.deepEqual((privileges as { ContainerSpec: { Privileges: object } }).ContainerSpec.Privileges, {
    NoNewPrivileges: true,
  });
});

test("inspect fills in the defaults of what it leaves out when it is asked to", () => {
  const policy = {
    Parallelism: 1,
    FailureAction: "pause",
    Monitor: 5_000_000_000,
    MaxFailureRatio: 0,
    Order: "stop-first",
  };
  const expected = {
    Name: "web",
    Labels: {},
    TaskTemplate: {
      ContainerSpec: { Image: "busybox", StopGracePeriod: 10_000_000_000, DNSConfig: {}, Isolation: "default" },
      Resources: {},
      RestartPolicy: { Condition: "any", Delay: 5_000_000_000, MaxAttempts: 0 },
      Placement: {},
      ForceUpdate: 0,
      Runtime: "container",
    },
    Mode: { Replicated: { Replicas: 1 } },
    UpdateConfig: policy,
    RollbackConfig: policy,
  };
  assert.equal(JSON.stringify(withDefaults(specFrom(plain).shown)), JSON.stringify(expected));
  assert.equal(
    JSON.stringify(withDefaults(specFrom(rich, { networks: [id] }).shown)),
    JSON.stringify({ ...rich, Name: "web" }),
  );
});

test("the container of a task is read as a container's create request is", () => {
  const { task } = specFrom(rich, { networks: [id] });
  const { container } = task;
  assert.deepEqual(
    [container.image, container.entrypoint, container.cmd, container.env, container.hostname, container.user],
    ["busybox:latest", ["ep", "x"], ["a", "b"], ["A=B"], "h-{{.Task.Slot}}", "1"],
  );
  assert.deepEqual(
    [
      container.workingDir,
      container.groupAdd,
      container.init,
      container.tty,
      container.readOnlyRoot,
      container.stopSignal,
    ],
    ["/w", ["2"], true, true, true, "SIGINT"],
  );
  assert.deepEqual(
    [container.memory, container.nanoCpus, container.pidsLimit, container.stopTimeout],
    [52_428_800, 5e8, 10, 3],
  );
  assert.deepEqual(
    [container.extraHosts, container.dns, container.ulimits],
    [["h:1.2.3.4"], ["1.1.1.1"], [{ name: "nofile", soft: 10, hard: 20 }]],
  );
  assert.deepEqual(
    container.mounts.map(({ type, source, target, copy }) => [type, source, target, copy]),
    [
      ["tmpfs", "", "/t", false],
      ["bind", "/tmp", "/b", false],
      ["volume", "v-{{.Node.Hostname}}", "/v", false],
    ],
  );
  assert.deepEqual(task.volumes, [{ name: "v-{{.Node.Hostname}}", labels: { a: "b" } }]);
  assert.deepEqual(task.networks, [{ network: id, aliases: ["al"], driverOptions: { a: "b" } }]);
  assert.deepEqual(task.restart, { condition: "on-failure", delay: 1000, maxAttempts: 3, window: 10_000 });
  assert.deepEqual(task.placement, {
    constraints: ["node.role==manager"],
    spread: ["node.labels.dc"],
    maxPerNode: 3,
    platforms: [],
  });
  assert.deepEqual(task.reservations, { nanoCpus: 1e8, memory: 0 });
  const { config, hostConfig } = task.shown;
  assert.deepEqual([config.Env, hostConfig.NanoCpus], [["A=B"], 5e8]);
  assert.deepEqual(hostConfig.Mounts, rich.TaskTemplate.ContainerSpec.Mounts);
  assert.deepEqual([container.healthCheck?.test, container.healthCheck?.interval], [["CMD-SHELL", "true"], 5000]);
  const usual = specFrom(plain).task;
  assert.deepEqual([usual.container.stopTimeout, usual.restart.delay, usual.restart.condition], [10, 5000, "any"]);
  const aliases = specFrom(withContainer({ Hosts: ["fd00::1  a b"] })).task.container.extraHosts;
  assert.deepEqual(aliases, ["a:fd00::1", "b:fd00::1"]);
});

test("privileges are options of its security", () => {
  const options = (Privileges: object) => specFrom(withContainer({ Privileges })).task.container.securityOptions;
  assert.deepEqual(
    options({ CredentialSpec: null, SELinuxContext: { Disable: true, User: "" }, NoNewPrivileges: true }),
    ["label=disable", "no-new-privileges=true"],
  );
  const Profile = Buffer.from('{"a":1}').toString("base64");
  assert.deepEqual(options({ Seccomp: { Mode: "custom", Profile }, AppArmor: { Mode: "disabled" } }), [
    'seccomp={"a":1}',
    "apparmor=unconfined",
  ]);
  assert.deepEqual(options({ Seccomp: { Mode: "unconfined" }, AppArmor: { Mode: "default" } }), ["seccomp=unconfined"]);
  const wrong = (Privileges: object, message: RegExp) => refused(withContainer({ Privileges }), message);
  wrong({ CredentialSpec: { File: "x" } }, /^Privileges\.CredentialSpec is not supported: it is for Windows/);
  wrong({ SELinuxContext: { Type: "x" } }, /^Privileges\.SELinuxContext is not supported/);
  wrong({ Seccomp: { Mode: "custom", Profile: "AAAA" } }, /no JSON/);
  wrong({ Seccomp: { Mode: "x" } }, /none of default/);
  wrong({ AppArmor: { Mode: "x" } }, /none of default/);
});

test("mode, policies, endpoint, files and labels are read", () => {
  const read = specFrom({
    ...withContainer({
      Secrets: [{ File: { Name: "s", UID: "1", GID: "2", Mode: 288 }, SecretID: "i", SecretName: "n" }],
      Configs: [{ File: { Name: "/etc/c", UID: "", GID: "0", Mode: 256 }, ConfigID: "i", ConfigName: "n" }],
    }),
    Labels: { "tombolo.lb": "source", "tombolo.drain": "10s", "tombolo.publish-address": "192.0.2.9" },
    Mode: { ReplicatedJob: {} },
    RollbackConfig: { Parallelism: 2, Order: "start-first", MaxFailureRatio: 0.5 },
    EndpointSpec: { Ports: [{ Name: "h", Protocol: "udp", TargetPort: 53, PublishedPort: 53, PublishMode: "host" }] },
  });
  assert.deepEqual(read.mode, { kind: "replicated-job", total: 1, concurrent: 1 });
  assert.deepEqual([read.drain, read.balance], [10_000, { by: "source", local: false }]);
  const usual = {
    parallelism: 1,
    delay: 0,
    failureAction: "pause",
    monitor: 5000,
    maxFailureRatio: 0,
    order: "stop-first",
  };
  assert.deepEqual(read.update, usual);
  assert.deepEqual(read.rollback, { ...usual, parallelism: 2, order: "start-first", maxFailureRatio: 0.5 });
  const port = { name: "h", protocol: "udp", target: 53, published: 53, mode: "host", address: "192.0.2.9" };
  assert.deepEqual(read.endpoint, { mode: "vip", ports: [port] });
  assert.deepEqual(read.task.secrets, [{ id: "i", name: "n", target: "s", uid: 1, gid: 2, mode: 0o440 }]);
  assert.deepEqual(read.task.configs, [{ id: "i", name: "n", target: "/etc/c", uid: 0, gid: 0, mode: 0o400 }]);
  assert.deepEqual(specFrom({ ...plain, Mode: { Global: {} } }).mode, { kind: "global" });
  assert.equal(specFrom(plain, { auth: "eyJ9" }).task.registryAuth, "eyJ9");
});

test("networks of clients of long ago are honoured", () => {
  const old = specFrom({ ...plain, Networks: [{ Target: "shop" }] }, { networks: ["n1"] });
  assert.deepEqual(
    old.task.networks.map(({ network }) => network),
    ["n1"],
  );
  assert.deepEqual((old.shown.TaskTemplate as { Networks: object }).Networks, [{ Target: "n1" }]);
});

test("what Docker refuses is refused, with its texts", () => {
  refused({}, "mismatched Runtime and *Spec fields");
  refused(withTemplate({ Runtime: "x" }), "unsupported runtime");
  refused(withTemplate({ Runtime: "plugin" }), /^plugins are not supported/, "not-implemented");
  refused({ TaskTemplate: { ContainerSpec: {} } }, rpc("ContainerSpec: image reference must be provided"));
  refused({ ...plain, Mode: { Global: {}, Replicated: {} } }, "must specify only one service mode");
  refused({ ...plain, Mode: { GlobalJob: {} }, UpdateConfig: {} }, rpc("Jobs may not have an update config"));
  refused({ ...plain, UpdateConfig: { FailureAction: "foo" } }, "unrecognized update failure action foo");
  refused({ ...plain, UpdateConfig: { Order: "foo" } }, "unrecognized update order foo");
  refused({ ...plain, UpdateConfig: { Delay: -1 } }, rpc("TaskSpec: update-delay cannot be negative"));
  refused({ ...plain, UpdateConfig: { Monitor: -1 } }, rpc("TaskSpec: update-monitor cannot be negative"));
  const ratio = rpc("TaskSpec: update-maxfailureratio cannot be less than 0 or bigger than 1");
  refused({ ...plain, RollbackConfig: { MaxFailureRatio: 2 } }, ratio);
  refused(withTemplate({ RestartPolicy: { Condition: "foo" } }), 'invalid RestartCondition: "foo"');
  refused(withTemplate({ RestartPolicy: { Delay: -1 } }), rpc("TaskSpec: restart-delay cannot be negative"));
  refused(withTemplate({ RestartPolicy: { Window: -1 } }), rpc("TaskSpec: restart-window cannot be negative"));
  const resources = (Limits: object) => withTemplate({ Resources: { Limits } });
  refused(resources({ NanoCPUs: 100_000 }), rpc("invalid cpu value 0.0001: Must be at least 0.001"));
  refused(resources({ MemoryBytes: 1 << 20 }), rpc("invalid memory value 1048576: Must be at least 4MiB"));
  const endpoint = (EndpointSpec: object) => ({ ...plain, EndpointSpec });
  refused(endpoint({ Mode: "foo" }), 'invalid resolution mode: "foo"');
  const both = rpc("EndpointSpec: port published with ingress mode can't be used with dnsrr mode");
  refused(endpoint({ Mode: "dnsrr", Ports: [{ TargetPort: 80 }] }), both);
  const port = { TargetPort: 80, PublishedPort: 8080 };
  refused(
    endpoint({ Ports: [port, { ...port, TargetPort: 81 }] }),
    rpc("EndpointSpec: duplicate published ports provided"),
  );
  const secret = (reference: object) => withContainer({ Secrets: [reference] });
  refused(secret({ SecretID: "a" }), rpc("malformed secret reference"));
  refused(secret({ SecretID: "a", SecretName: "b" }), rpc("malformed secret reference, no target provided"));
  const unnamed = rpc("malformed file secret reference, invalid target file name provided");
  refused(secret({ SecretID: "a", SecretName: "b", File: {} }), unnamed);
  const file = { SecretID: "a", SecretName: "b", File: { Name: "f" } };
  const conflict = rpc("secret references 'b' and 'c' have a conflicting target: 'f'");
  refused(withContainer({ Secrets: [file, { ...file, SecretName: "c" }] }), conflict);
  const config = { ConfigID: "a", ConfigName: "b" };
  refused(withContainer({ Configs: [config] }), "invalid Config: either File or Runtime should be set");
  const mounts = [
    { Type: "volume", Source: "a", Target: "/x" },
    { Type: "tmpfs", Target: "/x" },
  ];
  refused(withContainer({ Mounts: mounts }), rpc("ContainerSpec: duplicate mount point: /x"));
  const health = (Healthcheck: object) => withContainer({ Healthcheck });
  refused(health({ Interval: 1000 }), rpc("ContainerSpec: Interval in HealthConfig cannot be less than 1ms"));
  refused(health({ Retries: -1 }), rpc("ContainerSpec: Retries in HealthConfig cannot be negative"));
});

test("what no node could give a task is refused as it is to containers", () => {
  refused(withContainer({ CapabilityAdd: ["FOO"] }), 'invalid CapAdd: unknown capability: "CAP_FOO"');
  refused(withContainer({ CapabilityDrop: ["FOO"] }), 'invalid CapDrop: unknown capability: "CAP_FOO"');
  refused(withContainer({ Sysctls: { foo: "1" } }), 'sysctl "foo" is not in a separate kernel namespace');
  refused(withContainer({ Ulimits: [{ Name: "foo", Soft: 1, Hard: 1 }] }), "invalid ulimit type: foo");
});

test("words in {{ }} are checked where they are filled in", () => {
  const env = rpc('expanding env failed: expanding env "A={{.Foo}}": template: {{.Foo}} is not known: .Service.ID');
  refused(withContainer({ Env: ["A={{.Foo}}"] }), new RegExp(`^${RegExp.escape(env)}`));
  refused(
    withContainer({ Hostname: "{{.Node" }),
    rpc("expanding hostname failed: template: expansion:1: unclosed action"),
  );
  refused(
    withContainer({ Hostname: "{{foo}}" }),
    rpc('expanding hostname failed: template: expansion:1: function "foo" not defined'),
  );
  const volume = (fields: object) =>
    withContainer({ Mounts: [{ Type: "volume", Source: "a", Target: "/x", ...fields }] });
  refused(volume({ Source: "{{.Bar}}" }), /expanding mounts failed: expanding mount source "\{\{\.Bar\}\}": /);
  refused(volume({ Target: "/{{.Bar}}" }), /expanding mounts failed: expanding mount target /);
  refused(volume({ VolumeOptions: { Labels: { a: "{{.Bar}}" } } }), /expanding volume labels failed/);
  const labelled = specFrom({ ...withContainer({ Env: ["A={{.Service.Labels.l}}"] }), Labels: { l: "1" } });
  assert.deepEqual(
    [labelled.task.container.env, labelled.task.serviceLabels],
    [["A={{.Service.Labels.l}}"], { l: "1" }],
  );
  refused(withContainer({ Env: ["A={{.Service.Labels.l}}"] }), /is not known/);
  const mount = specFrom(
    volume({ Source: '{{ .Task.Slot }}-{{index .Service.Labels "word"}}', Target: "/data/{{.Task.Name}}/" }),
  );
  const [{ source, target } = { source: "", target: "" }] = mount.task.container.mounts;
  assert.deepEqual([source, target], ['{{ .Task.Slot }}-{{index .Service.Labels "word"}}', "/data/{{.Task.Name}}"]);
});

test("what is not honoured is refused by its name, with the reason", () => {
  refused(
    withTemplate({ LogDriver: { Name: "syslog" } }),
    'LogDriver.Name is not supported: the only logging driver is "json-file"',
  );
  refused(
    withTemplate({ LogDriver: { Name: "json-file", Options: { "max-size": "1m" } } }),
    /^LogDriver\.Options is not supported/,
  );
  refused(
    withContainer({ Isolation: "hyperv" }),
    "ContainerSpec.Isolation is not supported: it is for Windows containers",
  );
  refused(withContainer({ Mounts: [{ Type: "npipe", Target: "/x" }] }), /mount type unknown/);
  const generic = { Reservations: { GenericResources: [{ DiscreteResourceSpec: { Kind: "gpu", Value: 1 } }] } };
  refused(withTemplate({ Resources: generic }), /GenericResources is not supported: nodes have none to give/);
  refused(withContainer({ Hosts: ["a:1.2.3.4"] }), /is no address with a name/);
  refused(withContainer({ StopGracePeriod: -1 }), /cannot be negative/);
  refused({ ...plain, Labels: { "tombolo.foo": "x" } }, /^label tombolo\.foo is not known/);
  refused({ ...plain, Mode: { Replicated: { Replicas: 1e6 } } }, /has 100000 tasks at most/);
  refused({ ...plain, RollbackConfig: { FailureAction: "rollback" } }, /a rollback that fails is not rolled back/);
  refused({ ...plain, UpdateConfig: { Delay: 1 } }, "UpdateConfig.Delay must be whole milliseconds");
  for (const preference of [{}, { Spread: { SpreadDescriptor: "" } }])
    refused(withTemplate({ Placement: { Preferences: [preference] } }), /a preference has no SpreadDescriptor/);
  refused(
    withContainer({ Mounts: [{ Type: "volume", Source: "ab", Target: "/x", VolumeOptions: { Subpath: "s" } }] }),
    "ContainerSpec.Mounts: VolumeOptions.Subpath is not supported",
  );
  const ports = (port: object) => ({ ...plain, EndpointSpec: { Ports: [port] } });
  refused(ports({ TargetPort: 80, Protocol: "icmp" }), /none of tcp, udp and sctp/);
  refused(ports({ TargetPort: 80, PublishMode: "bar" }), /none of ingress and host/);
  refused(ports({ TargetPort: 0 }), /target port 0/);
  refused(ports({ TargetPort: 80, PublishedPort: 99_999 }), /published port 99999/);
  const runtime = { ConfigID: "a", ConfigName: "b", Runtime: {} };
  refused(withContainer({ Configs: [runtime] }), /Runtime is for Windows/);
  const uid = { File: { Name: "f", UID: "root" }, SecretID: "a", SecretName: "b" };
  refused(withContainer({ Secrets: [uid] }), 'secret b: UID "root" is no number');
  assert.throws(() => specFrom(withContainer({ Foo: 1 })), /this field is not known/);
});
