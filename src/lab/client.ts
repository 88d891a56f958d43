import { createReadStream } from "node:fs";
import { request } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { LabError } from "./command.ts";

/** What a daemon said. */
export interface Reply {
  readonly status: number;
  /** JSON, or nothing. */
  readonly answer: string;
}

/** One call at a daemon's socket. @param body a stream, or what goes as JSON @throws when nobody answers */
export async function ask(socketPath: string, method: string, path: string, body?: object): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  const isStream = body instanceof Readable;
  const headers = { host: "tombolo", ...(body !== undefined && !isStream && { "Content-Type": "application/json" }) };
  const sent = request({ socketPath, path, method, headers }, (response) => {
    void text(response).then((answer) => resolve({ status: response.statusCode ?? 0, answer }), reject);
  });
  sent.on("error", reject);
  if (isStream) void pipeline(body, sent).catch(reject);
  else sent.end(body && JSON.stringify(body));
  return promise;
}

/** @returns the answer's body @throws when nobody answers; {LabError} on another status than 200 */
async function call(socketPath: string, method: string, path: string, body?: object): Promise<string> {
  const { status, answer } = await ask(socketPath, method, path, body);
  if (status === 200) return answer;
  throw new LabError(`${method} ${path}: ${messageIn(answer) ?? `status ${status}`}`);
}

const messageIn = (answer: string): string | undefined => {
  try {
    return (JSON.parse(answer) as { message?: string }).message;
  } catch {
    return undefined;
  }
};

/** Whether a daemon answers there. */
export const answers = (socket: string): Promise<boolean> =>
  call(socket, "GET", "/_ping").then(
    () => true,
    () => false,
  );

/** What the daemon's audit finds: one object a difference. */
export const audit = async (socket: string): Promise<unknown[]> =>
  JSON.parse(await call(socket, "GET", "/tombolo/audit")) as unknown[];

/** Loads images from a `docker save` archive. @throws {LabError} when the daemon cannot read it */
export async function loadImage(socket: string, archive: string): Promise<void> {
  const lines = await call(socket, "POST", "/images/load?quiet=1", createReadStream(archive));
  const failure = /"error":"((?:[^"\\]|\\.)*)"/.exec(lines)?.[1];
  if (failure !== undefined) throw new LabError(`${archive}: ${failure}`);
}
