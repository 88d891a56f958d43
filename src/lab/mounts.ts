import { readFileSync } from "node:fs";
import { run } from "./command.ts";

export interface Mount {
  readonly path: string;
  /** `nsfs` is a pinned namespace. */
  readonly type: string;
}

/** What is mounted at or under a directory, given without symbolic links; the innermost first. */
export function mountsUnder(directory: string): Mount[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n").slice(0, -1);
  return lines
    .map((line) => {
      const [before = "", after = ""] = line.split(" - ");
      return { path: unescape(before.split(" ")[4] ?? ""), type: after.split(" ")[0] ?? "" };
    })
    .filter(({ path }) => path === directory || path.startsWith(`${directory}/`))
    .toReversed();
}

/** proc_pid_mountinfo(5): space, tab, newline and backslash are written as octal numbers. */
const unescape = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Unmounts everything under a directory, also what is in use. */
export async function unmountUnder(directory: string): Promise<void> {
  for (const { path } of mountsUnder(directory)) await run(["umount", "-l", path]);
}
