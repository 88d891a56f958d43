import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { setTimeout as sleep } from "node:timers/promises";
import { code, type ContainerdClient, hasCode } from "./containerd/client.ts";
import { OptionsSchema } from "./containerd/gen/runc_pb.ts";
import { TaskExitSchema, TaskOOMSchema } from "./containerd/gen/task_events_pb.ts";
import type { ExitEvent } from "./runtime.ts";

/** Types of containerd's Any values that hold JSON. */
const ociTypes = "types.containerd.io/opencontainers/runtime-spec/1";
export const json = (type: "Spec" | "Process" | "LinuxResources", value: object) => ({
  typeUrl: `${ociTypes}/${type}`,
  value: Buffer.from(JSON.stringify(value)),
});
export const runc = {
  name: "io.containerd.runc.v2",
  options: {
    typeUrl: "containerd.runc.v1.Options",
    value: toBinary(OptionsSchema, create(OptionsSchema, { binaryName: "runc" })),
  },
};

/** Of a process that never ran containerd gives Go's zero time, in the year 1: it ended just now. */
export const timeText = (time: Timestamp | undefined) =>
  (time === undefined || time.seconds <= 0n ? new Date() : timestampDate(time)).toISOString();

/** Follows containerd's task events, also across its restarts. */
export class TaskEvents {
  readonly #client: ContainerdClient;
  readonly #onExit: (event: ExitEvent) => void;
  readonly #onReconnect: () => void;
  readonly #onError: (error: unknown) => void;
  readonly #outOfMemory = new Set<string>();
  #stream: { cancel(): void } | undefined;
  #stopped = false;

  constructor(
    client: ContainerdClient,
    onExit: (event: ExitEvent) => void,
    onReconnect: () => void,
    onError: (error: unknown) => void,
  ) {
    this.#client = client;
    this.#onExit = onExit;
    this.#onReconnect = onReconnect;
    this.#onError = onError;
  }

  start(): void {
    void this.#follow();
  }
  stop(): void {
    this.#stopped = true;
    this.#stream?.cancel();
  }

  async #follow(): Promise<void> {
    for (let first = true; !this.#stopped; first = false) {
      const filters = ["exit", "oom"].map((topic) => `namespace==${this.#client.namespace},topic=="/tasks/${topic}"`);
      const stream = this.#client.events.subscribe({ filters });
      this.#stream = stream;
      try {
        if (!first) {
          await this.#client.version.version({}, { deadline: 1000 });
          this.#onReconnect();
        }
        for await (const { event } of stream) if (event !== undefined) this.#read(event.typeUrl, event.value);
      } catch (error) {
        if (!hasCode(error, code.unavailable, code.cancelled)) this.#onError(error);
      }
      stream.cancel();
      await sleep(100);
    }
  }

  #read(typeUrl: string, value: Uint8Array): void {
    if (typeUrl.endsWith("TaskOOM")) this.#outOfMemory.add(fromBinary(TaskOOMSchema, value).containerId);
    if (!typeUrl.endsWith("TaskExit")) return;
    const { containerId, id, exitStatus, exitedAt } = fromBinary(TaskExitSchema, value);
    const own = id === containerId;
    const oomKilled = own && this.#outOfMemory.delete(containerId);
    this.#onExit({
      containerId,
      ...(!own && { execId: id }),
      exitCode: exitStatus,
      exitedAt: timeText(exitedAt),
      oomKilled,
    });
  }
}
