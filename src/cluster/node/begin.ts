import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { invalid } from "../../lib/errors.ts";
import { failpoint } from "../../lib/failpoint.ts";
import { type Cluster, type ClusterNode, type ClusterSpec, dismissed, type TrustedRoot } from "../../model/cluster.ts";
import { entriesOf, type Row } from "../../store/rows.ts";
import type { Transaction } from "../../store/store.ts";
import type { TableName } from "../../store/tables.ts";
import { type Addressing, placeText } from "../addressing.ts";
import { begunAnew, type Seed } from "../manager/backup.ts";
import { firstRoot, withCurrentRoot } from "../manager/authority-change.ts";
import { nodeIdOf } from "../certificates.ts";
import { issueMember } from "../etcd/etcd-certificate.ts";
import type { Beginning } from "../etcd/etcd-flags.ts";
import { endEtcd, removeEtcd } from "../etcd/etcd-process.ts";
import { newDataKey, readStoreKeys, type StoreKeys, storeKeysText } from "../etcd/store-keys.ts";
import { createRequest, newKey, publicKeyOf } from "../identity/csr.ts";
import { newSwarmId } from "../identity/names.ts";
import type { NodeFiles } from "../identity/node-files.ts";
import { createRoot } from "../identity/root.ts";
import { formatUnlockKey, newUnlockKey, parseUnlockKey, sealed, unsealed } from "../identity/seal.ts";
import { newSecret } from "../identity/token.ts";
import { firstKeys } from "../key-rotation.ts";
import { trustBundle } from "../identity/authority.ts";
import { newRow } from "../manager/join.ts";
import { openIngress } from "../networks.ts";
import type { NodeParts } from "./local-node.ts";
import { identityIn, stateOf } from "./node-state.ts";
import {
  closeRunning,
  etcdOf,
  type ManagerIdentity,
  openStore,
  type Running,
  writeManager,
} from "../manager/manager.ts";
import { certifyAnyhow } from "../manager/outside.ts";

/** What the user says of a new cluster. */
export interface ClusterWish {
  readonly spec: ClusterSpec;
  /** A root that the user brings. */
  readonly signingRoot?: TrustedRoot;
  readonly addressPools: readonly string[];
  readonly subnetSize: number;
  readonly dataPathPort: number;
}

export interface Begun {
  readonly files: NodeFiles;
  readonly running: Running;
  /** Of an autolocked cluster. */
  readonly unlockKey: Buffer | undefined;
}

const patience = 20_000; // milliseconds for etcd to answer

/**
 * Makes a cluster of this node alone: etcd runs and has its rows afterwards. The node is in it once the files are written.
 * @throws {EngineError} system when etcd does not start, or a CA outside of the swarm does not sign: nothing is left then
 */
export async function beginCluster(
  parts: NodeParts,
  addressing: Addressing,
  { cluster, rows, availability }: Seed & Pick<ClusterNode, "availability">,
): Promise<Begun> {
  const now = Date.now();
  const key = newKey();
  const nodeId = nodeIdOf(publicKeyOf(key));
  const { pem, facts } = await certifyAnyhow(
    cluster,
    createRequest(key),
    { nodeId, role: "manager" },
    { now: Date.now },
  );
  const advertise = placeText(addressing.advertise);
  const state = stateOf({ nodeId, clusterId: cluster.id, role: "manager", managers: [advertise] }, addressing);
  const identity = identityIn(state);
  const etcd = newMember(cluster, identity);
  const description = parts.describe({ advertise: addressing.advertise.address, dataPath: addressing.dataPath });
  const node = newRow({ ...description, id: nodeId, role: "manager" }, availability, facts, now);
  let running: Running | undefined;
  try {
    running = await openRunning(parts, identity, etcd, { kind: "new", token: cluster.id });
    await change(running, identity, (tx, memberId) => {
      tx.insert("clusters", cluster);
      insertAll(tx, rows);
      tx.insert("nodes", node);
      writeManager(tx, { nodeId, advertise }, memberId, now);
      openIngress(tx, now);
    });
  } catch (error) {
    if (running !== undefined) await closeRunning(running);
    await sweepEtcd(parts);
    throw error;
  }
  const unlockKey = cluster.unlockKey === undefined ? undefined : parseUnlockKey(cluster.unlockKey);
  const roots = trustBundle(cluster.authority);
  const sealedEtcd = sealed(storeKeysText(etcd), unlockKey);
  const files = { state, certificate: pem, key: sealed(key, unlockKey), roots, etcd: sealedEtcd };
  return { files, running, unlockKey };
}

function newMember(cluster: Cluster, { nodeId, advertise }: ManagerIdentity): StoreKeys {
  const key = newKey();
  const subject = { nodeId, address: advertise.address };
  const certificate = issueMember(cluster.etcdAuthority, createRequest(key), subject);
  return { certificate, key, root: cluster.etcdAuthority.certificate, dataKey: newDataKey() };
}

