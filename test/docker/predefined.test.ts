import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { useHost } from "../support/daemon.ts";

describe("the default bridge follows the settings of each start", () => {
  const host = useHost({ clear: true });
  const docker = (line: string, ...more: string[]) => host().docker(...line.split(" "), ...more);
  const gateway = () => docker("network inspect bridge -f", "{{(index .IPAM.Config 0).Gateway}}");
  const links = () => host().here("ip", "-o", "link");
  const restart = async (...flags: string[]) => {
    await host().stopDaemon();
    await host().startDaemon({}, flags);
  };

  it("--bridge and --bip make it anew, under the same id; stopped containers come back on it", async () => {
    await docker("run -d --name a busybox sleep 1d");
    await docker("stop -t 0 a");
    const id = await docker("network inspect bridge -f {{.Id}}");
    await restart("--bridge", "newbr", "--bip", "192.168.99.1/24");
    assert.equal(await docker("network inspect bridge -f {{.Id}}"), id);
    assert.equal(await gateway(), "192.168.99.1");
    assert.match(links(), /newbr/);
    assert.doesNotMatch(links(), /docker0/);
    await docker("start a");
    assert.match(await docker("exec a ip addr"), /inet 192\.168\.99\.2\/24/);
    await docker("rm -f a");
    await restart();
    assert.equal(await gateway(), "172.17.0.1");
    assert.doesNotMatch(links(), /newbr/);
  });

  it("containers that run on it keep it as it is: the start with other settings is refused, with the way out", async () => {
    await docker("run -d --name a busybox sleep 1d");
    await host().stopDaemon();
    await assert.rejects(
      host().startDaemon({}, ["--bip", "192.168.99.1/24"]),
      /containers run on it: a\. Start with --bridge docker0 --bip 172\.17\.0\.1\/16, stop them/,
    );
    await host().startDaemon();
    assert.match(await docker("exec a ip addr"), /inet 172\.17\.0\.2\/16/);
  });

  it("a docker0 that somebody else made meanwhile is left alone, as after a boot", async () => {
    await docker("run -d --name b busybox sleep 1d");
    const pid = Number(await docker("inspect -f {{.State.Pid}} b"));
    await host().stopDaemon();
    process.kill(pid, "SIGKILL");
    host().here("ip", "link", "delete", "docker0");
    host().here("ip", "link", "add", "docker0", "type", "bridge");
    await assert.rejects(host().startDaemon(), /docker0 is there already and probably dockerd's/);
    host().here("ip", "link", "set", "docker0", "alias", "tombolo:0123456789ab:network:x");
    await assert.rejects(host().startDaemon(), /docker0 is there already and another tombolod's \(bridge\)/);
    const link = host().here("ip", "-details", "link", "show", "docker0");
    await host().startDaemon({}, ["--bridge", "tombolo0", "--bip", "172.31.0.1/16"]);
    await docker("run -d --name a busybox sleep 1d");
    assert.equal(host().here("ip", "-details", "link", "show", "docker0"), link);
    assert.equal(host().here("ip", "address", "show", "docker0").includes("inet "), false);
    assert.equal(host().here("ip", "-o", "link", "show", "master", "docker0"), "");
    assert.equal(await docker("inspect -f {{.State.Status}} b"), "exited");
    assert.match(await docker("exec a ip addr"), /inet 172\.31\.0\.2\/16/);
    await docker("rm -f a b");
    host().here("ip", "link", "delete", "docker0");
    await restart();
  });
});
