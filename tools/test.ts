/**
 * Every tier of tests but `long`, or those named: `tools/test.ts types lint format unit kernel docker vm etcd hosts long`. One line a tier, the
 * output of what failed, and totals at the end. What is missing or skipped is a failure.
 */
import { spawn } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

interface Counts {
  readonly tests: number;
  readonly pass: number;
  readonly fail: number;
}
interface Outcome {
  readonly output: string;
  readonly status: number | string; // exit status, or why there is none
}
type Tier =
  | { readonly command: readonly string[] } // one check, one test
  | {
      readonly files: readonly string[];
      readonly alone: boolean;
      readonly minutes: number;
      /** It shares nothing with the others but the processors, of which it takes what they leave. */
      readonly beside?: true;
    };

type FileTier = Extract<Tier, { readonly files: unknown }>;

const tiers: Readonly<Record<string, Tier>> = {
  types: { command: ["tsc"] },
  lint: { command: ["oxlint", "--type-aware", "--quiet"] },
  format: { command: ["biome", "format", "."] },
  unit: { files: ["src/**/*.test.ts", "test/*.test.ts"], alone: false, minutes: 3 },
  kernel: { files: ["test/kernel/**/*.test.ts"], alone: true, minutes: 4 },
  docker: { files: ["test/docker/**/*.test.ts"], alone: true, minutes: 8 },
  vm: { files: ["test/vm/**/*.test.ts"], alone: true, minutes: 15, beside: true },
  etcd: { files: ["test/etcd/**/*.test.ts"], alone: true, minutes: 5, beside: true },
  hosts: { files: ["test/hosts/**/*.test.ts"], alone: true, minutes: 8 },
  long: { files: ["test/long/**/*.test.ts"], alone: true, minutes: 15 },
};

/** Minutes that are not spent on every change: `tools/test.ts long`. */
const byNameOnly = "long";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const scratch = mkdtempSync(join(tmpdir(), "tombolo-tests-"));
process.chdir(root);
const env = {
  ...process.env,
  PATH: [join(root, "node_modules/.bin"), process.env.PATH, "/usr/sbin", "/sbin"].join(delimiter),
  // Each file is a process of its own, and most load the same modules. bin/tombolod keeps its compiled code there, too.
  NODE_COMPILE_CACHE: join(root, "build/compile-cache"),
};
// A runner of tests that is run by another one would report to it.
delete (env as NodeJS.ProcessEnv).NODE_TEST_CONTEXT;

