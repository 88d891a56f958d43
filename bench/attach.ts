/**
 * `node bench/attach.ts [bridge|overlay]`: how long an endpoint takes from its row to the kernel, the 10th of a network on one
 * host against the 1,500th, and the first on a leaf bridge. Needs root.
 */
import { leafFor, leafSize } from "../src/engine/leaves.ts";
import type { Transaction } from "../src/store/store.ts";
import { addresses, RealHost } from "../test/support/real-host.ts";
import { networkRows, putContainer, putNetwork } from "../test/support/rows.ts";
import { median } from "./figures.ts";

const tunnel = { udpPort: 4789, local: addresses.host, mtu: 1450 };
const [driver = "bridge"] = process.argv.slice(2);
const rows = networkRows({ number: 1, driver, vni: 4097, tunnel });

function put(tx: Transaction, member: number): string {
  const leaf = leafFor(tx, rows.network);
  return putContainer(tx, rows, { member, ...(leaf !== undefined && { leaf }) }).id;
}

/** Milliseconds from the commit of the row to the answer that it is in the kernel. */
async function attach(host: RealHost, member: number): Promise<number> {
  const start = performance.now();
  let id = "";
  const { revision } = await host.store.update((tx) => void (id = put(tx, member)));
  await host.dataplane.settled(`endpoint:${id}`, revision);
  return performance.now() - start;
}

await using host = await RealHost.open();
await host.commit((tx) => putNetwork(tx, rows));
const times: number[] = [];
for (let member = 2; member < 2 * leafSize; member += 1) {
  times.push(await attach(host, member));
  // Containers do not come in one turn of the event loop: readings have their time in between.
  await new Promise((resolve) => setTimeout(resolve, 5));
}
/** The median of 19 around the n-th. */
const around = (n: number) => median(times.slice(n - 10, n + 9));
const ms = (time: number) => `${time.toFixed(1)} ms`;
console.log(`${driver}: the 10th ${ms(around(10))}, the 990th ${ms(around(990))}, the 1,500th ${ms(around(1500))}`);
console.log(`${driver}: the 1,500th / the 10th ${(around(1500) / around(10)).toFixed(2)}`);
console.log(`${driver}: the first on a leaf ${ms(times[leafSize] ?? 0)}; the slowest ${ms(Math.max(...times))}`);
