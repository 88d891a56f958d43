import type { NamespaceName, PlanObject } from "../model/plan.ts";

/** The place of everything that stands on a link. */
export const onLink = (namespace: NamespaceName, link: string) => `${namespace}|on|${link}`;

/** Where an object is looked for: in its namespace, among its kind, by the name that events give it, and on its link. */
export function placesOf(object: PlanObject): string[] {
  const { kind, namespace } = object;
  const places = [namespace, `${namespace}|${kind}`, `${namespace}|${kind}|${eventName(object)}`];
  if (object.kind === "link" && object.type === "veth") {
    places.push(object.peer.namespace);
    if (object.peer.namespace === namespace) places.push(`${namespace}|link|${object.peer.name}`);
  }
  if (object.kind === "link" && object.type === "vxlan" && object.underlay !== undefined) places.push(object.underlay);
  if (object.kind === "link" && "parent" in object) places.push(onLink("host", object.parent));
  // The source of a route comes and goes with the addresses of a link.
  if (object.kind === "route" && object.sourceOf !== undefined) places.push(`${namespace}|address|${object.sourceOf}`);
  if ("link" in object && object.link !== undefined) places.push(onLink(namespace, object.link));
  if (object.kind === "sysctl") places.push(onLink(namespace, linkOfSysctl(object.key)));
  return [...new Set(places)];
}

/** The name by which a kernel event tells of an object. */
export function eventName(object: PlanObject): string {
  switch (object.kind) {
    case "namespace":
      return object.namespace;
    case "sysctl":
      // Two names of one switch, of which events have the other (net/ipv4/devinet.c).
      return object.key === "net.ipv4.ip_forward" ? "net.ipv4.conf.all.forwarding" : object.key;
    case "element":
      return object.set;
    case "rule":
      return String(object.priority);
    case "ipvs":
    case "destination":
      return String(object.mark);
    default:
      return "name" in object ? object.name : object.link;
  }
}

/** `net.ipv4.conf.br-0/1.route_localnet` is about `br-0.1`. */
export const linkOfSysctl = (key: string) => (key.split(".")[3] ?? "").replaceAll("/", ".");
