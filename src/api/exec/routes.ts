import type { Route } from "../router.ts";
import { createExec, inspectExec, resizeExec, startExec } from "./exec.ts";

export const execRoutes: readonly Route[] = [
  { method: "POST", path: "/containers/{name}/exec", handler: createExec },
  { method: "POST", path: "/exec/{id}/start", handler: startExec, upgrade: true },
  { method: "POST", path: "/exec/{id}/resize", handler: resizeExec },
  { method: "GET", path: "/exec/{id}/json", handler: inspectExec },
];
