// The table of services: what stands in its columns, and what a row unfolds.
import type { ServiceState } from '../../snapshot.js';
import { facts, flow, named, number, state, text, type Level } from './cells.js';
import { make, setAttribute, setText } from './dom.js';
import { count } from './format.js';
import { Bar } from './graphics.js';
import { trouble, type ServiceEntry } from './model.js';
import { Table, type Cell, type Column } from './table.js';

/** Partners that a row unfolds; more are counted. */
const PARTNERS_MAX = 50;

const LEVELS: Readonly<Record<ServiceState, Level>> = {
  failed: 'bad',
  starting: 'busy',
  running: 'ok',
  stopped: 'idle',
};
/** What needs a look comes first. */
const RANKS: Readonly<Record<Level, number>> = { bad: 0, warn: 1, busy: 2, ok: 3, idle: 4 };

export function levelOf(entry: ServiceEntry): Level {
  const level = LEVELS[entry.row.state];
  return level !== 'bad' && trouble(entry) !== undefined ? 'warn' : level;
}

const HOSTS = { here: 'runtime', thread: 'thread', process: 'process' } as const;

const columns: readonly Column<ServiceEntry>[] = [
  {
    title: 'State',
    name: 'state',
    sort: (entry) => RANKS[levelOf(entry)],
    cell: () => state((entry) => ({ level: levelOf(entry), word: entry.row.state })),
  },
  {
    title: 'Service',
    name: 'service',
    sort: (entry) => entry.row.name,
    cell: () =>
      named(
        (entry) => entry.row.name,
        (entry) => entry.row.contract,
        trouble,
      ),
  },
  {
    title: 'Runs in',
    name: 'host',
    sort: (entry) => entry.row.host,
    cell: () => text((entry) => HOSTS[entry.row.host]),
  },
  {
    title: 'Queue',
    name: 'queue',
    sort: (entry) => entry.row.port.depth,
    largestFirst: true,
    cell: queue,
  },
  {
    title: 'Messages/s',
    name: 'rate',
    sort: (entry) => entry.delivered.rate,
    largestFirst: true,
    cell: () => flow((entry) => entry.delivered),
  },
  {
    title: 'Running',
    name: 'running',
    sort: (entry) => entry.row.port.running,
    largestFirst: true,
    cell: () => number((entry) => entry.row.port.running),
  },
  {
    title: 'Refused',
    name: 'refused',
    sort: (entry) => entry.row.port.refused,
    largestFirst: true,
    cell: () => number((entry) => entry.row.port.refused, true),
  },
  {
    title: 'Faults',
    name: 'faults',
    sort: (entry) => entry.row.port.faults,
    largestFirst: true,
    cell: () => number((entry) => entry.row.port.faults, true),
  },
  {
    title: 'Subscribers',
    name: 'subscribers',
    sort: (entry) => entry.row.subscribers,
    largestFirst: true,
    cell: () => number((entry) => entry.row.subscribers),
  },
];

/** How many wait in the port, as a bar of how many may. */
function queue(): Cell<ServiceEntry> {
  const bar = new Bar();
  const depth = make('span', { class: 'number' });
  const limit = make('span', { class: 'quiet small' });
  return {
    element: make('span', { class: 'queue' }, bar.element, make('span', {}, depth, limit)),
    update({ row: { port } }) {
      const part = port.depthMax === 0 ? 0 : port.depth / port.depthMax;
      bar.show(part, part >= 1 ? 'bad' : part >= 0.8 ? 'warn' : 'ok');
      setText(depth, count(port.depth));
      setAttribute(depth, 'data-level', port.depth === 0 ? 'none' : undefined);
      setText(limit, ` of ${count(port.depthMax)}${part >= 1 ? ', full' : ''}`);
    },
  };
}

function details(): Cell<ServiceEntry> {
  return facts((entry) => {
    const { uri, contract, partners, port } = entry.row;
    const wrong = trouble(entry);
    const named = Object.entries(partners);
    const more = named.length - PARTNERS_MAX;
    return [
      ...(wrong === undefined ? [] : [['Problem', wrong] as const]),
      ['URI', uri],
      ['Contract', contract],
      ['Messages delivered', count(port.delivered)],
      ...named.slice(0, PARTNERS_MAX).map(([name, partner]) => [`Partner ${name}`, partner] as const),
      ...(more > 0 ? [['More partners', count(more)] as const] : []),
    ];
  });
}

export function servicesTable(): Table<ServiceEntry> {
  return new Table({
    id: 'services',
    title: 'Services',
    one: 'service',
    many: 'services',
    columns,
    order: (entry) => RANKS[levelOf(entry)],
    tieBreaker: (entry) => entry.row.name,
    opener: 'service',
    details,
    only: { title: 'Only with problems', holds: (entry) => trouble(entry) !== undefined },
    empty: 'No service runs here.',
  });
}
