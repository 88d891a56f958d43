import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { standing } from "../../src/api/swarm/testing.ts";
import { serve, type TestServer } from "../../src/api/testing.ts";
import { newTask, playCluster, type PlayedCluster } from "../../src/engine/cluster-testing.ts";
import type { NetworkDetail, TaskLogs } from "../../src/engine/engine.ts";
import { networkNamed, swarmObjectNamed } from "../../src/engine/lookup.ts";
import { createNodes } from "../../src/engine/nodes.ts";
import { createFileContents } from "../../src/engine/secrets.ts";
import { createServices } from "../../src/engine/services.ts";
import { createTasks } from "../../src/engine/tasks.ts";
import { notFound } from "../../src/lib/errors.ts";
import type { NetworkSpec } from "../../src/model/network.ts";
import { dockers } from "../support/daemon.ts";

const run = promisify(execFile);

/** The verbs of a manager over rows in memory: services are kept, and nobody makes their tasks. */
async function play(): Promise<PlayedCluster & { readonly server: TestServer }> {
  const cluster = await playCluster();
  const { parts, store } = cluster;
  const detail = (reference: string): NetworkDetail => {
    const network = networkNamed(store.snapshot(), reference);
    const pools = store.snapshot().where("pools", "network", network.id);
    return { network, pools, endpoints: [], peers: [], services: [], errors: [] };
  };
  const none = () => {
    throw notFound("nothing of that name");
  };
  const distribution = async (name: string) => {
    if (!name.startsWith("known")) throw notFound(`manifest for ${name} not found`);
    const platforms = [{ os: "linux", architecture: "amd64" }];
    return { mediaType: "m", digest: `sha256:${"ab".repeat(32)}`, size: 5, platforms };
  };
  const server = await serve({
    swarm: { standing: () => standing },
    nodes: createNodes(parts),
    networks: {
      inspect: detail,
      list: () =>
        store
          .snapshot()
          .list("networks")
          .map(({ id }) => detail(id)),
      create: async (spec: NetworkSpec) => ({ id: (await cluster.network(spec.name, spec)).id, warning: "" }),
      remove: async () => {},
    },
    services: { ...createServices(parts), logs: (reference) => playedLog(store, reference) },
    tasks: createTasks(parts),
    secrets: createFileContents(parts, "secrets"),
    configs: createFileContents(parts, "configs"),
    containers: { inspect: none },
    volumes: { inspect: none },
    images: { distribution, find: none },
    system: { info: async () => (await import("../../src/api/system/testing.ts")).detail },
  });
  return { ...cluster, server };
}

/** A line of each task of a service. */
function playedLog(store: PlayedCluster["store"], reference: string): TaskLogs {
  const { id } = swarmObjectNamed(store.snapshot(), "services", reference);
  async function* lines() {
    for (const { id: taskId, nodeId = "" } of store.snapshot().where("tasks", "service", id))
      yield {
        stream: "stdout" as const,
        time: "2026-01-02T03:04:05.5Z",
        data: Buffer.from("hello\n"),
        taskId,
        serviceId: id,
        nodeId,
      };
  }
  return { tty: false, lines: lines() };
}

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the client. */
async function attempt(client: string, { path }: TestServer, args: readonly string[], input = ""): Promise<Outcome> {
  const env = { ...process.env, DOCKER_HOST: `unix://${path}`, DOCKER_CONFIG: `${path}.config` };
  const running = run(client, args, { env, timeout: 60_000 });
  running.child.stdin?.end(input);
  try {
    return { status: 0, ...(await running) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, stdout, stderr };
  }
}
const words = (text: string) => text.replace(/[ \t]+/g, " ").trimEnd();

