import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { invalid } from "../lib/errors.ts";
import { HttpError } from "./errors.ts";

const largest = 4 << 20; // bytes; the largest create request seen in the wild is a few hundred KiB
const deepest = 128;

/**
 * The JSON document of a request, checked. Without a body the schema sees an empty object.
 * @throws {EngineError} invalid, with Docker's texts (moby api/server/httputils ReadJSON)
 * @throws {HttpError} 413 beyond `most` bytes
 */
export async function readBody<S extends z.ZodType>(
  request: IncomingMessage,
  schema: S,
  most = largest,
): Promise<z.output<S>> {
  checkType(request);
  const text = (await readAll(request, most)).toString("utf8");
  if (text === "" && !hasBody(request)) return check(schema, {});
  if (text.trim() === "") throw invalid("invalid JSON: got EOF while reading request body");
  return check(schema, parse(text));
}

/** True when the request announces a body. */
export const hasBody = (request: IncomingMessage) =>
  request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0;

function checkType(request: IncomingMessage): void {
  const type = request.headers["content-type"] ?? "";
  if (type === "" && !hasBody(request)) return;
  const media = (type.split(";", 1)[0] ?? "").trim().toLowerCase();
  if (!/^[^\s/]+\/[^\s/]+$/.test(media)) throw invalid(`malformed Content-Type header (${type})`);
  if (media !== "application/json")
    throw invalid(`unsupported Content-Type header (${type}): must be 'application/json'`);
}

async function readAll(request: IncomingMessage, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > most) throw new HttpError(413, `request body is larger than ${most} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

function parse(text: string): unknown {
  const end = endOfDocument(text);
  try {
    const value: unknown = JSON.parse(end === undefined ? text : text.slice(0, end));
    if (end !== undefined && text.slice(end).trim() !== "") throw invalid("unexpected content after JSON");
    return value ?? {};
  } catch (error) {
    if (error instanceof SyntaxError) throw invalid(`invalid JSON: ${error.message}`);
    throw error;
  }
}

/** Where the first object or array ends; undefined when it does not. @throws {EngineError} invalid when nested too deep */
function endOfDocument(text: string): number | undefined {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (quoted) {
      if (c === "\\") at += 1;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "{" || c === "[") {
      depth += 1;
      if (depth > deepest) throw invalid("invalid JSON: exceeded max depth");
    } else if (c === "}" || c === "]") {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return undefined;
}

function check<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const place = issue?.path.join(".") || "document";
  if (issue?.code === "custom") throw invalid(`${place} ${issue.message}`);
  throw invalid(`invalid JSON: ${place}: ${issue?.message ?? "not as expected"}`);
}
