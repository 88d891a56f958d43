import type { ContainerDetail } from "../../engine/engine.ts";
import type { ContainerState } from "../../model/container.ts";
import { humanDuration } from "../units.ts";

const zero = "0001-01-01T00:00:00Z";

/** `Up 3 seconds`, `Exited (0) 2 minutes ago`: the STATUS column of `docker ps`. `now` in milliseconds since 1970. */
export function statusText(state: ContainerState, now: number): string {
  const since = (time: string) => humanDuration(now - Date.parse(time));
  switch (state.status) {
    case "running":
      return `Up ${since(state.startedAt)}${healthText(state)}`;
    case "paused":
      return `Up ${since(state.startedAt)} (Paused)`;
    case "restarting":
      return `Restarting (${state.exitCode}) ${since(state.finishedAt)} ago`;
    case "dead":
      return "Dead";
    case "created":
      return "Created";
    case "exited":
      return state.finishedAt === zero ? "Created" : `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`;
  }
}

function healthText({ health }: ContainerState): string {
  if (health === undefined) return "";
  return health === "starting" ? " (health: starting)" : ` (${health})`;
}

/** The `State` of inspect (fields in Docker's order). A container that waits for its restart counts as running. */
export function stateJson(state: ContainerState, { failingStreak, log }: ContainerDetail["health"]): object {
  const { status, health } = state;
  return {
    Status: status,
    Running: status === "running" || status === "paused" || status === "restarting",
    Paused: status === "paused",
    Restarting: status === "restarting",
    OOMKilled: state.oomKilled,
    Dead: status === "dead",
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    ...(health !== undefined && {
      Health: {
        Status: health,
        FailingStreak: failingStreak,
        Log: log.map(({ start, end, exitCode, output }) => ({
          ...{ Start: start, End: end, ExitCode: exitCode, Output: output },
        })),
      },
    }),
  };
}
