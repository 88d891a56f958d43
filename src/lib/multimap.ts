/** Values by some key of theirs; a key with none is not there. */
export class Multimap<K, V> {
  readonly #sets = new Map<K, Set<V>>();

  has(key: K): boolean {
    return this.#sets.has(key);
  }
  /** In the order in which they were added. */
  values(key: K): V[] {
    return [...(this.#sets.get(key) ?? [])];
  }
  keys(): K[] {
    return [...this.#sets.keys()];
  }
  add(key: K, value: V): void {
    const values = this.#sets.get(key);
    if (values === undefined) this.#sets.set(key, new Set([value]));
    else values.add(value);
  }
  delete(key: K, value: V): void {
    const values = this.#sets.get(key);
    values?.delete(value);
    if (values?.size === 0) this.#sets.delete(key);
  }
}
