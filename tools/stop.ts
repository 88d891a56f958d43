/**
 * `make stop`: removes the tour's containers and network, then ends tombolod. Containers of the user go on; without any, its
 * containerd and its logger end too, and what it had in the kernel goes: the next start makes it again.
 */
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createKernel } from "../src/kernel/linux-kernel.ts";
import { ownEngine, paths, tourLabel } from "./daemon-paths.ts";

const env = { ...process.env, DOCKER_HOST: `unix://${paths.socket}` };
const docker = (...args: string[]) => spawnSync("docker", args, { env, encoding: "utf8" });
const lines = (text: string) => text.split("\n").filter((line) => line !== "");

async function end(pidfile: string, name: string): Promise<void> {
  if (!existsSync(pidfile)) return;
  const pid = Number(readFileSync(pidfile, "utf8"));
  const alive = () => existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(name);
  if (!alive()) return;
  process.kill(pid, "SIGTERM");
  for (let tries = 0; tries < 100 && alive(); tries += 1) await sleep(100);
  console.log(alive() ? `${name} (${pid}) does not end` : `${name} ended`);
}

const tour = lines(docker("ps", "-aq", "--filter", `label=${tourLabel}`).stdout);
if (tour.length > 0) docker("rm", "-f", ...tour);
if (docker("network", "inspect", "tour_net").status === 0) docker("network", "rm", "tour_net");
const others = lines(docker("ps", "--format", "{{.Names}}").stdout);
await end(paths.pidfile, "tombolod");
if (others.length > 0) {
  console.log(`still running, with containerd and the logger: ${others.join(", ")}. The next \`make run\` finds them.`);
} else {
  await end(join(paths.execRoot, "logger.pid"), "tombolo-logger");
  await end(join(paths.execRoot, "containerd/containerd.pid"), "containerd");
  removeTraces();
}

/** What has our mark, mounts, empty control groups, and the tables, unless the user has rules of his own in them. */
function removeTraces(): void {
  const engine = ownEngine();
  if (engine === undefined) return;
  const run = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: "utf8" }).stdout ?? "";
  const kernel = createKernel({ netnsDir: join(paths.execRoot, "netns"), engine });
  for (const kind of ["link", "parent"] as const)
    kernel.apply(kernel.list("host", kind).map(({ object }) => ({ verb: "remove", object })));
  kernel.close();
  for (const family of ["ip", "ip6", "bridge"]) {
    const table = run("nft", "-s", "list", "table", family, "tombolo");
    if (!table.includes(`comment "tombolo:${engine}:`)) continue;
    const own = /chain DOCKER-USER \{\n([^}]*)\}/.exec(table)?.[1]?.trim() ?? "";
    if (own !== "") console.log(`table ${family} tombolo stays: DOCKER-USER has rules of your own`);
    else run("nft", "delete", "table", family, "tombolo");
  }
  const mounts = lines(readFileSync("/proc/self/mounts", "utf8")).map((line) => line.split(" ")[1] ?? "");
  const own = mounts.filter((path) => path.startsWith(`${paths.execRoot}/`));
  for (const path of own.toReversed()) run("umount", "-l", path);
  for (const group of globSync(["/sys/fs/cgroup/tombolo", "/sys/fs/cgroup/*/tombolo"]))
    try {
      rmdirSync(group);
    } catch {} // somebody is in it
}
