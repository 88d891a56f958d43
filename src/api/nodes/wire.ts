import type { z } from "zod";
import type { NodeDetail } from "../../engine/engine.ts";
import { notImplemented } from "../../lib/errors.ts";
import type { ClusterNode } from "../../model/cluster.ts";
import { only, text, textMap } from "../schemas.ts";
import { metaJson, tlsJson } from "../swarm/inspect.ts";
import { readAvailability, word } from "../swarm/words.ts";

/** Body of `POST /nodes/{id}/update`. */
export const nodeSpecBody = only({ Name: text, Labels: textMap, Role: text, Availability: text });

/**
 * The whole spec of a node.
 * @throws {EngineError} invalid, for a role or an availability that is none; not-implemented for a name
 */
export function readNodeSpec(
  body: z.infer<typeof nodeSpecBody>,
): Pick<ClusterNode, "role" | "availability" | "labels"> {
  if (body.Name) throw notImplemented("naming a node is not supported: it has the name of its host");
  return {
    role: word("Role", ["worker", "manager"], body.Role ?? ""),
    availability: readAvailability(body.Availability ?? ""),
    labels: body.Labels ?? {},
  };
}

/** A node as list and inspect show it (fields in Docker's order; what a node does not tell is left out, as there). */
export function nodeJson({ node, tls }: NodeDetail): object {
  return {
    ID: node.id,
    ...metaJson(node),
    Spec: { Labels: node.labels, Role: node.role, Availability: node.availability },
    Description: {
      Hostname: node.hostname,
      Platform: { Architecture: node.platform.architecture, OS: node.platform.os },
      Resources: { NanoCPUs: node.resources.nanoCpus, MemoryBytes: node.resources.memoryBytes },
      Engine: {
        EngineVersion: node.engineVersion,
        ...(Object.keys(node.engineLabels).length > 0 && { Labels: node.engineLabels }),
        Plugins: node.drivers.map(({ type, name }) => ({ Type: type, Name: name })),
      },
      TLSInfo: tlsJson(tls),
    },
    Status: statusJson(node.status),
    ...(node.manager && { ManagerStatus: managerJson(node.manager) }),
  };
}

const statusJson = ({ state, message, address }: ClusterNode["status"]) => ({
  State: state,
  ...(message && { Message: message }),
  ...(address && { Addr: address }),
});

const managerJson = ({ leader, reachability, address }: NonNullable<ClusterNode["manager"]>) => ({
  ...(leader && { Leader: true }),
  Reachability: reachability,
  Addr: address,
});
