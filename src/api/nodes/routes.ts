import type { Route } from "../router.ts";
import { inspectNode, listNodes, removeNode, updateNode } from "./nodes.ts";

export const nodeRoutes: readonly Route[] = [
  { method: "GET", path: "/nodes", handler: listNodes },
  { method: "GET", path: "/nodes/{id}", handler: inspectNode },
  { method: "POST", path: "/nodes/{id}/update", handler: updateNode },
  { method: "DELETE", path: "/nodes/{id}", handler: removeNode },
];
