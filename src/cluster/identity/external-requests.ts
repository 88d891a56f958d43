import { X509Certificate } from "node:crypto";
import { dnsNamesOf } from "./authority.ts";
import { element, objectId, sequence, tag, toPem } from "./der.ts";
import { type Identity, unitOf } from "./names.ts";
import type { Root } from "../../model/cluster.ts";
import { authorityExtensions, readIssuer, signed } from "./sign.ts";

/** Of the cross certificate (moby/swarmkit ca/external.go, ExternalCrossSignProfile). */
const crossProfile = "CA";
const version = Buffer.from("020100", "hex");
const extensionRequest = "2a864886f70d01090e"; // RFC 2985 5.4.2
const attributesTag = 0xa0;
const constraints = { id: "2.5.29.19", hex: "551d13" } as const;

/** What a CA is told of a node, as swarmkit tells it (ca/certificates.go, PrepareCSR): all that its certificate says of who it is. */
export const nodeSignRequest = (csrPem: string, identity: Identity): object => ({
  certificate_request: csrPem,
  hosts: dnsNamesOf(identity),
  subject: { CN: identity.nodeId, names: [{ OU: unitOf[identity.role], O: identity.clusterId }] },
});

/**
 * What a CA is told of the root that follows it (ca/external.go, CrossSignRootCA). Its profile "CA" has to make a CA of it:
 * CFSSL over HTTP reads no extensions, others do.
 */
export function crossSignRequest(next: Root): object {
  const { extensions } = readIssuer(next.certificate);
  const value = extensions.get(constraints.hex)?.toString("hex") ?? "";
  return {
    certificate_request: authorityRequest(next),
    subject: subjectOf(next),
    profile: crossProfile,
    extensions: [{ id: constraints.id, critical: true, value }],
  };
}

function authorityRequest({ certificate, key }: Root): string {
  const { name, publicKey, keyId } = readIssuer(certificate);
  const wished = sequence(...authorityExtensions(keyId));
  const attribute = sequence(objectId(extensionRequest), element(tag.set, wished));
  const info = sequence(version, name, publicKey, element(attributesTag, attribute));
  return toPem(
    "CERTIFICATE REQUEST",
    signed(() => info, key),
  );
}

/** CFSSL knows these attributes of a name. What it leaves out is noticed by what comes back. */
function subjectOf({ certificate }: Root): object {
  // An attribute that is there twice is an array.
  const { CN = "", ...others } = new X509Certificate(certificate).toLegacyObject().subject as unknown as Readonly<
    Record<string, string | readonly string[]>
  >;
  const names = Object.entries(others).flatMap(([type, values]) => [values].flat().map((value) => ({ [type]: value })));
  return { CN: [CN].flat()[0], names };
}
