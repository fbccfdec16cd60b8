// A table of which one page is shown: sorted by its headings, filtered by words, with details under a row that somebody
// opened. Rows keep their elements while they are shown, so that focus and selection stay. Knows no service or connection.
import { find, make, setAttribute, setText } from './dom.js';
import { count, plural } from './format.js';
import { Listing, PAGE_ROWS, type SortKey, type View } from './listing.js';
import type { Entry } from './model.js';

/** A part of a row: made once, brought up to date with every update. */
export interface Cell<Row> {
  readonly element: HTMLElement;
  update(row: Row): void;
}

export interface Column<Row> {
  readonly title: string;
  /** Names the column to the style. */
  readonly name: string;
  readonly sort: SortKey<Row>;
  /** What is wanted first of this column is the largest. */
  readonly largestFirst?: boolean;
  cell(): Cell<Row>;
}

export interface TableOptions<Row> {
  /** Of the section that the table fills. */
  readonly id: string;
  readonly title: string;
  /** What a row is, for counting them. */
  readonly one: string;
  readonly many: string;
  readonly columns: readonly Column<Row>[];
  /** Sorts when no heading was chosen, and decides between equal rows. */
  readonly order: SortKey<Row>;
  readonly tieBreaker: SortKey<Row>;
  /** The column whose cell opens the details. */
  readonly opener: string;
  details(): Cell<Row>;
  /** What the check box beside the filter keeps. */
  readonly only?: { readonly title: string; readonly holds: (row: Row) => boolean };
  /** What stands there when there is no row at all. */
  readonly empty: string;
}

interface Shown<Row> {
  readonly element: HTMLTableRowElement;
  readonly cells: readonly Cell<Row>[];
  details: { readonly element: HTMLTableRowElement; readonly cell: Cell<Row> } | undefined;
}

