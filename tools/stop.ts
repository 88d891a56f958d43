/** `make stop`: removes the tour's containers and network, then ends tombolod, its containerd and its logger. Containers of the user go on. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
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
}
