/** A page with more rows is divided. Of 100,000 rows, a change copies one page and the list of pages: some 5 KiB. */
const most = 512;

/** Where a row is: negative before what is looked for, 0 at it, positive behind it. */
export type Probe<R> = (row: R) => number;

/** The first place of an ordered list at which something is not before what is looked for. */
function placeOf<T>(list: readonly T[], isBefore: (item: T) => boolean): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(list[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * An immutable list of rows in an order, in pages: a copy with a change has one new page and shares the others. It keeps
 * nothing but the rows, 8 bytes for each: with several orders of 100,000 rows, maps would be most of a manager's memory.
 */
export class Ordered<R> implements Iterable<R> {
  readonly #compare: (a: R, b: R) => number;
  /** None is empty. */
  readonly #pages: readonly (readonly R[])[];
  #list: readonly R[] | undefined;

  private constructor(compare: (a: R, b: R) => number, pages: readonly (readonly R[])[]) {
    this.#compare = compare;
    this.#pages = pages;
  }

  /** @param compare by which no two of the rows are equal */
  static of<R>(rows: readonly R[], compare: (a: R, b: R) => number): Ordered<R> {
    const sorted = rows.toSorted(compare);
    const pages: R[][] = [];
    for (let from = 0; from < sorted.length; from += most / 2) pages.push(sorted.slice(from, from + most / 2));
    return new Ordered(compare, pages);
  }

  *[Symbol.iterator](): Iterator<R> {
    for (const page of this.#pages) yield* page;
  }

  /** All of them; made once, when it is asked for. */
  get list(): readonly R[] {
    this.#list ??= Object.freeze(this.#pages.flat());
    return this.#list;
  }

  find(probe: Probe<R>): R | undefined {
    const page = this.#pages[this.#pageOf(probe)] ?? [];
    const row = page[placeOf(page, (one) => probe(one) < 0)];
    return row !== undefined && probe(row) === 0 ? row : undefined;
  }

  /** The rows that are side by side at what is looked for. */
  range(probe: Probe<R>): readonly R[] {
    const found: R[] = [];
    for (let at = this.#pageOf(probe); at < this.#pages.length; at += 1) {
      const page = this.#pages[at] as readonly R[];
      const [from, to] = [placeOf(page, (one) => probe(one) < 0), placeOf(page, (one) => probe(one) <= 0)];
      found.push(...page.slice(from, to));
      if (to < page.length) break;
    }
    return found;
  }

  /** With the row, in place of the one that is equal to it. */
  with(row: R): Ordered<R> {
    const probe = (one: R) => this.#compare(one, row);
    // Behind the last row is the end of the last page.
    const at = Math.min(this.#pageOf(probe), Math.max(this.#pages.length - 1, 0));
    const page = this.#pages[at] ?? [];
    const place = placeOf(page, (one) => probe(one) < 0);
    const found = page[place];
    const replaced = found !== undefined && probe(found) === 0 ? 1 : 0;
    return this.#replaced(at, page.toSpliced(place, replaced, row));
  }

  /** Without the row that is equal to this one. */
  without(row: R): Ordered<R> {
    const probe = (one: R) => this.#compare(one, row);
    const at = this.#pageOf(probe);
    const page = this.#pages[at] ?? [];
    const place = placeOf(page, (one) => probe(one) < 0);
    const found = page[place];
    return found !== undefined && probe(found) === 0 ? this.#replaced(at, page.toSpliced(place, 1)) : this;
  }

  /** The page in which what is looked for is, if it is there. */
  #pageOf(probe: Probe<R>): number {
    return placeOf(this.#pages, (page) => probe(page.at(-1) as R) < 0);
  }

  /** Pages that became small are joined, so that a list that shrinks has fewer of them. */
  #replaced(at: number, page: readonly R[]): Ordered<R> {
    const next = this.#pages[at + 1];
    const joined = next !== undefined && page.length + next.length <= most / 2 ? [...page, ...next] : undefined;
    const pages = this.#pages.toSpliced(at, joined === undefined ? 1 : 2, ...divided(joined ?? page));
    return new Ordered(this.#compare, pages);
  }
}

const divided = <R>(page: readonly R[]): (readonly R[])[] =>
  page.length > most ? [page.slice(0, most / 2), page.slice(most / 2)] : page.length > 0 ? [page] : [];
