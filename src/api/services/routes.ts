import type { Route } from "../router.ts";
import { streamServiceLogs } from "./logs.ts";
import { createService, inspectService, listServices, removeService, updateService } from "./services.ts";

export const serviceRoutes: readonly Route[] = [
  { method: "GET", path: "/services", handler: listServices },
  { method: "POST", path: "/services/create", handler: createService },
  { method: "GET", path: "/services/{id}", handler: inspectService },
  { method: "GET", path: "/services/{id}/logs", handler: streamServiceLogs },
  { method: "POST", path: "/services/{id}/update", handler: updateService },
  { method: "DELETE", path: "/services/{id}", handler: removeService },
];
