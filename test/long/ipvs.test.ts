import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { samplesIn, sectionOf, withoutChance } from "../support/readme.ts";
import { Asker } from "../vm/asker.ts";
import { clone } from "../vm/guest-files.ts";
import { Lane } from "../vm/lane.ts";
import type { Station } from "../vm/station.ts";
import { TomboloHost, until } from "../vm/tombolo.ts";

describe("services on two machines, by IPVS", () => {
  let lane: Lane;
  let hosts: TomboloHost[] = [];
  before(async () => {
    lane = await Lane.start({ hosts: 2, memory: 1024 });
    hosts = await TomboloHost.start(lane, "--balancer", "ipvs");
    await host(1).docker(`swarm init --advertise-addr ${station(1).address}`);
    const token = await host(1).docker("swarm join-token -q worker");
    // A manager that has just begun may keep its peers waiting longer than they do, on a machine as slow as this.
    await until(async () => (await host(2).try(`swarm join --token ${token} ${station(1).address}:2377`)).status === 0);
  });
  after(() => lane?.stop());
  const station = (number: 1 | 2) => lane.hosts[number - 1] as Station;
  const host = (number: 1 | 2): TomboloHost => {
    const found = hosts[number - 1];
    assert.ok(found, "the hosts are not up");
    return found;
  };
  /** What the client's sandbox has, less the counts. */
  const table = async () =>
    (await host(1).docker("exec client cat /proc/net/ip_vs"))
      .split("\n")
      .slice(3)
      .map((line) => line.trim().split(/\s+/).slice(0, 4).join(" "));
  /** A container that is gone may have its files for a moment yet. */
  const audits = () =>
    until(async () => {
      const audit = [join(clone, "bin/tombolo"), "audit"];
      const outcomes = await Promise.all(hosts.map(({ host }) => host.run(audit, { env: TomboloHost.env })));
      return outcomes.every(({ status }) => status === 0);
    });

  it("the example in the README of ipvs", async () => {
    const page = readFileSync(join(clone, "src/balancers/ipvs/README.md"), "utf8");
    for (const { command, output } of samplesIn(sectionOf(page, "Example")))
      assert.equal(withoutChance(await host(1).sh(command)), withoutChance(output.trimEnd()), command);
  });

  it("each connection goes to the task with the fewest, whichever machine it is on", async () => {
    await host(1).docker("network create -d overlay --attachable --ipv6 --subnet 10.10.0.0/24 --subnet fd10::/64 net");
    const serve = "nc -ll -p 7000 -e sh -c 'hostname; exec cat'";
    const flags = "--label tombolo.lb=least --label tombolo.drain=15s --stop-grace-period 1s";
    await host(1).docker(
      `service create -q --name web --network net --replicas 2 --hostname '{{.Node.Hostname}}' ${flags} busybox ${serve}`,
    );
    await host(1).sleeper("client", "--network net");
    const lines = await table();
    assert.equal(lines.filter((line) => line === "FWM 0A0A0002 lc").length, 2, lines.join("\n"));
    assert.equal(lines.filter((line) => /^-> 0A0A00..:0000 Masq 1$/.test(line)).length, 2, lines.join("\n"));
    assert.equal(lines.filter((line) => /^-> \[fd10:.*\]:0000 Masq 1$/.test(line)).length, 2, lines.join("\n"));
    for (const address of ["10.10.0.2", "fd10::2"]) {
      const asker = await Asker.start(host(1), "client", address, 7000);
      assert.deepEqual(await opened(asker, 2), ["h1", "h2"], "one on each machine");
      assert.deepEqual(await opened(asker, 2), ["h1", "h2"]);
      assert.equal(await asker.close("h2"), "2");
      assert.deepEqual(await opened(asker, 2), ["h2", "h2"], "by turns it would be one each");
      assert.deepEqual([await asker.say("h1"), await asker.say("h2")], ["hello", "hello"]);
      asker.end();
    }
    await audits();
  });

  it("a task that is to stop keeps its connections for its drain time, and gets no more; then they are reset", async () => {
    const asker = await Asker.start(host(1), "client", "10.10.0.2", 7000);
    assert.deepEqual(await opened(asker, 2), ["h1", "h2"]);
    await host(1).docker("service scale -d web=1");
    await until(async () => (await table()).some((line) => /^-> 0A0A00..:0000 Masq 0$/.test(line)));
    assert.deepEqual([await asker.say("h1"), await asker.say("h2")], ["hello", "hello"]);
    const [left, again] = [await asker.open(), await asker.open()];
    assert.equal(again, left);
    const gone = left === "h1" ? "h2" : "h1";
    await until(async () => (await table()).filter((line) => /^-> 0A0A00/.test(line)).length === 1);
    assert.match(await asker.say(gone), /^(end|ECONNRESET|EPIPE)$/);
    assert.equal(await asker.say(left), "hello");
    asker.end();
    await audits();
  });

  it("without a task a connection is refused at once; a service that is removed leaves nothing", async () => {
    await host(1).docker("service scale -d web=0");
    await until(async () => (await table()).every((line) => !/^-> 0A0A00..:0000 Masq 1$/.test(line)));
    for (const address of ["10.10.0.2", "fd10::2"]) {
      const asker = await Asker.start(host(1), "client", address, 7000);
      assert.equal(await asker.open(), "ECONNREFUSED");
      asker.end();
    }
    await host(1).docker("service rm web");
    await until(async () => (await table()).join("") === "");
    await audits();
  });
});

/** By whom so many new connections are answered, sorted. */
async function opened(asker: Asker, count: number): Promise<string[]> {
  const names: string[] = [];
  for (let n = 0; n < count; n += 1) names.push(await asker.open());
  return names.toSorted();
}
