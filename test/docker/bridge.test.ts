import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type TestHost, useHost } from "../support/daemon.ts";
import { until } from "../support/until.ts";

const bridge = "com.docker.network.bridge";
const host = useHost({ clear: true });
const docker = (line: string, ...more: string[]) => host().docker(...line.split(" ").filter(Boolean), ...more);
/** Runs a docker command that must be refused. @returns what it said */
const refused = async (line: string) => {
  const { status, stderr } = await host().try(line.split(" "));
  assert.notEqual(status, 0, `${line} was not refused`);
  return stderr;
};
const ping = (from: string, to: string, seconds = 5) =>
  host()
    .try(["exec", from, "ping", "-c1", `-W${seconds}`, to])
    .then(({ status }) => status === 0);
const addresses = (name: string, network: string) =>
  docker(
    "inspect -f",
    `{{with index .NetworkSettings.Networks "${network}"}}{{.IPAddress}},{{.GlobalIPv6Address}}{{end}}`,
    name,
  );
const sleeper = (name: string, flags: string) => docker(`run -d --name ${name} ${flags} busybox sleep 1d`);

/** A web server in a namespace that answers with the address its caller comes from. */
async function echoServer(at: string, port: number): Promise<void> {
  await node(
    at,
    `require("http").createServer((q, s) => s.end(q.socket.remoteAddress.replace("::ffff:", "")))
      .listen(${port}, "::", () => console.log("on"))`,
  );
}
/** Runs a program of Node in a namespace until the host goes. Resolves when it says something. */
async function node(at: string, program: string): Promise<void> {
  const child = host().background(at, process.execPath, "-e", program);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
}
const get = (host: TestHost, from: "here" | "there", url: string) => {
  try {
    return host[from]("timeout", "3", "busybox", "wget", "-qO-", url);
  } catch {
    return "unreachable";
  }
};

/** Who was just started serves a moment later. */
const serves = (from: "here" | "there", url: string) => until(() => get(host(), from, url).startsWith("root:"), url);

describe("the way out", () => {
  it("goes through masquerade, with the host's own address as source, IPv4 and IPv6", async () => {
    await echoServer(host().outside, 8000);
    await docker("network create --ipv6 --subnet 10.70.0.0/24 --subnet fd70::/64 both");
    const wget = (flags: string, url: string) => docker(`run --rm ${flags} busybox timeout 30 wget -qO- ${url}`);
    assert.equal(await wget("", "http://198.51.100.2:8000/"), "198.51.100.1");
    assert.equal(await wget("--network both", "http://198.51.100.2:8000/"), "198.51.100.1");
    assert.equal(await wget("--network both", "http://[2001:db8::2]:8000/"), "2001:db8::1");
  });

  it("has the address of host_ipv4, or the container's own without masquerade", async () => {
    await echoServer(host().outside, 8001);
    host().here("ip", "address", "add", "198.51.100.7/24", "dev", "uplink0");
    host().there("ip", "route", "add", "10.72.0.0/24", "via", "198.51.100.1");
    await docker("network create -o com.docker.network.host_ipv4=198.51.100.7 seven");
    await docker(`network create --subnet 10.72.0.0/24 -o ${bridge}.enable_ip_masquerade=false bare`);
    const url = "http://198.51.100.2:8001/";
    assert.equal(await docker(`run --rm --network seven busybox timeout 30 wget -qO- ${url}`), "198.51.100.7");
    assert.equal(
      await docker(`run --rm --network bare --ip 10.72.0.9 busybox timeout 30 wget -qO- ${url}`),
      "10.72.0.9",
    );
    host().here("ip", "address", "del", "198.51.100.7/24", "dev", "uplink0");
    host().there("ip", "route", "del", "10.72.0.0/24");
  });

  it("--internal has none, neither by route nor through the host, but its containers reach each other", async () => {
    await docker("network create --internal --subnet 10.73.0.0/24 inner");
    await sleeper("a", "--network inner");
    await sleeper("b", "--network inner");
    assert.equal(await ping("a", "b"), true);
    assert.equal(await ping("a", "198.51.100.2", 1), false);
    assert.doesNotMatch(await docker("exec a ip route"), /default/);
    await docker("exec --privileged a ip route add default via 10.73.0.1");
    assert.equal(await ping("a", "198.51.100.2", 1), false);
  });
});

