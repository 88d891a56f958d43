/**
 * `make demo`: three hosts on this machine, a swarm of them, networks and a service over them, with each command and its real
 * output. Running it again is harmless: what it made before is ended first. With `stop` it does only that.
 */
import { join } from "node:path";
import type { LabHost } from "../src/lab/host.ts";
import { type Lab, openLab } from "../src/lab/lab.ts";
import { names } from "../src/lab/registry.ts";
import { buildBusybox } from "./busybox-image.ts";
import { type Place, root, show } from "./show.ts";

const name = "demo";
const here: Place = { prompt: "#", shell: ["sh", "-c"], env: {} };

/**
 * A command, and the host where it is typed, or the gateway, which is outside of the swarm. `as` names what it prints: `$AS` in
 * later lines stands for it.
 */
type Step = readonly [on: string, line: string, as?: string];

const swarm: readonly Step[] = [
  ["h1", "docker swarm init"],
  ["h1", "docker swarm join-token -q worker", "TOKEN"],
  ["h2", "docker swarm join 192.0.2.1:2377 --token $TOKEN"],
  ["h3", "docker swarm join 192.0.2.1:2377 --token $TOKEN"],
  ["h1", "docker node ls"],
  ...["h1", "h2", "h3"].map((on) => [on, "docker network ls"] as const),
];

/** Containers of two hosts reach each other by name, and what of it passes between the hosts. */
const across = (network: string, flags: string, filter: string): readonly Step[] => [
  ["h1", `docker network create -d overlay ${flags} --attachable ${network}`],
  ["h1", `docker run -d --name ${network}-a --network ${network} busybox sleep 1d`],
  ["h2", `docker run -d --name ${network}-b --network ${network} busybox sleep 1d`],
  ["h1", `docker exec ${network}-a ping -c2 ${network}-b`],
  ["h1", `docker network inspect -v ${network}`],
  ["h1", `tcpdump -nvi eth0 -c2 '${filter}' & sleep 1; docker exec ${network}-a ping -c1 ${network}-b; wait`],
];
const plain = across("shop", "--subnet 10.20.0.0/16 --gateway 10.20.0.1", "udp port 4789");
const encrypted = across("vault", "--subnet 10.21.0.0/16 --opt encrypted", "udp and host 192.0.2.2");
const outside: readonly Step[] = [
  ["h3", "docker network ls -f driver=overlay"],
  ["h1", "docker exec shop-a ping -c1 192.0.2.254"],
];

/** Where each task says which one it is, where, and who asks. */
const page = "cgi-bin/me";
const services: readonly Step[] = [
  [
    "h1",
    `docker config create page - <<'END'
#!/bin/sh
echo; echo "task $SLOT on $NODE, asked by $REMOTE_ADDR"
END`,
  ],
  [
    "h1",
    `docker service create -q --no-resolve-image --init --name web --replicas 5 --network shop -p 8080:80 \\
  --env SLOT={{.Task.Slot}} --env NODE={{.Node.Hostname}} --config source=page,target=/www/${page},mode=0555 \\
  busybox httpd -f -p 0.0.0.0:80 -h /www`,
  ],
  ["h1", "docker service ps web"],
  ["h1", "docker exec shop-a nslookup -type=a tasks.web"],
  ["h1", "docker exec shop-a nslookup -type=a web | awk '/^Name/ { getline; print $2 }'", "VIP"],
  ["h1", `docker exec shop-a sh -c 'for i in $(seq 1000); do wget -qO- http://$VIP/${page}; done' | sort | uniq -c`],
  ["gateway", "ip -brief address show br0"],
  ["gateway", `for host in 1 2 3; do curl -s http://192.0.2.$host:8080/${page}; done`],
  [
    "h1",
    `docker service update -q --no-resolve-image --force --update-parallelism 2 --update-monitor 1s web & update=$!
answered=0 lost=0
while kill -0 $update 2>/dev/null; do
  curl -sf -m 5 -o /dev/null http://192.0.2.3:8080/${page} && answered=$((answered + 1)) || lost=$((lost + 1))
done
wait $update; echo "$answered requests answered, $lost lost"`,
  ],
  ["h1", "docker service ps web"],
];

/** Whether this version carries encrypted networks from host to host: tried, and nothing left of it. */
async function canEncrypt(lab: Lab): Promise<boolean> {
  const [h1, h2] = [lab.host(1), lab.host(2)];
  const run = (host: LabHost) => host.docker(...words(`run -d --name ${host.name} --network probe busybox sleep 1d`));
  await h1.docker(...words("network create -d overlay --attachable --opt encrypted probe"));
  try {
    for (const host of [h1, h2]) await run(host);
    const [{ Status }] = JSON.parse(await h1.docker(...words("network inspect probe"))) as [Inspected];
    return Status?.Errors === undefined && (await h1.tryDocker(...words("exec h1 ping -c3 -W2 h2"))).status === 0;
  } finally {
    for (const host of [h1, h2]) await host.docker("rm", "-f", host.name);
    await h1.docker("network", "rm", "probe");
  }
}
interface Inspected {
  readonly Status?: { readonly Errors?: readonly string[] };
}
const words = (line: string) => line.split(" ");

function placeOf(lab: Lab, on: string): Place {
  const prompt = `${on}#`;
  if (on === "gateway") return { prompt, shell: lab.enterSwitch("sh", "-c"), env: {} };
  const host = lab.host(on);
  return { prompt, shell: host.enter("sh", "-c"), env: host.env };
}

function follow(steps: readonly Step[], lab: Lab): void {
  const values = new Map<string, string>();
  for (const [on, line, as] of steps) {
    const typed = line.replaceAll(/\$([A-Z]+)/g, (text, key: string) => values.get(key) ?? text);
    const printed = show(typed, placeOf(lab, on));
    if (as !== undefined) values.set(as, printed);
  }
}

if (names().includes(name)) await openLab(name).down();
if (process.argv[2] !== "stop") {
  await buildBusybox(join(root, "build/images"));
  show(`bin/tombolo lab up --name ${name} --hosts 3 --image build/images/busybox.tar`, here);
  const lab = openLab(name);
  follow(swarm, lab);
  follow(plain, lab);
  if (await canEncrypt(lab)) follow(encrypted, lab);
  else console.log("Encrypted networks are left out: this version does not carry them from host to host.\n");
  follow(outside, lab);
  follow(services, lab);
  console.log(`That was the demo. Its hosts go on; to look around:

  export DOCKER_HOST=unix://${lab.host(1).socket}
  docker node ls
  bin/tombolo lab exec --name ${name} h2 -- docker ps

\`make demo-stop\` or \`bin/tombolo lab down --name ${name}\` ends it all.`);
}
