/** Several values of one key. */
class Several<V> extends Set<V> {}

/** Values by some key of theirs; a key with none is not there. Most have one: that is kept as it is, a set is twenty times as large. */
export class Multimap<K, V> {
  readonly #values = new Map<K, V | Several<V>>();

  has(key: K): boolean {
    return this.#values.has(key);
  }
  get isEmpty(): boolean {
    return this.#values.size === 0;
  }
  /** In the order in which they were added. */
  values(key: K): V[] {
    const held = this.#values.get(key);
    if (held instanceof Several) return [...held];
    return held === undefined ? [] : [held];
  }
  keys(): K[] {
    return [...this.#values.keys()];
  }
  add(key: K, value: V): void {
    const held = this.#values.get(key);
    if (held instanceof Several) held.add(value);
    else if (held === undefined) this.#values.set(key, value);
    else if (held !== value) this.#values.set(key, new Several([held, value]));
  }
  delete(key: K, value: V): void {
    const held = this.#values.get(key);
    if (held === value) this.#values.delete(key);
    if (!(held instanceof Several)) return;
    held.delete(value);
    const [one] = held;
    if (held.size === 1 && one !== undefined) this.#values.set(key, one);
  }
}
