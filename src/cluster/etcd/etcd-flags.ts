import { join } from "node:path";
import type { NodeId } from "../../model/cluster.ts";
import { placeText } from "../addressing.ts";

/** How a member begins when it has no data yet; with data, etcd goes by that. */
export type Beginning =
  /** The first of a cluster, alone: in a hurry, see `hurry`. */
  | {
      readonly kind: "new";
      /** Another one for each cluster that begins: by it members of an earlier one on the same addresses do not mix in. */
      readonly token: string;
    }
  /** It has data. */
  | { readonly kind: "again" }
  /** It was added as a learner before: the members as they are now, itself without a name. */
  | {
      readonly kind: "join";
      readonly members: readonly { readonly name: string; readonly peerUrls: readonly string[] }[];
    }
  /** The only member of its data from now on: when the majority is lost for ever. */
  | { readonly kind: "force-new" };

export interface EtcdOptions {
  /** Its data: on a disk, nobody else's. */
  readonly dataDirectory: string;
  /** Certificate, key, pid and log: in memory, so that no key is on the disk. */
  readonly runDirectory: string;
  readonly nodeId: NodeId;
  /** IP address and port where the other members find it. */
  readonly address: string;
  readonly peerPort: number;
  /** On loopback, for the daemon of this host only. */
  readonly clientPort: number;
  readonly beginning: Beginning;
  /** What the store asks of its etcd, as flags. */
  readonly limits: readonly string[];
}

export const files = { certificate: "etcd.crt", key: "etcd.key", root: "etcd-root.pem" } as const;
const megabyte = 1 << 20;

/**
 * Milliseconds: etcd waits for an election timeout before it votes for itself, also where there is nobody else (etcd
 * raft/raft.go, tickElection), and a user waits for that. Between hosts it would be too hasty: etcd's own 1000 holds there.
 */
export const hurry = ["--heartbeat-interval=10", "--election-timeout=100"] as const;

export const peerUrlOf = (address: string, port: number) => `https://${placeText({ address, port })}`;

/**
 * etcd's command line (etcd 3.4, etcdmain/help.go). No secret is in it: keys are named by their files. The flags of the
 * beginning come last and apart: a program that runs is the wished one whatever it began with.
 */
export function etcdFlags(options: EtcdOptions): { readonly lasting: string[]; readonly beginning: string[] } {
  const { nodeId, dataDirectory, runDirectory, address, peerPort, clientPort, limits } = options;
  const peerUrl = peerUrlOf(address, peerPort);
  const clientUrl = `https://127.0.0.1:${clientPort}`;
  const file = (name: keyof typeof files) => join(runDirectory, files[name]);
  const tls = (prefix: string) => [
    `--${prefix}cert-file=${file("certificate")}`,
    `--${prefix}key-file=${file("key")}`,
    `--${prefix}trusted-ca-file=${file("root")}`,
    `--${prefix}client-cert-auth=true`,
  ];
  const lasting = [
    `--name=${nodeId}`,
    `--data-dir=${dataDirectory}`,
    `--listen-peer-urls=${peerUrl}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    ...tls(""),
    ...tls("peer-"),
    // Behind NAT a member comes from another address than it listens at. Who has a certificate of this CA is a manager.
    "--experimental-peer-skip-client-san-verification=true",
    "--pre-vote=true", // a member that was cut off does not unseat the leader when it is back
    "--strict-reconfig-check=true",
    "--auto-compaction-mode=periodic",
    "--auto-compaction-retention=1h",
    `--quota-backend-bytes=${4096 * megabyte}`,
    "--enable-v2=false",
    "--logger=zap",
    "--log-level=warn",
    ...limits,
  ];
  return { lasting, beginning: [`--initial-advertise-peer-urls=${peerUrl}`, ...beginningFlags(options, peerUrl)] };
}

function beginningFlags({ nodeId, beginning }: EtcdOptions, peerUrl: string): string[] {
  const members =
    beginning.kind === "join"
      ? beginning.members.flatMap(({ name, peerUrls }) => peerUrls.map((url) => `${name || nodeId}=${url}`))
      : [`${nodeId}=${peerUrl}`];
  return [
    `--initial-cluster=${members.join(",")}`,
    `--initial-cluster-state=${beginning.kind === "join" ? "existing" : "new"}`,
    ...(beginning.kind === "new" ? [`--initial-cluster-token=${beginning.token}`, ...hurry] : []),
    ...(beginning.kind === "force-new" ? ["--force-new-cluster=true"] : []),
  ];
}
