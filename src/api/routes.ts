import { containerRoutes } from "./containers/routes.ts";
import { eventRoutes } from "./events/routes.ts";
import { execRoutes } from "./exec/routes.ts";
import { imageRoutes } from "./images/routes.ts";
import { networkRoutes } from "./networks/routes.ts";
import { nodeRoutes } from "./nodes/routes.ts";
import { refusedRoutes } from "./refused.ts";
import type { Route } from "./router.ts";
import { contentRoutes } from "./secrets/routes.ts";
import { serviceRoutes } from "./services/routes.ts";
import { swarmRoutes } from "./swarm/routes.ts";
import { systemRoutes } from "./system/routes.ts";
import { taskRoutes } from "./tasks/tasks.ts";
import { volumeRoutes } from "./volumes/routes.ts";

/** Every operation that is answered; the first that fits wins. `docs/docker-api.md` lists the same. */
export const routes: readonly Route[] = [
  ...systemRoutes,
  ...eventRoutes,
  ...networkRoutes,
  ...containerRoutes,
  ...execRoutes,
  ...imageRoutes,
  ...volumeRoutes,
  ...swarmRoutes,
  ...nodeRoutes,
  ...serviceRoutes,
  ...taskRoutes,
  ...contentRoutes("secrets"),
  ...contentRoutes("configs"),
  ...refusedRoutes,
];
