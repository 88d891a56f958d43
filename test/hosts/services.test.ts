import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import type { Outcome } from "../../src/lab/command.ts";
import { useSwarm } from "../support/swarm.ts";
import { until } from "../support/until.ts";

const all = [1, 2, 3] as const;

describe("services of the lab's hosts", () => {
  const { host, docker, refused, threeManagers } = useSwarm({ isKept: true });
  const lines = async (number: number, line: string) => (await docker(number, line)).split("\n").filter(Boolean);
  /** Other managers hear of a change a moment later. */
  const shows = async (number: number, line: string, text: string) => {
    let shown = "";
    await until(
      async () => (shown = await docker(number, line)) === text,
      () => `h${number}: ${line}: ${shown}, and not ${text}`,
    );
  };
  /**
   * Runs a shell's line, where a task needs one. The client looks on until all has been well for as long as the service's
   * monitor says, or for five seconds.
   */
  const create = (flags: string, script: string) =>
    host(1).docker(
      "service",
      "create",
      "--quiet",
      "--no-resolve-image",
      ...flags.split(" "),
      "busybox",
      "sh",
      "-c",
      script,
    );
  /** `HOST` of each task that is to run, sorted. */
  const places = async (name: string) =>
    (await lines(1, `service ps -f desired-state=running --format {{.Node}} ${name}`)).toSorted();
  /** Runs a command in one of a service's containers, of any host. */
  async function inTask(name: string, ...command: string[]): Promise<string> {
    for (const number of all) {
      const [id] = await lines(number, `ps -q -f label=com.docker.swarm.service.name=${name}`);
      if (id !== undefined) return host(number).docker("exec", id, ...command);
    }
    return assert.fail(`${name} runs nowhere`);
  }
  const nothingRuns = () =>
    until(
      async () => (await Promise.all(all.map((number) => lines(number, "ps -aq")))).flat().length === 0,
      "no containers",
    );
  const files: string[] = [];
  /** @returns the path of a file with this text */
  function file(name: string, text: string): string {
    const path = join(host(1).directory, name);
    writeFileSync(path, text);
    files.push(path);
    return path;
  }
  afterEach(() => {
    for (const path of files.splice(0)) rmSync(path, { force: true });
  });

  it("are made, told about, changed, rolled back and removed", async () => {
    await threeManagers();
    const began = Math.floor(Date.now() / 1000);
    await docker(1, "network create -d overlay shop");
    await docker(1, `secret create key ${file("key", "geheim")}`);
    await docker(2, `config create motd ${file("motd", "good day")}`);
    const said = `echo "hello from $NODE, slot $SLOT"; trap 'exit 0' TERM; while :; do sleep 0.2; echo tick; done`;
    await create(
      "--name web --replicas 3 --update-monitor 1s --rollback-monitor 1s --network shop --env NODE={{.Node.Hostname}} --env SLOT={{.Task.Slot}} --hostname {{.Service.Name}}-{{.Task.Slot}}",
      said,
    );
    assert.deepEqual(await places("web"), ["h1", "h2", "h3"]);
    const listed = "web:replicated:3/3:busybox:latest";
    await shows(2, "service ls --format {{.Name}}:{{.Mode}}:{{.Replicas}}:{{.Image}}", listed);
    assert.match(await inTask("web", "hostname"), /^web-[123]$/);

    // Logs of tasks of all hosts, asked at any manager.
    for (const number of [1, 3])
      await until(async () => {
        const told = await lines(number, "service logs web");
        const who = told.flatMap((line) => /hello from (h\d), slot \d$/.exec(line)?.[1] ?? []);
        return who.toSorted().join() === "h1,h2,h3";
      }, `all say hello, as asked at h${number}`);
    const follow = (seconds: number) =>
      host(2).run("sh", "-c", `timeout ${seconds} docker service logs -f --tail 0 web || true`);
    for (let [seconds, isFollowed] = [3, false]; !isFollowed; seconds *= 2) {
      const followed = (await follow(seconds)).split("\n");
      isFollowed = all.every((number) => followed.filter((line) => line.includes(`@h${number} `)).length > 5);
      assert.ok(isFollowed || seconds < 20, followed.join("\n"));
    }

    const inspected = async () =>
      JSON.parse(await docker(2, "network inspect -v shop"))[0] as {
        readonly Services: Record<string, { readonly Tasks: readonly object[] }>;
      };
    await until(async () => (await inspected()).Services["web"]?.Tasks.length === 3, "three tasks");
    assert.match(await refused(1, "network rm shop"), /network \w+ is in use by service \w+/);

    await docker(2, "service update -q --no-resolve-image --secret-add key --config-add source=motd,target=/motd web");
    assert.equal(await inTask("web", "cat", "/run/secrets/key", "/motd"), "geheimgood day");
    await shows(3, "service inspect -f {{.UpdateStatus.State}} web", "completed");
    assert.match(await refused(3, "secret rm key"), /secret 'key' is in use by the following service: web/);
    await docker(3, "service rollback -q web");
    await assert.rejects(inTask("web", "cat", "/motd"));
    await docker(1, "service scale web=1");
    assert.equal((await places("web")).length, 1);

    await docker(1, "service rm web");
    await docker(1, "network rm shop");
    await docker(1, "secret rm key");
    await docker(3, "config rm motd");
    const told = async () =>
      host(3).docker(
        ...`events --since ${began} --until ${Math.ceil(Date.now() / 1000)} -f scope=swarm --format`.split(" "),
        "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}",
      );
    for (const one of ["service create web", "service update web", "service remove web", "secret create key"])
      await until(async () => (await told()).split("\n").includes(one), one);
    await nothingRuns();
  });

  it("answer at a port of every host, and at their names", async () => {
    await threeManagers();
    await docker(1, "network create -d overlay --attachable shop");
    const page = "echo $NODE > /index.html; exec httpd -f -h / -p 80";
    await create(
      "--name web --replicas 2 --update-monitor 1s --network name=shop,alias=store --publish 8080:80 --env NODE={{.Node.Hostname}} --stop-signal SIGKILL",
      page,
    );
    const running = await places("web");
    const assertAnswers = (ask: () => Promise<Outcome>, what: string) =>
      until(async () => {
        const told = new Set<string>();
        for (let times = 0; times < 4; times += 1) told.add((await ask()).stdout.trim());
        return [...told].toSorted().join() === running.join();
      }, `${running.join()} answer, ${what}`);
    for (const number of all)
      for (const of of all)
        await assertAnswers(
          () => host(number).try("wget", "-qO-", `http://${host(of).address}:8080/`),
          `asked on h${number} at h${of}`,
        );
    await docker(3, "run -d --name asks --network shop busybox sleep 1d");
    for (const name of ["web", "store"])
      await assertAnswers(() => host(3).tryDocker("exec", "asks", "wget", "-qO-", `http://${name}/`), name);
    assert.equal((await docker(3, "exec asks nslookup -type=a tasks.web")).match(/^Address: 10\.0\./gm)?.length, 2);
    assert.match(
      await refused(1, "service create -d --no-resolve-image -p 8080:81 busybox"),
      /port '8080' is already in use by service 'web'/,
    );
    await docker(3, "rm -f asks");
    await docker(1, "service update -q --no-resolve-image --publish-rm 80 web");
    const unpublished = async () =>
      (await host(1).try("wget", "-qO-", "-T1", `http://${host(2).address}:8080/`)).status !== 0;
    await until(unpublished, "nothing is published");
    await docker(1, "service rm web");
    await docker(1, "network rm shop");
    await nothingRuns();
  });

  it("of jobs end, and the client waits for it", async () => {
    await threeManagers();
    await create(
      "--name job --mode replicated-job --replicas 5 --max-concurrent 2 --restart-condition none",
      "echo ok",
    );
    assert.equal(await docker(1, "service ls -f name=job --format {{.Replicas}}"), "0/2 (5/5 completed)");
    await create("--name every --mode global-job --restart-condition none", "echo ok");
    assert.equal(await docker(1, "service ls -f name=every --format {{.Replicas}}"), "0/0 (3/3 completed)");
    const okays = (number: number, name: string, count: number) =>
      until(
        async () =>
          (await lines(number, `service logs --raw ${name}`)).filter((line) => line === "ok").length === count,
        `${count} lines of ${name}, as asked at h${number}`,
      );
    await okays(2, "job", 5);
    await docker(1, "service update -q --force every");
    await shows(2, "service inspect -f {{.JobStatus.JobIteration.Index}} every", "1");
    await shows(3, "service ls -f name=every --format {{.Replicas}}", "0/0 (3/3 completed)");
    await okays(3, "every", 3);
    await docker(1, "service rollback -q -d every");
    const run = "service inspect -f {{.JobStatus.JobIteration.Index}}|{{.UpdateStatus}} every";
    await shows(2, run, "2|<nil>");
    await docker(1, "service rm job every");
    await nothingRuns();
  });

  it("of a stack are deployed, changed and removed", async () => {
    await threeManagers();
    const stack = (replicas: number) => `
version: "3.9"
services:
  web:
    image: busybox
    command: ["sleep", "1d"]
    stop_signal: SIGKILL
    networks: [front]
    configs: [{ source: motd, target: /motd }]
    secrets: [key]
    deploy: { replicas: ${replicas}, update_config: { order: start-first, monitor: 1s } }
  every:
    image: busybox
    command: ["sleep", "1d"]
    stop_signal: SIGKILL
    networks: { front: { aliases: [all] } }
    volumes: ["data:/data"]
    deploy: { mode: global, update_config: { monitor: 1s } }
networks: { front: { driver: overlay, attachable: true } }
volumes: { data: {} }
configs: { motd: { file: ./motd } }
secrets: { key: { file: ./key } }
`;
    file("motd", "good day");
    file("key", "geheim");
    const deploy = async (replicas: number) =>
      docker(1, `stack deploy --resolve-image never --detach=false -c ${file("stack.yml", stack(replicas))} shop`);
    const services = (number: number, wish: string) =>
      until(
        async () =>
          (await lines(number, "stack services --format {{.Name}}:{{.Replicas}} shop")).toSorted().join() === wish,
        `${wish}, as h${number} says`,
      );
    await deploy(2);
    await services(2, "shop_every:3/3,shop_web:2/2");
    await services(3, "shop_every:3/3,shop_web:2/2");
    assert.equal((await lines(3, "stack ps -q shop")).length, 5);
    assert.equal(await inTask("shop_web", "cat", "/run/secrets/key", "/motd"), "geheimgood day");
    await deploy(4);
    await services(3, "shop_every:3/3,shop_web:4/4");
    assert.equal(await docker(1, "stack ls --format {{.Name}}/{{.Services}}"), "shop/2");
    await docker(1, "stack rm shop");
    await nothingRuns();
    // A host lists a network for as long as it has tasks on it.
    const networks = () => lines(1, "network ls -q -f label=com.docker.stack.namespace=shop");
    await until(async () => (await networks()).length === 0, "no network");
    assert.deepEqual(await lines(1, "secret ls -q"), []);
    assert.deepEqual(await lines(1, "config ls -q"), []);
    for (const number of all) await docker(number, "volume rm shop_data");
  });
});
