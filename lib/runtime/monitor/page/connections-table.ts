// The table of connections: what stands in its columns, and what a row unfolds.
import type { ConnectionSnapshot } from '../../snapshot.js';
import { facts, flow, named, number, state, type Level } from './cells.js';
import { plural } from './format.js';
import type { ConnectionEntry } from './model.js';
import { Table, type Column } from './table.js';

const LEVELS: Readonly<Record<ConnectionSnapshot['state'], Level>> = {
  interrupted: 'warn',
  connecting: 'busy',
  open: 'ok',
  closed: 'idle',
};
const RANKS: Readonly<Record<Level, number>> = { bad: 0, warn: 1, busy: 2, ok: 3, idle: 4 };

const columns: readonly Column<ConnectionEntry>[] = [
  {
    title: 'State',
    name: 'state',
    sort: (entry) => RANKS[LEVELS[entry.row.state]],
    cell: () => state(({ row }) => ({ level: LEVELS[row.state], word: row.state })),
  },
  {
    title: 'Peer',
    name: 'peer',
    sort: (entry) => entry.row.peer,
    cell: () =>
      named(
        (entry) => entry.row.peer,
        (entry) => `as ${entry.row.principal}`,
      ),
  },
  {
    title: 'Transport',
    name: 'transport',
    sort: (entry) => entry.row.transport,
    cell: () =>
      named(
        (entry) => entry.row.transport,
        (entry) => entry.row.encoding,
      ),
  },
  {
    title: 'Sent/s',
    name: 'sent',
    sort: (entry) => entry.sent.rate,
    largestFirst: true,
    cell: () => flow((entry) => entry.sent),
  },
  {
    title: 'Received/s',
    name: 'received',
    sort: (entry) => entry.received.rate,
    largestFirst: true,
    cell: () => flow((entry) => entry.received),
  },
  {
    title: 'Sent in all',
    name: 'sent-total',
    sort: ({ row }) => row.sent.messages,
    largestFirst: true,
    cell: () => number(({ row }) => row.sent.messages),
  },
  {
    title: 'Received in all',
    name: 'received-total',
    sort: ({ row }) => row.received.messages,
    largestFirst: true,
    cell: () => number(({ row }) => row.received.messages),
  },
];

export function connectionsTable(): Table<ConnectionEntry> {
  return new Table({
    id: 'connections',
    title: 'Connections',
    one: 'connection',
    many: 'connections',
    columns,
    order: (entry) => RANKS[LEVELS[entry.row.state]],
    tieBreaker: (entry) => entry.row.peer,
    opener: 'peer',
    details: () =>
      facts(({ row: { peer, principal, transport, encoding, sent, received } }) => [
        ['Peer', peer],
        ['Principal', principal],
        ['Transport', transport],
        ['Encoding', encoding],
        ['Sent', plural(sent.messages, 'message')],
        ['Received', plural(received.messages, 'message')],
      ]),
    empty: 'No other runtime is connected.',
  });
}
