import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { arm, startArmable } from "../support/lab.ts";
import { useSwarm } from "../support/swarm.ts";
import { until } from "../support/until.ts";

interface Shown {
  readonly name: string;
  readonly node: string;
  readonly desired: string;
  /** `Running`, `Failed`, without since when. */
  readonly state: string;
  readonly error: string;
}

describe("what nodes do with their tasks", () => {
  const { host, docker, refused, oneManager, isReady } = useSwarm({ isKept: true });
  const numbers = [1, 2, 3];
  async function tasks(service: string): Promise<Shown[]> {
    const format = "{{.Name}}|{{.Node}}|{{.DesiredState}}|{{.CurrentState}}|{{.Error}}";
    const lines = await host(1).docker("service", "ps", "--no-trunc", "--format", format, service);
    return lines
      .split("\n")
      .filter(Boolean)
      .map((line) => {
        const [name = "", node = "", desired = "", state = "", error = ""] = line.split("|");
        return {
          name: name.replace(/^ *\\_ /, ""),
          node,
          desired,
          state: state.split(" ")[0] ?? "",
          error: error.replaceAll('"', ""),
        };
      });
  }
  const running = async (service: string) =>
    (await tasks(service)).filter(({ desired, state }) => desired === "Running" && state === "Running");
  const become = (service: string, count: number) =>
    until(async () => (await running(service)).length === count, `${count} tasks of ${service} run`);
  const create = (name: string, ...words: string[]) =>
    host(1).docker("service", "create", "-d", "-q", "--no-resolve-image", "--name", name, ...words);
  /** For programs that do not hear when they are asked to end: nothing is proved by waiting for them. */
  const atOnce = ["--stop-signal", "SIGKILL"] as const;
  /** Names of a host's containers that are tasks, running or not. */
  const containers = async (number: number, ...filters: string[]) => {
    const flags = filters.flatMap((filter) => ["--filter", filter]);
    const names = await host(number).docker("ps", "-a", "--format", "{{.Names}}", "--filter", "is-task=true", ...flags);
    return names.split("\n").filter(Boolean);
  };
  const all = async (...filters: string[]) => (await Promise.all(numbers.map((n) => containers(n, ...filters)))).flat();
  const inspect = (number: number, name: string, format: string) => host(number).docker("inspect", "-f", format, name);
  /** True when a text is in a file under a host's directory. */
  const isOnDisk = async (number: number, text: string) =>
    (await host(number).try("grep", "-rlaF", text, host(number).directory)).stdout !== "";

  it("containers have Docker's names, labels and words, on networks that nobody else comes onto", async () => {
    await oneManager();
    await docker(1, "network create -d overlay --subnet 10.50.0.0/24 app");
    await create(
      "web",
      ...atOnce,
      "--mode",
      "global",
      "--network",
      "app",
      "--label",
      "tier=front",
      "--hostname",
      "{{.Node.Hostname}}-{{.Service.Name}}",
      "--env",
      'WHO={{.Task.Name}} {{index .Service.Labels "tier"}}',
      "--mount",
      "type=volume,source=data-{{.Node.Hostname}},target=/data",
      "--publish",
      "mode=host,target=80,published=8080",
      "--publish",
      "mode=host,target=53,protocol=udp",
      "busybox",
      "httpd",
      "-f",
      "-h",
      "/etc",
    );
    await become("web", 3);
    const addresses = new Set<string>();
    for (const number of numbers) {
      const [name = ""] = await containers(number);
      const node = await docker(number, "info -f {{.Swarm.NodeID}}");
      assert.match(name, new RegExp(`^web\\.${node}\\.[0-9a-z]{25}$`));
      const task = name.slice(-25);
      const labels = JSON.parse(await inspect(number, name, "{{json .Config.Labels}}")) as Record<string, string>;
      assert.deepEqual(labels, {
        "com.docker.swarm.node.id": node,
        "com.docker.swarm.service.id": await docker(1, "service inspect -f {{.ID}} web"),
        "com.docker.swarm.service.name": "web",
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": task,
        "com.docker.swarm.task.name": name,
      });
      assert.equal(await docker(number, `exec ${name} hostname`), `h${number}-web`);
      assert.equal(await host(number).docker("exec", name, "sh", "-c", "echo $WHO"), `${name} front`);
      assert.equal(await inspect(number, name, "{{(index .Mounts 0).Name}}"), `data-h${number}`);
      const url = `http://${host(number).address}:8080/group`;
      await until(async () => /^root:/.test((await host(1).try("busybox", "wget", "-qO-", url)).stdout), url);
      const ports = await inspect(1, task, "{{json .Status.PortStatus.Ports}}");
      const reported = JSON.parse(ports) as { PublishedPort: number }[];
      assert.ok(
        reported.length === 2 && reported.every(({ PublishedPort }) => PublishedPort > 0),
        JSON.stringify(reported),
      );
      addresses.add(await inspect(number, name, "{{.NetworkSettings.Networks.app.IPAddress}}"));
    }
    assert.equal(addresses.size, 3);
    assert.match(await refused(2, "run --rm --network app busybox true"), /not manually attachable/);
    const [first = "", second = "", third = ""] = await all();
    assert.match(
      await refused(1, `update --restart always ${first}`),
      /is a task of service web: .*--restart-condition/,
    );
    await docker(1, `rm -f -v ${first}`);
    await docker(2, `stop ${second}`);
    await docker(3, `rename ${third} mine`);
    await docker(3, "network disconnect -f app mine");
    const failures = async () =>
      (await tasks("web")).flatMap(({ state, error }) => (state === "Failed" ? error : [])).toSorted();
    await until(async () => (await failures()).length === 3, "what users take away has failed");
    assert.deepEqual(await failures(), [
      "task: its container was removed",
      "task: non-zero exit (137)",
      "task: non-zero exit (137): its container was taken off network app",
    ]);
    await become("web", 3);
    await docker(1, "service rm web");
    await until(async () => (await all()).length === 0, "no container is left");
    for (const number of numbers) await docker(number, `volume rm data-h${number}`);
    await docker(1, "network rm app");
  });

  it("a task with a published port is on ingress, too, and leads out", async () => {
    await oneManager();
    await create(
      "web",
      ...atOnce,
      "--constraint",
      "node.hostname==h2",
      "--publish",
      "8082:80",
      "busybox",
      "sleep",
      "1d",
    );
    await become("web", 1);
    const [name = ""] = await containers(2);
    const networks = JSON.parse(await inspect(2, name, "{{json .NetworkSettings.Networks}}")) as Record<
      string,
      unknown
    >;
    assert.deepEqual(Object.keys(networks), ["ingress"]);
    assert.equal((await host(2).tryDocker("exec", name, "ping", "-c1", "-W20", host(1).address)).status, 0);
    const ingress = await inspect(1, "ingress", "{{.Id}}");
    const [attached] = JSON.parse(await inspect(1, name.slice(-25), "{{json .NetworksAttachments}}")) as {
      Network: { ID: string };
      Addresses: string[];
    }[];
    assert.equal(attached?.Network.ID, ingress);
    assert.match(attached?.Addresses[0] ?? "", /^10\.0\.0\.\d+\/24$/);
    await docker(1, "service rm web");
    await until(async () => (await all()).length === 0, "no container is left");
  });

  it("secrets and configs are files of their tasks, in memory where these are and nowhere else", async () => {
    await oneManager();
    const hush = `hush-${process.pid}-${Date.now()}`;
    const make = (kind: string, name: string, text: string, ...flags: string[]) =>
      host(1).run("sh", "-c", `printf '%s' '${text}' | docker ${kind} create ${flags.join(" ")} ${name} -`);
    await make("secret", "pw", hush);
    await make("secret", "unused", `${hush}-unused`);
    await make(
      "config",
      "page",
      '{{.Node.Hostname}} {{secret "own"}} {{config "/etc/plain"}}',
      "--template-driver",
      "golang",
    );
    await make("config", "plain", "plain {{.Node.Hostname}}");
    await create(
      "one",
      "--constraint",
      "node.hostname==h2",
      "--secret",
      "source=pw,target=own,uid=7,gid=8,mode=0400",
      "--secret",
      "source=pw,target=/deep/er",
      "--config",
      "source=page,target=/page",
      "--config",
      "source=plain,target=/etc/plain",
      "busybox",
      "sh",
      "-c",
      "trap exit TERM; while :; do sleep 0.2; done",
    );
    await become("one", 1);
    const [name = ""] = await containers(2);
    const exec = (line: string) => host(2).docker("exec", name, "sh", "-c", line);
    assert.equal(
      await exec("stat -c '%a %u %g' /run/secrets/own; cat /run/secrets/own /deep/er"),
      `400 7 8\n${hush}${hush}`,
    );
    assert.equal(
      await exec("cat /page; echo; cat /etc/plain"),
      `h2 ${hush} plain {{.Node.Hostname}}\nplain {{.Node.Hostname}}`,
    );
    assert.match(await exec("grep secrets/own /proc/mounts"), /tmpfs .*\bro\b/);
    assert.equal(
      await host(2).docker("exec", "-u", "nobody", name, "sh", "-c", "cat /run/secrets/own 2>&1 || true"),
      "cat: can't open '/run/secrets/own': Permission denied",
    );
    const heldBy = async (number: number) =>
      (await host(number).try("ls", "/run/tombolo/memory")).stdout.trim().split("\n").filter(Boolean).length;
    assert.deepEqual(await Promise.all(numbers.map(heldBy)), [0, 1, 0]);
    for (const number of [2, 3]) assert.equal(await isOnDisk(number, hush), false, `on h${number}'s disk`);
    assert.equal(await isOnDisk(1, hush), false, "sealed on the manager's");
    // A daemon that starts again finds the files of those that run, and gets the others anew.
    await host(2).kill();
    await host(2).start();
    assert.equal(await exec("cat /run/secrets/own"), hush);
    await docker(2, `kill ${name}`);
    await until(async () => (await containers(2, "status=running")).length === 1, "another one");
    const [other = ""] = await containers(2, "status=running");
    assert.equal(await docker(2, `exec ${other} cat /deep/er`), hush);
    assert.equal(await isOnDisk(2, hush), false);
    await docker(1, "service rm one");
    await until(async () => (await all()).length === 0, "no container is left");
    const isGone = async () => (await host(2).try("ls", "/run/tombolo/memory")).status !== 0;
    await until(isGone, "nor are their files, nor what they were in");
  });

  it("says why a task can not run, and goes on when it can", async () => {
    await oneManager();
    await create(
      "lost",
      "--restart-condition",
      "none",
      "--constraint",
      "node.hostname==h3",
      "127.0.0.1:1/no/such:image",
    );
    await until(async () => (await tasks("lost"))[0]?.state === "Rejected", "rejected");
    const [lost] = await tasks("lost");
    assert.match(lost?.error ?? "", /^No such image: 127\.0\.0\.1:1\/no\/such:image: .*refused/);
    await create("large", "--limit-cpu", "1000", "busybox", "true");
    const isTooLarge = ({ error }: Shown) => error === "no suitable node (fewer CPUs than the limit on 3 nodes)";
    await until(async () => (await tasks("large")).some(isTooLarge), "no node has so many CPUs");
    await docker(3, "run -d --name holder -p 8081:80 busybox sleep 1d");
    await create(
      "port",
      ...atOnce,
      "--constraint",
      "node.hostname==h3",
      "--publish",
      "mode=host,target=80,published=8081",
      "busybox",
      "sleep",
      "1d",
    );
    // The leader hears of the node's ports a moment later: until then the node refuses the task.
    const taken = /host-mode port already in use on 1 node|starting container failed: .*port is already allocated/;
    await until(async () => (await tasks("port")).some(({ error }) => taken.test(error)), "the port is taken");
    await docker(3, "rm -f holder");
    await become("port", 1);
    await create("ends", "--restart-condition", "none", "--mode", "replicated-job", "busybox", "sh", "-c", "exit 3");
    await until(async () => (await tasks("ends"))[0]?.state === "Failed", "failed");
    assert.equal((await tasks("ends"))[0]?.error, "task: non-zero exit (3)");
    await create("job", "--mode", "replicated-job", "--replicas", "4", "--max-concurrent", "2", "busybox", "true");
    await until(
      async () => (await tasks("job")).filter(({ state }) => state === "Complete").length === 4,
      "the job is done",
    );
    await docker(1, "network create -d overlay --subnet 10.51.0.0/29 narrow");
    await create("other", ...atOnce, "--network", "narrow", "busybox", "sleep", "1d");
    await create("many", ...atOnce, "--replicas", "6", "--network", "narrow", "busybox", "sleep", "1d");
    const waitsForAddress = ({ desired, state, node, error }: Shown) =>
      `${desired} ${state} ${node}` === "Running Pending " &&
      /^no available IPv4 addresses on this network's address pools: narrow \(\w{25}\)$/.test(error);
    const runAndWait = (run: number, wait: number) => async () => {
      const some = await tasks("many");
      const isOfBoth = (await running("many")).length === run && some.filter(waitsForAddress).length === wait;
      return isOfBoth && some.length === run + wait;
    };
    await until(runAndWait(2, 4), "four wait for an address, and none has failed");
    await docker(1, "service rm other");
    await until(runAndWait(4, 2), "who waited has the addresses that were given back");
    await docker(1, "service scale -d many=2");
    await become("many", 2);
    await create(
      "sick",
      "--restart-condition",
      "none",
      "--health-cmd",
      "false",
      "--health-interval",
      "100ms",
      "--health-retries",
      "2",
      "busybox",
      "sh",
      "-c",
      "trap 'exit 5' TERM; while :; do sleep 0.1; done",
    );
    await until(async () => (await tasks("sick"))[0]?.state === "Failed", "unhealthy");
    assert.equal((await tasks("sick"))[0]?.error, "task: non-zero exit (5): dockerexec: unhealthy container");
    await docker(1, "service rm lost large port ends job sick many");
    await until(async () => (await all()).length === 0, "no container is left");
    await docker(1, "network rm narrow");
  });

  it("goes on while no manager answers, and tells later what has happened", async () => {
    await oneManager();
    await create("web", ...atOnce, "--mode", "global", "--restart-condition", "none", "busybox", "sleep", "1d");
    await become("web", 3);
    await host(1).kill();
    const [name = ""] = await containers(2);
    await docker(2, `kill ${name}`);
    await host(3).kill();
    await host(3).start(); // nobody tells it that its task is still wanted
    await sleep(1000);
    assert.equal((await containers(3, "status=running")).length, 1);
    await host(1).start();
    for (const node of ["h1", "h2", "h3"]) await until(() => isReady(node), `${node} is ready`);
    const stateOn = async (node: string) => (await tasks("web")).find((task) => task.node === node)?.state;
    await until(async () => (await stateOn("h2")) === "Failed", "h2 has told it");
    assert.deepEqual([await stateOn("h1"), await stateOn("h3")], ["Running", "Running"]);
    await docker(3, "swarm leave");
    await until(async () => (await containers(3)).length === 0, "who leaves takes its tasks along");
    await docker(1, "service rm web");
    await until(async () => (await all()).length === 0, "no container is left");
  });

  const places = [
    "prepare.before-container",
    "prepare.after-container",
    "start.before-container",
    "start.after-container",
    "end.after-container",
    ...[1, 2, 3, 4, 5, 6].map((pass) => `note#${pass}`),
  ];
  describe("kill -9", () => {
    before(async () => {
      await host(2).kill();
      await startArmable(host(2));
    });
    for (const place of places)
      it(`of the daemon at ${place}: a task has one container, and none is left over`, async () => {
        await oneManager();
        if ((await docker(1, "network ls -q -f name=app")) === "") await docker(1, "network create -d overlay app");
        const stop = "trap exit TERM; while :; do sleep 0.1; done";
        await arm(host(2), `swarm.task.${place}`);
        await create(
          "web",
          "--replicas",
          "1",
          "--constraint",
          "node.hostname==h2",
          "--network",
          "app",
          "busybox",
          "sh",
          "-c",
          stop,
        );
        const isAtEnd = place.startsWith("end");
        if (isAtEnd) {
          await become("web", 1);
          await docker(1, "service scale -d web=0");
        }
        await until(() => host(2).state() !== "running", `died at ${place}`);
        await startArmable(host(2));
        if (!isAtEnd) {
          await become("web", 1);
          const seen = await tasks("web");
          assert.equal(seen.length, 1, JSON.stringify(seen)); // the same task: none was made in its place
          const [container = "", ...others] = await containers(2);
          assert.deepEqual([container.split(".").slice(0, 2).join("."), others], ["web.1", []]);
          assert.deepEqual(await host(2).audit(), []);
          await docker(1, "service rm web");
        }
        await until(async () => (await all()).length === 0, "no container is left");
        await until(async () => (await tasks("web").catch(() => [])).length === 0, "no task is left");
        if (isAtEnd) await docker(1, "service rm web");
        assert.deepEqual(await host(2).audit(), []);
      });
  });
});
