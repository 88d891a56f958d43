import { rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { FifoReader } from "../runtime/logs/fifo-reader.ts";
import { JsonFile } from "../runtime/logs/json-file.ts";
import {
  lineReader,
  type LoggerReply,
  type LoggerRequest,
  outputFrame,
  type StreamName,
} from "../runtime/logs/protocol.ts";

/*
 * Holds the reading ends of all containers' output, so that logs go on while the daemon is away. One process for all
 * containers of a daemon; the daemon starts it and finds it again by its socket.
 */
interface Source {
  readonly readers: readonly FifoReader[];
  readonly log: JsonFile;
}
const sources = new Map<string, Source>();
const followers = new Map<string, Set<Socket>>();

function pass(id: string, stream: StreamName, data: Buffer): void {
  const source = sources.get(id);
  source?.log.write(stream, data);
  for (const follower of followers.get(id) ?? []) {
    if (follower.write(outputFrame(stream, data))) continue;
    // Who follows slowly slows the container down, as with Docker: nothing is lost.
    for (const reader of source?.readers ?? []) reader.pause();
    const go = () => sources.get(id)?.readers.forEach((reader) => reader.resume());
    follower.once("drain", go).once("close", go);
  }
}

function open({ id, stdout, stderr, log }: Extract<LoggerRequest, { verb: "open" }>): void {
  release(id);
  const file = new JsonFile(log);
  const readers = [new FifoReader(stdout, (data) => pass(id, "stdout", data))];
  if (stderr !== undefined) readers.push(new FifoReader(stderr, (data) => pass(id, "stderr", data)));
  sources.set(id, { readers, log: file });
}

/** Reads what is left, and lets go. Followers stay: they may have come before the next start. */
function release(id: string): void {
  const source = sources.get(id);
  for (const reader of source?.readers ?? []) reader.drain();
  source?.log.close();
  sources.delete(id);
}

function close(id: string): void {
  release(id);
  for (const follower of followers.get(id) ?? []) follower.end();
  followers.delete(id);
}

function follow(id: string, connection: Socket): void {
  const all = followers.get(id) ?? new Set();
  followers.set(id, all.add(connection));
  connection.on("close", () => all.delete(connection));
}

function carryOut(request: LoggerRequest, connection: Socket): LoggerReply {
  if (request.verb === "list") return { ids: [...sources.keys()] };
  const held = sources.has(request.id);
  if (request.verb === "open") open(request);
  else if (request.verb === "close") close(request.id);
  else follow(request.id, connection);
  return { ids: held ? [request.id] : [] };
}

const socket = process.argv[2] ?? "";
process.umask(0o077);
const server = createServer((connection) => {
  connection.on("error", () => connection.destroy());
  connection.on(
    "data",
    lineReader((line) => {
      let reply: LoggerReply;
      try {
        reply = carryOut(JSON.parse(line) as LoggerRequest, connection);
      } catch (error) {
        reply = { error: (error as Error).message };
      }
      connection.write(`${JSON.stringify(reply)}\n`);
    }),
  );
});
server.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
rmSync(socket, { force: true });
server.listen(socket);
process.on("SIGHUP", () => {}); // its starter's terminal is not its own
