import { isDeepStrictEqual } from "node:util";
import { changedAuthority, withCurrentRoot } from "../cluster/manager/authority-change.ts";
import { backupOf, readBackup } from "../cluster/manager/backup.ts";
import { clusterIn } from "../cluster/certificates.ts";
import { signingRoot, trustBundle } from "../cluster/identity/authority.ts";
import { formatUnlockKey, newUnlockKey } from "../cluster/identity/seal.ts";
import { readIssuer } from "../cluster/identity/sign.ts";
import { digestOf, formatToken, newSecret } from "../cluster/identity/token.ts";
import { rpcError } from "../lib/errors.ts";
import { type Cluster, revised } from "../model/cluster.ts";
import type { Snapshot } from "../store/store.ts";
import { clusterRows } from "./cluster-networks.ts";
import type { ClusterDetail, Swarm, SwarmUpdate, TlsDetail } from "./engine.ts";
import { rotateKeys, rotateKeysEvery } from "./key-rotation.ts";
import type { Parts } from "./parts.ts";
import { ensureWayOut } from "./way-out.ts";

/** swarmkit's text for a version that somebody else has written meanwhile (manager/state/store). */
export const outOfSequence = () => rpcError("Unknown", "update out of sequence");

/** The verbs of `docker swarm`. */
export function createSwarm(parts: Parts): Swarm {
  const { membership, log } = parts;
  /** Without it containers of overlay networks have no way out, which is said when one starts. */
  const withWayOut = async <R>(begin: Promise<R>): Promise<R> => {
    const result = await begin;
    await ensureWayOut(parts).catch((err: unknown) => log.warn({ err }, "docker_gwbridge could not be made"));
    return result;
  };
  return {
    standing() {
      const { address, ...standing } = membership.standing();
      const rows = clusterRows(parts);
      const own = { ...standing, nodeAddress: address, controlAvailable: rows !== undefined };
      if (rows === undefined) return own;
      return {
        ...own,
        // Only when it is looked at: a ping has no need of it.
        get control() {
          const managers = rows.where("nodes", "role", "manager").length;
          return { cluster: detail(rows), nodes: rows.list("nodes").length, managers };
        },
      };
    },
    init: (request) => withWayOut(membership.init(request)),
    join: (request) => withWayOut(membership.join(request)),
    async leave(force) {
      await membership.leave(force);
      await parts.overlays.leave();
    },
    inspect: () => detail(membership.current()),
    async update(request) {
      const before = clusterIn(membership.current());
      if (before.version !== request.version) throw outOfSequence();
      const { credentials: own } = membership.control().node;
      const authority = await changedAuthority(before, request, { own, now: Date.now });
      await membership.update((tx) => {
        const cluster = clusterIn(tx);
        const isAsBefore = isDeepStrictEqual(cluster.authority, before.authority);
        if (cluster.version !== request.version || !isAsBefore) throw outOfSequence();
        tx.put("clusters", changed(cluster, request, authority, Date.now()));
      });
    },
    unlockKey: () => clusterIn(membership.current()).unlockKey ?? "",
    unlock: (key) => membership.unlock(key),
    rotateKeys: () => rotateKeys(parts),
    rotateKeysEvery: (every) => rotateKeysEvery(parts, every),
    backup: () => backupOf(membership.current(), Date.now()),
    restore: async (backup, addressing) => withWayOut(membership.restore(readBackup(backup), addressing)),
  };
}

/** By what nodes trust each other now. */
export function tlsOf(rows: Snapshot): TlsDetail {
  const { authority } = clusterIn(rows);
  const { name, publicKey } = readIssuer(signingRoot(authority).certificate);
  return { roots: trustBundle(authority), issuer: { subject: name, publicKey } };
}

function detail(rows: Snapshot): ClusterDetail {
  const cluster = clusterIn(rows);
  const digest = digestOf(cluster.authority.root.certificate);
  const token = (secret: string) => formatToken({ digest, secret });
  const { worker, manager } = cluster.tokens;
  return {
    cluster,
    tls: tlsOf(rows),
    tokens: { worker: token(worker), manager: token(manager) },
    rotating: cluster.authority.next !== undefined,
  };
}

function changed(
  cluster: Cluster,
  { spec, rotate }: SwarmUpdate,
  authority: Cluster["authority"],
  now: number,
): Cluster {
  const { unlockKey, ...others } = cluster;
  const key = rotate.unlockKey || unlockKey === undefined ? formatUnlockKey(newUnlockKey()) : unlockKey;
  return revised<Cluster>(
    { ...others, ...(spec.autolock && { unlockKey: key }) },
    {
      spec: withCurrentRoot(spec, cluster.authority.root),
      tokens: {
        worker: rotate.worker ? newSecret() : cluster.tokens.worker,
        manager: rotate.manager ? newSecret() : cluster.tokens.manager,
      },
      authority,
    },
    now,
  );
}
