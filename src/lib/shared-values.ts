/** So many different strings are remembered; then it begins anew. */
const most = 20_000;
/** V8 itself keeps one copy of those that are shorter. */
const shortest = 11;
const noItems: readonly never[] = Object.freeze([]);
const noFields: object = Object.freeze({});

/**
 * Strings and empty parts of JSON values, each kept once. JSON.parse makes them anew at each place, and rows of one kind say
 * much of the same: the ids of what they belong to, and what they have not.
 */
export class SharedValues {
  readonly #strings = new Map<string, string>();

  /** An equal value. @param value nobody else has it yet: its parts are replaced where they are */
  of(value: unknown): unknown {
    if (typeof value === "string") return value.length < shortest ? value : this.#string(value);
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value);
    if (entries.length === 0) return Array.isArray(value) ? noItems : noFields;
    for (const [key, part] of entries) (value as Record<string, unknown>)[key] = this.of(part);
    return value;
  }

  #string(text: string): string {
    const known = this.#strings.get(text);
    if (known !== undefined) return known;
    if (this.#strings.size >= most) this.#strings.clear();
    this.#strings.set(text, text);
    return text;
  }
}
