/** Docker's error classes (moby errdefs), each with its HTTP status in `api/errors.ts`. */
export type ErrorClass =
  | "not-found"
  | "invalid"
  | "conflict"
  | "forbidden"
  | "unavailable"
  | "not-implemented"
  | "not-modified"
  | "unauthorized"
  | "system";

/** An error whose text is meant for the user, word for word as Docker says it where Docker says it. */
export class EngineError extends Error {
  override readonly name = "EngineError";
  readonly class: ErrorClass;
  constructor(errorClass: ErrorClass, message: string, options?: ErrorOptions) {
    super(message, options);
    this.class = errorClass;
  }
}
export const notFound = (message: string) => new EngineError("not-found", message);
export const invalid = (message: string) => new EngineError("invalid", message);
export const conflict = (message: string) => new EngineError("conflict", message);
export const forbidden = (message: string) => new EngineError("forbidden", message);
export const unavailable = (message: string) => new EngineError("unavailable", message);
/** True for what may go when it is asked for again. */
export const isUnavailable = (error: unknown): error is EngineError =>
  error instanceof EngineError && error.class === "unavailable";
export const notImplemented = (message: string) => new EngineError("not-implemented", message);
/** The classes of gRPC's codes (moby daemon/server/httpstatus). */
const classes = {
  InvalidArgument: "invalid",
  FailedPrecondition: "invalid",
  NotFound: "not-found",
  AlreadyExists: "conflict",
  PermissionDenied: "forbidden",
  Unimplemented: "not-implemented",
  Unknown: "system",
} as const satisfies Readonly<Record<string, ErrorClass>>;
/** What swarmkit refuses, as Docker shows it. */
export const rpcError = (code: keyof typeof classes, message: string) =>
  new EngineError(classes[code], `rpc error: code = ${code} desc = ${message}`);

export const system = (message: string, cause?: unknown) =>
  new EngineError("system", message, cause === undefined ? undefined : { cause });
