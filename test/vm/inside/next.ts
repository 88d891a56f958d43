import type { Socket } from "node:net";

const patience = 20_000; // milliseconds

/** What comes next on a connection: a line, or how it ended. */
export function next(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    const done = (text: string) => {
      for (const event of ["data", "end", "error"]) socket.removeAllListeners(event);
      socket.on("error", () => {});
      resolve(text);
    };
    socket.once("data", (data: Buffer) => done(data.toString().trim()));
    socket.once("end", () => done("end"));
    socket.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? "error"));
    setTimeout(done, patience, "silence").unref();
  });
}
