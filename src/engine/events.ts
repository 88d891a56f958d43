import type { EngineEvent, Events, Filters } from "./engine.ts";

const kept = 256; // as many as dockerd keeps (moby daemon/events)

/** Tells subscribers what happened, and the latest events to those who ask for the past. */
export class EventBus implements Events {
  readonly #past: EngineEvent[] = [];
  readonly #listeners = new Set<(event: EngineEvent) => void>();
  #last = 0n;

  publish(event: Omit<EngineEvent, "timeNano" | "scope"> & Partial<Pick<EngineEvent, "scope">>): void {
    const now = BigInt(Date.now()) * 1_000_000n;
    this.#last = now > this.#last ? now : this.#last + 1n;
    const full: EngineEvent = { scope: "local", ...event, timeNano: this.#last };
    this.#past.push(full);
    if (this.#past.length > kept) this.#past.shift();
    for (const listener of this.#listeners) listener(full);
  }

  async *subscribe(
    options: { readonly since?: number; readonly until?: number; readonly filters: Filters },
    signal: AbortSignal,
  ): AsyncIterable<EngineEvent> {
    const { since, until, filters } = options;
    const queue: EngineEvent[] = since === undefined ? [] : this.#past.filter((e) => millis(e) >= since);
    let wake = () => {};
    const listener = (event: EngineEvent) => {
      queue.push(event);
      wake();
    };
    this.#listeners.add(listener);
    const stopClock = until === undefined ? () => {} : atTime(until, () => wake());
    const onAbort = () => wake();
    signal.addEventListener("abort", onAbort);
    try {
      for (;;) {
        for (let event = queue.shift(); event !== undefined; event = queue.shift()) {
          if ((until === undefined || millis(event) <= until) && passes(event, filters)) yield event;
        }
        if (signal.aborted || (until !== undefined && Date.now() >= until)) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", onAbort);
      stopClock();
    }
  }
}

const longestTimer = 2 ** 31 - 1; // milliseconds

/** Calls `then` at a time, milliseconds since 1970, and never a moment before. @returns a function that calls it off */
function atTime(time: number, then: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const look = () => {
    const left = Math.ceil(time - Date.now());
    if (left <= 0) then();
    else timer = setTimeout(look, Math.min(left, longestTimer));
  };
  timer = setTimeout(look, 0);
  return () => clearTimeout(timer);
}

const millis = (event: EngineEvent) => Number(event.timeNano / 1_000_000n);

function passes(event: EngineEvent, filters: Filters): boolean {
  for (const [key, values] of filters) if (!values.some((value) => fits(event, key, value))) return false;
  return true;
}

function fits(event: EngineEvent, key: string, value: string): boolean {
  switch (key) {
    case "type":
      return event.type === value;
    case "event":
      return event.action === value || event.action.startsWith(`${value}:`);
    case "scope":
      return event.scope === value;
    case "label": {
      const [name = "", wanted] = value.split("=", 2);
      const found = event.attributes[name];
      return found !== undefined && (wanted === undefined || found === wanted);
    }
    case "container":
    case "image":
    case "network":
    case "volume":
    case "daemon":
    case "node":
    case "service":
    case "secret":
    case "config":
      return event.type === key
        ? event.id.startsWith(value) || event.attributes.name === value
        : key === "container" && event.attributes.container === value;
    default:
      return false;
  }
}
