/**
 * Runs every tier of tests, or those that are named, and ends with one summary. A tier without tests, and a test that was
 * skipped, count as failed: a test that cannot run proves nothing.
 *
 *   node tools/test.ts [types|lint|format|unit|kernel|docker]...
 */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";

interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}
interface Tier {
  readonly name: string;
  readonly run: () => Promise<Result>;
}
const patience = 20 * 60_000; // milliseconds for one tier

/** Runs a program and passes on what it prints. @returns all of it */
function run(command: string, args: readonly string[]): Promise<{ status: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], timeout: patience });
    let output = "";
    const take = (chunk: Buffer) => {
      output += chunk.toString();
      process.stdout.write(chunk);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("close", (status) => resolve({ status: status ?? 1, output }));
  });
}

const tool = (name: string, command: string, ...args: string[]): Tier => ({
  name,
  async run() {
    const { status } = await run(command, args);
    return { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, skipped: 0 };
  },
});

const tests = (name: string, patterns: readonly string[], ...options: string[]): Tier => ({
  name,
  async run() {
    const files = patterns.flatMap((pattern) => globSync(pattern)).toSorted();
    if (files.length === 0) return { passed: 0, failed: 1, skipped: 0 };
    const { status, output } = await run(process.execPath, ["--test", "--test-reporter=spec", ...options, ...files]);
    const count = (word: string) => Number(new RegExp(`^ℹ ${word} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
    const failed = count("fail") + count("cancelled");
    return {
      passed: count("pass"),
      failed: status === 0 ? failed : Math.max(failed, 1),
      skipped: count("skipped") + count("todo"),
    };
  },
});

const all: readonly Tier[] = [
  tool("types", "node_modules/.bin/tsc"),
  tool("lint", "node_modules/.bin/oxlint", "--type-aware", "--quiet"),
  tool("format", "node_modules/.bin/biome", "format", "."),
  tests("unit", ["src/**/*.test.ts", "test/*.test.ts"], "--test-concurrency=2"),
  tests("kernel", ["test/kernel/*.test.ts"], "--test-concurrency=1"),
  tests("docker", ["test/docker/*.test.ts"], "--test-concurrency=1"),
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !all.some((tier) => tier.name === name));
if (unknown.length > 0) {
  console.error(`no such tier: ${unknown.join(", ")}; there are ${all.map((tier) => tier.name).join(", ")}`);
  process.exit(2);
}
const lines: string[] = [];
const sum = { passed: 0, failed: 0, skipped: 0 };
for (const tier of all.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  console.log(`\n== ${tier.name}`);
  const begun = Date.now();
  const result = await tier.run();
  const seconds = ((Date.now() - begun) / 1000).toFixed(1);
  lines.push(`${tier.name.padEnd(8)} ${result.passed} passed, ${result.failed + result.skipped} failed, ${seconds} s`);
  for (const key of ["passed", "failed", "skipped"] as const) sum[key] += result[key];
}
const failed = sum.failed + sum.skipped;
console.log(
  `\n== summary\n${lines.join("\n")}\n# tests ${sum.passed + failed}\n# pass ${sum.passed}\n# fail ${failed}`,
);
process.exitCode = failed === 0 ? 0 : 1;
