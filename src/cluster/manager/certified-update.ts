import { unavailable } from "../../lib/errors.ts";
import type { Cluster } from "../../model/cluster.ts";
import type { Snapshot, Store, Transaction } from "../../store/store.ts";
import { type Certified, certify, clusterIn, type Holder } from "../certificates.ts";
import type { Credentials } from "../calls/control-server.ts";
import { signingRoot } from "../identity/authority.ts";
import { digestOf } from "../identity/token.ts";
import { type Asker, certifyAnyhow, isSignedOutside } from "./outside.ts";

export interface SigningParts {
  readonly store: Store;
  /** @returns milliseconds since 1970 */
  readonly now: () => number;
  /** What this manager shows to a CA outside of the swarm. */
  readonly own: () => Pick<Credentials, "key" | "certificate">;
}

/** How a certificate goes into rows. */
export interface CertifiedChange<H extends Holder, R> {
  readonly csr: string;
  /** Who is to get the certificate; undefined for nobody. Pure, as all of a transaction. */
  readonly holder: (rows: Snapshot) => H | undefined;
  readonly write: (tx: Transaction, given: Certified, holder: H) => R;
}

const attempts = 3;

/**
 * Writes rows together with a certificate. What it says is measured by the rows on which it is written: by the root's key it
 * is made with them; a CA outside of the swarm is asked before, and again when the rows have come to say something else.
 * @returns undefined when the rows say that nobody gets one
 * @throws {EngineError} as `certifyAnyhow`; unavailable when the rows change all the time
 */
export async function updateCertified<H extends Holder, R>(
  { store, now, own }: SigningParts,
  { csr, holder, write }: CertifiedChange<H, R>,
  signal: AbortSignal,
): Promise<R | undefined> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const asker = { own: own(), signal, now };
    const given = await askedBefore(store.snapshot(), csr, holder, asker);
    const { result } = await store.update((tx) => {
      const wanted = holder(tx);
      if (wanted === undefined) return {};
      const cluster = clusterIn(tx);
      if (!isSignedOutside(cluster)) return { value: write(tx, certify(cluster, csr, wanted, now()), wanted) };
      return fits(given, cluster, wanted) ? { value: write(tx, given, wanted) } : undefined;
    }, signal);
    if (result !== undefined) return result.value;
  }
  throw unavailable("the swarm's CA is being changed: try again");
}

async function askedBefore(
  rows: Snapshot,
  csr: string,
  holder: (rows: Snapshot) => Holder | undefined,
  asker: Asker,
): Promise<Certified | undefined> {
  const cluster = clusterIn(rows);
  if (!isSignedOutside(cluster)) return undefined;
  const wanted = holder(rows);
  return wanted && certifyAnyhow(cluster, csr, wanted, asker);
}

const fits = (given: Certified | undefined, { authority }: Cluster, { role }: Holder): given is Certified =>
  given?.facts.role === role && given.facts.root === digestOf(signingRoot(authority).certificate);