describe("who reaches whom", () => {
  it("two networks do not reach each other, in either family, also by published address of the other's gateway", async () => {
    await docker("network create --ipv6 --subnet 10.74.0.0/24 --subnet fd74::/64 one");
    await docker("network create --ipv6 --subnet 10.75.0.0/24 --subnet fd75::/64 two");
    await sleeper("a", "--network one");
    await sleeper("b", "--network two");
    await sleeper("c", "--network one");
    const [four = "", six = ""] = (await addresses("b", "two")).split(",");
    assert.deepEqual(
      [await ping("a", four, 1), await ping("a", six, 1), await ping("a", "b", 1)],
      [false, false, false],
    );
    const [sibling = "", sibling6 = ""] = (await addresses("c", "one")).split(",");
    assert.deepEqual([await ping("a", sibling), await ping("a", sibling6), await ping("a", "c")], [true, true, true]);
    await docker("network connect two a");
    assert.deepEqual([await ping("a", four), await ping("a", "b")], [true, true]);
  });

  it("enable_icc=false isolates neighbours, and leaves them the way out and in", async () => {
    await docker(`network create -o ${bridge}.enable_icc=false --subnet 10.76.0.0/24 lonely`);
    await sleeper("a", "--network lonely");
    await docker("run -d --name b --network lonely -p 8080:80 busybox httpd -f -h /etc");
    assert.equal(await ping("a", "10.76.0.3", 1), false);
    assert.equal(await ping("a", "198.51.100.2"), true);
    await serves("there", "http://198.51.100.1:8080/group");
  });

  it("from outside, only published ports: not the container's own address", async () => {
    await docker("network create --subnet 10.77.0.0/24 net");
    await docker("run -d --name web --network net -p 8080:80 busybox httpd -f -h /etc");
    host().there("ip", "route", "add", "10.77.0.0/24", "via", "198.51.100.1");
    await serves("there", "http://198.51.100.1:8080/group");
    assert.equal(get(host(), "there", "http://10.77.0.2/group"), "unreachable");
    host().there("ip", "route", "del", "10.77.0.0/24");
  });

  it("gateway_mode_ipv4=routed opens the container's published port at its own address", async () => {
    await docker(`network create --subnet 10.78.0.0/24 -o ${bridge}.gateway_mode_ipv4=routed open`);
    await docker("run -d --name web --network open -p 80 busybox sh -c", "httpd -h /etc; exec httpd -f -p 81 -h /etc");
    host().there("ip", "route", "add", "10.78.0.0/24", "via", "198.51.100.1");
    await serves("there", "http://10.78.0.2/group");
    await until(async () => (await host().try("exec web wget -qO- http://127.0.0.1:81/group".split(" "))).status === 0);
    assert.equal(get(host(), "there", "http://10.78.0.2:81/group"), "unreachable");
    const shown = await docker("inspect -f", "{{json .NetworkSettings.Ports}}", "web");
    assert.deepEqual(JSON.parse(shown), { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "" }] });
    assert.equal(await docker("ps --format {{.Ports}}"), "80/tcp");
    host().there("ip", "route", "del", "10.78.0.0/24");
  });
});

