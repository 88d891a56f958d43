import { parseDuration } from "../lib/duration.ts";
import { invalid } from "../lib/errors.ts";
import { addressText, parseAddress } from "../lib/net.ts";
import type { IpAddress } from "./ids.ts";
import { type BalancePolicy, serviceLabels } from "./service.ts";

/** What a service's labels say of its balancing and its ends. */
export interface LabelledPolicy {
  readonly balance: BalancePolicy;
  /** True: tasks see the client's address. */
  readonly keepsClient: boolean;
  /** Milliseconds (`serviceLabels.drain`). */
  readonly drain: number;
  /** Milliseconds; absent: the kernel's default. */
  readonly idle?: number;
  /** That published ports are bound to; absent: every one of the host's. */
  readonly address?: IpAddress;
}

/** A client whose first packet was lost repeats it after a second (RFC 6298 section 2); then there is still time for an answer. */
const usualDrain = 2000; // milliseconds
const longest = 24 * 3_600_000; // milliseconds
const ways = ["rr", "random", "least", "source"] as const;

/** @throws {EngineError} invalid for a label of ours that is not known, or says what nobody understands */
export function readServiceLabels(labels: Readonly<Record<string, string>>): LabelledPolicy {
  const known: readonly string[] = Object.values(serviceLabels);
  const stray = Object.keys(labels).find((key) => key.startsWith("tombolo.") && !known.includes(key));
  if (stray !== undefined) throw invalid(`label ${stray} is not known: ${known.join(", ")} are`);
  const address = readAddress(labels[serviceLabels.address]);
  const idle = span(labels, serviceLabels.idle);
  const balance = readBalance(labels[serviceLabels.balance]);
  if (balance.by === "least" && idle !== undefined)
    throw invalid(
      `label ${serviceLabels.idle}: not with ${serviceLabels.balance}=least: IPVS has one such time for all services`,
    );
  return {
    balance,
    keepsClient: readMesh(labels[serviceLabels.mesh]),
    drain: span(labels, serviceLabels.drain) ?? usualDrain,
    ...(idle !== undefined && { idle }),
    ...(address !== undefined && { address }),
  };
}

/** In the text that the kernel has for it. */
function readAddress(text: string | undefined): IpAddress | undefined {
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  if (address === undefined || address.number === 0n)
    throw invalid(`label ${serviceLabels.address}: "${text}" is no address of a host`);
  const canonical = addressText(address);
  // Linux takes no answer for ::1 that comes from elsewhere.
  if (canonical === "::1") throw invalid(`label ${serviceLabels.address}: nothing is published at ::1`);
  return canonical;
}

function span(labels: Readonly<Record<string, string>>, key: string): number | undefined {
  const text = labels[key];
  if (text === undefined) return undefined;
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined || milliseconds > longest)
    throw invalid(`label ${key}: "${text}" is no duration like 10s, 24h at most`);
  return Math.round(milliseconds);
}

function readBalance(text = "rr"): BalancePolicy {
  const words = text.split(",").map((word) => word.trim());
  const by = ways.find((way) => words.includes(way)) ?? "rr";
  const local = words.includes("local");
  const rest = words.filter((word) => word !== by && word !== "local");
  if (rest.length > 0)
    throw invalid(`label ${serviceLabels.balance}: "${text}" is none of ${ways.join(", ")}, with or without local`);
  return { by, local };
}

function readMesh(text: string | undefined): boolean {
  if (text !== undefined && text !== "snat")
    throw invalid(`label ${serviceLabels.mesh}: "${text}" is not known: snat is`);
  return text === undefined;
}
