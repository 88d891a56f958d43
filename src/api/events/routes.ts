import type { Route } from "../router.ts";
import { streamEvents } from "./events.ts";

export const eventRoutes: readonly Route[] = [{ method: "GET", path: "/events", handler: streamEvents }];
