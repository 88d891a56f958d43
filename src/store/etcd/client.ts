import { isIPv6 } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { type CallOptions, type ServiceOf, serviceOf } from "../../lib/grpc.ts";
import { Cluster, KV, Lease, Maintenance, Watch } from "./gen/rpc_pb.ts";

export interface EtcdAddress {
  /** IP address and port: `192.0.2.1:2379`, `[2001:db8::1]:2379`. Or one DNS name and port. */
  readonly endpoints: readonly string[];
  /** Without it, in clear. */
  readonly tls?: {
    /** PEM. */
    readonly ca: string;
    readonly cert: string;
    readonly key: string;
    /** A DNS name in the certificate of every member; absent: each has the one that it is called by. */
    readonly serverName?: string;
  };
}

export interface EtcdClient {
  readonly kv: ServiceOf<typeof KV>;
  readonly watch: ServiceOf<typeof Watch>;
  readonly lease: ServiceOf<typeof Lease>;
  readonly cluster: ServiceOf<typeof Cluster>;
  readonly maintenance: ServiceOf<typeof Maintenance>;
  close(): void;
}

/**
 * etcd's gRPC API. Calls go to the members in turn; those that do not answer are left out until they do.
 * It connects when it is first used. What concerns one member (`maintenance`) needs a client of that member alone.
 */
export function createEtcdClient({ endpoints, tls }: EtcdAddress): EtcdClient {
  const credentials =
    tls === undefined
      ? grpc.credentials.createInsecure()
      : grpc.credentials.createSsl(Buffer.from(tls.ca), Buffer.from(tls.key), Buffer.from(tls.cert));
  const channel = new grpc.Client(targetOf(endpoints), credentials, {
    ...(tls?.serverName !== undefined && {
      "grpc.ssl_target_name_override": tls.serverName,
      "grpc.default_authority": tls.serverName,
    }),
    // Not more often: etcd ends connections that ask more than every 5 s (--grpc-keepalive-min-time).
    "grpc.keepalive_time_ms": 5000,
    "grpc.keepalive_timeout_ms": 2000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.max_receive_message_length": -1, // a watch that catches up gets up to 1000 transactions at once
    // etcd says itself what can be tried again, and a second attempt of the library's would not be seen here.
    "grpc.enable_retries": 0,
    "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // One pool for each client: a client of one member must not use another one's connection.
    "grpc.use_local_subchannel_pool": 1,
  });
  // With `hasleader`, a member that is cut off from the others ends a stream in place of going silent.
  const streamed = ({}: CallOptions = {}) => ({ hasleader: "true" });
  return {
    kv: serviceOf(channel, KV),
    watch: serviceOf(channel, Watch, streamed),
    lease: serviceOf(channel, Lease),
    cluster: serviceOf(channel, Cluster),
    maintenance: serviceOf(channel, Maintenance),
    close: () => channel.close(),
  };
}

/** github.com/grpc/grpc, doc/naming.md: a list is of addresses of one family. */
function targetOf(endpoints: readonly string[]): string {
  const hosts = endpoints.map((endpoint) => endpoint.slice(0, endpoint.lastIndexOf(":")).replace(/^\[|\]$/g, ""));
  if (hosts.every((host) => isIPv6(host))) return `ipv6:${endpoints.join(",")}`;
  if (hosts.every((host) => /^[\d.]+$/.test(host))) return `ipv4:${endpoints.join(",")}`;
  if (endpoints.length === 1) return `dns:///${endpoints[0]}`;
  throw new TypeError(`endpoints are IP addresses of one family, or one name: ${endpoints.join(", ")}`);
}
