/**
 * Named places where a test can make the daemon die or fail, before and after each write outside the process.
 * Armed by `TOMBOLO_FAILPOINT=name=action`, action one of `kill`, `throw`. `name` may end in `#N`: the N-th pass.
 */
interface Armed {
  readonly name: string;
  readonly action: string;
  left: number;
}

function read(text: string | undefined): Armed | undefined {
  const match = /^(.+?)(?:#(\d+))?=(kill|throw)$/.exec(text ?? "");
  if (match === null) return undefined;
  return { name: match[1] ?? "", action: match[3] ?? "", left: Number(match[2] ?? 1) };
}

const armed = read(process.env.TOMBOLO_FAILPOINT);

/** Passes, unless this place is armed. */
export function failpoint(name: string): void {
  if (armed === undefined || (armed.name !== name && armed.name !== "*")) return;
  armed.left -= 1;
  if (armed.left !== 0) return;
  if (armed.action === "kill") process.kill(process.pid, "SIGKILL");
  throw new Error(`failpoint ${name}`);
}
