import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { beginProgram, endProgram, findProgram, keepLooking, type LastingProgram } from "./lasting-program.ts";

const directory = mkdtempSync(join(tmpdir(), "tombolo-lasting-"));
const made: LastingProgram[] = [];
after(async () => {
  for (const program of made) await endProgram(program, 0);
  rmSync(directory, { recursive: true });
});

function program(name: string): LastingProgram {
  const path = (ending: string) => join(directory, `${name}.${ending}`);
  const one = { pidfile: path("pid"), logFile: path("log"), marks: [path("mark")] };
  made.push(one);
  return one;
}
const shell = (one: LastingProgram, script: string) => beginProgram(one, ["sh", "-c", script, ...one.marks]);

it("is found by its process id and its marks, and ends when it is asked to", async () => {
  const one = program("one");
  assert.equal(findProgram(one), undefined);
  const ended = shell(one, "echo here; while :; do sleep 0.05; done");
  assert.equal(findProgram(one)?.pid, Number(readFileSync(one.pidfile, "utf8")));
  assert.equal(findProgram({ ...one, marks: ["--of-another"] }), undefined);
  await endProgram(one, 5000);
  assert.equal(await ended, `it ended with SIGTERM; see ${one.logFile}`);
  assert.equal(findProgram(one), undefined);
  assert.ok(!existsSync(one.pidfile));
});

it("is ended when it does not want to", async () => {
  const one = program("two");
  const ended = shell(one, "trap '' TERM; echo on; while :; do sleep 0.05; done");
  while (readFileSync(one.logFile, "utf8") === "") await sleep(10);
  await endProgram(one, 100);
  assert.match(await ended, /SIGKILL/);
});

it("leaves a process alone that has the id of one that ended", async () => {
  const one = program("three");
  writeFileSync(one.pidfile, `${process.pid}\n`);
  await endProgram(one, 0);
  assert.ok(!existsSync(one.pidfile));
});

it("says why it ended, or could not be started", async () => {
  const one = program("four");
  assert.match(await shell(one, "exit 7"), /^it ended with status 7; see /);
  assert.match(await beginProgram(one, [join(directory, "no-such-program")]), /ENOENT/);
});

it("is looked after until the signal, whatever a look says", async () => {
  const end = new AbortController();
  const failures: unknown[] = [];
  let looks = 0;
  const look = async () => {
    looks += 1;
    if (looks === 1) throw new Error("not yet");
    end.abort();
  };
  await keepLooking(look, (error) => failures.push(error), end.signal);
  assert.deepEqual([looks, failures.length], [2, 1]);
});
