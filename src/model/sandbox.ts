import type { ContainerId, EndpointId, IpAddress, SandboxId } from "./ids.ts";

export interface DnsConfig {
  /** Where queries for unknown names go, in order. */
  readonly servers: readonly IpAddress[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** The sandbox without a container in which published ports of services come in, one on each host of a swarm: its id. */
export const ingressSandbox: SandboxId = "ingress_sbox";

/** The network namespace of one running container, on this host only. Its namespace file is `netnsDir/<id>`. */
export interface Sandbox {
  readonly id: SandboxId;
  readonly containerId: ContainerId;
  /** Endpoints that own the IPv4 and IPv6 default routes. */
  readonly gateway4?: EndpointId;
  readonly gateway6?: EndpointId;
  /** True when 127.0.0.11 answers inside (any user-defined network). */
  readonly resolver: boolean;
  readonly dns: DnsConfig;
  /** `--sysctl net.*`, set inside the namespace before the first interface. */
  readonly sysctls: Readonly<Record<string, string>>;
}
