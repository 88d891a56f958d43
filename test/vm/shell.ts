/**
 * Shells in a lane: `node test/vm/shell.ts [HOSTS]` boots hosts and asks where. `exit` ends a shell and asks again; Ctrl-D at
 * the question ends the lane. With `tombolod` as the second argument, each host runs it.
 */
import { createInterface } from "node:readline/promises";
import { Lane } from "./lane.ts";
import type { Station } from "./station.ts";
import { TomboloHost } from "./tombolo.ts";

/** A shell on a terminal of that place, joined to this one, until it ends. */
async function shell(station: Station): Promise<void> {
  const { stdin, stdout } = process;
  const size = `stty rows ${stdout.rows ?? 24} cols ${stdout.columns ?? 80}`;
  const job = station.spawn(["script", "-qec", `${size}; exec bash --norc`, "/dev/null"], {
    input: "open",
    env: { TERM: process.env.TERM ?? "dumb", PS1: `${station.name}:\\w# `, ...TomboloHost.env },
  });
  job.onOutput((_, data) => stdout.write(data));
  const typed = (data: Buffer) => job.write(data);
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on("data", typed).resume();
  try {
    await job.ended;
  } finally {
    stdin.off("data", typed).pause();
    if (stdin.isTTY) stdin.setRawMode(false);
  }
}

const [count = "1", daemon] = process.argv.slice(2);
await using lane = await Lane.start({ hosts: Number(count) });
if (daemon === "tombolod") await TomboloHost.start(lane);
const places = new Map([...lane.hosts, lane.segment].map((station) => [station.name, station]));
for (;;) {
  const question = createInterface({ input: process.stdin, output: process.stdout });
  const ended = new Promise<undefined>((resolve) => question.once("close", () => resolve(undefined)));
  const answer = await Promise.race([question.question(`${[...places.keys()].join(", ")}? `), ended]);
  question.close();
  if (answer === undefined) break;
  const station = places.get(answer.trim());
  if (station !== undefined) await shell(station);
}
