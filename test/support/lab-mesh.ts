import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach } from "node:test";
import { run } from "../../src/lab/command.ts";
import type { Asking } from "./mesh-client.ts";
import { useSwarm, words } from "./swarm.ts";
import { until } from "./until.ts";

const support = (name: string) => join(import.meta.dirname, name);
/** Where a client is: beyond the hosts, on host N, or in a container of host N. */
export type Spot = "outside" | { readonly host: number; readonly container?: string };
/** A question, and what is answered. */
export type Question = readonly [asking: Asking, answers: readonly string[]];

/** A swarm of three hosts, one of them a manager, whose published ports answer in both families; and servers in its tasks. */
export function useMesh() {
  const hosts = [1, 2, 3] as const;
  const servers: ChildProcess[] = [];
  // Before the hosts leave the swarm, and their audits are looked at.
  afterEach(async () => {
    for (const server of servers.splice(0)) server.kill("SIGKILL");
    for (const name of (await docker(1, "service ls -q").catch(() => "")).split("\n").filter(Boolean))
      await docker(1, `service rm ${name}`);
    const left = async (number: number) => (await docker(number, "ps -aq -f is-task=true")) !== "";
    for (const number of hosts) await until(async () => !(await left(number)), `tasks of h${number} go`);
    for (const number of hosts) {
      const own = words((await docker(number, "ps -aq")).replaceAll("\n", " "));
      if (own.length > 0) await docker(number, `rm -f ${own.join(" ")}`);
      await docker(number, "network prune -f");
    }
  });
  const swarm = useSwarm();
  const { lab, host, docker, joinWith, token } = swarm;

  /** @param options of the network by which published ports come in */
  async function begin(options = ""): Promise<void> {
    const icc = "-o com.docker.network.bridge.enable_icc=false";
    await Promise.all(hosts.map((number) => docker(number, `network create --ipv6 ${icc} docker_gwbridge`)));
    await docker(1, "swarm init");
    // The docker client asks at its terminal whether that is meant.
    await until(async () => (await host(1).ask("DELETE", "/networks/ingress")).status === 204, "ingress goes");
    await docker(1, `network create -d overlay --ingress --ipv6 ${options} ingress`);
    const secret = await token("worker");
    await Promise.all([2, 3].map((number) => joinWith(number, secret)));
  }

  const enter = async (spot: Spot, ...command: string[]): Promise<string[]> => {
    if (spot === "outside") return lab().enterSwitch(...command);
    const { host: number, container } = spot;
    if (container === undefined) return host(number).enter(...command);
    const key = await host(number).docker("inspect", "-f", "{{.NetworkSettings.SandboxKey}}", container);
    return host(number).enter("nsenter", `--net=${key}`, "--", ...command);
  };

  /** Starts a service whose tasks wait, and a server in each, which says `HOST:PORT` and the client's address. */
  async function service(name: string, flags: string, ports: readonly number[] = [80]): Promise<void> {
    const own = [
      "service",
      "create",
      "-q",
      "--no-resolve-image",
      "--stop-signal",
      "SIGKILL",
      "--update-monitor",
      "10ms",
      "--name",
      name,
    ];
    await host(1).docker(...own, ...flags.split(" "), "busybox", "sleep", "1d");
    await Promise.all(hosts.map((number) => serveOn(number, name, ports)));
  }
  async function serveOn(number: number, name: string, ports: readonly number[]): Promise<void> {
    const found = await docker(number, `ps -q -f label=com.docker.swarm.service.name=${name}`);
    for (const container of words(found.replaceAll("\n", " "))) await server({ host: number, container }, ports);
  }
  /** Starts a server, to the end of the test. */
  async function server(spot: Exclude<Spot, "outside">, ports: readonly number[]): Promise<void> {
    const program = [process.execPath, support("mesh-server.ts"), `h${spot.host}`, ...ports.map(String)];
    const [first = "", ...words] = await enter(spot, ...program);
    const started = spawn(first, words, { stdio: ["ignore", "pipe", "inherit"] });
    servers.push(started);
    await once(createInterface({ input: started.stdout }), "line");
  }

  /** Asks from one place, and compares who answered with who should have. */
  async function ask(spot: Spot, questions: readonly Question[]): Promise<void> {
    const askings = JSON.stringify(questions.map(([asking]) => asking));
    const command = await enter(spot, process.execPath, support("mesh-client.ts"), askings);
    let wrong: string[] = [];
    const isRight = async () => {
      const counts = JSON.parse(await run(command)) as Record<string, number>[];
      const heard = counts.map((one) => Object.keys(one).toSorted());
      wrong = questions.flatMap(([{ protocol, address, port }, answers], at) =>
        heard[at]?.join() === answers.toSorted().join()
          ? []
          : `${protocol} ${address} ${port}: ${heard[at]?.join()}, not ${answers.join()}`,
      );
      return wrong.length === 0;
    };
    // Other hosts hear of a task a moment after it runs.
    await until(isRight, () => `as it should be from ${JSON.stringify(spot)}:\n${wrong.join("\n")}`);
  }

  /** Addresses of host N's end of the network by which published ports come in. */
  async function entryOf(number: number): Promise<Record<4 | 6, string>> {
    const { Containers } = JSON.parse(
      await host(number).docker("network", "inspect", "-f", "{{json .}}", "ingress"),
    ) as {
      readonly Containers: Record<string, { readonly Name: string; IPv4Address: string; IPv6Address: string }>;
    };
    const own = Object.values(Containers).find(({ Name }) => Name === "ingress-endpoint");
    assert.ok(own, `the end of h${number}`);
    const bare = (text: string) => text.replace(/\/.*/, "");
    return { 4: bare(own.IPv4Address), 6: bare(own.IPv6Address) };
  }

  afterEach(async () => {
    for (const number of hosts) await docker(number, "network rm docker_gwbridge");
  });
  return { ...swarm, hosts, begin, service, server, ask, entryOf };
}
