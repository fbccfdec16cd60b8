// The two pictures of the page: a line of the last rates, and a bar of how full something is. Both stand beside the number
// that they picture, so they say nothing to a screen reader.
import { make, makeSvg, setAttribute } from './dom.js';
import { HISTORY_LENGTH } from './meter.js';

/** In units of its own: the style decides how large it is. */
const WIDTH = HISTORY_LENGTH - 1;
const HEIGHT = 20;
/** What is never more than this is drawn against this, so that a single message is no peak. */
const SCALE_MIN = 1;

export class Sparkline {
  readonly element: SVGElement;
  readonly #line = makeSvg('polyline', { class: 'line' });
  readonly #area = makeSvg('polygon', { class: 'area' });

  constructor() {
    this.element = makeSvg(
      'svg',
      {
        class: 'spark',
        viewBox: `0 -1 ${WIDTH} ${HEIGHT + 2}`,
        preserveAspectRatio: 'none',
        'aria-hidden': 'true',
      },
      this.#area,
      this.#line,
    );
  }

  /** The newest value is at the right end. */
  show(values: readonly number[]): void {
    const top = values.reduce((a, b) => Math.max(a, b), SCALE_MIN);
    const x = (index: number): number => WIDTH - (values.length - 1 - index);
    const points = values.map(
      (value, index) => `${x(index)},${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`,
    );
    setAttribute(this.#line, 'points', points.join(' '));
    const corners = points.length === 0 ? [] : [...points, `${WIDTH},${HEIGHT}`, `${x(0)},${HEIGHT}`];
    setAttribute(this.#area, 'points', corners.join(' '));
  }
}

export class Bar {
  readonly element: HTMLElement;
  readonly #filled = make('span', { class: 'filled' });

  constructor() {
    this.element = make('span', { class: 'bar', 'aria-hidden': 'true' }, this.#filled);
  }

  /** `part` of 1; anything above 0 is to be seen. */
  show(part: number, level: 'ok' | 'warn' | 'bad'): void {
    const percent = Math.min(100, part > 0 ? Math.max(2, part * 100) : 0);
    this.#filled.style.width = `${percent.toFixed(1)}%`;
    setAttribute(this.element, 'data-level', level);
  }
}
