import { invalid } from "../lib/errors.ts";
import type { Handler } from "./call.ts";

/** One operation. `{name}` in a path is one segment, `{name...}` one or more. */
export interface Route {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly handler: Handler;
  /** The client may turn the connection into a raw stream. */
  readonly upgrade?: boolean;
}

export interface Match {
  readonly route: Route;
  readonly params: Readonly<Record<string, string>>;
}

/** Finds the first route that fits a method and a path without version and query. */
export function createRouter(routes: readonly Route[]): (method: string, path: string) => Match | undefined {
  const compiled = routes.map((route) => ({ route, pattern: compile(route.path) }));
  return (method, path) => {
    for (const { route, pattern } of compiled) {
      const found = route.method === method ? pattern.exec(path) : null;
      if (found !== null) return { route, params: decode(found.groups ?? {}) };
    }
    return undefined;
  };
}

function compile(path: string): RegExp {
  const source = path
    .replace(/[.*+?^$()|[\]\\]/g, "\\$&")
    .replace(/\{(\w+)(\\\.\\\.\\\.)?\}/g, (_, name: string, rest?: string) => `(?<${name}>${rest ? ".+" : "[^/]+"})`);
  return new RegExp(`^${source}$`);
}

function decode(groups: Readonly<Record<string, string>>): Record<string, string> {
  try {
    return Object.fromEntries(Object.entries(groups).map(([key, text]) => [key, decodeURIComponent(text)]));
  } catch {
    throw invalid("invalid URL escape in the path");
  }
}
