/**
 * Runs commands for a lane: in a guest over its virtio port, which is the argument, and in the segment, which imports it.
 * It goes into the guest alone, as JavaScript: it may import types only.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createReadStream, createWriteStream, openSync } from "node:fs";
import { constants } from "node:os";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { Answer, Order } from "./messages.ts";

const silence = 200; // milliseconds

/** Carries out orders from `input` until it ends; answers go to `output`. */
export function serve(input: Readable, output: Writable): void {
  const jobs = new Map<number, ChildProcess>();
  const send = (answer: Answer) => output.write(`${JSON.stringify(answer)}\n`);
  createInterface({ input, crlfDelay: Infinity }).on("line", (line) => {
    const order = JSON.parse(line) as Order;
    const child = jobs.get(order.id);
    if ("command" in order) jobs.set(order.id, start(order, send));
    else if ("input" in order) child?.stdin?.write(Buffer.from(order.input, "base64"));
    else if ("endOfInput" in order) child?.stdin?.end();
    else if (child?.pid !== undefined) killGroup(child.pid, order.signal);
  });
  send({ ready: true });
}

function start(
  { id, command: [file = "", ...args], env }: Extract<Order, { readonly command: readonly string[] }>,
  send: (answer: Answer) => void,
): ChildProcess {
  // A group of its own: what the command started ends with it when it must be ended.
  const child = spawn(file, args, { detached: true, env: { ...process.env, ...env }, stdio: "pipe" });
  let status: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let told = false;
  const tell = () => {
    if (told) return;
    told = true;
    clearTimeout(timer);
    send({ id, status: status ?? 127 });
  };
  for (const stream of ["stdout", "stderr"] as const)
    child[stream].on("data", (data: Buffer) => {
      if (!told) send({ id, stream, data: data.toString("base64") });
      timer?.refresh();
    });
  child.stdin.on("error", () => {}); // it did not want it all
  child.on("error", (error) => {
    send({ id, stream: "stderr", data: Buffer.from(`${error.message}\n`).toString("base64") });
    tell();
  });
  child.on("exit", (code, signal) => {
    status = code ?? 128 + constants.signals[signal ?? "SIGKILL"];
    // A daemon that it started may hold the pipes open: then silence is the end of its output.
    timer = setTimeout(tell, silence);
  });
  child.on("close", tell);
  return child;
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {} // it has ended
}

if (import.meta.main) {
  const fd = openSync(process.argv[2] ?? "", "r+");
  serve(createReadStream("", { fd }), createWriteStream("", { fd }));
}
