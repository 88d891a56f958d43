import { notFound, notImplemented } from "../lib/errors.ts";
import { type Handler, json } from "./call.ts";
import { param } from "./query.ts";
import type { Route } from "./router.ts";

/** A handler that says 501 and why. */
export const refused =
  (reason: string): Handler =>
  () => {
    throw notImplemented(reason);
  };
const noPlugin: Handler = (call) => {
  throw notFound(`plugin "${param(call, "name")}" not found`);
};

const noBuild = "building images is not supported: build with docker buildx or another builder, then load the result";
const noPlugins = "plugins are not supported: network drivers are part of tombolod";

/** Operations of Docker that are answered, though not carried out. */
export const refusedRoutes: readonly Route[] = [
  { method: "POST", path: "/build", handler: refused(noBuild) },
  {
    method: "POST",
    path: "/build/prune",
    handler: () => json({ CachesDeleted: null, SpaceReclaimed: 0 }), // nothing is built, so nothing is cached
  },
  { method: "POST", path: "/build/cancel", handler: refused(noBuild) },
  { method: "POST", path: "/session", handler: refused(noBuild) },
  { method: "POST", path: "/grpc", handler: refused(noBuild) },
  { method: "POST", path: "/commit", handler: refused("making an image from a container is not supported") },
  { method: "GET", path: "/plugins", handler: () => json([]) },
  { method: "GET", path: "/plugins/{name...}/json", handler: noPlugin },
  { method: "GET", path: "/plugins/privileges", handler: refused(noPlugins) },
  { method: "POST", path: "/plugins/{name...}", handler: refused(noPlugins) },
  { method: "DELETE", path: "/plugins/{name...}", handler: noPlugin },
];
