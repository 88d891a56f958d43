import { createHash, randomBytes, timingSafeEqual, X509Certificate } from "node:crypto";
import { invalid, system } from "../../lib/errors.ts";
import { base36, fromBase36 } from "./names.ts";

/** What a join token says. The secret tells the role: worker and manager tokens of a swarm have one digest. */
export interface JoinToken {
  /** SHA-256 of the root CA's certificate (DER), 64 hex digits. */
  readonly digest: string;
  /** 25 base-36 digits: 128 bits. */
  readonly secret: string;
}

const form = /^SWMTKN-1-([0-9a-z]{50})-([0-9a-z]{25})$/;

/** @returns SHA-256 of the first certificate's DER, 64 hex digits @throws {Error} when it is no certificate */
export const digestOf = (certificatePem: string) =>
  createHash("sha256").update(new X509Certificate(certificatePem).raw).digest("hex");

/** @returns a new secret: rotating a token is taking another one */
export const newSecret = () => base36(randomBytes(16), 25);

/** `SWMTKN-1-<digest>-<secret>`, 85 characters (moby/swarmkit ca/config.go, GenerateJoinToken). */
export const formatToken = ({ digest, secret }: JoinToken) =>
  `SWMTKN-1-${base36(Buffer.from(digest, "hex"), 50)}-${secret}`;

/** @throws {EngineError} invalid, with Docker's text, which does not repeat the token */
export function parseToken(text: string): JoinToken {
  const [, digits = "", secret = ""] = form.exec(text) ?? [];
  const digest = fromBase36(digits, 32);
  if (digest === undefined || fromBase36(secret, 16) === undefined) throw invalid("invalid join token");
  return { digest: digest.toString("hex"), secret };
}

/** Compares in a time that depends on neither: digests of one length, whatever was sent. */
export const sameSecret = (a: string, b: string) => timingSafeEqual(sha256(a), sha256(b));
const sha256 = (text: string) => createHash("sha256").update(text).digest();

/**
 * Checks the root that a stranger offers, before anything is sent to it.
 * @param certificatePem one certificate: a second one behind the right one would be trusted unseen
 * @throws {EngineError} system, with swarmkit's text (ca/certificates.go, GetRemoteCA)
 */
export function checkFingerprint(certificatePem: string, digest: string): void {
  if (!isOnly(certificatePem, digest)) throw system(`remote CA does not match fingerprint. Expected: ${digest}`);
}

function isOnly(certificatePem: string, digest: string): boolean {
  try {
    return (certificatePem.match(/-----BEGIN /g) ?? []).length === 1 && digestOf(certificatePem) === digest;
  } catch {
    return false;
  }
}