describe("published ports", () => {
  const web = "busybox httpd -f -h /etc";
  it("from the host's address, from loopback, from another host, in both families, and from a neighbour", async () => {
    await docker("network create --ipv6 --subnet 10.79.0.0/24 --subnet fd79::/64 net");
    await docker(`run -d --name web --network net -p 8080:80 ${web}`);
    for (const url of ["198.51.100.1", "127.0.0.1", "[2001:db8::1]"]) await serves("here", `http://${url}:8080/group`);
    // Linux has no route_localnet for IPv6: refused at once, so that a client of "localhost" goes on to 127.0.0.1.
    assert.match(host().here("sh", "-c", "busybox wget -qO- http://[::1]:8080/group 2>&1 || true"), /refused/);
    for (const url of ["198.51.100.1", "[2001:db8::1]"]) await serves("there", `http://${url}:8080/group`);
    assert.match(
      await docker("run --rm --network net busybox timeout 30 wget -qO- http://198.51.100.1:8080/group"),
      /^root:/,
    );
    assert.match(await docker("run --rm busybox timeout 30 wget -qO- http://198.51.100.1:8080/group"), /^root:/);
    assert.equal(await docker("port web"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
  });

  it("on one address of the host only; on the network's host_binding_ipv4; on a port of the kernel's choice", async () => {
    await docker(`network create -o ${bridge}.host_binding_ipv4=127.0.0.1 local`);
    await docker(`run -d --name a -p 127.0.0.1:8081:80 ${web}`);
    await docker(`run -d --name b --network local -p 8082:80 ${web}`);
    await docker(`run -d --name c -p 80 ${web}`);
    for (const port of [8081, 8082]) {
      await serves("here", `http://127.0.0.1:${port}/group`);
      assert.equal(get(host(), "there", `http://198.51.100.1:${port}/group`), "unreachable");
    }
    const port = /0\.0\.0\.0:(\d+)/.exec(await docker("port c"))?.[1];
    await serves("there", `http://198.51.100.1:${port}/group`);
  });

  it("where the gateway is now: at its host address, with the same port; nowhere on a LAN", async () => {
    await docker("network create bnet");
    await docker(`network create -o ${bridge}.host_binding_ipv4=127.0.0.1 anet`);
    await docker("network create -d macvlan -o parent=uplink0 --subnet 10.84.0.0/24 --gateway 10.84.0.1 aaa");
    await docker(`run -d --name web --network bnet -p 8080:80 -p 81 ${web}`);
    const [, ephemeral] = /81\/tcp -> 0\.0\.0\.0:(\d+)/.exec(await docker("port web")) ?? [];
    const both = (address: string) => `80/tcp -> ${address}:8080\n81/tcp -> ${address}:${ephemeral}`;
    assert.equal(await docker("port web"), both("0.0.0.0"));
    const isServed = (from: "here" | "there", address: string) =>
      get(host(), from, `http://${address}:8080/group`) !== "unreachable";
    for (const verb of ["connect", "disconnect", "connect"]) {
      await docker(`network ${verb} anet web`);
      const isLocal = verb === "connect";
      assert.equal(await docker("port web"), both(isLocal ? "127.0.0.1" : "0.0.0.0"), verb);
      await serves("here", "http://127.0.0.1:8080/group");
      assert.equal(isServed("there", "198.51.100.1"), !isLocal, verb);
    }
    await docker("network connect aaa web");
    assert.equal(await docker("port web"), "");
    assert.ok(!isServed("here", "127.0.0.1"));
    await docker("network disconnect aaa web");
    assert.match(await docker("port web"), /80\/tcp -> 127\.0\.0\.1:8080/);
  });

  it("UDP, ranges, and a port that is taken: by a container, by a process", async () => {
    await sleeper("u", "-p 5300:5353/udp");
    await node(
      await host().sandboxOf("u"),
      `const s = require("dgram").createSocket("udp4");
       s.on("message", (m, from) => s.send(m, from.port, from.address)).bind(5353, () => console.log("on"));`,
    );
    const ask = `const s = require("dgram").createSocket("udp4");
      s.on("message", (m) => { console.log(String(m)); s.close(); }).send("ping", 5300, "198.51.100.1");`;
    assert.equal(host().there("timeout", "30", process.execPath, "-e", ask), "ping\n");
    await docker(`run -d --name a -p 9000-9002:80-82 ${web}`);
    await serves("there", "http://198.51.100.1:9000/group");
    assert.match(
      await refused(`run -d --name b -p 9001:80 ${web}`),
      /failed to set up container networking: driver failed programming external connectivity on endpoint b \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:9001 failed: port is already allocated/,
    );
    await echoServer(host().namespace, 9100);
    assert.match(
      await refused(`run -d --name c -p 9100:80 ${web}`),
      /failed to bind host port for 0\.0\.0\.0:9100:172\.17\.0\.\d+:80\/tcp: address already in use/,
    );
    assert.match(
      await refused(`run -d --name d -p 192.0.2.99:9101:80 ${web}`),
      /failed to bind host port for 192\.0\.2\.99:9101:172\.17\.0\.\d+:80\/tcp: cannot assign requested address/,
    );
  });
});

describe("addresses", () => {
  it("--ip-range, --aux-address and --gateway are honoured", async () => {
    await docker(
      "network create --subnet 10.60.0.0/16 --ip-range 10.60.5.0/30 --gateway 10.60.9.9 --aux-address router=10.60.5.1 ranged",
    );
    await sleeper("a", "--network ranged");
    await sleeper("b", "--network ranged");
    await sleeper("c", "--network ranged --ip 10.60.200.1");
    const taken = await Promise.all(["a", "b"].map((name) => addresses(name, "ranged")));
    for (const address of taken) assert.match(address, /^10\.60\.5\.[023],$/);
    assert.equal(await addresses("c", "ranged"), "10.60.200.1,");
    assert.match(await docker("exec a ip route"), /^default via 10\.60\.9\.9 dev eth0/);
    assert.match(await refused("run --rm --network ranged --ip 10.60.5.1 busybox true"), /Address already in use/);
    assert.match(
      await refused("run --rm --network ranged --network-alias b@d busybox true"),
      /invalid config for network ranged: alias "b@d" cannot be asked for/,
    );
  });

  it("a fixed address and MAC of both families; a taken one is refused, a freed one is free", async () => {
    await docker("network create --ipv6 --subnet 10.61.0.0/24 --subnet fd61::/64 fixed");
    await sleeper("a", "--network fixed --ip 10.61.0.50 --ip6 fd61::50 --mac-address 02:42:0a:3d:00:32");
    assert.equal(await addresses("a", "fixed"), "10.61.0.50,fd61::50");
    assert.match(await docker("exec a ip addr show eth0"), /link\/ether 02:42:0a:3d:00:32/);
    assert.match(
      await refused("run --rm --network fixed --ip 10.61.0.50 busybox true"),
      /failed to set up container networking: Address already in use/,
    );
    await docker("rm -f a");
    await docker("run --rm --network fixed --ip 10.61.0.50 busybox true");
  });

  it("--ip on the default bridge is refused with Docker's words", async () => {
    assert.match(
      await refused("run --rm --ip 172.17.0.9 busybox true"),
      /Error response from daemon: invalid config for network bridge: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only/,
    );
  });

  it("a subnet that is the host's own route, or another network's, is refused, naming the other", async () => {
    await docker("network create --subnet 10.62.0.0/16 wide");
    assert.match(
      await refused("network create --subnet 10.62.3.0/24 narrow"),
      /invalid pool request: Pool overlaps with other one on this address space.*network wide \(10\.62\.0\.0\/16\)/,
    );
    host().here("ip", "route", "add", "10.63.0.0/24", "via", "198.51.100.2");
    assert.match(await refused("network create --subnet 10.63.0.0/24 routed"), /overlaps.*10\.63\.0\.0\/24/);
    host().here("ip", "route", "del", "10.63.0.0/24");
  });

  it("networks without a subnet get one from the pools, never one in use", async () => {
    host().here("ip", "route", "add", "172.18.0.0/16", "via", "198.51.100.2");
    await docker("network create next");
    assert.equal(await docker("network inspect -f", "{{(index .IPAM.Config 0).Subnet}}", "next"), "172.19.0.0/16");
    host().here("ip", "route", "del", "172.18.0.0/16");
  });
});

describe("options", () => {
  it("bridge.name, MTU, labels, interface prefix: as typed, on the host and inside", async () => {
    await docker(
      `network create -o ${bridge}.name=br-mine -o com.docker.network.driver.mtu=1400 -o com.docker.network.container_iface_prefix=lan --label team=net mine`,
    );
    await sleeper("a", "--network mine");
    assert.match(host().here("ip", "link", "show", "br-mine"), /mtu 1400/);
    assert.match(await docker("exec a ip link show lan0"), /mtu 1400/);
    assert.equal(await docker("network ls --filter label=team=net --format {{.Name}}"), "mine");
    assert.match(host().here("brctl", "show", "br-mine"), /^br-mine\s+8000\.\w+\s+no\s+veth/m);
  });

  it("--sysctl of the sandbox, and of one interface by driver option", async () => {
    await docker("network create net");
    const sysctls = "--sysctl net.ipv4.ip_forward=0 --network";
    const option = "name=net,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1";
    assert.equal(
      await docker(
        `run --rm ${sysctls} ${option} busybox sh -c`,
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/eth0/log_martians",
      ),
      "0\n1",
    );
    await docker("run -d --name a --network net busybox sleep 1d");
    const joined = "run --rm --network container:a --sysctl net.ipv4.ip_forward=0 busybox cat";
    assert.equal(await docker(joined, "/proc/sys/net/ipv4/ip_forward"), "0");
    assert.match(
      await refused(
        "run --rm --network name=net,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.eth0.log_martians=1 busybox true",
      ),
      /unrecognised network interface sysctl 'net\.ipv4\.conf\.eth0\.log_martians=1'; represent 'net\.X\.Y\.ethN\.Z=V' as 'net\.X\.Y\.IFNAME\.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'/,
    );
  });

  it("gw-priority decides the default route; without, the first by name", async () => {
    await docker("network create --subnet 10.64.0.0/24 alpha");
    await docker("network create --subnet 10.65.0.0/24 beta");
    await sleeper("a", "--network beta --network alpha");
    assert.match(await docker("exec a ip route"), /default via 10\.64\.0\.1/);
    await docker("network disconnect beta a");
    await docker("network connect --gw-priority 1 beta a");
    assert.match(await docker("exec a ip route"), /default via 10\.65\.0\.1/);
  });

  it("an unknown option is refused, with the nearest known", async () => {
    assert.match(
      await refused(`network create -o ${bridge}.enable_ic=false typo`),
      /unknown option "com\.docker\.network\.bridge\.enable_ic" for the bridge driver: did you mean "com\.docker\.network\.bridge\.enable_icc"\?/,
    );
  });

  it("config-only networks are templates", async () => {
    await docker("network create --config-only --subnet 10.66.0.0/24 template");
    await docker("network create --config-from template real");
    assert.equal(await docker("network inspect -f", "{{(index .IPAM.Config 0).Subnet}}", "real"), "10.66.0.0/24");
    assert.match(await refused("network rm template"), /configuration network "template" is in use/);
    await docker("network rm real");
    await docker("network rm template");
  });
});

describe("names", () => {
  it("container names, short ids, aliases, reverse lookups of the container's own networks; the rest is not found", async () => {
    await docker("network create --subnet 10.67.0.0/24 net");
    await docker("network create other");
    const id = await sleeper("a", "--network net --ip 10.67.0.7 --network-alias also --hostname ahost");
    await sleeper("b", "--network other");
    await sleeper("c", "--network net");
    for (const name of ["a", "also", "ahost", id.slice(0, 12), "a.net"])
      assert.match(await docker(`exec c nslookup ${name}`), /Address(?: 1)?: *10\.67\.0\.7/, name);
    assert.match(await docker("exec c nslookup 10.67.0.7"), /a\.net/);
    assert.notEqual((await host().try(["exec", "c", "nslookup", "b"])).status, 0);
    assert.match(await docker("exec c cat /etc/resolv.conf"), /^nameserver 127\.0\.0\.11$/m);
    assert.match(await docker("exec a cat /etc/hosts"), /^10\.67\.0\.7\s+ahost$/m);
    assert.doesNotMatch(await docker("run --rm busybox cat /etc/resolv.conf"), /127\.0\.0\.11/);
  });
});
