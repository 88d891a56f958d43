import { closeSync } from "node:fs";
import type { NamespaceName, VethLink } from "../../model/plan.ts";
import { KernelError } from "../kernel.ts";
import { getLink, getNamespaceId, type LinkInfo, readLink, readNamespaceId } from "../netlink/links.ts";
import type { Realm, Realms } from "../realms.ts";

export type Peer = VethLink["peer"];
const nowhere: Peer = { namespace: "host", name: "", mac: "" };

/** Opens a namespace's file for `body`. */
export function withNamespace<R>(realms: Realms, namespace: NamespaceName, body: (fd: number) => R): R {
  const fd = realms.namespaces.open(namespace);
  try {
    return body(fd);
  } finally {
    closeSync(fd);
  }
}

/** True when the far end of `link` is the one named. */
export function hasPeer(realms: Realms, namespace: NamespaceName, link: LinkInfo, wished: Peer): boolean {
  const realm = realms.get(namespace);
  if (link.peer === undefined || realms.namespaces.identity(wished.namespace) === undefined) return false;
  const { index, namespaceId } = link.peer;
  const wishedId = wished.namespace === namespace ? undefined : numberOf(realms, realm, wished.namespace);
  return namespaceId === wishedId && readPeer(realm, wished.namespace, index, namespaceId).name === wished.name;
}

/** Reads the far end of a veth. @param wished where it should be: looked there first, all others need not be asked */
export type PeerReader = (link: LinkInfo, wished: NamespaceName | undefined) => Peer;

/** A far end in no namespace that we know has no name. */
export function peerReader(realms: Realms, namespace: NamespaceName, realm: Realm): PeerReader {
  let byNumber: Map<number, NamespaceName> | undefined;
  const isThere = (wished: NamespaceName, number: number) =>
    byNumber === undefined &&
    realms.namespaces.identity(wished) !== undefined &&
    numberOf(realms, realm, wished) === number;
  return ({ peer }, wished) => {
    if (peer === undefined) return nowhere;
    if (peer.namespaceId === undefined) return withPort(realm, readPeer(realm, namespace, peer.index));
    if (wished !== undefined && isThere(wished, peer.namespaceId))
      return readPeer(realm, wished, peer.index, peer.namespaceId);
    byNumber ??= numberedNamespaces(realms, realm);
    const there = byNumber.get(peer.namespaceId);
    return there === undefined ? nowhere : readPeer(realm, there, peer.index, peer.namespaceId);
  };
}

function readPeer(realm: Realm, namespace: NamespaceName, index: number, namespaceId?: number): Peer {
  try {
    const reply = realm.route.exchange(getLink({ index }, namespaceId))[0];
    if (reply === undefined) return nowhere;
    const { name, mac } = readLink(reply.body);
    return { namespace, name, mac };
  } catch (error) {
    // The namespace is just going.
    if (error instanceof KernelError && (error.code === "ENODEV" || error.code === "EINVAL")) return nowhere;
    throw error;
  }
}

/** A far end in the same namespace may be a port of ours, too. */
function withPort(realm: Realm, peer: Peer): Peer {
  const { master, port } = realm.link({ name: peer.name }) ?? {};
  const bridge = master === undefined ? undefined : realm.link({ index: master })?.name;
  return bridge === undefined || port === undefined ? peer : { ...peer, port: { bridge, ...port } };
}

/** The numbers by which links of this namespace name the others. */
function numberedNamespaces(realms: Realms, realm: Realm): Map<number, NamespaceName> {
  const others: NamespaceName[] = ["host", ...realms.namespaces.names()];
  return new Map(others.map((namespace) => [numberOf(realms, realm, namespace), namespace]));
}

/** True when what the link stands on is in that namespace, and the link itself is not. */
export const leadsTo = (realms: Realms, realm: Realm, { peer }: LinkInfo, namespace: NamespaceName): boolean =>
  peer?.namespaceId !== undefined &&
  realms.namespaces.identity(namespace) !== undefined &&
  numberOf(realms, realm, namespace) === peer.namespaceId;

/** -1 when no link leads from the one to the other. */
function numberOf(realms: Realms, realm: Realm, namespace: NamespaceName): number {
  const reply = withNamespace(realms, namespace, (fd) => realm.route.exchange(getNamespaceId(fd))[0]);
  return reply === undefined ? -1 : readNamespaceId(reply.body);
}
