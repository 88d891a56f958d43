import { z } from "zod";
import { invalid } from "../../lib/errors.ts";
import { checkExpiry, type ClusterSpec, defaultExpiry, type TrustedRoot } from "../../model/cluster.ts";
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

/** @throws {EngineError} invalid, with Docker's texts: certificates hold for one hour at least, 90 days unless told */
export function readCertificates(config: AuthorityConfig): ClusterSpec["certificates"] {
  const nodeExpiry = milliseconds("CAConfig.NodeCertExpiry", config.NodeCertExpiry) || defaultExpiry;
  checkExpiry(nodeExpiry);
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
 * @throws {EngineError} invalid for a key alone, with swarmkit's text (manager/controlapi/ca_rotation.go)
 */
export function readSigningRoot(config: AuthorityConfig): TrustedRoot | undefined {
  const { SigningCACert: certificate, SigningCAKey: key } = config;
  if (!certificate && !key) return undefined;
  if (!certificate) throw invalid("if a signing CA key is provided, the signing CA cert must also be provided");
  return { certificate, ...(key && { key }) };
}