export class Table<Row extends Entry<unknown>> {
  readonly #options: TableOptions<Row>;
  readonly #listing: Listing<Row>;
  readonly #body = make('tbody', { role: 'rowgroup' });
  readonly #headings: readonly { readonly cell: HTMLElement; readonly column: Column<Row> }[];
  readonly #table: HTMLTableElement;
  readonly #found = make('p', { class: 'quiet found', role: 'status' });
  readonly #held = make('p', { class: 'quiet' }, 'order held');
  readonly #empty = make('p', { class: 'quiet empty' });
  readonly #pager: Pager;
  readonly #onlyLabel = make('span');
  #sorting: { column: Column<Row> | undefined; descending: boolean } = {
    column: undefined,
    descending: false,
  };
  #shown = new Map<Row, Shown<Row>>();
  readonly #open = new Set<Row>();
  #entries: ReadonlyMap<unknown, Row> = new Map<unknown, Row>();

  constructor(options: TableOptions<Row>) {
    this.#options = options;
    this.#listing = new Listing(options.tieBreaker);
    this.#headings = options.columns.map((column) => ({ column, cell: this.#heading(column) }));
    const head = make('tr', { role: 'row' }, ...this.#headings.map(({ cell }) => cell));
    this.#table = make(
      'table',
      { role: 'table', 'aria-labelledby': `${options.id}-title` },
      make('thead', { role: 'rowgroup' }, head),
      this.#body,
    );
    this.#pager = new Pager(options.title, (page) => {
      this.#listing.page = page;
      this.#draw(false);
    });
    find(options.id).append(
      make(
        'div',
        { class: 'toolbar' },
        make('h2', { id: `${options.id}-title` }, options.title),
        this.#found,
        this.#held,
        ...this.#filters(),
      ),
      this.#table,
      this.#empty,
      this.#pager.element,
    );
    this.#showSorting();
  }

  update(entries: ReadonlyMap<unknown, Row>): void {
    this.#entries = entries;
    this.#draw();
  }

  /** Whether somebody is about to read or to press something that would move away. */
  get #occupied(): boolean {
    // A finger leaves a hover behind where it last touched.
    const hovers = window.matchMedia('(hover: hover)').matches && this.#body.matches(':hover');
    return hovers || this.#body.matches(':focus-within');
  }

  #filters(): Node[] {
    const { id, many, only } = this.#options;
    const filter = make('input', { type: 'search', id: `${id}-filter`, placeholder: `Filter ${many}` });
    setAttribute(filter, 'aria-label', `Filter ${many}: words that all must be there`);
    setAttribute(filter, 'autocomplete', 'off');
    filter.addEventListener('input', () => {
      this.#listing.filter = filter.value;
      this.#listing.page = 0;
      this.#draw(false);
    });
    if (only === undefined) return [filter];
    const box = make('input', { type: 'checkbox', id: `${id}-only` });
    box.addEventListener('change', () => {
      this.#listing.only = box.checked ? only.holds : undefined;
      this.#listing.page = 0;
      this.#draw(false);
    });
    return [filter, make('label', { class: 'only' }, box, this.#onlyLabel)];
  }

  #heading(column: Column<Row>): HTMLElement {
    const button = make('button', { type: 'button' }, column.title);
    button.addEventListener('click', () => {
      const again = this.#sorting.column === column;
      const descending = again ? !this.#sorting.descending : (column.largestFirst ?? false);
      this.#sorting = { column, descending };
      this.#listing.page = 0;
      this.#showSorting();
      this.#draw(false);
    });
    return make('th', { role: 'columnheader', scope: 'col', 'data-column': column.name }, button);
  }

  #showSorting(): void {
    const { column: sorted, descending } = this.#sorting;
    for (const { cell, column } of this.#headings) {
      const direction = descending ? 'descending' : 'ascending';
      setAttribute(cell, 'aria-sort', column === sorted ? direction : undefined);
    }
  }

  #draw(hold = this.#occupied): void {
    const { order, only, empty } = this.#options;
    const { column, descending } = this.#sorting;
    const view = this.#listing.update(this.#entries, { by: column?.sort ?? order, descending }, hold);
    for (const row of this.#open) if (row.gone) this.#open.delete(row);
    this.#place(view.rows);
    setAttribute(this.#held, 'hidden', hold ? undefined : '');
    setText(this.#found, this.#summary(view));
    this.#table.hidden = view.matching === 0;
    this.#empty.hidden = view.matching > 0;
    setText(this.#empty, view.total === 0 ? empty : 'Nothing matches.');
    this.#pager.show(view);
    if (only !== undefined) {
      let some = 0;
      for (const row of this.#entries.values()) if (only.holds(row)) some++;
      setText(this.#onlyLabel, `${only.title} (${count(some)})`);
    }
  }

  #summary({ matching, total }: View<Row>): string {
    const { one, many } = this.#options;
    return matching === total
      ? plural(total, one, many)
      : `${count(matching)} of ${plural(total, one, many)}`;
  }

  #place(rows: readonly Row[]): void {
    const shown = new Map(rows.map((row) => [row, this.#shown.get(row) ?? this.#make(row)]));
    for (const [row, { element, details }] of this.#shown) {
      if (shown.has(row)) continue;
      element.remove();
      details?.element.remove();
    }
    this.#shown = shown;
    let next = this.#body.firstElementChild;
    const put = (element: Element): void => {
      // One that stands where it should is not touched: moving it would take its focus.
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    };
    for (const [row, { element, cells, details }] of shown) {
      for (const cell of cells) cell.update(row);
      put(element);
      if (details === undefined) continue;
      details.cell.update(row);
      put(details.element);
    }
  }

  #make(row: Row): Shown<Row> {
    const { columns, opener } = this.#options;
    const cells = columns.map((column) => column.cell());
    const element = make('tr', { role: 'row' });
    const shown: Shown<Row> = { element, cells, details: undefined };
    columns.forEach((column, index) => {
      const content = cells[index]?.element ?? '';
      const attributes = { role: 'cell', 'data-column': column.name, 'data-title': column.title };
      if (column.name !== opener) {
        element.append(make('td', attributes, content));
        return;
      }
      const button = make('button', { type: 'button', class: 'opener', 'aria-expanded': 'false' }, content);
      button.addEventListener('click', () => this.#toggle(row, shown, button));
      element.append(make('td', attributes, button));
      if (this.#open.has(row)) this.#unfold(row, shown, button);
    });
    return shown;
  }

  #toggle(row: Row, shown: Shown<Row>, button: HTMLElement): void {
    if (shown.details === undefined) {
      this.#open.add(row);
      shown.element.after(this.#unfold(row, shown, button));
    } else {
      this.#open.delete(row);
      shown.details.element.remove();
      shown.details = undefined;
      setAttribute(button, 'aria-expanded', 'false');
    }
  }

  #unfold(row: Row, shown: Shown<Row>, button: HTMLElement): HTMLElement {
    const cell = this.#options.details();
    cell.update(row);
    const wide = make('td', { role: 'cell', colspan: String(this.#options.columns.length) }, cell.element);
    const element = make('tr', { role: 'row', class: 'details' }, wide);
    shown.details = { cell, element };
    setAttribute(button, 'aria-expanded', 'true');
    return element;
  }
}

interface PagerButton {
  readonly button: HTMLButtonElement;
  readonly to: () => number;
}

/** First, previous, next, last; not there when all rows fit on one page. */
class Pager {
  readonly element: HTMLElement;
  readonly #text = make('span', { class: 'quiet' });
  readonly #buttons: readonly PagerButton[];
  #page = 0;
  #pageCount = 1;

  constructor(title: string, go: (page: number) => void) {
    const button = (text: string, to: () => number): PagerButton => {
      const element = make('button', { type: 'button' }, text);
      // Not disabled: a disabled button would drop the focus of whoever pages to the end.
      element.addEventListener('click', () => {
        if (element.getAttribute('aria-disabled') !== 'true') go(to());
      });
      return { button: element, to };
    };
    const first = button('First', () => 0);
    const previous = button('Previous', () => this.#page - 1);
    const next = button('Next', () => this.#page + 1);
    const last = button('Last', () => this.#pageCount - 1);
    this.#buttons = [first, previous, next, last];
    this.element = make(
      'nav',
      { class: 'pager', 'aria-label': `Pages of ${title.toLowerCase()}` },
      first.button,
      previous.button,
      this.#text,
      next.button,
      last.button,
    );
  }

  show({ page, pageCount, matching, rows }: View<unknown>): void {
    this.#page = page;
    this.#pageCount = pageCount;
    this.element.hidden = pageCount === 1;
    const from = page * PAGE_ROWS;
    setText(this.#text, `${count(from + 1)}–${count(from + rows.length)} of ${count(matching)}`);
    for (const { button, to } of this.#buttons) {
      const target = to();
      const nowhere = target === page || target < 0 || target >= pageCount;
      setAttribute(button, 'aria-disabled', nowhere ? 'true' : undefined);
    }
  }
}
