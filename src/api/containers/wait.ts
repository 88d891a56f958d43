import type { WaitCondition } from "../../engine/engine.ts";
import { invalid } from "../../lib/errors.ts";
import { type Call, type Reply, stream } from "../call.ts";
import { param } from "../query.ts";

const conditions: readonly string[] = ["not-running", "next-exit", "removed"] satisfies WaitCondition[];

/** `POST /containers/{name}/wait`: the headers go out as soon as the wait is registered, since clients start after that. */
export async function waitContainer(call: Call): Promise<Reply> {
  const condition = (call.version >= 30 && call.query.get("condition")) || "not-running";
  if (!conditions.includes(condition)) throw invalid(`invalid condition: "${condition}"`);
  const { done } = await call.engine.containers.wait(param(call, "name"), condition as WaitCondition);
  return stream("application/json", outcome(done, call.signal));
}

async function* outcome(
  done: Promise<{ readonly exitCode: number; readonly error: string }>,
  signal: AbortSignal,
): AsyncIterable<string> {
  const left = new Promise<undefined>((resolve) => signal.addEventListener("abort", () => resolve(undefined)));
  const end = await Promise.race([done, left]);
  if (end === undefined) return;
  const error = end.error === "" ? {} : { Error: { Message: end.error } };
  yield `${JSON.stringify({ StatusCode: end.exitCode, ...error })}\n`;
}
