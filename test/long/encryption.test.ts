import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, it } from "node:test";
import { clone } from "../vm/guest-files.ts";
import { Lane } from "../vm/lane.ts";
import { TomboloHost, until } from "../vm/tombolo.ts";

/** Every byte of what containers say to one another. */
const canary = /c5c5 c5c5 c5c5 c5c5/;
const underlay = "nsenter --net=/run/tombolo/netns/network-encrypted";
const patience = 120_000; // milliseconds

let lane: Lane;
let hosts: TomboloHost[] = [];
before(async () => {
  lane = await Lane.start({ hosts: 2, memory: 1536 });
  hosts = await TomboloHost.start(lane);
});
after(() => lane?.stop());

it("encrypted networks go through the kernel's WireGuard, and nothing of them in clear", async () => {
  const [one, two] = hosts;
  assert.ok(one !== undefined && two !== undefined);
  await one.docker(`swarm init --advertise-addr ${one.host.address}`);
  const token = await one.docker("swarm join-token -q worker");
  await two.docker(`swarm join --token ${token} ${one.host.address}:2377`);
  await one.docker("network create -d overlay --attachable --opt encrypted net");
  const wire = lane.segment.spawn(["tcpdump", "-nlXs0", "-i", "lan0", "udp"]);
  await wire.sees(/listening on/);
  for (const [host, name] of [
    [one, "a"],
    [two, "b"],
  ] as const) {
    await host.docker(`create --name ${name} --network net busybox sleep 1d`);
    // On an emulated processor a manager may take longer than a node waits.
    await until(async () => (await host.try(`start ${name}`)).status === 0, `${name} starts`);
  }
  const reaches = async (from: TomboloHost, name: string, to: string) =>
    (await from.try(`exec ${name} ping -c1 -W2 -p c5 ${to}`)).status === 0;
  await until(() => reaches(one, "a", "b"), "a reaches b");
  assert.ok(await reaches(two, "b", "a"));

  const link = (await two.sh(`${underlay} ip -o link show type wireguard`)).split(/[ :]+/)[1] ?? "";
  assert.match(link, /^twg[0-9a-f]{12}$/);
  assert.equal(await two.sh("pgrep -x wireguard-go || true"), "");
  assert.doesNotMatch(await two.docker("info --format '{{json .Warnings}}'"), /wireguard-go/);
  assert.equal(
    await two.sh(`${join(clone, "bin/tombolo")} audit`),
    await one.sh(`${join(clone, "bin/tombolo")} audit`),
  );

  // Other keys, with another device: nothing is lost.
  const flood = one.try("exec a ping -c300 -i0.1 -W20 -p c5 b");
  const rotate = () => one.sh(`${join(clone, "bin/tombolo")} swarm rotate-keys 2>&1 || true`);
  for (let count = 0; count < 2; count += 1)
    await until(async () => /^New keys are in use on /.test(await rotate()), "new keys are in use");
  assert.match((await flood).stdout, / 0% packet loss/);
  const linksOf = async (host: TomboloHost) =>
    (await host.sh(`${underlay} ip -o link show type wireguard`)).match(/tw[gh][0-9a-f]{12}/g) ?? [];
  for (const host of hosts) await until(async () => (await linksOf(host)).length === 1, "one device each");

  // The device goes on with its key while the daemon is away.
  await two.sh("pkill -KILL -f '[b]in/tombolod'");
  assert.equal(await one.sh("docker exec a ping -c5 -W2 -p c5 b >/dev/null && echo all"), "all");
  await two.host.spawn([join(clone, "bin/tombolod")]).sees(/tombolod is ready/, patience);
  assert.ok(await reaches(two, "b", "a"));
  await two.sh(`${join(clone, "bin/tombolo")} audit`);

  for (const used of await linksOf(two)) await two.sh(`${underlay} ip link delete ${used}`);
  await until(() => reaches(two, "b", "a"), "the device is made again, with the same key");
  await two.sh("nft flush ruleset");
  assert.ok(await reaches(one, "a", "b"));

  for (const [host, name] of [
    [one, "a"],
    [two, "b"],
  ] as const)
    await host.docker(`rm -f ${name}`);
  await until(async () => !/encrypted/.test(await two.sh("ls /run/tombolo/netns")), "WireGuard goes with the last one");
  await two.docker("swarm leave");
  await one.docker("swarm leave --force");
  wire.kill("SIGINT");
  const { stdout } = await wire.ended;
  for (const port of [4793, 4794]) assert.match(stdout, new RegExp(`\\.${port}: UDP`));
  assert.doesNotMatch(stdout, canary);
  assert.doesNotMatch(stdout, /\.4789: VXLAN/);
});
