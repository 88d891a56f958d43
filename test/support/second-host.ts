import { readFileSync } from "node:fs";
import { defaultBalancer } from "../../src/balancers/index.ts";
import { createDataplane } from "../../src/dataplane/create-dataplane.ts";
import { drivers } from "../../src/drivers/index.ts";
import { calls } from "../../src/kernel/libc.ts";
import { createKernel } from "../../src/kernel/linux-kernel.ts";
import type { Endpoint } from "../../src/model/endpoint.ts";
import type { Peer } from "../../src/model/peer.ts";
import { createMemoryStore } from "../../src/store/memory-store.ts";
import { deleteContainer, type NetworkRows, putNetwork, sandboxRow } from "./rows.ts";

/** What another host than the test's own has. */
export interface SecondHost {
  /** Where its namespaces are pinned. */
  readonly directory: string;
  readonly rows: NetworkRows;
  readonly endpoints: readonly (readonly [member: number, Endpoint])[];
  readonly peers: readonly Peer[];
}

/**
 * A data plane in the namespace in which this program is started, with the rows of a file. It says `ready`, stays until its
 * input ends, and says then how many differences an audit found before everything went.
 */
async function main(file: string): Promise<void> {
  const { directory, rows, endpoints, peers } = JSON.parse(readFileSync(file, "utf8")) as SecondHost;
  const store = createMemoryStore();
  await store.update((tx) => {
    putNetwork(tx, rows);
    for (const [member, endpoint] of endpoints) {
      tx.put("sandboxes", sandboxRow(member));
      tx.put("endpoints", endpoint);
    }
    for (const peer of peers) tx.put("peers", peer);
  });
  const kernel = createKernel({ netnsDir: directory, engine: "second" });
  const log = { info() {}, warn: (fields: object, message: string) => console.error(message, fields) };
  const dataplane = createDataplane({
    store,
    kernel,
    driverFor: (name) => drivers[name],
    balancer: defaultBalancer,
    log,
  });
  await dataplane.start();
  console.log("ready");
  for await (const _ of process.stdin);
  const differences = await dataplane.audit();
  const { revision } = await store.update((tx) => {
    for (const [, endpoint] of endpoints) deleteContainer(tx, endpoint);
    for (const peer of peers) tx.delete("peers", peer.id);
    tx.delete("networks", rows.network.id);
  });
  await dataplane.settled("host", revision);
  await dataplane.stop();
  kernel.close();
  calls.umount2(directory, 2);
  console.log(`differences: ${differences.length}`);
}

await main(process.argv[2] ?? "");
