import { z } from "zod";
import { invalid, notImplemented } from "../../lib/errors.ts";
import type { AuthorityRoot, ClusterSpec } from "../../model/cluster.ts";
import { count, only, text, textMap } from "../schemas.ts";
import { duration, milliseconds } from "./duration.ts";

const externalAuthority = only({ Protocol: text, URL: text, Options: textMap, CACert: text });

/** `CAConfig` of a swarm's spec. */
export const authorityConfig = only({
  NodeCertExpiry: duration,
  ExternalCAs: z.array(externalAuthority.nullish()).nullish(),
  SigningCACert: text,
  SigningCAKey: text,
  ForceRotate: count,
});
type AuthorityConfig = z.infer<typeof authorityConfig>;

const hour = 3_600_000; // milliseconds

/** @throws {EngineError} invalid, with Docker's texts: certificates hold for one hour at least, 90 days unless told */
export function readCertificates(config: AuthorityConfig): ClusterSpec["certificates"] {
  const nodeExpiry = milliseconds("CAConfig.NodeCertExpiry", config.NodeCertExpiry) || 2160 * hour;
  if (nodeExpiry < hour) throw invalid("minimum certificate expiry time is: 1h0m0s");
  const external = (config.ExternalCAs ?? []).filter((one) => one !== null && one !== undefined);
  return {
    nodeExpiry,
    externalAuthorities: external.map(readExternalAuthority),
    forceRotate: config.ForceRotate ?? 0,
  };
}

function readExternalAuthority({ Protocol, URL, Options, CACert }: z.infer<typeof externalAuthority>) {
  const protocol = Protocol?.toLowerCase();
  if (protocol !== "cfssl") throw invalid(`invalid protocol: ${JSON.stringify(Protocol ?? "")}`);
  return { protocol, url: URL ?? "", options: Options ?? {}, certificate: CACert ?? "" };
}

/**
 * The root that the user brings, if any. What Docker's `GET /swarm` shows of a spec has neither certificate nor key.
 * @throws {EngineError} invalid for a key alone, with swarmkit's text (manager/controlapi/ca_rotation.go);
 *   not-implemented for a certificate alone
 */
export function readSigningRoot({ SigningCACert: certificate, SigningCAKey: key }: AuthorityConfig) {
  if (!certificate && !key) return undefined;
  if (!certificate) throw invalid("if a signing CA key is provided, the signing CA cert must also be provided");
  if (!key) throw notImplemented("a signing CA cert needs its key: CAs outside of the swarm do not sign for it yet");
  return { certificate, key } satisfies AuthorityRoot;
}
