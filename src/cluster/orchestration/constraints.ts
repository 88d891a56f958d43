import { rpcError } from "../../lib/errors.ts";
import { contains, parseAddress, parseCidr } from "../../lib/net.ts";
import type { ClusterNode } from "../../model/cluster.ts";
import type { Placement } from "../../model/service.ts";

/** What a node must have, or must not have, for a task to be placed there. */
export interface Constraint {
  readonly key: string;
  readonly isEqual: boolean;
  readonly value: string;
}

const nodeLabels = "node.labels.";
const engineLabels = "engine.labels.";

/** What a node is asked by each key; keys are written in either case. */
const values: Readonly<Record<string, (node: ClusterNode) => string>> = {
  "node.id": ({ id }) => id,
  "node.hostname": ({ hostname }) => hostname,
  "node.ip": ({ status }) => status.address,
  "node.role": ({ role }) => role,
  "node.platform.os": ({ platform }) => platform.os,
  "node.platform.arch": ({ platform }) => platform.architecture,
};

/** How a key and a value are written (moby/swarmkit manager/constraint). */
const isKey = (text: string) => /^[a-z_][\w.-]+$/i.test(text);
const isValue = (text: string) => /^[\w\s:.*()?+[\]\\^$|/-]+$/.test(text);

/** Labels of nodes and engines have their own case, the words before them have not. */
const labelOf = (key: string, prefix: string) =>
  key.length > prefix.length && key.toLowerCase().startsWith(prefix) ? key.slice(prefix.length) : undefined;

/**
 * What a key says of a node, "" where it has nothing of the kind; also the keys that tasks are spread over.
 * @returns undefined when there is no such key
 */
export function readerOf(key: string): ((node: ClusterNode) => string) | undefined {
  const [ofNode, ofEngine] = [labelOf(key, nodeLabels), labelOf(key, engineLabels)];
  if (ofNode !== undefined) return ({ labels }) => labels[ofNode] ?? "";
  if (ofEngine !== undefined) return ({ engineLabels: labels }) => labels[ofEngine] ?? "";
  return values[key.toLowerCase()];
}

/**
 * Reads constraints as typed: `node.role==manager`, `node.labels.dc != east`.
 * @throws {EngineError} invalid, with Docker's text where it has one; a key that no node could ever satisfy is refused too
 */
export const parseConstraints = (texts: readonly string[]): Constraint[] => texts.map(parse);

/** Those of a service that is there: what can not be read, though it was when the service was made, is satisfied nowhere. */
export const constraintsOf = ({ constraints }: Placement): Constraint[] =>
  constraints.map((text) => {
    try {
      return parse(text);
    } catch {
      return { key: "", isEqual: true, value: text };
    }
  });

function parse(text: string): Constraint {
  const operator = ["==", "!="].find((one) => text.includes(one));
  if (operator === undefined) throw refused("constraint expected one operator from ==, !=");
  const at = text.indexOf(operator);
  const [key, value] = [text.slice(0, at).trim(), text.slice(at + operator.length).trim()];
  if (!isKey(key)) throw refused(`key '${key}' is invalid`);
  if (!isValue(value)) throw refused(`value '${value}' is invalid`);
  if (readerOf(key) === undefined)
    throw refused(
      `key '${key}' is unknown: ${[...Object.keys(values), `${nodeLabels}*`, `${engineLabels}*`].join(", ")}`,
    );
  if (isIp(key) && !isBlock(value)) throw refused(`value '${value}' is no address and no subnet`);
  return { key, isEqual: operator === "==", value };
}

const refused = (reason: string) => rpcError("InvalidArgument", reason);
const isIp = (key: string) => key.toLowerCase() === "node.ip";
const isBlock = (text: string) => parseAddress(text) !== undefined || parseCidr(text) !== undefined;

/** True when the node satisfies all of them. Values are compared without regard to case. */
export const satisfies = (node: ClusterNode, constraints: readonly Constraint[]): boolean =>
  constraints.every(({ key, isEqual, value }) => {
    const own = readerOf(key)?.(node);
    if (own === undefined) return false;
    return isEqual === (isIp(key) ? isWithin(own, value) : own.toLowerCase() === value.toLowerCase());
  });

function isWithin(text: string, block: string): boolean {
  const address = parseAddress(text);
  const one = parseAddress(block);
  if (address === undefined) return false;
  if (one !== undefined) return one.family === address.family && one.number === address.number;
  const subnet = parseCidr(block);
  return subnet !== undefined && contains(subnet, address);
}