async function openRunning(
  parts: NodeParts,
  identity: ManagerIdentity,
  credentials: StoreKeys,
  beginning: Beginning,
): Promise<Running> {
  const etcd = etcdOf(identity, parts, credentials, beginning);
  try {
    failpoint("swarm.init.before-etcd");
    await etcd.start();
    await etcd.ready(AbortSignal.timeout(patience));
    failpoint("swarm.init.after-etcd");
    return { etcd, opened: await openStore(identity, parts, credentials) };
  } catch (error) {
    await etcd.stop();
    throw error;
  }
}

type Change = (tx: Transaction, memberId: string) => void;
async function change({ opened }: Running, { nodeId }: ManagerIdentity, how: Change): Promise<void> {
  const list = await opened.members.list();
  const own = list.find(({ name }) => name === nodeId) ?? list[0];
  await opened.store.update((tx) => how(tx, own?.id.toString(16) ?? "0"));
}

/** Changes the rows while no manager is at work here; etcd goes on afterwards. */
async function withStore(
  parts: NodeParts,
  identity: ManagerIdentity,
  credentials: StoreKeys,
  beginning: Beginning,
  how: Change,
): Promise<void> {
  const running = await openRunning(parts, identity, credentials, beginning);
  try {
    await change(running, identity, how);
  } finally {
    await closeRunning(running);
  }
}

const insertAll = (tx: Transaction, rows: Iterable<readonly [TableName, Row]>): void => {
  for (const [table, row] of rows) tx.insert(table, row as never);
};

/** Where a new etcd has its data until it takes the old one's place. */
const freshOf = ({ directories }: Pick<NodeParts, "directories">): NodeParts["directories"] => ({
  ...directories,
  dataDirectory: `${directories.dataDirectory}.new`,
});

/**
 * Makes this manager the only one, from the data that it has: for a cluster that has lost the majority of its managers for
 * ever. The others are workers that are down. etcd's own recovery (`--force-new-cluster`) only gives the rows out; what goes on
 * from them is a new etcd, which takes the old one's place when it has them all.
 */
export async function recoverCluster(parts: NodeParts, files: NodeFiles, key?: Buffer): Promise<void> {
  if (parts.externalEtcd !== undefined) throw invalid("--force-new-cluster: this swarm's etcd is yours to recover");
  const identity = identityIn(files.state);
  const credentials = readStoreKeys(unsealed(files.etcd ?? "", key));
  const fresh = { ...parts, directories: freshOf(parts) };
  const [old, next] = [parts.directories.dataDirectory, fresh.directories.dataDirectory];
  await rm(next, { recursive: true, force: true });
  let rows: ReturnType<typeof entriesOf> = [];
  await withStore(parts, identity, credentials, { kind: "force-new" }, (tx) => {
    rows = entriesOf(tx);
  });
  await endEtcd(parts.directories);
  await withStore(fresh, identity, credentials, { kind: "new", token: newSwarmId() }, (tx, memberId) => {
    insertAll(tx, rows);
    for (const row of tx.where("nodes", "role", "manager"))
      if (row.id !== identity.nodeId) tx.put("nodes", dismissed(row, begunAnew));
    writeManager(tx, { nodeId: identity.nodeId, advertise: files.state.advertiseAddress }, memberId, Date.now());
  });
  await endEtcd(fresh.directories);
  failpoint("swarm.recover.before-exchange");
  await rm(old, { recursive: true });
  failpoint("swarm.recover.between");
  await rename(next, old);
}

/** Ends a recovery that broke off: the new etcd's data count where the old ones are gone. */
export async function finishRecovery(parts: Pick<NodeParts, "directories">): Promise<void> {
  const fresh = freshOf(parts);
  const [old, next] = [parts.directories.dataDirectory, fresh.dataDirectory];
  if (existsSync(next) && !existsSync(old)) {
    await endEtcd(fresh);
    await rename(next, old);
  } else await rm(next, { recursive: true, force: true });
}

/** Ends etcd and removes its data: of a swarm that was left, or never begun. */
export const sweepEtcd = ({ directories }: Pick<NodeParts, "directories">): Promise<void> => removeEtcd(directories);

/** @throws {EngineError} invalid for a root that will not do */
export function newCluster(
  { spec, signingRoot, addressPools, subnetSize, dataPathPort }: ClusterWish,
  now: number,
): Cluster {
  const root = firstRoot({ spec, signingRoot }, now);
  return {
    id: newSwarmId(),
    version: 1,
    createdAt: now,
    updatedAt: now,
    spec: withCurrentRoot(spec, root),
    addressPools,
    subnetSize,
    dataPathPort,
    tokens: { worker: newSecret(), manager: newSecret() },
    authority: { root },
    etcdAuthority: createRoot(now),
    keyRotation: firstKeys(now),
    ...(spec.autolock && { unlockKey: formatUnlockKey(newUnlockKey()) }),
  };
}
