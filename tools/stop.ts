/**
 * `make stop`: removes the tour's containers and network, then ends tombolod. Containers of the user go on; without any, its
 * containerd and its logger end too, and what it had in the kernel goes: the next start makes it again.
 */
import { spawnSync } from "node:child_process";
import { existsSync, globSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { paths, tourLabel } from "./daemon-paths.ts";

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
if (docker("network", "inspect", "my_net").status === 0) docker("network", "rm", "my_net");
const others = lines(docker("ps", "--format", "{{.Names}}").stdout);
await end(paths.pidfile, "tombolod");
if (others.length > 0) {
  console.log(`still running, with containerd and the logger: ${others.join(", ")}. The next \`make run\` finds them.`);
} else {
  await end(join(paths.execRoot, "logger.pid"), "tombolo-logger");
  await end(join(paths.execRoot, "containerd/containerd.pid"), "containerd");
  removeTraces();
}

/** Links with our mark, mounts, empty control groups, and the tables, unless the user has rules of his own in them. */
function removeTraces(): void {
  const run = (command: string, ...args: string[]) => spawnSync(command, args, { encoding: "utf8" }).stdout ?? "";
  const links = JSON.parse(run("ip", "-json", "link") || "[]") as { ifname: string; ifalias?: string }[];
  for (const { ifname, ifalias } of links)
    if (ifalias?.startsWith("tombolo:") === true) run("ip", "link", "delete", ifname);
  for (const family of ["ip", "ip6"]) {
    const own = run("nft", "-s", "list", "chain", family, "tombolo", "DOCKER-USER").split("\n").slice(2, -3);
    if (own.length > 0) console.log(`table ${family} tombolo stays: DOCKER-USER has rules of your own`);
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
