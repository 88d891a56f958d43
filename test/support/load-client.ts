import { connect } from "node:net";

/** Requests that somebody makes, each over a connection of its own. */
export interface LoadWish {
  /** Asked by turns. */
  readonly targets: readonly { readonly address: string; readonly port: number }[];
  /** Requests a second, however long the answers take. */
  readonly rate: number;
}
export interface Failure {
  /** Milliseconds since 1970 when it was begun, and how many passed until it failed. */
  readonly at: number;
  readonly took: number;
  readonly target: string;
  readonly cause: string;
}
export interface LoadResult {
  readonly sent: number;
  readonly failures: readonly Failure[];
  /** Milliseconds that requests took: of the middle one, of one in a hundred, and of the slowest. */
  readonly took: { readonly p50: number; readonly p99: number; readonly most: number };
  /** Requests a second that were made. */
  readonly rate: number;
}
const tick = 5; // milliseconds
const patience = 60_000; // milliseconds for one answer: on a busy machine some are asked for many times

/** @returns why there is no whole answer; undefined when there is one */
function ask({ address, port }: LoadWish["targets"][number]): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = "";
    let isConnected = false;
    const socket = connect({ host: address, port }, () => {
      isConnected = true;
      socket.write("GET / HTTP/1.0\r\n\r\n");
    });
    const end = (cause: string | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(cause && `${cause} ${isConnected ? `after ${text.length} bytes` : "for the connection"}`);
    };
    const timer = setTimeout(() => end("silence"), patience);
    socket.on("data", (data) => (text += data.toString()));
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    socket.on("end", () => end(/^HTTP\/1\.. 200 [^]*\r\n\r\n./.test(text) ? undefined : "no answer"));
  });
}

/** Asks until its input ends, then prints what came of it as JSON. */
async function main({ targets, rate }: LoadWish): Promise<void> {
  const failures: Failure[] = [];
  const times: number[] = [];
  const running = new Set<Promise<void>>();
  const began = performance.now();
  let sent = 0;

  async function one(target: LoadWish["targets"][number]): Promise<void> {
    const [at, start] = [Date.now(), performance.now()];
    const cause = await ask(target);
    const took = Math.round(performance.now() - start);
    times.push(took);
    if (cause !== undefined) failures.push({ at, took, target: `${target.address}:${target.port}`, cause });
  }
  function more(): void {
    for (const due = ((performance.now() - began) * rate) / 1000; sent < due; sent += 1) {
      const target = targets[sent % targets.length];
      if (target === undefined) return;
      const request = one(target).finally(() => running.delete(request));
      running.add(request);
    }
  }
  const timer = setInterval(more, tick);
  for await (const _ of process.stdin);
  clearInterval(timer);
  const seconds = (performance.now() - began) / 1000;
  await Promise.all(running);
  times.sort((a, b) => a - b);
  const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? 0;
  const took = { p50: at(0.5), p99: at(0.99), most: at(1) };
  console.log(JSON.stringify({ sent, failures, took, rate: Math.round(sent / seconds) } satisfies LoadResult));
}

await main(JSON.parse(process.argv[2] ?? "") as LoadWish);
