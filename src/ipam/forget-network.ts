import type { NetworkId } from "../model/ids.ts";
import type { Transaction } from "../store/store.ts";
import { closePools } from "./pools.ts";

/** Deletes a network's row, its pools with every claim in them, and its name, where that is not another network's. */
export function forgetNetwork(tx: Transaction, id: NetworkId): void {
  const network = tx.get("networks", id);
  if (network === undefined) return;
  closePools(tx, id);
  const name = `network|${network.spec.name}`;
  if (tx.get("names", name)?.id === id) tx.delete("names", name);
  tx.delete("networks", id);
}
