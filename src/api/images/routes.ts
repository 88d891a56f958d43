import { refused } from "../refused.ts";
import type { Route } from "../router.ts";
import { loadImages, saveImage, saveImages } from "./archive.ts";
import { login, pruneImages, pushImage, removeImage, tagImage } from "./change.ts";
import { createImage } from "./create.ts";
import { inspectDistribution } from "./distribution.ts";
import { imageHistory, inspectImage, listImages } from "./list.ts";

export const imageRoutes: readonly Route[] = [
  { method: "GET", path: "/images/json", handler: listImages },
  {
    method: "GET",
    path: "/images/search",
    handler: refused("searching a registry is not supported: use the registry's own page"),
  },
  { method: "GET", path: "/images/get", handler: saveImages },
  { method: "GET", path: "/images/{name...}/get", handler: saveImage },
  { method: "GET", path: "/images/{name...}/history", handler: imageHistory },
  { method: "GET", path: "/images/{name...}/json", handler: inspectImage },
  { method: "POST", path: "/images/create", handler: createImage },
  { method: "POST", path: "/images/load", handler: loadImages },
  { method: "POST", path: "/images/prune", handler: pruneImages },
  { method: "POST", path: "/images/{name...}/push", handler: pushImage },
  { method: "POST", path: "/images/{name...}/tag", handler: tagImage },
  { method: "DELETE", path: "/images/{name...}", handler: removeImage },
  { method: "GET", path: "/distribution/{name...}/json", handler: inspectDistribution },
  { method: "POST", path: "/auth", handler: login },
];
