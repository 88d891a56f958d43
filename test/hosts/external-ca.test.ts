import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { attempt } from "../../src/lab/command.ts";
import { Cfssl } from "../support/cfssl.ts";
import { swarmDirectory, useSwarm } from "../support/swarm.ts";
import { until } from "../support/until.ts";

describe("a swarm whose certificates Debian's CFSSL signs", () => {
  const { host, docker, refused, nodes, rowOf, isReady, managersOf, stateOf, token, joinWith, tombolo, crash } =
    useSwarm();
  let ca: Cfssl;
  before(async () => {
    ca = new Cfssl(host(3));
    await ca.create();
  });
  afterEach(() => ca.stop());
  after(() => ca.remove());

  const roots = (number = 1) => docker(number, "swarm ca");
  const root = () => readFileSync(ca.certificate, "utf8").trim();
  /** The certificate that a host has, whom it is for, and that the CA's root has signed it. */
  const certificateOf = (number: number) =>
    new X509Certificate(readFileSync(join(swarmDirectory(host(number)), "node/current/node.crt")));
  const isBy = (number: number, pem: string) => certificateOf(number).verify(new X509Certificate(pem).publicKey);
  const externals = () => host(1).docker("info", "--format", "{{json .Swarm.Cluster.Spec.CAConfig.ExternalCAs}}");
  const down = /no certificate from the external CA: https:\/\/192\.0\.2\.3:8888\/api\/v1\/cfssl\/sign: .*ECONNREFUSED/;

  it("is begun and joined without its root's key, roles and certificates change, and it comes back", async () => {
    await ca.start();
    await docker(1, `swarm init --external-ca ${ca.flag}`);
    assert.equal(await roots(), root());
    const shown = JSON.parse(await externals()) as { Protocol: string; URL: string; CACert: string }[];
    assert.deepEqual(
      shown.map(({ Protocol, URL, CACert }) => [Protocol, URL, CACert.trim()]),
      [["cfssl", ca.url, root()]],
    );
    // From now on the CA speaks only with who has a certificate of the root: the manager has.
    await ca.stop();
    await ca.start("-mutual-tls-ca", ca.certificate);
    await joinWith(2, await token("worker"));
    await joinWith(3, await token("manager"));
    await until(async () => (await managersOf()) === 2, "two managers");
    assert.match(certificateOf(2).subject, /^O=[0-9a-z]{25}\nOU=swarm-worker\nCN=[0-9a-z]{25}$/);
    for (const number of [1, 2, 3]) assert.ok(isBy(number, root()), `h${number}`);
    await docker(1, "node promote h2");
    await until(async () => (await managersOf()) === 3, "three managers");
    assert.match(certificateOf(2).subject, /OU=swarm-manager/);
    assert.ok(isBy(2, root()));
    const found = await attempt(["grep", "-rlF", ca.keyLine, ...[1, 2, 3].map((n) => host(n).directory)]);
    assert.equal(found.stdout, "", "the root's key is on a disk of the swarm");
    for (const number of [1, 2]) {
      await host(number).kill();
      await host(number).start();
    }
    await until(async () => (await managersOf()) === 3, "three managers again");
    await docker(1, "node demote h2");
    const isWorker = async () =>
      (await rowOf("h2"))?.manager === "" && /OU=swarm-worker/.test(certificateOf(2).subject);
    await until(isWorker, "h2 is a worker");
    assert.ok(isBy(2, root()));
  });

  it("says that the CA is gone, and leaves nothing of who was refused; another CA in its place is asked", async () => {
    const init = `swarm init --external-ca ${ca.flag}`;
    assert.match(await refused(1, init), down);
    assert.equal(await stateOf(1), "inactive");
    assert.match(
      await refused(1, `swarm init --external-ca protocol=cfssl,url=${ca.url}`),
      /a new swarm needs its external CA's root: --external-ca protocol=cfssl,url=https:\/\/…,cacert=FILE/,
    );
    const left = existsSync(swarmDirectory(host(1))) ? readdirSync(swarmDirectory(host(1))) : [];
    assert.deepEqual(left, []);
    await ca.start();
    await docker(1, init);
    await ca.stop();
    const secret = await token("worker");
    assert.match(await refused(2, `swarm join --token ${secret} ${host(1).address}:2377`), down);
    assert.equal(await stateOf(2), "inactive");
    const remains = existsSync(swarmDirectory(host(2))) ? readdirSync(swarmDirectory(host(2))) : [];
    assert.deepEqual(remains, []);
    assert.deepEqual(
      (await nodes()).map(({ name }) => name),
      ["h1"],
    );
    // What does not touch the CA goes on without it.
    await docker(1, "swarm update --task-history-limit 3");
    const nobody = `protocol=cfssl,url=https://${host(3).address}:9999/,cacert=${ca.certificate}`;
    const update = `swarm update --external-ca ${nobody} --external-ca ${ca.flag}`;
    assert.match(
      await refused(1, update),
      /there must be at least one valid, reachable external CA corresponding to the current CA certificate: .*:9999\/: .*:8888\/.*ECONNREFUSED/,
    );
    await ca.start();
    await docker(1, update);
    await joinWith(2, secret);
    await until(() => isReady("h2"), "h2 is ready");
  });

  it("is begun again from a backup by the CA that it had, and not without it", async () => {
    await ca.start();
    await docker(1, `swarm init --external-ca ${ca.flag}`);
    const secret = await token("worker");
    const file = join(host(1).directory, "backup.json");
    assert.equal((await tombolo(1, "backup", file)).status, 0);
    assert.ok(!readFileSync(file, "utf8").includes(ca.keyLine));
    await crash(1);
    await ca.stop();
    assert.match((await tombolo(2, "restore", file)).stderr, down);
    assert.equal(await stateOf(2), "inactive");
    const remains = existsSync(swarmDirectory(host(2))) ? readdirSync(swarmDirectory(host(2))) : [];
    assert.deepEqual(remains, []);
    await ca.start();
    const restored = await tombolo(2, "restore", file);
    assert.equal(restored.status, 0, restored.stderr);
    assert.equal(await roots(2), root());
    assert.ok(isBy(2, root()));
    assert.equal(await token("worker", 2), secret);
    await docker(3, `swarm join --token ${secret} ${host(2).address}:2377`);
    assert.ok(isBy(3, root()));
    await until(() => isReady("h3", 2), "h3 is ready");
    rmSync(file);
  });

  it("the root is rotated to the CA's, and back to one of ours, node by node", async () => {
    await docker(1, "swarm init");
    await joinWith(2, await token("worker"));
    const first = await roots();
    const rotate = `swarm ca --rotate -q --ca-cert ${ca.certificate} --external-ca protocol=cfssl,url=${ca.url}`;
    assert.match(
      await refused(1, rotate),
      /reachable external CA corresponding to the desired CA certificate: .*ECONNREFUSED/,
    );
    assert.equal(await roots(), first);
    await ca.start();
    await docker(1, rotate);
    assert.equal(await roots(), root());
    for (const number of [1, 2]) assert.ok(isBy(number, root()), `h${number}`);
    await joinWith(3, await token("worker"));
    assert.ok(isBy(3, root()));
    await ca.stop();
    assert.match(
      await refused(1, "swarm ca --rotate -q"),
      /external CA corresponding to the current CA certificate: .*ECONNREFUSED/,
    );
    await ca.start();
    await docker(1, "swarm ca --rotate -q");
    const last = await roots();
    assert.notEqual(last, root());
    for (const number of [1, 2, 3]) assert.ok(isBy(number, last), `h${number}`);
    await docker(2, "swarm leave");
    await ca.stop();
    await joinWith(2, await token("worker"));
    assert.ok(isBy(2, last), "the CA is asked no more");
  });
});
