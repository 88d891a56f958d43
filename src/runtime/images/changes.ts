import { parseDuration } from "../../lib/duration.ts";
import { invalid } from "../../lib/errors.ts";
import type { ImageConfig, ImageHealthCheck } from "../runtime.ts";

type Draft = { -readonly [K in keyof ImageConfig]: ImageConfig[K] };
const shell = ["/bin/sh", "-c"];

/**
 * Applies Dockerfile instructions to a configuration (`docker import --change`; Docker's documentation, Dockerfile reference).
 * @throws {EngineError} invalid, with Docker's words for an instruction that is not among them
 */
export function applyChanges(config: ImageConfig, changes: readonly string[]): ImageConfig {
  const draft: Draft = { ...config };
  for (const change of changes) {
    const [, word = "", rest = ""] = /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(change) ?? [];
    const apply = instructions[word.toUpperCase()];
    if (apply === undefined) throw invalid(`${word.toLowerCase()} is not a valid change command`);
    if (rest === "") throw invalid(`${word.toUpperCase()} requires at least one argument`);
    apply(draft, rest);
  }
  return draft;
}

const instructions: Readonly<Record<string, (draft: Draft, rest: string) => void>> = {
  CMD: (draft, rest) => void (draft.Cmd = command(rest)),
  ENTRYPOINT: (draft, rest) => void (draft.Entrypoint = command(rest)),
  ENV: (draft, rest) => {
    const named = new Map((draft.Env ?? []).map((e) => [e.split("=", 1)[0], e]));
    for (const [key, value] of pairs("ENV", rest)) named.set(key, `${key}=${value}`);
    draft.Env = [...named.values()];
  },
  LABEL: (draft, rest) => void (draft.Labels = { ...draft.Labels, ...Object.fromEntries(pairs("LABEL", rest)) }),
  EXPOSE: (draft, rest) => {
    const ports = words(rest).map((text) => {
      if (!/^\d{1,5}(\/(tcp|udp|sctp))?$/.test(text)) throw invalid(`invalid containerPort: ${text}`);
      return text.includes("/") ? text : `${text}/tcp`;
    });
    draft.ExposedPorts = { ...draft.ExposedPorts, ...Object.fromEntries(ports.map((p) => [p, {}])) };
  },
  VOLUME: (draft, rest) => {
    const paths = json(rest) ?? words(rest);
    draft.Volumes = { ...draft.Volumes, ...Object.fromEntries(paths.map((p) => [p, {}])) };
  },
  USER: (draft, rest) => void (draft.User = rest),
  WORKDIR: (draft, rest) => void (draft.WorkingDir = rest.startsWith("/") ? rest : `${draft.WorkingDir ?? ""}/${rest}`),
  HEALTHCHECK: (draft, rest) => void (draft.Healthcheck = healthCheck(rest)),
  STOPSIGNAL: (draft, rest) => void (draft.StopSignal = rest),
  ONBUILD: (draft, rest) => void (draft.OnBuild = [...(draft.OnBuild ?? []), rest]),
};

const flags: Readonly<Record<string, "Interval" | "Timeout" | "StartPeriod" | "StartInterval">> = {
  interval: "Interval",
  timeout: "Timeout",
  "start-period": "StartPeriod",
  "start-interval": "StartInterval",
};

/** `[--interval=30s …] CMD command`, or `NONE`. */
function healthCheck(rest: string): ImageHealthCheck {
  const [, options = "", kind = "", text = ""] = /^((?:--\S+\s+)*)(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
  const said = Object.fromEntries(words(options).map(healthCheckOption));
  switch (kind.toUpperCase()) {
    case "NONE":
      if (text !== "") throw invalid("HEALTHCHECK NONE takes no arguments");
      return { Test: ["NONE"] };
    case "CMD": {
      const listed = json(text);
      if (text === "" || listed?.length === 0) throw invalid("Missing command after HEALTHCHECK CMD");
      return { Test: listed === undefined ? ["CMD-SHELL", text] : ["CMD", ...listed], ...said };
    }
    default:
      throw invalid(`Unknown type "${kind.toUpperCase()}" in HEALTHCHECK (try CMD)`);
  }
}

function healthCheckOption(text: string): [string, number] {
  const [, name = "", value = ""] = /^--([^=]+)=(.*)$/.exec(text) ?? [];
  if (name === "retries" && /^\d+$/.test(value)) return ["Retries", Number(value)];
  const [field, span] = [flags[name], parseDuration(value)];
  if (field === undefined || span === undefined) throw invalid(`invalid option of HEALTHCHECK: ${text}`);
  if (span !== 0 && span < 1) throw invalid(`Interval "${name}" cannot be less than 1ms`);
  return [field, span * 1e6];
}

/** The exec form is JSON; the shell form goes to a shell inside the container. */
const command = (rest: string) => json(rest) ?? [...shell, rest];

function json(rest: string): string[] | undefined {
  if (!rest.startsWith("[")) return undefined;
  try {
    const value = JSON.parse(rest) as unknown;
    return Array.isArray(value) && value.every((v) => typeof v === "string") ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Splits at blanks outside quotes, and takes the quotes away. */
const words = (rest: string) =>
  [...rest.matchAll(/(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|\\.|[^\s"'\\])+/g)].map(([text]) =>
    text.replaceAll(
      /"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/g,
      (_all, double?: string, single?: string, escaped?: string) =>
        double !== undefined ? double.replaceAll(/\\(.)/g, "$1") : (single ?? escaped ?? ""),
    ),
  );

/** `a=1 b="two words"`, or `a the rest` for one. */
function pairs(instruction: string, rest: string): [string, string][] {
  const [first = ""] = words(rest);
  if (!first.includes("=")) {
    const [, key = "", value = ""] = /^(\S+)\s*([\s\S]*)$/.exec(rest) ?? [];
    if (value === "") throw invalid(`${instruction} must have two arguments`);
    return [[key, value]];
  }
  return words(rest).map((text) => {
    const at = text.indexOf("=");
    if (at < 1) throw invalid(`Syntax error - can't find = in "${text}". Must be of the form: name=value`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
}
