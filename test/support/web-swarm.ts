import assert from "node:assert/strict";
import { realpathSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { afterEach } from "node:test";
import { run } from "../../src/lab/command.ts";
import type { FlowWish } from "./flow-client.ts";
import { Flow } from "./flow.ts";
import { describeFailures, Load } from "./load.ts";
import { useSwarm } from "./swarm.ts";
import { until } from "./until.ts";
import { ports } from "./task-ports.ts";

const hosts = [1, 2, 3] as const;
/** Published ports of what the tasks answer at. */
export const published = { requests: 8080, echo: 8081 } as const;
const program = join(import.meta.dirname, "task-server.ts");
/** What each task runs is this machine's Node: where that, and what it loads, is mounted. */
const { sharedObjects } = process.report.getReport() as { readonly sharedObjects: readonly string[] };
const mounts = [...new Set([process.execPath, program, ...sharedObjects].filter(isAbsolute).map(dirname))].flatMap(
  (path) => ["--mount", `type=bind,source=${realpathSync(path)},target=${path},readonly`],
);
const healthy = "wget -qO- http://127.0.0.1/";

/** How a round of an update goes. */
export interface Round {
  readonly order: "stop-first" | "start-first";
  readonly parallelism: number;
  /** Back to what was before. */
  readonly isRollback?: true;
}

/** Three hosts with a service `web`, on the network `shop` and published, and those who ask it all the time. */
export function useWebSwarm() {
  const swarm = useSwarm();
  const { host, docker, lab } = swarm;
  const loads: Load[] = [];
  const flows: Flow[] = [];
  afterEach(() => {
    for (const load of loads.splice(0)) load.kill();
    for (const flow of flows.splice(0)) flow.end();
  });
  afterEach(() => Promise.all(hosts.map((number) => host(number).tryDocker("rm", "-f", "asks"))));

  /** What runs a command in the network of a container of a host. */
  async function inside(number: number, name: string): Promise<string[]> {
    const id = await docker(number, `inspect -f {{.Id}} ${name}`);
    return host(number).enter("nsenter", `--net=/run/tombolo/netns/${id}`);
  }
  const virtual = async (name: string) => {
    const ids = await host(1).docker("service", "inspect", "-f", "{{json .Endpoint.VirtualIPs}}", name);
    const shop = await docker(1, "network inspect -f {{.Id}} shop");
    const found = (JSON.parse(ids) as { NetworkID: string; Addr: string }[]).find(
      ({ NetworkID }) => NetworkID === shop,
    );
    return found?.Addr.split("/")[0] ?? "";
  };

  /** The service, its tasks at work, and a container `asks` on each host. @param flags more of the service's */
  async function serve(replicas: number, flags: string): Promise<void> {
    await docker(1, "network create -d overlay --attachable shop");
    const publish = `-p ${published.requests}:${ports.requests} -p ${published.echo}:${ports.echo} -p ${published.echo}:${ports.echo}/udp`;
    const own = `--name web --replicas ${replicas} --network shop ${publish} --stop-signal SIGKILL ${flags}`;
    await host(1).docker(
      ..."service create --quiet --no-resolve-image --health-start-period 30s --health-start-interval 200ms".split(" "),
      ..."--health-interval 10s --health-cmd".split(" "),
      healthy,
      ...own.split(" ").filter(Boolean),
      ...mounts,
      ...["busybox", process.execPath, program],
    );
    for (const number of hosts) await docker(number, "run -d --name asks --network shop busybox sleep 1d");
  }
  async function clear(): Promise<void> {
    for (const number of hosts) await docker(number, "rm -f asks");
    await docker(1, "service rm web");
    const left = async () => (await Promise.all(hosts.map((number) => docker(number, "ps -aq")))).join("");
    await until(async () => (await left()) === "", "no containers");
    await docker(1, "network rm shop");
  }

  const start = (enter: readonly string[], targets: readonly [address: string, port: number][], rate: number) => {
    const load = new Load(enter, { rate, targets: targets.map(([address, port]) => ({ address, port })) });
    loads.push(load);
    return load;
  };
  /**
   * So many requests a second to the service's virtual address, from a container of a host, and as many to the published port, from
   * beyond the hosts, at each of some by turns.
   */
  const askBoth = async (number: number, rate: number, entries: readonly number[] = hosts) => ({
    virtual: start(await inside(number, "asks"), [[await virtual("web"), ports.requests]], rate),
    mesh: start(
      lab().enterSwitch(),
      entries.map((entry) => [host(entry).address, published.requests]),
      rate,
    ),
  });
  const flow = async (enter: readonly string[], wish: FlowWish) => {
    const one = new Flow(enter, wish);
    flows.push(one);
    return { flow: one, first: wish.protocol === "tcp" ? await one.heard() : await one.say("hello") };
  };
  type Way = Pick<FlowWish, "protocol" | "patience">;
  /** A connection, or datagrams, to a task by the service's virtual address. @returns it, and the container that answers */
  const flowVirtual = async (number: number, way: Way) =>
    flow(await inside(number, "asks"), { ...way, address: await virtual("web"), port: ports.echo });
  const flowMesh = (number: number, way: Way) =>
    flow(lab().enterSwitch(), { ...way, address: host(number).address, port: published.echo });

  /** Addresses that a name has for a container of a host. */
  async function named(number: number, name: string): Promise<string[]> {
    const script = `const { Resolver } = require("dns"); const r = new Resolver({ timeout: 500, tries: 2 }); r.setServers(["127.0.0.11"]);
      r.resolve4(${JSON.stringify(name)}, (error, found) => console.log(JSON.stringify(error ? [] : found)))`;
    const [command = "", ...args] = [...(await inside(number, "asks")), process.execPath, "-e", script];
    return (JSON.parse(await run([command, ...args])) as string[]).toSorted();
  }

  /** One update of all tasks, or the way back from it, to its end. */
  async function roll({ order, parallelism, isRollback }: Round, by = 1): Promise<void> {
    const how = (what: string) =>
      `--${what}-order ${order} --${what}-parallelism ${parallelism} --${what}-delay 0s --${what}-monitor 300ms`;
    if (isRollback) await docker(by, "service rollback -q web");
    else await docker(by, `service update -q --no-resolve-image --force ${how("update")} ${how("rollback")} web`);
    const state = await docker(by, "service inspect -f {{.UpdateStatus.State}} web");
    assert.match(state, /^(rollback_)?completed$/);
  }
  return { ...swarm, inside, virtual, serve, clear, askBoth, flowVirtual, flowMesh, named, roll };
}

/** Ends requests of several kinds. @throws when one has failed that was begun outside of these milliseconds since 1970 */
export async function assertNoneFailed(
  loads: Readonly<Record<string, Load>>,
  except: { readonly from: number; readonly to: number } = { from: 0, to: 0 },
): Promise<readonly string[]> {
  const results = await Promise.all(
    Object.entries(loads).map(async ([what, load]) => ({ what, result: await load.stop() })),
  );
  const told = results.map(({ what, result }) => `${what}: ${describeFailures(result)}`);
  const failures = results.flatMap(({ result }) => result.failures);
  const others = failures.filter(({ at }) => at < except.from || at > except.to);
  assert.equal(others.length, 0, [...told, JSON.stringify(except)].join("\n"));
  return told;
}
