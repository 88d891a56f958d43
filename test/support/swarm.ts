import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before } from "node:test";
import { attempt, type Outcome } from "../../src/lab/command.ts";
import type { LabHost } from "../../src/lab/host.ts";
import { kill, processesIn } from "../../src/lab/processes.ts";
import { useLab } from "./lab.ts";
import { until } from "./until.ts";

const program = join(import.meta.dirname, "../../bin/tombolo");
export const words = (line: string) => line.split(" ").filter(Boolean);
export const swarmDirectory = ({ directory }: LabHost) => join(directory, "data/swarm");

interface Row {
  readonly name: string;
  readonly status: string;
  readonly availability: string;
  /** Leader, Reachable, Unreachable; "" of a worker. */
  readonly manager: string;
}

/**
 * Three hosts for the tests of one suite, and what one does with them. After each test no swarm is left, nor anything of one.
 * @param isKept true: the swarm that `oneManager` or `threeManagers` made is there for the suite's next test, too, unless one fails
 */
export function useSwarm({ isKept = false } = {}) {
  const lab = useLab({ hosts: 3 });
  const host = (number: number) => lab().host(number);
  const docker = (number: number, line: string) => host(number).docker(...words(line));
  /** Runs a docker command that must be refused. @returns what it said */
  async function refused(number: number, line: string): Promise<string> {
    const { status, stderr } = await host(number).tryDocker(...words(line));
    assert.notEqual(status, 0, `${line} was not refused`);
    return stderr;
  }
  /** `docker node ls`, by the nodes' names. */
  async function nodes(number = 1): Promise<Row[]> {
    const format = "{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}";
    const lines = (await host(number).docker("node", "ls", "--format", format)).split("\n");
    return lines
      .map((line) => line.split(" "))
      .map(([name = "", status = "", availability = "", manager = ""]) => ({ name, status, availability, manager }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }
  const rowOf = async (name: string, number = 1) =>
    (await nodes(number).catch(() => [])).find((row) => row.name === name);
  const isReady = async (name: string, number = 1) => (await rowOf(name, number))?.status === "Ready";
  const managersOf = async (number = 1) =>
    (await nodes(number).catch(() => [])).filter(({ manager }) => ["Leader", "Reachable"].includes(manager)).length;
  const stateOf = (number: number) => host(number).docker("info", "--format", "{{.Swarm.LocalNodeState}}");
  const token = (role: "worker" | "manager", number = 1) => docker(number, `swarm join-token -q ${role}`);
  const address = (number: number) => `${host(number).address}:2377`;
  const joinWith = (number: number, secret: string, to = 1) =>
    docker(number, `swarm join --token ${secret} ${address(to)}`);
  const isThere = async () => isKept && (await stateOf(1)) === "active";
  /** A swarm of all three hosts. */
  async function threeManagers(flags = ""): Promise<void> {
    if (!(await isThere())) {
      await docker(1, `swarm init ${flags}`);
      const secret = await token("manager");
      for (const number of [2, 3]) await joinWith(number, secret);
    }
    await until(async () => (await managersOf()) === 3, "three managers");
  }
  /** A swarm of all three hosts with one manager, the first. */
  async function oneManager(flags = ""): Promise<void> {
    if (await isThere()) return;
    await docker(1, `swarm init ${flags}`);
    const secret = await token("worker");
    await Promise.all([2, 3].map((number) => joinWith(number, secret)));
  }
  /** A call for which the docker client has no words, or needs a terminal. */
  const post = (number: number, path: string, body: object) => host(number).ask("POST", path, body);
  /** Runs `tombolo swarm …` for a host; it need not succeed. */
  const tombolo = (number: number, ...args: string[]): Promise<Outcome> =>
    attempt([program, "-H", `unix://${host(number).socket}`, "swarm", ...args]);
  /** The daemon, and its etcd, as when a host loses its power. */
  async function crash(number: number): Promise<void> {
    await kill(processesIn([host(number).pin]).filter(({ command }) => /bin\/tombolod|^etcd /.test(command)));
  }
  /** Stops, or goes on with, a host's daemon and etcd. */
  function signal(number: number, name: "SIGSTOP" | "SIGCONT"): void {
    for (const { pid, command } of processesIn([host(number).pin]))
      if (/bin\/tombolod|^etcd /.test(command)) process.kill(pid, name);
  }
  const etcds = (number: number) =>
    processesIn([host(number).pin]).filter(({ command }) => command.startsWith("etcd "));
  const isManager = ({ number }: LabHost) => etcds(number).length > 0;

  /** Removes a host's containers; its daemon runs then. */
  async function empty(number: number): Promise<void> {
    if (host(number).state() !== "running") await host(number).start();
    const ids = (await docker(number, "ps -aq")).split("\n").filter(Boolean);
    if (ids.length > 0) await host(number).docker("rm", "-f", ...ids);
  }
  /** Afterwards it is in no swarm, and nothing is left of one. */
  async function leave(one: LabHost): Promise<void> {
    await one.tryDocker("swarm", "leave", "--force");
    assert.equal(await stateOf(one.number), "inactive");
    assert.deepEqual(etcds(one.number), [], `etcd on ${one.name}`);
    const left = existsSync(swarmDirectory(one)) ? readdirSync(swarmDirectory(one)) : [];
    assert.deepEqual(
      left.filter((name) => name !== "joining.key"),
      [],
    );
  }
  afterEach(async (test) => {
    const { hosts } = lab();
    await Promise.all(
      hosts.map(async (one) => {
        await one.heal();
        if (one.state() !== "running") await one.start();
      }),
    );
    if (!(isKept && "passed" in test && test.passed)) await leaveAll();
  });
  /** As `isKept`, for the tests of a suite within this one. */
  function keepSwarm(): void {
    before(() => void (isKept = true));
    after(async () => {
      isKept = false;
      await leaveAll();
    });
  }
  async function leaveAll(): Promise<void> {
    const { hosts } = lab();
    const [managers, workers] = [hosts.filter(isManager), hosts.filter((one) => !isManager(one))];
    await Promise.all(workers.map(leave));
    for (const one of managers) await leave(one);
  }
  return {
    lab,
    host,
    docker,
    refused,
    nodes,
    rowOf,
    isReady,
    managersOf,
    stateOf,
    token,
    address,
    joinWith,
    keepSwarm,
    oneManager,
    empty,
    threeManagers,
    post,
    tombolo,
    crash,
    signal,
    etcds,
  };
}
