/**
 * In a host's network: for each line `URL COUNT` on standard input, asks there again and again until so many different answers have
 * come, and prints a line then; one more at the beginning, when it is ready. `node bench/answers.ts`
 */
import { get } from "node:http";
import { createInterface } from "node:readline";

const pause = 10; // milliseconds
const patience = 1000;

/** Over a connection of its own. Resolves to undefined when there is no answer. */
const ask = (url: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const sent = get(url, { agent: false, timeout: patience }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.once("end", () => resolve(response.statusCode === 200 ? text : undefined));
    });
    sent.once("timeout", () => sent.destroy()).once("error", () => resolve(undefined));
  });

console.log(0);
for await (const line of createInterface({ input: process.stdin })) {
  const [url = "", count] = line.split(" ");
  const found = new Set<string>();
  while (found.size < Number(count)) {
    const answer = await ask(url);
    if (answer === undefined) await new Promise((resolve) => setTimeout(resolve, pause));
    else found.add(answer);
  }
  console.log(found.size);
}
