import { EngineError } from "../lib/errors.ts";
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
  // What a snapshot does not have may be on its way to the disk; a transaction sees it, and waits until it is there.
  const isThere = async () =>
    (await parts.store.update((tx) => tx.get("names", `network|${wayOutNetwork}`) !== undefined)).result;
  if (await isThere()) return;
  try {
    await createNetwork(parts, spec, {});
  } catch (error) {
    // Somebody else has made it meanwhile: a container, the ingress sandbox, or the user.
    if (!(error instanceof EngineError && error.class === "conflict" && (await isThere()))) throw error;
  }
}
