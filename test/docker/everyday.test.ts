import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { useHost } from "../support/daemon.ts";
import { calmSleep } from "../support/until.ts";

describe("what people do every day", () => {
  const host = useHost({ clear: true });
  const docker = (line: string) => host().docker(...line.split(" "));
  const refused = async (line: string) => {
    const { status, stderr } = await host().try(line.split(" "));
    assert.notEqual(status, 0, `${line} was not refused`);
    return stderr;
  };

  it("docker kill returns when the process is gone, so that rm works at once", async () => {
    for (let round = 0; round < 3; round += 1) {
      await docker("run -d --name k busybox sleep 1d");
      await docker("kill k");
      assert.equal(await docker("inspect -f {{.State.Status}} k"), "exited");
      await docker("rm k");
    }
  });

  it("docker kill ends a paused container, too; docker wait is told of a forced removal", async () => {
    await docker("run -d --name k busybox sleep 1d");
    await docker("pause k");
    await docker("kill k");
    assert.equal(await docker("inspect -f {{.State.ExitCode}} k"), "137");
    await docker("start k");
    const waiting = docker("wait k");
    await calmSleep(300);
    await docker("rm -f k");
    assert.equal(await waiting, "137");
  });

  it("nobody is on a configuration network", async () => {
    await docker("network create --config-only --subnet 10.70.0.0/24 template");
    assert.match(await refused("run --rm --network template busybox true"), /configuration-only network/);
    await docker("run -d --name a busybox sleep 1d");
    assert.match(await refused("network connect template a"), /cannot connect container a to configuration network/);
    assert.equal(await docker("ps -aq --filter network=template"), "");
    await docker("network rm template");
  });

  it("a container without a network stays so until it is taken off none", async () => {
    await docker("network create net");
    await docker("run -d --name a --network none busybox sleep 1d");
    assert.match(
      await refused("network connect net a"),
      /container cannot be connected to multiple networks with one of the networks in private \(none\) mode/,
    );
    await docker("network disconnect none a");
    await docker("network connect net a");
    assert.match(await docker("exec a ip addr"), /eth0/);
  });

  it("docker events tells the life of a container, in Docker's words", async () => {
    const since = (Date.now() / 1000).toFixed(3);
    await docker("network create net");
    await docker("run -d --name a --network net busybox sleep 1d");
    await docker("exec a true");
    await docker("kill a");
    await docker("start a");
    await docker("rm -f a");
    const until = (Date.now() / 1000 + 0.2).toFixed(3);
    const format = "{{.Type}} {{.Action}} {{.Actor.Attributes.exitCode}}";
    const events = await host().docker("events", "--since", since, "--until", until, "--format", format);
    const seen = events.replaceAll("<no value>", "").replaceAll(/ +$/gm, "").split("\n");
    assert.deepEqual(seen, [
      "network create",
      "container create",
      "network connect",
      "container start",
      "container exec_create: true",
      "container exec_start: true",
      "container exec_die 0",
      "container kill",
      "container die 137",
      "network disconnect",
      "network connect",
      "container start",
      "container kill",
      "container die 137",
      "network disconnect",
      "container destroy",
    ]);
    await docker("run -i --rm --name b --network none busybox true");
    await docker("tag busybox:latest t1:1");
    const later = (Date.now() / 1000 + 0.2).toFixed(3);
    const names = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}";
    const more = await host().docker("events", "--since", until, "--until", later, "--format", names);
    assert.deepEqual(more.replaceAll("<no value>", "").replaceAll(/ +$/gm, "").split("\n"), [
      "container create b",
      "container attach b",
      "network connect none null",
      "container start b",
      "container die b",
      "network disconnect none null",
      "container destroy b",
      "image tag t1:1",
    ]);
    await docker("rmi t1:1");
  });

  it("published ports of a container on the host's network are discarded, and the user is told", async () => {
    const { stderr } = await host().try("run --rm --network host -p 80:80 busybox true".split(" "));
    assert.match(stderr, /WARNING: Published ports are discarded when using host network mode/);
  });

  it("what makes no sense is refused with a reason", async () => {
    const cases: [string, RegExp][] = [
      ["network create --scope global net", /invalid network scope 'global': it is 'local' or 'swarm'/],
      ["network create --subnet 10.9.9.9/32 net", /it has no room for a gateway and a container/],
      ["network create -o foo=bar net", /unknown option "foo" for the bridge driver$/m],
      ["ps --filter status=foo", /invalid filter 'status=foo'/],
      [
        "run --network container:a --mac-address 02:42:ac:11:00:05 busybox true",
        /conflicting options: mac-address and the/,
      ],
      ["network disconnect -f bridge nope", /endpoint nope not found/],
      ["network disconnect bridge nope", /No such container: nope/],
      ["volume create a", /create a: volume name is too short, names should be at least two alphanumeric characters/],
      ["run --rm --sysctl net.bogus=1 busybox true", /sysctl net\.bogus=1: this kernel has no such key here/],
      ["run --rm --network host --sysctl net.core.somaxconn=9 busybox true", /not allowed in host network namespace/],
      ["run --rm --ipc host --sysctl kernel.shmmax=9 busybox true", /not allowed in the hosts ipc namespace/],
      ["run --rm --sysctl net.ipv4.ip_forward=x busybox true", /ip_forward=x: the kernel does not take this value/],
    ];
    assert.match(await refused("ps --filter status=foo"), /invalid filter/); // even without containers
    await docker("run -d --name a busybox sleep 1d");
    await docker("network create one");
    for (const flags of ["", "-f "])
      assert.match(
        await refused(`network disconnect ${flags}one a`),
        /container [0-9a-f]+ is not connected to network one/,
      );
    for (const [line, text] of cases) assert.match(await refused(line), text);
  });
});
