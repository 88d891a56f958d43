import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createContainerdClient, snapshotter } from "./containerd/client.ts";
import { createMemoryFiles } from "./files/memory-files.ts";
import { createImages } from "./images/images.ts";
import { LoggerClient } from "./logs/logger-client.ts";
import { ContainerProcesses } from "./processes.ts";
import type { Runtime } from "./runtime.ts";
import { containerdProgram, type Program, supervise } from "./supervisor.ts";
import { TaskEvents } from "./tasks.ts";

export interface RuntimeOptions {
  readonly dataRoot: string;
  readonly execRoot: string;
  /** A containerd that somebody else runs; absent means one of our own. */
  readonly containerdSocket?: string;
  /** containerd's namespace for what is ours. */
  readonly namespace: string;
  readonly insecureRegistries: readonly string[];
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
}

/** Containers and images through containerd, started here or elsewhere. */
export function createRuntime(options: RuntimeOptions): Runtime {
  const { dataRoot, execRoot, namespace, log } = options;
  const reconnected = new Set<() => void>();
  const own = options.containerdSocket === undefined ? containerdProgram(dataRoot, execRoot) : undefined;
  const socket = options.containerdSocket ?? own?.socket ?? "";
  const containerd = own && supervise(own, log, () => {});
  const client = createContainerdClient(socket, namespace);
  const loggerProgram = loggerOf(execRoot);
  const logger = new LoggerClient(loggerProgram.socket);
  const images = createImages({ client, dataRoot, log, insecureRegistries: options.insecureRegistries });
  const processes = new ContainerProcesses({ client, logger, images: images.store, dataRoot, execRoot });
  const failed = (what: string) => (err: unknown) => log.error({ err }, what);
  // Both may have been away: who comes back last finds the other one there.
  const takeUpLogs = () => void processes.reopenLogs().catch(failed("logs were not taken up again"));
  const loggerSupervised = supervise(loggerProgram, log, takeUpLogs);
  const events = new TaskEvents(
    client,
    (event) => void processes.ended(event).catch(failed("an exit was not followed up")),
    () => {
      takeUpLogs();
      reconnected.forEach((listener) => listener());
    },
    failed("containerd's events were not read"),
  );
  return {
    images,
    processes,
    memoryFiles: createMemoryFiles(join(execRoot, "memory")),
    async start() {
      await Promise.all([containerd?.start(), loggerSupervised.start()]);
      events.start();
      await processes.takeUpExecs();
      await images.recover();
      await processes.reopenLogs();
    },
    async stop({ end }) {
      events.stop();
      await Promise.all([containerd?.stop({ end }), loggerSupervised.stop({ end })]);
      logger.close();
      client.close();
    },
    async versions() {
      const [{ version, revision }, runc] = await Promise.all([client.version.version({}), runcVersion]);
      return { containerd: version, containerdCommit: revision, runc };
    },
    async leftOvers(wanted) {
      const found = new Set((await processes.list()).map((f) => f.id));
      const layers = new Set<string>();
      for await (const { info } of client.snapshots.list({ snapshotter })) for (const i of info) layers.add(i.name);
      return [
        ...[...found]
          .filter((id) => !wanted.has(id))
          .map((id) => ({ what: "left over" as const, key: `containers/${id}` })),
        ...[...wanted]
          .filter((id) => !layers.has(id))
          .map((id) => ({ what: "missing" as const, key: `snapshots/${id}` })),
        ...(await images.leftOvers()).map((key) => ({ what: "left over" as const, key })),
      ];
    },
    onReconnect(listener) {
      reconnected.add(listener);
      return () => reconnected.delete(listener);
    },
  };
}

/** Asked once, at start: no call waits for a child process. */
const runcVersion: Promise<string> = promisify(execFile)("runc", ["--version"]).then(
  ({ stdout }) => /version (\S+)/.exec(stdout)?.[1] ?? "",
  () => "",
);

function loggerOf(execRoot: string): Program {
  const socket = join(execRoot, "logger.sock");
  const script = fileURLToPath(new URL("../bin/tombolo-logger.ts", import.meta.url));
  return {
    name: "tombolo-logger",
    socket,
    pidfile: join(execRoot, "logger.pid"),
    command: [process.execPath, "--max-semi-space-size=1", "--max-old-space-size=64", script, socket],
    logFile: join(execRoot, "logger.log"),
  };
}
