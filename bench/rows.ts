/**
 * `node bench/rows.ts DATA-ROOT endpoints|NETWORK COUNT`, where a manager's etcd is: writes the rows of so many endpoints, as
 * other managers would; on a network, with their claims and the hundred nodes that they are on.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { attach } from "../src/cluster/attachments.ts";
import { NodeFolder } from "../src/cluster/identity/node-files.ts";
import { newSwarmId } from "../src/cluster/identity/names.ts";
import { unsealed } from "../src/cluster/identity/seal.ts";
import { identityIn } from "../src/cluster/node/node-state.ts";
import { openStore } from "../src/cluster/manager/manager.ts";
import { addEndpoints } from "../src/cluster/manager/simulation-testing.ts";
import { readStoreKeys } from "../src/cluster/etcd/store-keys.ts";
import { newNode } from "../src/cluster/testing.ts";
import type { Store } from "../src/store/store.ts";

const hosts = 100;
const together = 20; // in one transaction

/** Containers of hosts that nobody has heard of otherwise. */
async function addPeers(store: Store, network: string, count: number): Promise<void> {
  const nodes = Array.from({ length: hosts }, (_, at) => {
    const address = `198.18.0.${at + 1}`;
    const status = { state: "ready", message: "", address, session: newSwarmId() } as const;
    return newNode({ hostname: `host-${at}`, addresses: { advertise: address, dataPath: address }, status });
  });
  for (const node of nodes) await store.update((tx) => tx.insert("nodes", node));
  const hex = () => randomBytes(32).toString("hex");
  for (let from = 0; from < count; from += together)
    await store.update((tx) => {
      for (let number = from; number < Math.min(from + together, count); number += 1) {
        const [endpointId, containerId, containerName] = [hex(), hex(), `web-${number}`];
        const names = [containerName, containerId.slice(0, 12)];
        const node = nodes[number % hosts]?.id ?? "";
        attach(tx, node, { network, endpointId, containerId, containerName, names });
      }
    });
}

const [dataRoot = "", where = "", count] = process.argv.slice(2);
const files = await new NodeFolder(join(dataRoot, "swarm/node")).read();
if (files?.etcd === undefined) throw new Error(`${dataRoot} is none of a manager`);
const keys = readStoreKeys(unsealed(files.etcd, undefined));
const { client, store } = await openStore(identityIn(files.state), {}, keys);
if (where === "endpoints") await addEndpoints(store, Number(count));
else await addPeers(store, where, Number(count));
await store.close();
client.close();
