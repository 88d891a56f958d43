import { EngineError, type ErrorClass } from "../lib/errors.ts";

const statuses: Readonly<Record<ErrorClass, number>> = {
  "not-found": 404,
  invalid: 400,
  conflict: 409,
  forbidden: 403,
  unavailable: 503,
  "not-implemented": 501,
  "not-modified": 304,
  unauthorized: 401,
  system: 500,
};

/** An answer that HTTP has a status for and the engine has no word for. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The HTTP status of an error, 304 to 503 (moby api/server/httpstatus); what nobody expected is 500. */
export function statusOf(error: unknown): number {
  if (error instanceof HttpError) return error.status;
  return error instanceof EngineError ? statuses[error.class] : 500;
}

/** The text for the user: never empty, as clients guess at an empty one. */
export const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)) || "unknown error";
