import { type NetworkSpec, plainSpec } from "../model/network.ts";
import { wayOutNetwork } from "./attachments.ts";
import { EngineError } from "../lib/errors.ts";
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
  const isThere = () => parts.store.snapshot().get("names", `network|${wayOutNetwork}`) !== undefined;
  if (isThere()) return;
  try {
    await createNetwork(parts, spec, {});
  } catch (error) {
    // Somebody else has made it meanwhile: a container, the ingress sandbox, or the user.
    if (!(error instanceof EngineError && error.class === "conflict" && isThere())) throw error;
  }
}
