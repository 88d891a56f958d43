import { refused } from "../refused.ts";
import type { Route } from "../router.ts";
import { exportContainer, readArchive, statArchive, writeArchive } from "./archive.ts";
import { attachContainer } from "./attach.ts";
import { createContainer } from "./create.ts";
import { inspectContainer } from "./inspect.ts";
import { listContainers } from "./list.ts";
import { streamLogs } from "./logs.ts";
import { streamStats } from "./stats.ts";
import { showTop } from "./top.ts";
import { updateContainer } from "./update.ts";
import {
  killContainer,
  pauseContainer,
  pruneContainers,
  removeContainer,
  renameContainer,
  resizeContainer,
  restartContainer,
  startContainer,
  stopContainer,
  unpauseContainer,
} from "./verbs.ts";
import { waitContainer } from "./wait.ts";

const noChanges = refused("the changes of a container's file system are not kept track of");
const noSocket = refused("attaching over a WebSocket is not supported: use POST with Upgrade: tcp");

export const containerRoutes: readonly Route[] = [
  { method: "GET", path: "/containers/json", handler: listContainers },
  { method: "POST", path: "/containers/create", handler: createContainer },
  { method: "POST", path: "/containers/prune", handler: pruneContainers },
  { method: "GET", path: "/containers/{name}/json", handler: inspectContainer },
  { method: "GET", path: "/containers/{name}/top", handler: showTop },
  { method: "GET", path: "/containers/{name}/logs", handler: streamLogs },
  { method: "GET", path: "/containers/{name}/stats", handler: streamStats },
  { method: "GET", path: "/containers/{name}/changes", handler: noChanges },
  { method: "GET", path: "/containers/{name}/export", handler: exportContainer },
  { method: "GET", path: "/containers/{name}/attach/ws", handler: noSocket },
  { method: "GET", path: "/containers/{name}/archive", handler: readArchive },
  { method: "HEAD", path: "/containers/{name}/archive", handler: statArchive },
  { method: "PUT", path: "/containers/{name}/archive", handler: writeArchive },
  { method: "POST", path: "/containers/{name}/start", handler: startContainer },
  { method: "POST", path: "/containers/{name}/stop", handler: stopContainer },
  { method: "POST", path: "/containers/{name}/restart", handler: restartContainer },
  { method: "POST", path: "/containers/{name}/kill", handler: killContainer },
  { method: "POST", path: "/containers/{name}/pause", handler: pauseContainer },
  { method: "POST", path: "/containers/{name}/unpause", handler: unpauseContainer },
  { method: "POST", path: "/containers/{name}/rename", handler: renameContainer },
  { method: "POST", path: "/containers/{name}/update", handler: updateContainer },
  { method: "POST", path: "/containers/{name}/resize", handler: resizeContainer },
  { method: "POST", path: "/containers/{name}/wait", handler: waitContainer },
  { method: "POST", path: "/containers/{name}/attach", handler: attachContainer, upgrade: true },
  { method: "DELETE", path: "/containers/{name}", handler: removeContainer },
];
