/**
 * `node bench/heap.ts`, in the network namespace of a process that was told to listen to a debugger (SIGUSR1): has its heap
 * collected and prints how much of it is used, in bytes.
 */
const targets = (await (await fetch("http://127.0.0.1:9229/json/list")).json()) as { webSocketDebuggerUrl: string }[];
const socket = new WebSocket(targets[0]?.webSocketDebuggerUrl ?? "");
await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));

function ask(method: string): Promise<unknown> {
  const answer = new Promise((resolve) =>
    socket.addEventListener("message", ({ data }) => resolve(JSON.parse(String(data)).result), { once: true }),
  );
  socket.send(JSON.stringify({ id: 1, method }));
  return answer;
}

for (let times = 0; times < 3; times += 1) await ask("HeapProfiler.collectGarbage");
console.log(((await ask("Runtime.getHeapUsage")) as { usedSize: number }).usedSize);
socket.close();
