import { EngineError, forbidden } from "../lib/errors.ts";
import type { NodeId } from "../model/cluster.ts";

const text = (node: NodeId) => `node ${node} was removed from the swarm`;

/** What managers say to a node that is none any more, whatever it asks for. */
export const removedNode = (node: NodeId, call?: string): EngineError =>
  forbidden(call === undefined ? text(node) : `${call}: ${text(node)}`);

/** True for that answer. Its code on the wire is that of other refusals, too, so the text is part of what hosts say to each other. */
export const saysRemoved = (error: unknown, node: NodeId): boolean =>
  error instanceof EngineError && error.class === "forbidden" && error.message.endsWith(text(node));
