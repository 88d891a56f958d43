import { constants } from "node:os";
import { invalid } from "./errors.ts";

const named = constants.signals as Readonly<Record<string, number | undefined>>;
const firstRealTime = 34; // SIGRTMIN as the C library has it: the first two are its own (signal(7))
const lastRealTime = 64;

/** `KILL`, `SIGKILL`, `9`, `RTMIN+3`; "" means KILL. @returns 1 to 64 @throws {EngineError} invalid, with Docker's text */
export function signalNumber(signal: string): number {
  if (signal === "") return 9;
  const name = signal.toUpperCase().replace(/^SIG/, "");
  const realTime = /^RT(MIN|MAX)([+-]\d{1,2})?$/.exec(name);
  const base = realTime?.[1] === "MIN" ? firstRealTime : lastRealTime;
  const fromName = realTime === null ? named[`SIG${name}`] : base + Number(realTime[2] ?? 0);
  const number = /^\d{1,2}$/.test(signal) ? Number(signal) : fromName;
  if (number === undefined || number < 1 || number > lastRealTime) throw invalid(`Invalid signal: ${signal}`);
  return number;
}
