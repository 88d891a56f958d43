/**
 * One side of a measurement between two namespaces, run inside one of them:
 *   node bench/load.ts serve
 *   node bench/load.ts stream|turns|connections|requests ADDRESS      prints bytes, or how many, a second
 *   node bench/load.ts delays ADDRESS      prints JSON: milliseconds of each of some requests, sorted (`Delays`)
 */
import { Agent, createServer as createHttpServer, get } from "node:http";
import { connect, createServer } from "node:net";
import { type Delays, ports } from "./traffic.ts";

const duration = 1000; // milliseconds
const atOnce = 8; // connections
const samples = 1000;
const untimed = 100; // first requests, which find nothing compiled

function serve(): void {
  createServer((socket) => socket.on("error", () => socket.destroy()).resume()).listen(ports.stream, "0.0.0.0");
  createServer((socket) =>
    socket
      .setNoDelay()
      .on("error", () => socket.destroy())
      .pipe(socket),
  ).listen(ports.turns, "0.0.0.0");
  createServer((socket) => socket.on("error", () => socket.destroy()).write("x")).listen(ports.greeting, "0.0.0.0");
  createHttpServer((_, response) => response.end("x")).listen(ports.http, "0.0.0.0", () => console.log("ready"));
}

function stream(address: string): void {
  const block = Buffer.alloc(1 << 20);
  const socket = connect(ports.stream, address, () => {
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
  const socket = connect(ports.turns, address, () => {
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

/** A connection, until a byte has come; the reset leaves no port behind that waits. */
const greet = (address: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(ports.greeting, address).on("error", reject);
    socket.once("data", () => {
      socket.resetAndDestroy();
      resolve();
    });
  });

const ask = (address: string, agent: Agent): Promise<void> =>
  new Promise((resolve, reject) => {
    get({ host: address, port: ports.http, agent }, (response) => response.once("end", resolve).resume()).on(
      "error",
      reject,
    );
  });

/** Does it again and again, several at once, and prints how often a second. */
async function often(one: () => Promise<void>): Promise<void> {
  const end = Date.now() + duration;
  let count = 0;
  const again = async () => {
    for (; Date.now() < end; count += 1) await one();
  };
  await Promise.all(Array.from({ length: atOnce }, again));
  console.log(count / (duration / 1000));
}

/** @returns milliseconds, sorted */
async function times(one: () => Promise<void>): Promise<number[]> {
  const found: number[] = [];
  for (let count = 0; count < untimed + samples; count += 1) {
    const begun = performance.now();
    await one();
    found.push(performance.now() - begun);
  }
  return found.slice(untimed).toSorted((a, b) => a - b);
}

async function delays(address: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const found: Delays = { fresh: await times(() => greet(address)), kept: await times(() => ask(address, agent)) };
  agent.destroy();
  console.log(JSON.stringify(found));
}

async function requests(address: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
  await often(() => ask(address, agent));
  agent.destroy();
}

const modes: Readonly<Record<string, (address: string) => unknown>> = {
  serve,
  stream,
  turns,
  connections: (address) => often(() => greet(address)),
  requests,
  delays,
};
const [mode = "", address = ""] = process.argv.slice(2);
await modes[mode]?.(address);
