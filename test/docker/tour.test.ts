import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { dockers, TestHost } from "../support/daemon.ts";
import { until } from "../support/until.ts";

const ids = (text: string) =>
  text.replaceAll(/\b[0-9a-f]{64}\b/g, "<id>").replaceAll(/\b[0-9a-f]{12}\b/g, "<short id>");

for (const client of dockers)
  describe(`the tour, with ${client}`, () => {
    let host: TestHost;
    const docker = async (...args: string[]) => {
      const { status, stdout, stderr } = await host.try(args, { client });
      assert.equal(status, 0, `docker ${args.join(" ")}: ${stderr}${stdout}`);
      return stdout.trimEnd();
    };
    before(async () => {
      host = await TestHost.start();
    });
    after(() => host.stop());
    const serves = (name: string) =>
      until(async () => (await host.try(["exec", name, "wget", "-qO-", "http://127.0.0.1/"])).status === 0, name);

    it("docker version, docker info", async () => {
      assert.match(
        await docker("version"),
        /Server: Tombolo\n Engine:\n {2}Version: .*\n {2}API version: +1\.50 \(minimum version 1\.24\)/,
      );
      assert.match(await docker("info"), /Network: bridge host .*null/);
    });

    it("docker load, import, images, tag, rmi", async () => {
      await host.loadBusybox();
      const archive = readFileSync(join(host.directory, "images/busybox-root.tar"));
      const file = join(host.directory, "images/busybox-root.tar");
      assert.match(await docker("import", file, "busybox:imported"), /^sha256:[0-9a-f]{64}$/);
      const imported = await host.try(["import", "-c", 'CMD ["echo", "from the change"]', "-", "busybox:changed"], {
        client,
        input: archive,
      });
      assert.equal(imported.status, 0, imported.stderr);
      assert.equal(await docker("run", "--rm", "busybox:changed"), "from the change");
      await docker("tag", "busybox", "mine:1");
      assert.match(await docker("images"), /^mine +1 +[0-9a-f]{12}/m);
      assert.equal(await docker("rmi", "mine:1"), "Untagged: mine:1");
      assert.match(await docker("rmi", "busybox:imported"), /^Untagged: busybox:imported/);
    });

    it("docker network ls, inspect bridge", async () => {
      const list = (await docker("network", "ls")).split("\n").map((line) => line.split(/\s{2,}/).slice(1));
      assert.deepEqual(list.slice(1), [
        ["bridge", "bridge", "local"],
        ["host", "host", "local"],
        ["none", "null", "local"],
      ]);
      const [bridge] = JSON.parse(await docker("network", "inspect", "bridge")) as [
        { IPAM: { Config: { Subnet: string; Gateway: string }[] }; Options: Record<string, string> },
      ];
      assert.deepEqual(
        [bridge.IPAM.Config[0]?.Subnet, bridge.IPAM.Config[0]?.Gateway],
        ["172.17.0.0/16", "172.17.0.1"],
      );
      assert.equal(bridge.Options["com.docker.network.bridge.name"], "docker0");
    });

    it("containers of the default bridge reach each other by address", async () => {
      assert.equal(ids(await docker("run", "-d", "--name", "a", "busybox", "sleep", "1d")), "<id>");
      const address = await docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "a");
      assert.equal(address, "172.17.0.2");
      assert.match(
        await docker("run", "--rm", "busybox", "ping", "-c1", address),
        /1 packets transmitted, 1 packets received, 0% packet loss/,
      );
    });

    it("a network of one's own: fixed address, names, aliases", async () => {
      await docker("network", "create", "--subnet", "172.77.0.0/24", "--gateway", "172.77.0.1", "my_net");
      await docker(
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "my_net",
        "--ip",
        "172.77.0.10",
        "busybox",
        "sh",
        "-c",
        "echo hello from web > /tmp/index.html; exec httpd -f -p 80 -h /tmp",
      );
      await serves("web");
      assert.equal(
        await docker("run", "--rm", "--network", "my_net", "busybox", "wget", "-qO-", "http://web/"),
        "hello from web",
      );
      const lookup = await docker("run", "--rm", "--network", "my_net", "busybox", "nslookup", "web");
      assert.match(lookup, /Server:\s+127\.0\.0\.11/);
      assert.match(lookup, /172\.77\.0\.10/);
      await docker("network", "connect", "--alias", "alpha", "--ip", "172.77.0.20", "my_net", "a");
      assert.match(await docker("exec", "web", "ping", "-c1", "alpha"), /172\.77\.0\.20/);
      assert.match(await docker("exec", "a", "ip", "addr"), /inet 172\.77\.0\.20\/24/);
      await docker("network", "disconnect", "my_net", "a");
      assert.doesNotMatch(await docker("exec", "a", "ip", "addr"), /172\.77/);
    });

    it("published ports: from the host's address, from loopback, from another host", async () => {
      await docker(
        "run",
        "-d",
        "--name",
        "published",
        "--network",
        "my_net",
        "-p",
        "8080:80",
        "busybox",
        "sh",
        "-c",
        "echo published > /tmp/index.html; exec httpd -f -p 80 -h /tmp",
      );
      await serves("published");
      for (const address of ["198.51.100.1", "127.0.0.1"])
        assert.equal(host.here("busybox", "wget", "-qO-", `http://${address}:8080/`), "published\n");
      assert.equal(host.there("busybox", "wget", "-qO-", "http://198.51.100.1:8080/"), "published\n");
      assert.match(await docker("port", "published"), /80\/tcp -> 0\.0\.0\.0:8080/);
    });

    it("the outside is reached", async () => {
      assert.match(
        await docker("run", "--rm", "--network", "my_net", "busybox", "ping", "-c1", "198.51.100.2"),
        / 0% packet loss/,
      );
    });

    it("terminal, exec, attach, logs", async () => {
      const seen = host.terminal(`${client} run --rm -it busybox sh -c 'tty; exit 4'`);
      assert.equal(seen.status, 4);
      assert.match(seen.stdout, /\/dev\/pts\/0/);
      assert.match(host.terminal(`${client} exec -it a tty`).stdout, /\/dev\/pts\/\d/);
      await docker(
        "run",
        "-d",
        "--name",
        "counter",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3; do echo line $i; sleep 0.2; done",
      );
      assert.equal(await docker("logs", "-f", "counter"), "line 1\nline 2\nline 3");
      assert.equal(await docker("logs", "--tail", "1", "counter"), "line 3");
      const { status, stdout, stderr } = await host.try(
        ["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5"],
        { client },
      );
      assert.deepEqual([status, stdout, stderr], [5, "out\n", "err\n"]);
      const big = "0123456789abcdef".repeat(65_536);
      const copied = await host.try(["run", "--rm", "-i", "busybox", "cat"], { client, input: big });
      assert.equal(copied.stdout.length, big.length);
    });

    it("brctl, ip addr on the host, as the article uses them", () => {
      assert.match(host.here("brctl", "show"), /^docker0\s/m);
      assert.match(host.here("ip", "addr", "show", "docker0"), /inet 172\.17\.0\.1\/16/);
    });

    it("network rm refuses while containers are on it, then goes; prune", async () => {
      const refused = await host.try(["network", "rm", "my_net"], { client });
      assert.equal(refused.status, 1);
      assert.match(
        refused.stderr,
        /error while removing network: network my_net has active endpoints \(name:"published" id:"[0-9a-f]{12}", name:"web" id:"[0-9a-f]{12}"\)/,
      );
      await docker("rm", "-f", "a", "web", "published", "counter");
      assert.equal(await docker("network", "rm", "my_net"), "my_net");
      await docker("network", "create", "idle");
      assert.match(await docker("network", "prune", "-f"), /Deleted Networks:\nidle/);
      await host.auditIsZero();
    });
  });
