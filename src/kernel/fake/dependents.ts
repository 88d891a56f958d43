import type { IpvsObject, LinkObject, NamespaceName, PlanObject } from "../../model/plan.ts";

/** One end of a link. */
export interface End {
  readonly namespace: NamespaceName;
  readonly name: string;
  readonly mac?: string;
}
/** A veth has two. */
export const endsOf = (link: LinkObject): readonly End[] => (link.type === "veth" ? [link, link.peer] : [link]);

/** What is left of `object` when `gone` goes: itself, a port that has no bridge any more, or undefined. */
export function leftWithout(gone: PlanObject, object: PlanObject): PlanObject | undefined {
  if (gone.kind === "namespace") return isIn(gone.namespace, object) ? undefined : object;
  if (gone.kind === "ipvs") return isDestinationOf(gone, object) ? undefined : object;
  if (gone.kind !== "link") return object;
  if (endsOf(gone).some((end) => standsOn(end, object) || isParent(end, object))) return undefined;
  return leftWithoutBridge(gone, object);
}

const isDestinationOf = ({ namespace, family, mark }: IpvsObject, object: PlanObject) =>
  object.kind === "destination" && object.namespace === namespace && object.family === family && object.mark === mark;

const isParent = (end: End, object: PlanObject) =>
  object.kind === "link" && "parent" in object && end.namespace === "host" && object.parent === end.name;

const isIn = (namespace: NamespaceName, object: PlanObject) =>
  object.namespace === namespace ||
  (object.kind === "link" && endsOf(object).some((end) => end.namespace === namespace)) ||
  (object.kind === "link" && object.type === "vxlan" && object.underlay === namespace);

function leftWithoutBridge(gone: LinkObject, object: PlanObject): PlanObject {
  if (object.kind !== "link" || object.namespace !== gone.namespace) return object;
  if (object.type === "veth" && object.peer.port?.bridge === gone.name) {
    const { port: _, ...alone } = object.peer;
    return { ...object, peer: alone };
  }
  if (!("port" in object) || object.port?.bridge !== gone.name) return object;
  const { port: _, ...alone } = object;
  return alone;
}

/** True when the object is on that end of a link, or a sysctl of it. */
export function standsOn(end: End, object: PlanObject): boolean {
  if (object.namespace !== end.namespace) return false;
  if ("link" in object) return object.link === end.name;
  return object.kind === "sysctl" && object.key.includes(`.${end.name.replaceAll(".", "/")}.`);
}
