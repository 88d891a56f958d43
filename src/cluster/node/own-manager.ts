import { failpoint } from "../../lib/failpoint.ts";
import { placeText } from "../addressing.ts";
import type { ControlClient } from "../calls/control-client.ts";
import { peerUrlOf } from "../etcd/etcd-flags.ts";
import { createRequest, newKey } from "../identity/csr.ts";
import {
  etcdOf,
  type ManagerIdentity,
  type ManagerParts,
  openStore,
  peerPortOf,
  type Running,
  writeManager,
} from "../manager/manager.ts";
import type { StoreKeys } from "../etcd/store-keys.ts";

const patience = 10_000; // milliseconds until etcd answers
const soon = (signal: AbortSignal) => AbortSignal.any([signal, AbortSignal.timeout(patience)]);

/** The etcd of this host, which has a vote already, and the store over it. @throws {EngineError} unavailable when it does not answer in time */
export async function openAgain(
  identity: ManagerIdentity,
  parts: ManagerParts,
  keys: StoreKeys,
  signal: AbortSignal,
): Promise<Running> {
  const etcd = etcdOf(identity, parts, keys, { kind: "again" });
  try {
    await etcd.start();
    await etcd.ready(soon(signal));
    return { etcd, opened: await openStore(identity, parts, keys) };
  } catch (error) {
    await etcd.stop();
    throw error;
  }
}

/**
 * Adds this host's etcd to the others': it learns, gets a vote, and is found by the row. Each part may be done twice.
 * @returns the keys with which it is opened from now on
 */
export async function gainVote(
  identity: ManagerIdentity,
  parts: ManagerParts,
  client: ControlClient,
  signal: AbortSignal,
): Promise<StoreKeys> {
  const { advertise, nodeId } = identity;
  const key = newKey();
  const request = { peerUrl: peerUrlOf(advertise.address, peerPortOf(identity)), csr: createRequest(key) };
  const added = await client.use(({ manager }) => manager.addMember(request, { signal }), signal);
  const { memberId, certificate, root } = added;
  const keys = { certificate, key, root, dataKey: Buffer.from(added.dataKey) };
  const members = added.members.map(({ name, peerUrls }) => ({ name, peerUrls }));
  const etcd = etcdOf(identity, parts, keys, { kind: "join", members });
  try {
    failpoint("swarm.promote.before-etcd");
    await etcd.start();
    await client.use(({ manager }) => manager.promoteMember({ memberId }, { signal }), signal);
    await etcd.ready(soon(signal));
    failpoint("swarm.promote.after-etcd");
    const { client: own, store } = await openStore(identity, parts, keys);
    try {
      const row = { nodeId, advertise: placeText(advertise) };
      await store.update((tx) => writeManager(tx, row, memberId, Date.now()), signal);
    } finally {
      await store.close();
      own.close();
    }
  } finally {
    await etcd.stop();
  }
  return keys;
}
