/**
 * One side of a measurement between two namespaces, run inside one of them:
 *   node bench/load.ts serve
 *   node bench/load.ts stream|turns ADDRESS      prints bytes or turns a second
 */
import { connect, createServer } from "node:net";

const port = { stream: 7001, turns: 7002 } as const;
const duration = 1000; // milliseconds

function serve(): void {
  createServer((socket) => socket.on("error", () => socket.destroy()).resume()).listen(port.stream, "0.0.0.0");
  createServer((socket) =>
    socket
      .setNoDelay()
      .on("error", () => socket.destroy())
      .pipe(socket),
  ).listen(port.turns, "0.0.0.0", () => console.log("ready"));
}

function stream(address: string): void {
  const block = Buffer.alloc(1 << 20);
  const socket = connect(port.stream, address, () => {
    const end = Date.now() + duration;
    const more = () => {
      while (Date.now() < end) if (!socket.write(block)) return void socket.once("drain", more);
      console.log(socket.bytesWritten / (duration / 1000));
      socket.destroy();
    };
    more();
  });
}

function turns(address: string): void {
  const socket = connect(port.turns, address, () => {
    const end = Date.now() + duration;
    let count = 0;
    socket.setNoDelay().on("data", () => {
      count += 1;
      if (Date.now() < end) return void socket.write("x");
      console.log(count / (duration / 1000));
      socket.destroy();
    });
    socket.write("x");
  });
}

const [mode, address = ""] = process.argv.slice(2);
if (mode === "serve") serve();
else if (mode === "stream") stream(address);
else turns(address);
