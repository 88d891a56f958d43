import { type Call, json, type Reply } from "../call.ts";
import type { Route } from "../router.ts";
import { showDiskUsage } from "./disk-usage.ts";
import { showInfo } from "./info.ts";
import { ping, showVersion } from "./ping.ts";

/** `GET /tombolo/audit`: what is not as it should be; Docker has no word for it. */
const audit = async ({ engine }: Call): Promise<Reply> => json(await engine.system.audit());

export const systemRoutes: readonly Route[] = [
  { method: "HEAD", path: "/_ping", handler: ping },
  { method: "GET", path: "/_ping", handler: ping },
  { method: "GET", path: "/version", handler: showVersion },
  { method: "GET", path: "/info", handler: showInfo },
  { method: "GET", path: "/system/df", handler: showDiskUsage },
  { method: "GET", path: "/tombolo/audit", handler: audit },
];
