// The tiles at the top of the page: services by state, messages of each kind with their lines, connections and memory.
import { symbol, type Level } from './cells.js';
import { find, make, setAttribute, setText } from './dom.js';
import { bytes, count, plural, rate } from './format.js';
import { Bar, Sparkline } from './graphics.js';
import type { Meter } from './meter.js';
import type { Model } from './model.js';
import { levelOf } from './services-table.js';

interface Tile {
  readonly element: HTMLElement;
  update(model: Model): void;
}

export class Overview {
  readonly #tiles: readonly Tile[] = [
    services(),
    flowTile('Messages inside', (totals) => totals.local),
    flowTile('Messages out', (totals) => totals.out),
    flowTile('Messages in', (totals) => totals.in),
    flowTile('Faults', (totals) => totals.faults),
    connections(),
    memory(),
  ];

  constructor() {
    find('overview').append(...this.#tiles.map((tile) => tile.element));
  }

  update(model: Model): void {
    for (const tile of this.#tiles) tile.update(model);
  }
}

function tile(title: Node | string, name: string, ...content: Node[]): HTMLElement {
  return make('div', { class: 'tile', 'data-tile': name }, make('h2', {}, title), ...content);
}

/** The title of a tile that sums up a table further down. */
function leadingTo(id: string, title: string): HTMLElement {
  return make('a', { href: `#${id}` }, title);
}

const WORDS: readonly (readonly [Level, string])[] = [
  ['bad', 'failed'],
  ['warn', 'with a problem'],
  ['busy', 'starting'],
  ['ok', 'running'],
  ['idle', 'stopped'],
];

function services(): Tile {
  const total = make('p', { class: 'large' });
  const lines = WORDS.map(([level, word]) => {
    const text = make('span');
    return { level, word, text, element: make('li', {}, symbol(level), text) };
  });
  const list = make('ul', {}, ...lines.map(({ element }) => element));
  return {
    element: tile(leadingTo('services', 'Services'), 'services', total, list),
    update(model) {
      const counts: Record<Level, number> = { bad: 0, warn: 0, busy: 0, ok: 0, idle: 0 };
      for (const entry of model.services.values()) counts[levelOf(entry)]++;
      setText(total, count(model.services.size));
      for (const { level, word, text, element } of lines) {
        setText(text, `${count(counts[level])} ${word}`);
        element.hidden = counts[level] === 0;
      }
    },
  };
}

function flowTile(title: string, meter: (totals: NonNullable<Model['totals']>) => Meter): Tile {
  const now = make('span', { class: 'large' });
  const line = new Sparkline();
  const total = make('p', { class: 'quiet small' });
  const name = title.toLowerCase().replace(' ', '-');
  return {
    element: tile(
      title,
      name,
      make('p', {}, now, make('span', { class: 'quiet' }, ' /s')),
      line.element,
      total,
    ),
    update({ totals, head }) {
      if (totals === undefined || head === undefined) return;
      const of = meter(totals);
      setText(now, rate(of.rate));
      line.show(of.history());
      setText(total, `${count(of.total)} in all`);
    },
  };
}

function connections(): Tile {
  const total = make('p', { class: 'large' });
  const rest = make('p', { class: 'quiet small' });
  return {
    element: tile(leadingTo('connections', 'Connections'), 'connections', total, rest),
    update(model) {
      let open = 0;
      for (const { row } of model.connections.values()) if (row.state === 'open') open++;
      const others = model.connections.size - open;
      setText(total, count(open));
      setText(rest, others === 0 ? 'open' : `open, ${count(others)} not`);
    },
  };
}

function memory(): Tile {
  const used = make('p', { class: 'large' });
  const bar = new Bar();
  const rest = make('p', { class: 'quiet small' });
  return {
    element: tile('Registered memory', 'memory', used, bar.element, rest),
    update({ head }) {
      const memory = head?.memory;
      setAttribute(bar.element, 'hidden', memory === undefined ? '' : undefined);
      setText(used, memory === undefined ? 'none' : bytes(memory.bufferBytes));
      if (memory === undefined) {
        setText(rest, 'no network manager is loaded');
        return;
      }
      bar.show(memory.slabBytes === 0 ? 0 : memory.bufferBytes / memory.slabBytes, 'ok');
      setText(
        rest,
        `in ${plural(memory.buffers, 'buffer')}, of ${bytes(memory.slabBytes)} in ${plural(memory.slabs, 'slab')}`,
      );
    },
  };
}
