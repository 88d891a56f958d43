import { keepOnly } from "../cluster/attachments.ts";
import { invalid, notFound, rpcError } from "../lib/errors.ts";
import { type ClusterNode, revised } from "../model/cluster.ts";
import type { Snapshot } from "../store/store.ts";
import type { Filters, NodeDetail, Nodes } from "./engine.ts";
import { checkFilters, passesFilters, passesLabels } from "./filters.ts";
import type { Parts } from "./parts.ts";
import { outOfSequence, tlsOf } from "./swarm.ts";

const listFilters = ["id", "label", "membership", "name", "node.label", "role"];

export const nodesAtWork = (rows: Snapshot): ClusterNode[] =>
  rows.list("nodes").filter(({ status }) => status.state === "ready");

/** The verbs of `docker node`. */
export function createNodes({ membership }: Pick<Parts, "membership">): Nodes {
  const rows = () => membership.control().store.snapshot();
  /** Without a majority nobody leads, and nobody knows how the others are. */
  const shown = (node: ClusterNode): ClusterNode => {
    const { hasMajority, state } = membership.control().node;
    if (hasMajority) return node;
    const isOwn = node.id === state.nodeId;
    const status = { ...node.status, state: isOwn ? "ready" : "unknown" } as const;
    return { ...withoutLeader(node, isOwn ? "reachable" : "unknown"), status };
  };
  return {
    list(filters) {
      const snapshot = rows();
      checkFilters(filters, listFilters);
      const tls = tlsOf(snapshot);
      return snapshot
        .list("nodes")
        .filter((node) => passes(node, filters))
        .map((node): NodeDetail => ({ node: shown(node), tls }));
    },
    inspect(reference) {
      const snapshot = rows();
      return { node: shown(nodeNamed(snapshot, reference)), tls: tlsOf(snapshot) };
    },
    async update(reference, { version, role, availability, labels }) {
      const { id } = nodeNamed(rows(), reference);
      await membership.update((tx) => {
        const node = nodeNamed(tx, id);
        if (node.version !== version) throw outOfSequence();
        if (node.role === "manager" && role === "worker") checkDemotion(tx, node);
        tx.put("nodes", revised(node, { role, availability, labels }, Date.now()));
      });
    },
    async remove(reference, force) {
      const { node: own } = membership.control();
      const { id } = nodeNamed(rows(), reference);
      await membership.update((tx) => {
        const node = nodeNamed(tx, id);
        if (node.role === "manager")
          throw refused(
            `node ${id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
          );
        if (node.status.state === "ready" && !force) throw refused(`node ${id} is not down and can't be removed`);
        keepOnly(tx, id, new Set());
        tx.delete("nodes", id);
      });
      own.look();
    },
  };
}

const withoutLeader = (node: ClusterNode, reachability: "reachable" | "unknown"): ClusterNode =>
  node.manager === undefined ? node : { ...node, manager: { ...node.manager, leader: false, reachability } };

/** swarmkit's words (manager/controlapi/node.go). */
const refused = (text: string) => rpcError("FailedPrecondition", text);

function checkDemotion(rows: Snapshot, node: ClusterNode): void {
  const managers = rows.where("nodes", "role", "manager");
  if (managers.length === 1) throw refused("attempting to demote the last manager of the swarm");
  const left = managers.filter(({ id }) => id !== node.id);
  const reachable = left.filter(({ status }) => status.state === "ready").length;
  if (reachable < Math.floor(left.length / 2) + 1)
    throw refused("can't remove member from the raft: this would result in a loss of quorum");
}

/** By id, then by name, then by the beginning of an id (moby daemon/cluster/helpers.go, getNode). */
export function nodeNamed(rows: Snapshot, reference: string): ClusterNode {
  const exact = rows.get("nodes", reference);
  if (exact !== undefined) return exact;
  const all = rows.list("nodes");
  const named = all.filter(({ hostname }) => hostname === reference);
  const found = named.length > 0 ? named : all.filter(({ id }) => reference !== "" && id.startsWith(reference));
  const [first] = found;
  if (first === undefined) throw notFound(`node ${reference} not found`);
  if (found.length > 1) throw invalid(`node ${reference} is ambiguous (${found.length} matches found)`);
  return first;
}

function passes(node: ClusterNode, filters: Filters): boolean {
  const oneOf = (key: string, words: readonly string[], own: string) => (value: string) => {
    if (!words.includes(value)) throw invalid(`Invalid ${key} filter: '${value}'`);
    return own === value;
  };
  // `label` asks for the engine's labels, `node.label` for those of `docker node update`.
  const hasLabels = (key: string, labels: ClusterNode["labels"]) =>
    passesLabels(new Map([["label", filters.get(key) ?? []]]), labels);
  return (
    hasLabels("node.label", node.labels) &&
    hasLabels("label", node.engineLabels) &&
    passesFilters(filters, {
      id: (value) => node.id.startsWith(value),
      name: (value) => node.hostname.startsWith(value),
      role: oneOf("role", ["worker", "manager"], node.role),
      membership: oneOf("membership", ["accepted", "pending"], node.membership),
    })
  );
}
