/**
 * In a container's network: for each address on standard input, knocks at a closed port of it until it answers, and prints how
 * long that took, in milliseconds. `node bench/reach.ts`
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";

const port = 9; // nobody listens: a refusal is an answer
const pause = 2; // milliseconds
const patience = 5000;

/** Resolves to true when the address answers at once. */
const knock = (address: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (answers: boolean) => {
      socket.destroy();
      resolve(answers);
    };
    socket.setTimeout(pause * 10, () => end(false));
    socket.once("error", ({ code }: NodeJS.ErrnoException) => end(code === "ECONNREFUSED"));
    socket.once("connect", () => end(true));
  });

for await (const address of createInterface({ input: process.stdin })) {
  const begun = performance.now();
  while (!(await knock(address)) && performance.now() - begun < patience)
    await new Promise((resolve) => setTimeout(resolve, pause));
  console.log(performance.now() - begun);
}
