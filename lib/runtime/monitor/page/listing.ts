// The rows of a table in order, filtered and cut into pages. It remembers the order it gave last: sorting what is nearly
// sorted costs one comparison a row, and the order can be held still while somebody reads. Knows no document.
import type { Entry } from './model.js';

export const PAGE_ROWS = 50;

/** What decides where a row stands. Numbers sort by size, texts as people expect: part 2 before part 10. */
export type SortKey<Row> = (row: Row) => number | string;

export interface Sorting<Row> {
  readonly by: SortKey<Row>;
  readonly descending: boolean;
}

/** What a page of the table shows. */
export interface View<Row> {
  readonly rows: readonly Row[];
  /** Of this page, from 0. */
  readonly page: number;
  readonly pageCount: number;
  /** The rows that pass the filter, on all pages. */
  readonly matching: number;
  readonly total: number;
}

const collator = new Intl.Collator('en', { numeric: true });

function compare(a: number | string, b: number | string): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return a === b ? 0 : collator.compare(String(a), String(b));
}

export class Listing<Row extends Entry<unknown>> {
  /** Which page to show; beyond the last one, the last. */
  page = 0;
  /** Words that all must be in a row's text. */
  filter = '';
  /** What a row must be beyond that. */
  only: ((row: Row) => boolean) | undefined;
  readonly #tieBreaker: SortKey<Row>;
  #order: Row[] = [];

  constructor(tieBreaker: SortKey<Row>) {
    this.#tieBreaker = tieBreaker;
  }

  /** Takes up what is there now. With `hold`, rows keep their places and new ones come last. */
  update(entries: ReadonlyMap<unknown, Row>, sorting: Sorting<Row>, hold: boolean): View<Row> {
    const kept = this.#order.filter((row) => !row.gone);
    if (kept.length < entries.size) {
      const known = new Set(kept);
      for (const row of entries.values()) if (!known.has(row)) kept.push(row);
    }
    if (!hold) {
      const { by, descending } = sorting;
      const sign = descending ? -1 : 1;
      kept.sort((a, b) => sign * compare(by(a), by(b)) || compare(this.#tieBreaker(a), this.#tieBreaker(b)));
    }
    this.#order = kept;
    return this.#cut();
  }

  #cut(): View<Row> {
    const words = this.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const { only } = this;
    const matching = this.#order.filter(
      (row) => words.every((word) => row.text.includes(word)) && (only === undefined || only(row)),
    );
    const pageCount = Math.max(1, Math.ceil(matching.length / PAGE_ROWS));
    this.page = Math.min(Math.max(0, this.page), pageCount - 1);
    const from = this.page * PAGE_ROWS;
    return {
      rows: matching.slice(from, from + PAGE_ROWS),
      page: this.page,
      pageCount,
      matching: matching.length,
      total: this.#order.length,
    };
  }
}
