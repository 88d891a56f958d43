import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { chainOf, identityOf, readCertificates } from "./certificate.ts";
import type { Identity, SwarmId } from "./names.ts";

/** What reading a peer needs of a socket. */
export type PeerSocket = Pick<TLSSocket, "authorized" | "getPeerX509Certificate">;

interface Verified {
  readonly identity: Identity;
  /** While every certificate of its chain is valid, milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
}

/**
 * Tells who is at the other end of a TLS connection, by the roots of one trust bundle. A new bundle is a new `Peers`: a
 * connection that the old one has let in is then checked again.
 */
export class Peers {
  readonly #roots: readonly X509Certificate[];
  readonly #clusterId: SwarmId;
  readonly #known = new WeakMap<PeerSocket, Verified>();

  /** @param bundle PEM @param clusterId a root that the user brings may be that of two swarms: the other's nodes are nobody */
  constructor(bundle: string, clusterId: SwarmId) {
    this.#roots = readCertificates(bundle);
    this.#clusterId = clusterId;
  }

  /**
   * @param now milliseconds since 1970; to be asked at every call, since a connection outlives its certificate
   * @returns undefined when the peer showed no certificate, or one that is another swarm's, not of the bundle, or not valid now
   */
  read(socket: PeerSocket, now = Date.now()): Identity | undefined {
    // TLS has checked that the peer holds the key; with `rejectUnauthorized: false` it lets anybody in and says it here.
    if (!socket.authorized) return undefined;
    const verified = this.#known.get(socket) ?? this.#verify(socket.getPeerX509Certificate());
    if (verified === undefined) return undefined;
    this.#known.set(socket, verified);
    return verified.from <= now && now <= verified.to ? verified.identity : undefined;
  }

  #verify(certificate: X509Certificate | undefined): Verified | undefined {
    const identity = certificate && identityOf(certificate);
    if (certificate === undefined || identity?.clusterId !== this.#clusterId) return undefined;
    const sent = certificate.issuerCertificate;
    const chain = chainOf(certificate, sent === undefined ? [] : [sent], this.#roots);
    if (chain === undefined) return undefined;
    const from = Math.max(...chain.map((c) => c.validFromDate.getTime()));
    return { identity, from, to: Math.min(...chain.map((c) => c.validToDate.getTime())) };
  }
}
