import { keyOf, type PlanObject } from "./plan.ts";

/** Of entries of a link's tables, and of sets of rules, there may be ten thousands: what tells those of one table apart. */
function nameInTable(object: PlanObject): string | undefined {
  switch (object.kind) {
    case "neighbour":
      return object.address;
    case "forwarding":
    case "tunnel":
      return object.mac;
    case "element":
      return object.key;
    case "destination":
      return object.address;
    default:
      return undefined;
  }
}

/** The table of an object: such entries share one, the tunnels to one host too; every other object has its own. */
export function tableOf(object: PlanObject): string {
  const { kind, namespace } = object;
  switch (kind) {
    case "neighbour":
    case "forwarding":
      return `${kind}|${namespace}|${object.link}`;
    case "tunnel":
      return `${kind}|${namespace}|${object.link}|${object.destination}`;
    case "element":
      return `${kind}|${namespace}|${object.family}|${object.set}`;
    case "destination":
      return `${kind}|${namespace}|${object.family}|${object.mark}`;
    default:
      return keyOf(object);
  }
}

/**
 * Something for each object, found as by `keyOf`. Of the endpoints of other hosts there are many, with four objects each:
 * those are found by strings that their rows have anyway, and no key is kept for them.
 */
export class ObjectMap<V> {
  readonly #single = new Map<string, V>();
  readonly #tables = new Map<string, Map<string, V>>();

  get(object: PlanObject): V | undefined {
    const [name, table] = [nameInTable(object), tableOf(object)];
    return name === undefined ? this.#single.get(table) : this.#tables.get(table)?.get(name);
  }

  set(object: PlanObject, value: V): void {
    const [name, table] = [nameInTable(object), tableOf(object)];
    if (name === undefined) this.#single.set(table, value);
    else this.#tables.getOrInsertComputed(table, () => new Map()).set(name, value);
  }

  delete(object: PlanObject): void {
    const [name, table] = [nameInTable(object), tableOf(object)];
    if (name === undefined) return void this.#single.delete(table);
    const entries = this.#tables.get(table);
    entries?.delete(name);
    if (entries?.size === 0) this.#tables.delete(table);
  }

  /** True when something is in a table. */
  has(table: string): boolean {
    return this.#single.has(table) || this.#tables.has(table);
  }
  /** What is in a table. */
  in(table: string): readonly V[] {
    const single = this.#single.get(table);
    return single === undefined ? [...(this.#tables.get(table)?.values() ?? [])] : [single];
  }

  *values(): Iterable<V> {
    yield* this.#single.values();
    for (const entries of this.#tables.values()) yield* entries.values();
  }
}
