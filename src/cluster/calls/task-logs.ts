import type { TaskId } from "../../model/service.ts";

/** What is asked of a task's log. */
export interface TaskLogOptions {
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Milliseconds since 1970; 0: no bound. */
  readonly since: number;
  /** Lines from the end; absent: all. */
  readonly tail?: number;
}
export interface LoggedLine {
  readonly stream: "stdout" | "stderr";
  /** RFC 3339 with nanoseconds. */
  readonly time: string;
  readonly data: Uint8Array;
}
/** Reads what a task of this node has said. @throws {EngineError} not-found when the node has no such task */
export type ReadTaskLog = (
  task: TaskId,
  options: TaskLogOptions,
  signal: AbortSignal,
) => Promise<AsyncIterable<LoggedLine>>;