/** Runs a command to its end, at most `minutes`; then its process group is asked to end, and ended. */
function run(command: readonly string[], minutes: number): Promise<Outcome> {
  return new Promise((resolve) => {
    const [program = "", ...args] = command;
    const child = spawn(program, args, { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const chunks: Buffer[] = [];
    let late = false;
    const end = (signal: NodeJS.Signals) => child.pid !== undefined && process.kill(-child.pid, signal);
    const timers = [
      setTimeout(() => {
        late = true;
        end("SIGTERM");
      }, minutes * 60_000),
      setTimeout(() => end("SIGKILL"), minutes * 60_000 + 20_000),
    ];
    const done = (status: number | string) => {
      timers.forEach(clearTimeout);
      const reason = late ? `not done after ${minutes} minutes` : status;
      resolve({ output: Buffer.concat(chunks).toString(), status: reason });
    };
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", (error) => done(error.message));
    // Not "close": a daemon that a broken test left behind may hold the pipes open.
    child.on("exit", (code, signal) => setTimeout(done, 200, code ?? signal ?? "ended"));
  });
}

/** The totals that node's TAP reporter ends with; a file that ran no test, or skipped one, failed. */
function count(tap: string, status: Outcome["status"]): Counts {
  const total = (name: string) => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
  const tests = total("tests");
  const pass = total("pass");
  const broken = tests === 0 || (status !== 0 && pass === tests);
  return { tests: Math.max(tests, 1), pass: broken ? Math.max(pass - 1, 0) : pass, fail: broken ? 1 : tests - pass };
}

async function runFiles(name: string, files: readonly string[], { minutes, beside }: FileTier): Promise<Counts> {
  const tap = join(mkdtempSync(join(scratch, "run-")), "result.tap");
  const reporters = ["spec", "stdout", "tap", tap].map(
    (value, i) => `--test-reporter${i % 2 === 0 ? "" : "-destination"}=${value}`,
  );
  const command = ["node", "--test", "--test-isolation=none", ...reporters, ...files];
  const { output, status } = await run(beside ? ["nice", "-n", "19", ...command] : command, minutes);
  let text = "";
  try {
    text = readFileSync(tap, "utf8");
  } catch {} // it did not get that far, which count() says
  const counts = count(text, status);
  if (counts.fail > 0) console.log(`${output}\n${name} failed: ${status === 0 ? "see above" : `status ${status}`}\n`);
  return counts;
}

async function runTier(name: string, tier: Tier): Promise<Counts> {
  if ("command" in tier) {
    const { output, status } = await run(tier.command, 5);
    if (status !== 0) console.log(`${output}\n${name} failed: ${status}\n`);
    return status === 0 ? { tests: 1, pass: 1, fail: 0 } : { tests: 1, pass: 0, fail: 1 };
  }
  const files = globSync(tier.files as string[]).toSorted();
  if (files.length === 0) {
    console.log(`${name}: there is no test in ${tier.files.join(", ")}`);
    return { tests: 1, pass: 0, fail: 1 };
  }
  if (!tier.alone) {
    // Two processes: one waits for a clock or a socket while the other one computes.
    const halves = [0, 1].map((half) => files.filter((_, index) => index % 2 === half));
    const counts = await Promise.all(halves.flatMap((half) => (half.length > 0 ? runFiles(name, half, tier) : [])));
    return counts.reduce(add);
  }
  let sum: Counts = { tests: 0, pass: 0, fail: 0 };
  for (const file of files) {
    const started = performance.now();
    const counts = await runFiles(file, [file], tier);
    console.log(line(file, counts, performance.now() - started));
    sum = add(sum, counts);
  }
  return sum;
}

const add = (a: Counts, b: Counts): Counts => ({
  tests: a.tests + b.tests,
  pass: a.pass + b.pass,
  fail: a.fail + b.fail,
});
const line = (name: string, { tests, pass, fail }: Counts, ms: number) =>
  `${fail === 0 ? "ok    " : "not ok"} ${name.padEnd(36)} tests ${tests}, pass ${pass}, fail ${fail}, ${(ms / 1000).toFixed(1)} s`;

const names =
  process.argv.length > 2 ? process.argv.slice(2) : Object.keys(tiers).filter((name) => name !== byNameOnly);
const unknown = names.find((name) => !Object.hasOwn(tiers, name));
if (unknown !== undefined) {
  console.error(`no tier ${unknown}; there are ${Object.keys(tiers).join(", ")}`);
  process.exit(2);
}
const started = performance.now();
const lines: string[] = [];
let sum: Counts = { tests: 0, pass: 0, fail: 0 };
async function runNamed(name: string): Promise<void> {
  const begun = performance.now();
  const counts = await runTier(name, tiers[name] as Tier);
  lines.push(line(name, counts, performance.now() - begun));
  sum = add(sum, counts);
}
const isBeside = (name: string) => Object.hasOwn(tiers[name] as Tier, "beside");
const beside = names.filter(isBeside).map(runNamed);
for (const name of names.filter((one) => !isBeside(one))) {
  console.log(`== ${name}`);
  await runNamed(name);
}
await Promise.all(beside);
rmSync(scratch, { recursive: true, force: true });
console.log(`\n== summary\n${lines.join("\n")}`);
console.log(`# tests ${sum.tests}\n# pass ${sum.pass}\n# fail ${sum.fail}`);
console.log(`# duration_ms ${Math.round(performance.now() - started)}`);
process.exitCode = sum.fail === 0 ? 0 : 1;