for (const client of dockers) {
  /** @returns what is done when the client is run */
  const commands = (server: TestServer) => ({
    ok: async (...args: string[]) => {
      const { status, stdout, stderr } = await attempt(client, server, args);
      assert.equal(status, 0, `${args.join(" ")}: ${stderr}`);
      return words(stdout);
    },
    refused: async (...args: string[]) => {
      const { status, stderr } = await attempt(client, server, args);
      assert.notEqual(status, 0, args.join(" "));
      return stderr.split("\n", 1)[0] ?? "";
    },
    fed: async (input: string, ...args: string[]) => words((await attempt(client, server, args, input)).stdout),
  });

  test(`service create with most flags, inspect, ls, update, rollback and rm of ${client}`, async () => {
    const { server, network, store } = await play();
    await using _ = server;
    const { ok, refused, fed } = commands(server);
    const shop = await network("shop");
    await fed("geheim", "secret", "create", "key", "-");
    await fed("conf", "config", "create", "cfg", "-");
    const flags =
      "-d --no-resolve-image --name web --replicas 3 --publish 8080:80 --publish mode=host,target=53,published=5353,protocol=udp --network name=shop,alias=al --label tombolo.lb=source --env A={{.Task.Slot}} --hostname h-{{.Node.Hostname}} --mount type=volume,src=v-{{.Task.Slot}},dst=/v --mount type=tmpfs,dst=/t,tmpfs-size=1048576 --secret source=key,target=k,mode=0400 --config source=cfg,target=/etc/cfg --constraint node.role==manager --placement-pref spread=node.labels.dc --replicas-max-per-node 2 --limit-cpu 0.5 --limit-memory 64m --limit-pids 50 --reserve-memory 8m --restart-condition on-failure --restart-max-attempts 2 --update-delay 2s --update-order start-first --rollback-parallelism 2 --stop-grace-period 3s --stop-signal SIGINT --user 1000 --group 5 --workdir /w --read-only --init --tty --cap-add NET_ADMIN --sysctl net.core.somaxconn=10 --ulimit nofile=10:20 --host h:1.2.3.4 --dns 1.1.1.1 --container-label cl=1 --endpoint-mode vip --entrypoint ep";
    const id = await ok("service", "create", ...flags.split(" "), "busybox", "sleep", "1d");
    assert.match(id, /^[0-9a-z]{25}$/);
    const [{ Spec, Endpoint }] = JSON.parse(await ok("service", "inspect", "web")) as [
      { Spec: { TaskTemplate: { ContainerSpec: object } }; Endpoint: { VirtualIPs: object[] } },
    ];
    assert.deepEqual(Object.keys(Spec), [
      "Name",
      "Labels",
      "TaskTemplate",
      "Mode",
      "UpdateConfig",
      "RollbackConfig",
      "EndpointSpec",
    ]);
    assert.deepEqual(Object.keys(Spec.TaskTemplate.ContainerSpec).slice(0, 6), [
      "Image",
      "Labels",
      "Command",
      "Args",
      "Hostname",
      "Env",
    ]);
    assert.equal(Endpoint.VirtualIPs.length, 2);
    assert.equal(store.snapshot().get("services", id)?.spec.task.networks[0]?.network, shop.id);
    const pretty = await ok("service", "inspect", "--pretty", "web");
    for (const line of [
      "Service Mode: Replicated",
      " Replicas: 3",
      " Max Replicas Per Node: 2",
      "Networks: shop",
      " Target: k",
      "Endpoint Mode: vip",
    ])
      assert.ok(pretty.includes(line), `${line} in ${pretty}`);
    assert.match(
      await ok("service", "ls"),
      new RegExp(`^${id.slice(0, 12)} web replicated 0/3 \\(max 2 per node\\) busybox:latest \\*:8080->80/tcp`, "m"),
    );
    assert.equal(await ok("service", "ps", "web"), "ID NAME IMAGE NODE DESIRED STATE CURRENT STATE ERROR PORTS");
    await ok(
      "service",
      "update",
      "-d",
      "--no-resolve-image",
      "--env-add",
      "B=2",
      "--publish-rm",
      "80",
      "--publish-add",
      "8081:80",
      "--secret-rm",
      "key",
      "web",
    );
    await ok("service", "scale", "-d", "web=5");
    const after = store.snapshot().get("services", id);
    assert.deepEqual(after?.spec.mode, { kind: "replicated", replicas: 5 });
    const { container, secrets } = after.spec.task;
    assert.deepEqual([container.env.toSorted(), secrets], [["A={{.Task.Slot}}", "B=2"], []]); // the client shuffles them
    assert.deepEqual(after.ports.map(({ published }) => published).toSorted(), [5353, 8081]);
    await ok("service", "rollback", "-d", "web");
    assert.deepEqual(store.snapshot().get("services", id)?.spec.mode, { kind: "replicated", replicas: 3 });
    assert.match(await refused("config", "rm", "cfg"), /config 'cfg' is in use by the following service: web$/);
    await ok("service", "rm", "web");
    await ok("config", "rm", "cfg");
    await ok("secret", "rm", "key");
    assert.equal(await ok("service", "ls", "-q"), "");
  });

  test(`what ${client} asks for and cannot have is refused, with the reason`, async () => {
    const { server } = await play();
    await using _ = server;
    const { ok, refused } = commands(server);
    const create = (...args: string[]) => refused("service", "create", "-d", "--no-resolve-image", ...args);
    const id = await ok("service", "create", "-d", "--no-resolve-image", "--name", "web", "-p", "8080:80", "busybox");
    const daemon = "Error response from daemon: ";
    const rpc = (code: string, text: string) => `${daemon}rpc error: code = ${code} desc = ${text}`;
    assert.equal(
      await create("--name", "web", "busybox"),
      rpc("AlreadyExists", "name conflicts with an existing object: service web already exists"),
    );
    assert.equal(
      await create("-p", "8080:81", "busybox"),
      rpc("InvalidArgument", `port '8080' is already in use by service 'web' (${id}) as an ingress port`),
    );
    assert.equal(
      await create("--name", "w_", "busybox"),
      rpc("InvalidArgument", "name must be valid as a DNS name component"),
    );
    assert.match(await create("--network", "nope", "busybox"), /network nope not found|No such network: nope/);
    assert.match(await create("--network", "name=ingress,alias=b@d", "busybox"), /alias "b@d" cannot be asked for: /);
    assert.equal(
      await create("--endpoint-mode", "dnsrr", "-p", "81:81", "busybox"),
      rpc("InvalidArgument", "EndpointSpec: port published with ingress mode can't be used with dnsrr mode"),
    );
    assert.equal(
      await create("--log-driver", "syslog", "busybox"),
      `${daemon}LogDriver.Name is not supported: the only logging driver is "json-file"`,
    );
    assert.equal(
      await create("--generic-resource", "gpu=1", "busybox"),
      `${daemon}Resources.Reservations.GenericResources is not supported: nodes have none to give`,
    );
    assert.equal(await create("--cap-add", "FOO", "busybox"), `${daemon}invalid CapAdd: unknown capability: "CAP_FOO"`);
    assert.equal(
      await create("--sysctl", "foo=1", "busybox"),
      `${daemon}sysctl "foo" is not in a separate kernel namespace`,
    );
    assert.match(
      await create("--env", "A={{.Foo}}", "busybox"),
      /expanding env failed: expanding env "A=\{\{\.Foo\}\}": /,
    );
    assert.match(await create("--secret", "none", "busybox"), /^secret not found: none/);
    assert.equal(
      await refused("service", "rollback", "-d", "web"),
      rpc("FailedPrecondition", `service ${id} does not have a previous spec`),
    );
    assert.match(await refused("service", "inspect", "none"), /no such service: none/);
    assert.match(await refused("service", "rm", "none"), /service none not found|No such service: none/);
    assert.match(await refused("service", "ps", "none"), /no such service: none/);
    assert.match(
      await refused("service", "scale", "none=1"),
      /^none: .*(service none not found|No such service: none)/,
    );
    assert.match(await refused("inspect", "none"), /No such object: none/);
  });

  test(`jobs, global services, the registry's digest and lists of ${client}`, async () => {
    const { server, store, manager } = await play();
    await using _ = server;
    const { ok } = commands(server);
    const pinned = await attempt(client, server, ["service", "create", "-d", "--name", "pinned", "known"]);
    assert.equal(pinned.stderr, "");
    const { spec } = store.snapshot().get("services", pinned.stdout.trim()) ?? {};
    assert.equal(spec?.task.container.image, `known:latest@sha256:${"ab".repeat(32)}`);
    assert.deepEqual(spec.task.placement.platforms, [{ os: "linux", architecture: "amd64" }]);
    const unpinned = await attempt(client, server, [
      "service",
      "create",
      "-d",
      "--mode",
      "global",
      "--name",
      "all",
      "other",
    ]);
    assert.match(
      unpinned.stderr + unpinned.stdout,
      /image other:latest could not be accessed on a registry to record\s+its digest/,
    );
    const job = ["service", "create", "-d", "--no-resolve-image", "--name", "job", "--mode", "replicated-job"];
    await ok(...job, "--replicas", "3", "--max-concurrent", "2", "--restart-condition", "none", "busybox", "true");
    const lines = await ok("service", "ls", "--format", "{{.Name}} {{.Mode}} {{.Replicas}}");
    assert.equal(lines, "all global 0/0\njob replicated job 0/2 (0/3 completed)\npinned replicated 0/1");
    assert.equal(await ok("service", "ls", "-q", "--filter", "mode=global", "--format", "{{.Name}}"), "all");
    const { id = "" } =
      store
        .snapshot()
        .list("services")
        .find((one) => one.spec.name === "all") ?? {};
    const template = store.snapshot().get("services", id)?.spec.task;
    assert.ok(template);
    const error = "no suitable node (insufficient resources on 1 node)";
    await store.update((tx) => {
      const task = { serviceId: id, serviceName: "all", template, nodeId: manager.id };
      const status = { state: "running", at: Date.now() - 60_000, message: "started", error: "" } as const;
      const ports = [{ name: "", protocol: "tcp", target: 80, published: 7070, mode: "host" }] as const;
      tx.insert("tasks", newTask("a".repeat(25), { ...task, status: { ...status, ports } }));
      tx.insert("tasks", newTask("b".repeat(25), { ...task, slot: 2, status: { ...status, state: "pending", error } }));
    });
    const ps = await ok("service", "ps", "--no-trunc", "all");
    assert.match(
      ps,
      new RegExp(`^a{25} all\\.${manager.id} other:latest h1 Running Running about a minute ago \\*:7070->80/tcp`, "m"),
    );
    assert.match(
      ps,
      /^b{25} all\.2 other:latest h1 Running Pending about a minute ago "no suitable node \(insufficient resources on 1 node\)"/m,
    );
    const logs = await ok("service", "logs", "-t", "all");
    assert.match(logs, new RegExp(`^2026-01-02T03:04:05.500000000Z all\\.0\\.a{12}@h1 +\\| hello$`, "m"));
    assert.equal(await ok("service", "logs", "--raw", "all"), "hello\nhello");
    assert.match(await ok("node", "ps", "h1"), /^a{12} all\.manager0/m);
    assert.equal(JSON.parse(await ok("inspect", "a".repeat(25)))[0].Status.State, "running");
    assert.equal(JSON.parse(await ok("inspect", "all"))[0].ID, id);
  });

  test(`the progress of ${client} converges, and says what went wrong`, async () => {
    const { server, store, manager } = await play();
    await using _ = server;
    const { ok } = commands(server);
    /** Plays the leader: does something as soon as there is a service of that version. */
    const lead = async (version: number, change: (id: string) => Promise<unknown>) => {
      for await (const { snapshot } of store.watch(AbortSignal.timeout(30_000))) {
        const [service] = snapshot.list("services");
        if (service?.version === version) return change(service.id);
      }
    };
    const running = lead(1, async (id) => {
      const template = store.snapshot().get("services", id)?.spec.task;
      assert.ok(template);
      for (const slot of [1, 2])
        await store.update((tx) =>
          tx.insert("tasks", newTask(`${slot}`.repeat(25), { serviceId: id, slot, template, nodeId: manager.id })),
        );
    });
    const args = ["--no-resolve-image", "--update-monitor", "1s", "--replicas", "2", "--name", "web", "busybox"];
    assert.match(await ok("service", "create", ...args), /overall progress: 2 out of 2 tasks[\s\S]*converged/);
    await running;
    await ok("service", "rm", "web");
    const done = lead(1, async (id) => {
      const template = store.snapshot().get("services", id)?.spec.task;
      assert.ok(template);
      const status = { state: "complete", at: 0, message: "", error: "" } as const;
      for (const slot of [1, 2])
        await store.update((tx) =>
          tx.insert(
            "tasks",
            newTask(`${slot + 2}`.repeat(25), {
              serviceId: id,
              slot,
              template,
              jobIteration: 0,
              desired: "complete",
              status,
            }),
          ),
        );
    });
    const job = ["--no-resolve-image", "--mode", "replicated-job", "--replicas", "2", "--name", "job", "busybox"];
    assert.match(await ok("service", "create", ...job), /job complete/);
    await done;
    await ok("service", "rm", "job");
    await ok("service", "create", "-d", ...args);
    const message = "update paused due to failure or early termination of task x";
    const pausing = lead(2, (id) =>
      store.update((tx) => {
        const service = tx.get("services", id);
        assert.ok(service);
        tx.put("services", { ...service, update: { state: "paused", startedAt: 1, message } });
      }),
    );
    const { status, stdout, stderr } = await attempt(client, server, ["service", "scale", "web=3"]);
    await pausing;
    assert.notEqual(status, 0, stdout);
    assert.match(stdout + stderr, new RegExp(`service update paused: ${message}`));
  });

  test(`secrets and configs of ${client}`, async () => {
    const { server } = await play();
    await using _ = server;
    const { ok, refused, fed } = commands(server);
    const id = await fed("geheim", "secret", "create", "--label", "a=b", "--template-driver", "golang", "key", "-");
    const inspected = await ok("secret", "inspect", "key");
    assert.deepEqual(Object.keys(JSON.parse(inspected)[0].Spec), ["Name", "Labels", "Templating"]);
    assert.doesNotMatch(inspected, new RegExp(`geheim|${Buffer.from("geheim").toString("base64")}`));
    assert.match(await ok("secret", "ls"), new RegExp(`^${id} key \\S* ?Less than a second ago|^${id} key`, "m"));
    assert.match(await ok("secret", "inspect", "--pretty", "key"), /Name: key/);
    await fed("conf", "config", "create", "cfg", "-");
    assert.match(await ok("config", "inspect", "--pretty", "cfg"), /Data:\nconf/);
    assert.equal(await ok("config", "ls", "--format", "{{.Name}}"), "cfg");
    assert.equal(JSON.parse(await ok("config", "inspect", "cfg"))[0].Spec.Data, Buffer.from("conf").toString("base64"));
    assert.equal(JSON.parse(await ok("inspect", "key"))[0].ID, id);
    assert.match(await refused("secret", "create", "key", "/etc/hostname"), /secret key already exists$/);
    assert.match(
      await refused("secret", "create", "--driver", "vault", "other"),
      /Driver is not supported: there are no plugins/,
    );
    assert.equal(await ok("secret", "rm", "key"), "key");
    assert.equal(await ok("secret", "ls", "-q"), "");
  });

  test(`stacks of ${client}`, async () => {
    const { server, store } = await play();
    await using _ = server;
    const { ok } = commands(server);
    const file = `${server.path}.yml`;
    writeFileSync(
      file,
      `
version: "3.8"
services:
  web:
    image: busybox
    command: sleep 1d
    ports: ["8080:80"]
    networks: [front, back]
    environment: { A: b }
    configs: [{ source: cfg, target: /etc/cfg }]
    healthcheck: { disable: true }
    deploy: { replicas: 2, update_config: { parallelism: 2, delay: 1s }, resources: { limits: { memory: 64M } } }
  db:
    image: busybox
    networks: { back: { aliases: [store] } }
    secrets: [key]
    volumes: ["data:/data"]
    deploy: { placement: { constraints: [node.role == manager] } }
networks: { front: {}, back: { driver: overlay } }
volumes: { data: {} }
configs: { cfg: { file: ./${file.split("/").at(-1)} } }
secrets: { key: { file: ./${file.split("/").at(-1)} } }
`,
    );
    try {
      const deploy = ["stack", "deploy", "--resolve-image", "never", "-c", file, "shop"];
      await ok(...deploy);
      const named = (name: string) =>
        store
          .snapshot()
          .list("services")
          .find(({ spec }) => spec.name === name);
      const db = named("shop_db");
      assert.deepEqual(
        db?.spec.task.networks.map(({ aliases }) => aliases.toSorted()),
        [["db", "store"]],
      );
      assert.deepEqual(
        db.spec.task.volumes.map(({ name }) => name),
        ["shop_data"],
      );
      assert.equal(db.spec.task.secrets[0]?.target, "key");
      const version = named("shop_web")?.templateVersion;
      await ok(...deploy);
      assert.equal(named("shop_web")?.templateVersion, version, "nothing has changed: no task is made anew");
      assert.match(await ok("stack", "ls"), /^shop 2/m);
      assert.match(
        await ok("stack", "services", "shop"),
        /^\w+ shop_web replicated 0\/2 busybox:latest \*:8080->80\/tcp/m,
      );
      const { status, stderr } = await attempt(client, server, ["stack", "ps", "shop"]);
      assert.ok(status === 0 || /nothing found in stack: shop/.test(stderr), stderr);
      await ok("stack", "rm", "shop");
      const rows = store.snapshot();
      assert.deepEqual([rows.list("services"), rows.list("secrets"), rows.list("configs")], [[], [], []]);
    } finally {
      rmSync(file, { force: true });
    }
  });
}
