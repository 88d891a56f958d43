import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { assertAgreement } from "../support/ledger.ts";
import { useSwarm } from "../support/swarm.ts";
import { soon, until } from "../support/until.ts";

describe("overlay networks of the lab's hosts", () => {
  const { host, docker, refused, token, joinWith, oneManager, empty, rowOf, isReady } = useSwarm();
  const networks = async (number: number) =>
    (await docker(number, "network ls --format {{.Name}}/{{.Driver}}/{{.Scope}}")).split("\n").toSorted();
  const overlays = async (number: number) =>
    (await docker(number, "network ls -f driver=overlay --format {{.Name}}")).split("\n").toSorted();
  const addressOf = (number: number, name: string, network: string) =>
    host(number).docker("inspect", "-f", `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, name);
  const run = (number: number, name: string, network: string, ...more: string[]) =>
    host(number).docker("run", "-d", "--name", name, "--network", network, ...more, "busybox", "sleep", "1d");
  const pings = async (number: number, from: string, to: string, seconds = 2) =>
    (await host(number).tryDocker("exec", from, "ping", "-c1", `-W${seconds}`, to)).status === 0;
  /** Other hosts hear of a container a moment after the call. */
  const reaches = (number: number, from: string, to: string, what = `${from} reaches ${to}`) =>
    until(() => pings(number, from, to), what);
  /** Runs a shell's line in a container's network, with the host's programs. */
  const inside = async (number: number, name: string, line: string) => {
    const id = await host(number).docker("inspect", "-f", "{{.Id}}", name);
    return (await host(number).run("nsenter", `--net=/run/tombolo/netns/${id}`, "sh", "-c", line)).trim();
  };
  const echo = `const s = require("dgram").createSocket("udp4"); s.on("message", (m, r) => s.send(m, r.port, r.address)); s.bind(9999)`;
  const ask = `const s = require("dgram").createSocket("udp4"); s.on("message", (m) => { console.log(String(m)); s.close(); }); s.send("over", 9999, process.argv[1]); setTimeout(() => process.exit(), 500)`;
  /** A whole name goes before the beginning of an id, also where nobody knows the network yet. */
  async function namedLikeAnId(number: number): Promise<void> {
    const name = (await docker(number, "network inspect -f {{.Id}} docker_gwbridge")).slice(0, 3);
    const id = await docker(1, `network create -d overlay --attachable --subnet 10.30.0.0/24 ${name}`);
    assert.equal(await docker(1, `network inspect -f {{.Id}} ${name}`), id);
    assert.match(await docker(number, `run --rm --network ${name} busybox ip addr show eth0`), /inet 10\.30\.0\.2\//);
    await docker(1, `network rm ${name}`);
    assert.match(await docker(number, `run --rm --network ${name} busybox ip addr show eth0`), /inet 172\./);
  }
  /** A swarm with one manager, and a network. */
  async function swarm(...flags: string[]): Promise<void> {
    await oneManager();
    if (flags.length > 0) await host(1).docker("network", "create", "-d", "overlay", "--attachable", ...flags);
  }
  afterEach(async () => {
    await Promise.all([1, 2, 3].map(empty));
  });

  it("are made on a manager, as in the article, and are where something needs them", async () => {
    assert.match(
      await refused(1, "network create -d overlay n"),
      /This node is not a swarm manager\. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again\./,
    );
    await swarm();
    for (const number of [1, 2, 3]) {
      const listed = await networks(number);
      assert.ok(
        listed.includes("ingress/overlay/swarm") && listed.includes("docker_gwbridge/bridge/local"),
        `h${number}`,
      );
    }
    assert.match(
      await refused(2, "network create -d overlay n"),
      /Cannot create a multi-host network from a worker node\. Please create the network from a manager node\./,
    );
    assert.match(
      await refused(1, "network create -d overlay --subnet 10.3.1.0/8 --gateway 10.1.1.1 --attachable overlay"),
      /invalid subnet 10\.3\.1\.0\/8: it should be 10\.0\.0\.0\/8/,
    );
    assert.match(
      await refused(1, "network create -d overlay --subnet 10.0.0.0/8 overlay"),
      /Pool overlaps with other one on this address space: 10\.0\.0\.0\/8 overlaps with network ingress \(10\.0\.0\.0\/24\)/,
    );
    assert.match(
      await refused(1, "network create -d overlay --subnet 192.0.2.0/24 overlay"),
      /overlaps with node h\d's address/,
    );
    const id = await docker(
      1,
      "network create -d overlay --subnet 10.20.0.0/16 --gateway 10.20.0.1 --attachable overlay",
    );
    assert.match(id, /^[0-9a-z]{25}$/);
    assert.match(await refused(1, "network create -d overlay overlay"), /network with name overlay already exists/);
    assert.deepEqual(await overlays(1), ["ingress", "overlay"]);
    assert.deepEqual(await overlays(2), ["ingress"]);
    await namedLikeAnId(1);
    await namedLikeAnId(2);
    await run(2, "a", "overlay");
    assert.deepEqual(await overlays(2), ["ingress", "overlay"]);
    assert.match(
      await refused(1, "network rm overlay"),
      /network overlay has active endpoints \(name:"a" id:"[0-9a-f]{12}" on h2\)/,
    );
    await docker(2, "rm -f a");
    await until(async () => (await overlays(2)).join() === "ingress", "h2 needs it no more");
    await docker(1, "network rm overlay");
    assert.deepEqual(await overlays(1), ["ingress"]);
  });

  it("carry containers of all hosts: addresses, names, pings, large transfers, a way out", async () => {
    await swarm("--subnet", "10.20.0.0/16", "--gateway", "10.20.0.1", "net");
    await run(1, "a", "net");
    await run(2, "b", "net", "--ip", "10.20.9.9", "--network-alias", "two");
    await run(3, "c", "net");
    const all = [
      [1, "a"],
      [2, "b"],
      [3, "c"],
    ] as const;
    const addresses = await Promise.all(all.map(([number, name]) => addressOf(number, name, "net")));
    assert.deepEqual(addresses, ["10.20.0.2", "10.20.9.9", "10.20.0.3"]);
    for (const [number, from] of all)
      await Promise.all(
        ["a", "b", "c", "two", ...addresses].map(
          async (to) => await reaches(number, from, to, `${from} reaches ${to}`),
        ),
      );
    assert.match(await docker(3, "exec c nslookup 10.20.9.9"), /name = b\.net/);
    assert.match(
      await refused(3, "run --rm --network net --ip 10.20.9.9 busybox true"),
      /Address already in use: 10\.20\.9\.9 is container b's on node h2/,
    );
    await host(2).docker(
      "exec",
      "-d",
      "b",
      "sh",
      "-c",
      "dd if=/dev/zero of=/tmp/big bs=1M count=8 && httpd -f -p 80 -h /tmp",
    );
    await until(
      async () =>
        (await host(1).tryDocker("exec", "a", "sh", "-c", "wget -qO- http://b/big | wc -c")).stdout.trim() ===
        String(8 << 20),
      "8 MiB come over",
    );
    await inside(2, "b", `timeout 60 ${process.execPath} -e '${echo}' > /dev/null 2>&1 &`);
    await until(async () => (await inside(1, "a", `${process.execPath} -e '${ask}' 10.20.9.9`)) === "over", "UDP");
    await reaches(3, "c", "192.0.2.254", "the outside");
    const inspected = JSON.parse(await docker(1, "network inspect -v net"))[0];
    const ips = (inspected.Peers as { IP: string }[]).map(({ IP }) => IP);
    assert.deepEqual(
      ips.toSorted(),
      [1, 2, 3].map((number) => host(number).address),
    );
    assert.deepEqual(
      inspected.Services[""].Tasks.map((t: { Name: string; EndpointIP: string; Info: { Node: string } }) => [
        t.Name,
        t.EndpointIP,
        t.Info.Node,
      ]),
      [
        ["a", "10.20.0.2", "h1"],
        ["b", "10.20.9.9", "h2"],
        ["c", "10.20.0.3", "h3"],
      ],
    );
    await docker(2, "rename b bee");
    await reaches(1, "a", "bee", "the new name");
    await docker(2, "restart -t 0 bee");
    await reaches(1, "a", "bee", "by the MAC that a remembers");
    await host(3).docker(
      "run",
      "-d",
      "--name",
      "web",
      "--network",
      "net",
      "-p",
      "8080:80",
      "busybox",
      "sh",
      "-c",
      "echo by the way out > /tmp/index.html; httpd -f -h /tmp",
    );
    assert.equal(await docker(3, "port web"), "80/tcp -> 0.0.0.0:8080");
    const published = () => host(1).try("busybox", "wget", "-qO-", `http://${host(3).address}:8080/`);
    await until(async () => (await published()).stdout === "by the way out\n", "a published port");
  });

  it("keep published ports when the way out changes, on the host address of the network that leads out", async () => {
    const here = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1";
    await host(3).tryDocker("network", "rm", "docker_gwbridge");
    await docker(3, `network create -o ${here} docker_gwbridge`);
    await swarm("--subnet", "10.20.0.0/16", "net");
    await docker(3, `network create -o ${here} own`);
    await docker(3, "network create open");
    const serve = ["sh", "-c", "echo here > /tmp/index.html; httpd -f -h /tmp"];
    const web = (...flags: string[]) =>
      host(3).docker("run", "-d", "--name", "web", "-p", "8080:80", "--network", "net", ...flags, "busybox", ...serve);
    const isServed = async (from: number, address: string) =>
      (await host(from).try("timeout", "2", "busybox", "wget", "-qO-", `http://${address}:8080/`)).stdout === "here\n";
    for (const flags of [[], ["--network", "own"]]) {
      await web(...flags);
      assert.equal(await docker(3, "port web"), "80/tcp -> 127.0.0.1:8080");
      await until(() => isServed(3, "127.0.0.1"), "served to the host");
      assert.equal(await isServed(1, host(3).address), false);
      await docker(3, "rm -f web");
    }
    assert.match(await refused(3, "network rm docker_gwbridge"), /has active endpoints/);
    await docker(3, "swarm leave");
    await docker(3, "network rm docker_gwbridge");
    await docker(3, "network create docker_gwbridge");
    await joinWith(3, await token("worker"));
    await web();
    for (const verb of ["connect", "disconnect", "connect", "disconnect"]) {
      await docker(3, `network ${verb} open web`);
      assert.equal(await docker(3, "port web"), "80/tcp -> 0.0.0.0:8080", verb);
      await until(() => isServed(1, host(3).address), `served after ${verb}`);
    }
    await docker(3, "rm -f web");
    await docker(3, "network rm own open");
    await docker(3, "swarm leave");
    await docker(3, "network rm docker_gwbridge");
  });

  it("are not made over a route of any host; one that comes later is told on that host", async () => {
    await swarm("--subnet", "10.20.0.0/16", "net");
    const route = (verb: string, to: string) => host(2).run("ip", "route", verb, to, "via", "192.0.2.254");
    await route("add", "10.66.0.0/16");
    const create = "network create -d overlay --subnet 10.66.3.0/24 over";
    const isRefused = async () => {
      const { status, stderr } = await host(1).tryDocker(...create.split(" "));
      if (status === 0) await docker(1, "network rm over");
      return /10\.66\.3\.0\/24 overlaps with node h2's route 10\.66\.0\.0\/16 on eth0/.test(stderr);
    };
    await until(isRefused, "h2's route is known");
    await route("del", "10.66.0.0/16");
    await until(async () => !(await isRefused()), "it is forgotten");
    await run(2, "b", "net");
    await route("add", "10.20.9.0/24");
    const overlaps = (number: number) => docker(number, "network inspect net");
    assert.match(await overlaps(2), /the host's route 10\.20\.9\.0\/24 on eth0 overlaps with 10\.20\.0\.0\/16/);
    assert.doesNotMatch(await overlaps(1), /overlaps/);
    await route("del", "10.20.9.0/24");
    assert.doesNotMatch(await overlaps(2), /overlaps/);
  });

  it("are not made over the way out of any host; where it came later, no container comes onto them", async () => {
    await swarm("--subnet", "10.20.0.0/16", "net");
    await docker(3, "swarm leave");
    await docker(3, "network rm docker_gwbridge");
    await docker(3, "network create --subnet 10.20.0.0/15 docker_gwbridge");
    await joinWith(3, await token("worker"));
    const why = /network net \(10\.20\.0\.0\/16\) overlaps with docker_gwbridge of this host \(10\.20\.0\.0\/15\)/;
    assert.match(await refused(3, "run --rm --network net busybox true"), why);
    const create = "network create -d overlay --subnet 10.21.3.0/24 over";
    const isRefused = async () => {
      const { status, stderr } = await host(1).tryDocker(...create.split(" "));
      if (status === 0) await docker(1, "network rm over");
      return /10\.21\.3\.0\/24 overlaps with node h3's route 10\.20\.0\.0\/15 on docker_gwbridge/.test(stderr);
    };
    await until(isRefused, "h3's way out is known");
    await docker(3, "swarm leave");
    await docker(3, "network rm docker_gwbridge");
  });

  it("are told as events: on every manager when they are made, on every host when it has them", async () => {
    await docker(1, "swarm init");
    await joinWith(2, await token("manager"));
    await joinWith(3, await token("worker"));
    await until(() => isReady("h3", 2), "h2 is a manager at work");
    const since = String(Date.now() / 1000);
    const events = async (number: number, more: readonly string[] = []) => {
      const flags = ["--since", since, "--until", String(Date.now() / 1000 + 0.5), "--filter", "type=network", ...more];
      const format = "{{.Scope}} {{.Action}} {{json .Actor.Attributes}}";
      return (await host(number).docker("events", ...flags, "--format", format)).split("\n");
    };
    const id = await docker(1, "network create -d overlay --attachable --subnet 10.20.0.0/16 net");
    await run(3, "c", "net");
    const container = await docker(3, "inspect -f {{.Id}} c");
    await docker(3, "rm -f c");
    await until(async () => (await overlays(3)).join() === "ingress", "h3 needs it no more");
    await docker(2, "network rm net");
    const made = ['swarm create {"name":"net"}', 'swarm remove {"name":"net"}'];
    for (const number of [1, 2])
      await until(async () => (await events(number)).join() === made.join(), `h${number} tells ${made.join()}`);
    assert.deepEqual(await events(1, ["--filter", `network=${id}`, "--filter", "event=remove"]), made.slice(1));
    const here = `{"container":"${container}","name":"net","type":"overlay"}`;
    const own = '{"name":"net","type":"overlay"}';
    assert.deepEqual(
      await events(3),
      [`create ${own}`, `connect ${here}`, `disconnect ${here}`, `destroy ${own}`].map((line) => `local ${line}`),
    );
  });

  it("get back containers that always run, as soon as a manager answers when they have given up what they had", async () => {
    await swarm("--subnet", "10.20.0.0/16", "net");
    await run(1, "a", "net");
    await run(2, "b", "net", "--restart", "always");
    const status = () => docker(2, "inspect -f {{.State.Status}} b");
    await docker(2, "stop -t 0 b");
    await host(1).kill();
    // The user has stopped it: it runs again with the daemon.
    await host(2).kill();
    await host(2).start();
    await until(async () => (await status()) === "restarting", "restarting");
    await sleep(7000);
    assert.equal(await status(), "restarting", "longer than one try takes");
    await host(1).start();
    await until(async () => (await status()) === "running", "a manager answers");
    await reaches(1, "a", "b");
  });

  it("are told at once of an address that goes to another container", async () => {
    await swarm("--subnet", "10.20.0.0/16", "net");
    await run(2, "b", "net");
    for (const number of [1, 3, 2, 1]) {
      await run(number, "a", "net", "--ip", "10.20.0.9");
      await until(() => pings(2, "b", "10.20.0.9"), `on h${number}`, soon);
      await docker(number, "rm -f a");
    }
  });

  it("are left and joined by running containers; internal ones have no way out; those of one host do not meet by it", async () => {
    await swarm("--subnet", "10.20.0.0/16", "net");
    await docker(1, "network create -d overlay --attachable --internal inside");
    await run(1, "a", "net");
    await run(1, "z", "inside");
    await run(2, "b", "bridge");
    await docker(2, "network connect --alias bee net b");
    await reaches(1, "a", "bee");
    await docker(2, "network disconnect net b");
    assert.equal(await pings(1, "a", "10.20.0.3"), false);
    await until(async () => (await overlays(2)).join() === "ingress", "h2 needs it no more");
    assert.equal(await pings(1, "z", "192.0.2.254"), false);
    await run(1, "d", "net");
    const gateway = (name: string) => docker(1, `exec ${name} ip -4 -o addr show eth1`);
    const other = /inet (\S+)\//.exec(await gateway("d"))?.[1] ?? "";
    assert.match(other, /^172\./);
    assert.equal(await pings(1, "a", other), false, "not over docker_gwbridge");
  });

  it("go on while no manager answers, and while a daemon is away; what was missed is caught up", async () => {
    await swarm("--subnet", "10.20.0.0/16", "net");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await host(1).kill();
    assert.ok((await host(2).tryDocker("exec", "b", "ping", "-c1", "-W20", "10.20.0.2")).status === 0);
    assert.match(await refused(2, "run --rm --network net busybox true"), /no manager/);
    await docker(2, "rm -f b");
    await host(1).start();
    await until(
      async () =>
        (await host(1).tryDocker("run", "--rm", "--network", "net", "--ip", "10.20.0.3", "busybox", "true")).status ===
        0,
      "b's address is free",
    );
    await run(3, "c", "net");
    await host(3).kill();
    await run(2, "b", "net");
    await host(3).start();
    await until(() => pings(3, "c", "b"), "h3 has caught up");
  });

  it("lose a host that leaves, and one that is removed; a name or an address is never two containers'", async () => {
    await oneManager("--dispatcher-heartbeat 1s");
    await docker(1, "network create -d overlay --attachable --subnet 10.20.0.0/16 net");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await docker(2, "swarm leave");
    assert.equal((await docker(2, "network ls -q -f driver=overlay")).trim(), "");
    assert.match(await docker(2, "exec b ip -o addr"), /lo/);
    await until(async () => (await rowOf("h2"))?.status === "Down", "h2 has left");
    await run(3, "c", "net", "--ip", "10.20.0.3");
    await reaches(1, "a", "c");
    await docker(1, "service create -q --no-resolve-image --constraint node.hostname==h3 --name web busybox sleep 1d");
    await host(3).kill();
    await until(async () => (await rowOf("h3"))?.status === "Down", "h3 is down");
    assert.match(await refused(1, "run --rm --network net --ip 10.20.0.3 busybox true"), /is container c's on node h3/);
    await docker(1, "node rm h3");
    await run(1, "d", "net", "--ip", "10.20.0.3");
    await host(3).cut();
    await host(3).start();
    await sleep(2000);
    assert.match(await docker(3, "exec c ip -o addr"), / 10\.20\.0\.3\/16 /, "no manager has said anything to h3");
    assert.equal((await docker(3, "ps -q")).split("\n").length, 2);
    await host(3).heal();
    await until(async () => (await overlays(3)).join() === "", "h3 keeps what is not its own");
    await until(async () => (await docker(3, "ps --format {{.Names}}")) === "c", "h3 keeps a task");
    assert.doesNotMatch(await docker(3, "exec c ip -o addr"), /10\.20\./);
    const format = "{{.Swarm.LocalNodeState}} {{.Swarm.Error}}";
    assert.match(await host(3).docker("info", "-f", format), /^pending .*node \w+ was removed from the swarm$/);
    assert.match(await refused(3, "run --rm --network net busybox true"), /node \w+ was removed from the swarm/);
    await docker(1, "service rm web");
    await assertAgreement([1, 2, 3].map(host), host(1));
    assert.deepEqual(await host(3).audit(), []);
    await reaches(1, "a", "10.20.0.3");
    assert.ok(await isReady("h1"));
  });

  it("hear nothing from another MAC than a container's own, and follow the MTU of the link between the hosts", async () => {
    await swarm("--subnet", "10.20.0.0/16", "net");
    await run(1, "a", "net");
    await run(2, "b", "net");
    assert.match(await docker(1, "exec a ip link show eth0"), /mtu 1450/);
    await host(1).run("ip", "link", "set", "eth0", "mtu", "1400");
    await until(async () => /mtu 1350/.test(await docker(1, "exec a ip link show eth0")), "1350");
    await host(1).run("ip", "link", "set", "eth0", "mtu", "1500");
    await until(async () => /mtu 1450/.test(await docker(1, "exec a ip link show eth0")), "1450");
    const as = (mac: string) =>
      inside(
        2,
        "b",
        `ip link set eth0 down; ip link set eth0 address ${mac}; ip link set eth0 up; ping -c1 -W3 10.20.0.2 || true`,
      );
    const own = /ether (\S+)/.exec(await inside(2, "b", "ip link show eth0"))?.[1] ?? "";
    assert.match(await as("02:11:22:33:44:55"), /100% packet loss/);
    assert.match(await as(own), / 0% packet loss/);
  });

  it("are dual stack when they have both families", async () => {
    await swarm("--subnet", "10.20.0.0/16", "--ipv6", "--subnet", "fd00:20::/64", "net");
    await run(1, "a", "net");
    await run(2, "b", "net");
    await reaches(1, "a", "b");
    assert.equal((await host(1).tryDocker("exec", "a", "ping", "-6", "-c1", "-W20", "b")).status, 0);
  });
});
