import assert from "node:assert/strict";
import { it } from "node:test";
import { ConfigError, readConfig } from "./config.ts";

/** Without the machine's own configuration file. */
const read = (...args: string[]) => readConfig(["--config-file", `${import.meta.dirname}/testing.json`, ...args], "1");

it("an etcd of the user's is named by URLs; in clear only on this host", () => {
  assert.equal(read()?.externalEtcd, undefined);
  assert.deepEqual(read("--external-etcd", "http://127.0.0.1:2379,http://[::1]:2379")?.externalEtcd, {
    endpoints: ["127.0.0.1:2379", "[::1]:2379"],
  });
  const cases: [string[], RegExp][] = [
    [["--external-etcd", "192.0.2.1:2379"], /^external-etcd: 192\.0\.2\.1:2379 is not like https:/],
    [["--external-etcd", "http://192.0.2.1:2379"], /only an etcd of this host may be spoken with in clear/],
    [["--external-etcd", "https://192.0.2.1:2379"], /https needs --external-etcd-ca/],
    [["--external-etcd-ca", "/etc/ca.pem"], /--external-etcd is missing/],
  ];
  for (const [args, message] of cases) assert.throws(() => read(...args), { name: ConfigError.name, message });
});

it("a balancer is one of those that there are", () => {
  assert.deepEqual([read()?.balancer, read("--balancer", "ipvs")?.balancer], ["nft", "ipvs"]);
  assert.throws(() => read("--balancer", "lvs"), { name: ConfigError.name, message: /'lvs' is invalid.*nft, ipvs/ });
});
