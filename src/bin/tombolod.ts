import { readFileSync } from "node:fs";
import { pino } from "pino";
import { ConfigError, readConfig } from "../daemon/config.ts";
import { startDaemon } from "../daemon/daemon.ts";
import { EngineError } from "../lib/errors.ts";
import { StoreError } from "../store/store.ts";

const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/** Mistakes that the user can mend are said in one line; others with their stack. */
function fail(error: unknown): never {
  const known = error instanceof ConfigError || error instanceof StoreError || error instanceof EngineError;
  console.error(known ? `tombolod: ${error.message}` : error);
  process.exit(1);
}

try {
  const config = readConfig(process.argv.slice(2), manifest.version);
  if (config !== undefined) {
    const log = pino({ name: "tombolod", level: config.logLevel }, pino.destination({ fd: 2, sync: false }));
    const daemon = await startDaemon(config, manifest.version, log);
    const stop = () => void daemon.stop().then(() => process.exit(0), fail);
    process.once("SIGTERM", stop);
    process.once("SIGINT", stop);
    process.on("SIGHUP", () => log.info({}, "SIGHUP: settings are read at start only"));
  }
} catch (error) {
  fail(error);
}
