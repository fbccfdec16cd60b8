// The kinds of cells that both tables are made of: a text with a smaller one below it, a number, a state with its symbol,
// a rate with its line, and the list of facts that a row unfolds.
import { make, setAttribute, setText } from './dom.js';
import { count, cut, rate } from './format.js';
import { Sparkline } from './graphics.js';
import type { Meter } from './meter.js';
import type { Cell } from './table.js';

/** How a state is to be taken. Each level has a symbol and a word, so that none is told by colour alone. */
export type Level = 'ok' | 'busy' | 'warn' | 'bad' | 'idle';

const SYMBOLS: Readonly<Record<Level, string>> = { ok: '●', busy: '◐', warn: '▲', bad: '✕', idle: '○' };

export function symbol(level: Level): HTMLElement {
  return make('span', { class: 'symbol', 'data-level': level, 'aria-hidden': 'true' }, SYMBOLS[level]);
}

/**
 * A name with a line below it, which is set apart when it tells of trouble. Names are of others: they may be long, and
 * written from right to left without turning what stands beside them.
 */
export function named<Row>(
  name: (row: Row) => string,
  below: (row: Row) => string,
  trouble?: (row: Row) => string | undefined,
): Cell<Row> {
  const main = make('bdi', { class: 'name' });
  const small = make('bdi', { class: 'quiet small' });
  return {
    element: make('span', { class: 'named' }, main, small),
    update(row) {
      const wrong = trouble?.(row);
      setText(main, cut(name(row)));
      setText(small, cut(wrong ?? below(row)));
      small.classList.toggle('trouble', wrong !== undefined);
    },
  };
}

export function text<Row>(of: (row: Row) => string): Cell<Row> {
  const element = make('bdi');
  return { element, update: (row) => setText(element, cut(of(row))) };
}

/** A number; zero is pale, and one that should be zero stands out when it is not. */
export function number<Row>(of: (row: Row) => number, alarming = false): Cell<Row> {
  const element = make('span', { class: 'number' });
  return {
    element,
    update(row) {
      const value = of(row);
      setText(element, count(value));
      setAttribute(element, 'data-level', value === 0 ? 'none' : alarming ? 'warn' : undefined);
    },
  };
}

export function state<Row>(of: (row: Row) => { level: Level; word: string }): Cell<Row> {
  const sign = make('span', { class: 'symbol', 'aria-hidden': 'true' });
  const label = make('span');
  return {
    element: make('span', { class: 'state' }, sign, label),
    update(row) {
      const { level, word } = of(row);
      setText(sign, SYMBOLS[level]);
      setAttribute(sign, 'data-level', level);
      setText(label, word);
    },
  };
}

/** Messages per second, with the line of the last minute. */
export function flow<Row>(meter: (row: Row) => Meter): Cell<Row> {
  const line = new Sparkline();
  const value = make('span', { class: 'number' });
  return {
    element: make('span', { class: 'flow' }, line.element, value),
    update(row) {
      const of = meter(row);
      line.show(of.history());
      setText(value, rate(of.rate));
      setAttribute(value, 'data-level', of.rate === 0 ? 'none' : undefined);
    },
  };
}

/** Pairs of a name and a text; the list is made anew only when a text changed. */
export function facts<Row>(of: (row: Row) => readonly (readonly [string, string])[]): Cell<Row> {
  const element = make('dl', { class: 'facts' });
  let last = '';
  return {
    element,
    update(row) {
      const pairs = of(row);
      const now = JSON.stringify(pairs);
      if (now === last) return;
      last = now;
      const item = ([name, value]: readonly [string, string]): HTMLElement =>
        make(
          'div',
          {},
          make('dt', {}, make('bdi', {}, cut(name))),
          make('dd', {}, make('bdi', {}, cut(value))),
        );
      element.replaceChildren(...pairs.map(item));
    },
  };
}
