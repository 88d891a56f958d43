import type { Route } from "../router.ts";
import { backUpSwarm, restoreSwarm } from "./backup.ts";
import { initSwarm } from "./init.ts";
import { inspectSwarm } from "./inspect.ts";
import { rotateKeys } from "./keys.ts";
import { joinSwarm, leaveSwarm } from "./join.ts";
import { showUnlockKey, unlockSwarm } from "./unlock.ts";
import { updateSwarm } from "./update.ts";

export const swarmRoutes: readonly Route[] = [
  { method: "GET", path: "/swarm", handler: inspectSwarm },
  { method: "POST", path: "/swarm/init", handler: initSwarm },
  { method: "POST", path: "/swarm/join", handler: joinSwarm },
  { method: "POST", path: "/swarm/leave", handler: leaveSwarm },
  { method: "POST", path: "/swarm/update", handler: updateSwarm },
  { method: "GET", path: "/swarm/unlockkey", handler: showUnlockKey },
  { method: "POST", path: "/swarm/unlock", handler: unlockSwarm },
  { method: "POST", path: "/tombolo/swarm/rotate-keys", handler: rotateKeys },
  { method: "GET", path: "/tombolo/swarm/backup", handler: backUpSwarm },
  { method: "POST", path: "/tombolo/swarm/restore", handler: restoreSwarm },
];
