/**
 * `node bench/rows.ts DATA-ROOT COUNT`, where a manager's etcd is: writes the rows of so many endpoints, as other managers
 * would.
 */
import { join } from "node:path";
import { NodeFolder } from "../src/cluster/identity/node-files.ts";
import { unsealed } from "../src/cluster/identity/seal.ts";
import { identityIn } from "../src/cluster/node-state.ts";
import { openStore } from "../src/cluster/manager.ts";
import { addEndpoints } from "../src/cluster/simulation-testing.ts";
import { readStoreKeys } from "../src/cluster/store-keys.ts";

const [dataRoot = "", count] = process.argv.slice(2);
const files = await new NodeFolder(join(dataRoot, "swarm/node")).read();
if (files?.etcd === undefined) throw new Error(`${dataRoot} is none of a manager`);
const keys = readStoreKeys(unsealed(files.etcd, undefined));
const { client, store } = await openStore(identityIn(files.state), {}, keys);
await addEndpoints(store, Number(count));
await store.close();
client.close();
