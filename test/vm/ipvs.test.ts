import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { clone } from "./guest-files.ts";
import { Lane } from "./lane.ts";
import type { Station } from "./station.ts";

describe("IPVS", () => {
  let lane: Lane;
  before(async () => {
    lane = await Lane.start({ hosts: 2, memory: 1024 });
  });
  after(() => lane?.stop());
  const station = (number: 1 | 2) => lane.hosts[number - 1] as Station;
  /** Runs a file of tests on a machine, in a network namespace of its own. */
  const inside = (number: 1 | 2, file: string) => {
    const test = `cd ${clone} && node --test --test-isolation=none test/vm/inside/${file}`;
    return station(number).run(["unshare", "--net", "sh", "-c", test], { timeout: 300_000 });
  };

  it("where its module is missing, the daemon says so and ends", async () => {
    await station(1).sh("echo install ip_vs false >/etc/modprobe.d/no.conf");
    const start = [join(clone, "bin/tombolod"), "--balancer", "ipvs"];
    const { status, stderr } = await station(1).run(start, { timeout: 300_000 });
    assert.deepEqual([status, stderr.includes("balancer: this kernel has no IPVS (module ip_vs)")], [1, true], stderr);
    await station(1).sh("rm /etc/modprobe.d/no.conf");
  });

  it("does on Linux what every kernel does, and with connections what it is for", async () => {
    const [cases, traffic] = await Promise.all([inside(1, "ipvs-kernel.ts"), inside(2, "ipvs-traffic.ts")]);
    assert.equal(cases.status, 0, cases.stdout);
    assert.match(cases.stdout, /pass 8\b/);
    assert.equal(traffic.status, 0, traffic.stdout);
    assert.match(traffic.stdout, /pass 2\b/);
  });
});
