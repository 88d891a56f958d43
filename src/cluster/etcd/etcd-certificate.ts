import { addressBytes } from "../../lib/address-bytes.ts";
import { invalid } from "../../lib/errors.ts";
import type { NodeId, Root } from "../../model/cluster.ts";
import { backdate } from "../identity/certificate.ts";
import { readRequest } from "../identity/csr.ts";
import { isSwarmId, managerName } from "../identity/names.ts";
import { issuerKeyExtension, nameOf, nodeExtensions, readIssuer, signCertificate } from "../identity/sign.ts";

/**
 * A member's certificate of etcd's own CA, for both of its ports and for the daemon beside it. etcd's members call each
 * other by address, so the address is in it; clients ask for the managers' name.
 * It holds as long as its CA: who could take its key
 * from a manager's disk finds the CA's there, too.
 * @param address where the member listens for the others
 * @returns PEM
 * @throws {CertificateRequestError}
 * @throws {EngineError} invalid for an id that is none
 */
export function issueMember(
  root: Root,
  csr: string,
  { nodeId, address }: { readonly nodeId: NodeId; readonly address: string },
  now = Date.now(),
): string {
  if (!isSwarmId(nodeId)) throw invalid("an id must have 25 base-36 digits");
  const publicKey = readRequest(csr);
  const issuer = readIssuer(root.certificate);
  const addresses = [...new Set([address, "127.0.0.1"])].map(addressBytes);
  const content = {
    issuer: issuer.name,
    subject: nameOf(["CN", nodeId]),
    from: now - backdate,
    to: issuer.to,
    publicKey,
    extensions: [...nodeExtensions([managerName], addresses), issuerKeyExtension(issuer.keyId)],
  };
  return signCertificate(content, root.key);
}
