import type { Route } from "../router.ts";
import { connectNetwork, disconnectNetwork } from "./connect.ts";
import { createNetwork } from "./create.ts";
import { inspectNetwork, listNetworks } from "./list.ts";
import { pruneNetworks, removeNetwork } from "./remove.ts";

export const networkRoutes: readonly Route[] = [
  { method: "GET", path: "/networks", handler: listNetworks },
  { method: "GET", path: "/networks/{id...}", handler: inspectNetwork },
  { method: "POST", path: "/networks/create", handler: createNetwork },
  { method: "POST", path: "/networks/prune", handler: pruneNetworks },
  { method: "POST", path: "/networks/{id...}/connect", handler: connectNetwork },
  { method: "POST", path: "/networks/{id...}/disconnect", handler: disconnectNetwork },
  { method: "DELETE", path: "/networks/{id...}", handler: removeNetwork },
];
