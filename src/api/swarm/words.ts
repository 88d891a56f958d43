import { invalid } from "../../lib/errors.ts";

/**
 * One of `words`, in whatever case. @param field the name of what is read
 * @throws {EngineError} invalid, with Docker's text (moby daemon/cluster/convert/node.go)
 */
export function word<const W extends string>(field: string, words: readonly W[], text: string): W {
  const found = words.find((one) => one === text.toLowerCase());
  if (found === undefined) throw invalid(`invalid ${field}: ${JSON.stringify(text)}`);
  return found;
}

/** @throws {EngineError} invalid, also for "" */
export const readAvailability = (text: string) => word("Availability", ["active", "pause", "drain"], text);
