import { invalid, notImplemented } from "../../lib/errors.ts";
import type { Subject } from "./authority.ts";

/** A CA outside of the swarm that signs in our place; the root's key is then nowhere in the swarm. */
export interface ExternalAuthority {
  /** @returns the certificate, PEM, which the caller checks against the subject */
  issue(csrPem: string, subject: Subject): Promise<string>;
}

/** As `--external-ca protocol=cfssl,url=https://…` gives it (docs.docker.com, docker swarm init). */
export interface ExternalAuthorityOptions {
  readonly protocol: string;
  readonly url: string;
}

/** @throws {EngineError} invalid for another protocol or a URL that is not https, not-implemented for cfssl itself */
export function openExternalAuthority({ protocol, url }: ExternalAuthorityOptions): ExternalAuthority {
  if (protocol.toLowerCase() !== "cfssl") throw invalid(`unrecognized external CA protocol ${protocol}`);
  if (URL.parse(url)?.protocol !== "https:") throw invalid("the external CA's url must be an https URL");
  throw notImplemented(
    "external CAs are not supported yet: give the root CA as PEM of certificate and key, or let the swarm make its own",
  );
}
