import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { describe, it } from "node:test";
import { Lane } from "./lane.ts";

/** Programs and namespaces of a lane that anybody can see on this machine. */
function left(): string[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return /qemu-system|virtiofsd|vm\/segment/.test(line) ? [`${readlinkSync(`/proc/${pid}/ns/net`)} ${line}`] : [];
      } catch {
        return []; // it has just ended
      }
    });
}

describe("the lane of virtual machines", () => {
  it("boots hosts on one segment, runs commands on them, and leaves nothing", async () => {
    const mounts = readFileSync("/proc/self/mounts", "utf8");
    const lane = await Lane.start({ hosts: 2, memory: 256 });
    try {
      const [first, second] = lane.hosts;
      assert.ok(first && second);
      assert.match(await first.sh("uname -r"), /^6\.1\./);
      assert.equal(await second.sh("hostname"), "h2");
      await first.sh("ping -c1 -W5 h2 && ping -6 -c1 -W5 h2");
      await lane.segment.sh("ping -c1 -W5 10.77.0.2");
      const { status, stdout, stderr } = await first.run(["sh", "-c", "cat; echo err >&2; exit 7"], { input: "text" });
      assert.deepEqual([status, stdout, stderr], [7, "text", "err\n"]);
      assert.equal((await first.run(["no-such-program"])).status, 127);
      await assert.rejects(first.run(["sleep", "60"], { timeout: 300 }), /h1: sleep 60: not done after 300 ms/);
      await first.sh("modprobe 8021q && ip link add link eth0 name eth0.9 type vlan id 9");
      await lane.segment.sh("ip link set h2 down");
      assert.notEqual((await first.run(["ping", "-c1", "-W1", "h2"])).status, 0);
    } finally {
      await lane.stop();
    }
    for (let tries = 0; left().length > 0 && tries < 40; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(left(), []);
    assert.equal(readFileSync("/proc/self/mounts", "utf8"), mounts);
  });
});
