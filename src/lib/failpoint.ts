import { readFileSync } from "node:fs";

/**
 * Named places where a test can make the daemon die or fail, before and after each write outside the process.
 * Armed by `TOMBOLO_FAILPOINT=name=action`, action one of `kill`, `throw`. `name` may end in `#N`: the N-th pass.
 * `TOMBOLO_FAILPOINT=@PATH` names a file with such a text, which arms a daemon that runs already once it is written.
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

const setting = process.env.TOMBOLO_FAILPOINT;
const file = setting?.startsWith("@") === true ? setting.slice(1) : undefined;
let armed = read(setting);
let seen = "";

/** Passes are counted from the moment at which the file says what it says. */
function look(path: string): void {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
  } catch {} // nothing is armed
  if (text !== seen) armed = read(text);
  seen = text;
}

/** Passes, unless this place is armed. */
export function failpoint(name: string): void {
  if (file !== undefined) look(file);
  if (armed === undefined || (armed.name !== name && armed.name !== "*")) return;
  armed.left -= 1;
  if (armed.left !== 0) return;
  if (armed.action === "kill") process.kill(process.pid, "SIGKILL");
  throw new Error(`failpoint ${name}`);
}
