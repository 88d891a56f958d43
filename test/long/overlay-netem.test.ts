import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { clone } from "../vm/guest-files.ts";
import { Lane } from "../vm/lane.ts";
import { TomboloHost, until } from "../vm/tombolo.ts";

const size = 512; // KiB

/** The figures of etcd's own robustness tests: each way 25 to 125 ms; what is lost differs. */
describe("two hosts with a long and bad wire between them", () => {
  let lane: Lane;
  let hosts: TomboloHost[] = [];
  before(async () => {
    lane = await Lane.start({ hosts: 2, memory: 1536 });
    hosts = await TomboloHost.start(lane);
  });
  after(() => lane?.stop());
  const both = (line: string) => Promise.all(hosts.map((host) => host.sh(line)));
  const wire = (loss: number) => both(`tc qdisc replace dev eth0 root netem delay 75ms 50ms loss ${loss}%`);
  const received = (output: string) => Number(/(\d+) packets received/.exec(output)?.[1]);
  const audit = () => both(`${join(clone, "bin/tombolo")} audit`);

  it("are a swarm: containers come onto a network, reach each other, and a transfer arrives whole", async () => {
    const [one, two] = hosts as [TomboloHost, TomboloHost];
    await wire(5);
    await one.docker(`swarm init --advertise-addr ${one.host.address}`);
    const token = await one.docker("swarm join-token -q worker");
    await until(
      async () => (await two.try(`swarm join --token ${token} ${one.host.address}:2377`)).status === 0,
      "the second host joins",
    );
    const states = one.host.spawn(["docker", "events", "--filter", "type=node", "--format", "{{json .}}"], {
      env: TomboloHost.env,
    });
    await one.docker("network create -d overlay --attachable --subnet 10.20.0.0/16 net");
    for (const [host, name] of [
      [one, "a"],
      [two, "b"],
    ] as const) {
      await host.docker(`create --name ${name} --network net busybox sleep 1d`);
      await until(async () => (await host.try(`start ${name}`)).status === 0, `${name} starts`);
    }
    await until(async () => (await one.try("exec a ping -c1 -W2 b")).status === 0, "a reaches b");
    const { stdout } = await one.try("exec a ping -c20 -i1 -W2 b");
    assert.ok(received(stdout) >= 12, stdout);
    assert.match(stdout, /min\/avg\/max = (\d{2,})\./);

    await two.docker(`exec b sh -c 'dd if=/dev/urandom of=/tmp/big bs=1k count=${size} && httpd -p 80 -h /tmp'`);
    const sum = (await two.docker("exec b sha256sum /tmp/big")).split(" ")[0];
    const fetched = await one.docker("exec a sh -c 'wget -qO- http://b/big | sha256sum'");
    assert.equal(fetched.split(" ")[0], sum);

    states.kill("SIGINT");
    assert.doesNotMatch((await states.ended).stdout, /"down"/, "nobody was taken for down");
    assert.match(await one.docker("node ls --format '{{.Hostname}} {{.Status}}'"), /h1 Ready\nh2 Ready/);
    await audit();
  });

  it("lose half of all packets: what is in the kernel stays, and all is as before afterwards", async () => {
    const [one, two] = hosts as [TomboloHost, TomboloHost];
    await wire(50);
    const { stdout } = await one.try("exec a ping -c40 -i1 -W2 b");
    assert.ok(received(stdout) > 0, stdout);
    await audit();
    await both("tc qdisc delete dev eth0 root");
    await until(
      async () => /h2 Ready/.test(await one.docker("node ls --format '{{.Hostname}} {{.Status}}'")),
      "the second host is back",
    );
    assert.ok(await one.reaches("a", "b"));
    assert.ok(await two.reaches("b", "a"));
    await Promise.all([one.docker("rm -f a"), two.docker("rm -f b")]);
    await until(async () => (await one.try("network rm net")).status === 0, "nobody is on the network");
    await audit();
  });
});
