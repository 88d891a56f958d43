/**
 * `make run`: starts tombolod on this host, unless it runs already, then takes the tour on real containers, printing each
 * docker command and its real output. Running it again is harmless: the tour removes what it made before.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { buildBusybox } from "./busybox-image.ts";
import { ownEngine, paths, tourLabel } from "./daemon-paths.ts";
import { root, show } from "./show.ts";

const env = { DOCKER_HOST: `unix://${paths.socket}` };
const docker = (...args: string[]) => spawnSync("docker", args, { env: { ...process.env, ...env }, encoding: "utf8" });
const runs = () => docker("version", "--format", "{{.Server.Version}}").status === 0;

/** A docker0 of somebody else is left alone: the default bridge gets another name and another subnet. */
function aroundDockerd(): string[] {
  const link = spawnSync("ip", ["-details", "link", "show", "docker0"], { encoding: "utf8" });
  if (link.status !== 0 || link.stdout.includes(`alias tombolo:${ownEngine() ?? ""}:`)) return [];
  console.log("docker0 belongs to another program, probably dockerd: the default bridge is tombolo0, 172.31.0.1/16.\n");
  return ["--bridge", "tombolo0", "--bip", "172.31.0.1/16"];
}

async function start(): Promise<void> {
  mkdirSync(paths.execRoot, { recursive: true });
  const log = openSync(paths.log, "a", 0o600);
  const child = spawn(join(root, "bin/tombolod"), aroundDockerd(), { detached: true, stdio: ["ignore", log, log] });
  child.unref();
  for (let tries = 0; tries < 300; tries += 1) {
    if (runs()) return;
    if (child.exitCode !== null) break;
    await sleep(100);
  }
  console.error(`tombolod did not start; the end of ${paths.log}:`);
  console.error(readFileSync(paths.log, "utf8").split("\n").slice(-8).join("\n"));
  process.exit(1);
}

function removeOld(): void {
  const ids = docker("ps", "-aq", "--filter", `label=${tourLabel}`)
    .stdout.split("\n")
    .filter((id) => id !== "");
  if (ids.length > 0) docker("rm", "-f", ...ids);
  if (docker("network", "inspect", "tour_net").status === 0) docker("network", "rm", "tour_net");
}

const label = `--label ${tourLabel}`;
const tour = [
  "docker version",
  "docker load < build/images/busybox.tar",
  "docker images",
  "docker network ls",
  "docker network inspect bridge",
  `docker run -d --name tour-a ${label} busybox sleep 1d`,
  "docker run --rm busybox ping -c1 $(docker inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' tour-a)",
  "docker network create --subnet 172.78.0.0/24 --gateway 172.78.0.1 tour_net",
  `docker run -d --name tour-web ${label} --network tour_net --ip 172.78.0.10 -p 18080:80 busybox sh -c 'echo hello from a container > /tmp/index.html; exec httpd -f -p 80 -h /tmp'`,
  "docker run --rm --network tour_net busybox wget -qO- http://tour-web/",
  "docker run --rm --network tour_net busybox nslookup tour-web",
  "busybox wget -qO- http://127.0.0.1:18080/",
  "docker network connect tour_net tour-a",
  "docker exec tour-a ip addr",
  "docker network disconnect tour_net tour-a",
  "docker ps",
  "bin/tombolo audit",
];

if (!existsSync(paths.socket) || !runs()) await start();
await buildBusybox(join(root, "build/images"));
removeOld();
for (const line of tour) show(line, { prompt: "$", shell: ["sh", "-c"], env });
console.log(`That was the tour. Its containers go on; to look around:

  export DOCKER_HOST=unix://${paths.socket}
  docker ps

The daemon's log is ${paths.log}. \`make stop\` ends it all.`);
