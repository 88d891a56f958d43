import { type NetworkSpec, plainSpec } from "../model/network.ts";
import { wayOutNetwork } from "./attachments.ts";
import { createNetwork } from "./networks.ts";
import type { Parts } from "./parts.ts";

/** As Docker makes it (moby daemon/libnetwork/default_gateway_linux.go): containers on it do not reach each other. */
const spec: NetworkSpec = {
  ...plainSpec,
  name: wayOutNetwork,
  driver: "bridge",
  options: {
    "com.docker.network.bridge.enable_icc": "false",
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    "com.docker.network.bridge.name": wayOutNetwork,
  },
};

/** Makes `docker_gwbridge`, where the user has not made it. @throws {EngineError} as `createNetwork` */
export async function ensureWayOut(parts: Parts): Promise<void> {
  if (parts.store.snapshot().get("names", `network|${wayOutNetwork}`) !== undefined) return;
  await createNetwork(parts, spec, {});
}
