import type { Route } from "../router.ts";
import { createVolume, inspectVolume, listVolumes, pruneVolumes, removeVolume } from "./volumes.ts";

export const volumeRoutes: readonly Route[] = [
  { method: "GET", path: "/volumes", handler: listVolumes },
  { method: "GET", path: "/volumes/{name...}", handler: inspectVolume },
  { method: "POST", path: "/volumes/create", handler: createVolume },
  { method: "POST", path: "/volumes/prune", handler: pruneVolumes },
  { method: "DELETE", path: "/volumes/{name...}", handler: removeVolume },
];
