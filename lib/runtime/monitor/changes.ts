// Turns snapshots into text, piece by piece: the events that lead from one snapshot to the next, and a whole one as JSON. Ten
// thousand services are megabytes, so the work is cut into slices between which the runtime's loop turns. Knows no sockets.
import { setImmediate } from 'node:timers/promises';
import type { RuntimeSnapshot } from '../snapshot.js';
import { EVENTS, type Begin, type Problem } from './wire.js';

/** A piece of text is handed on when it has grown past this. One row can make it longer, two cannot. */
const PIECE_CHARS = 64 * 1024;
/** Rows that are compared before the loop gets its turn even if none had changed. */
const SLICE_ROWS = 2_000;

type Json = object;
type Key = string | number;

/** One of the snapshot's lists: how its rows are told apart, and what they are called in a Part. */
interface List<Row extends Json> {
  readonly name: 'services' | 'connections';
  rows(snapshot: RuntimeSnapshot): readonly Row[];
  key(row: Row): Key;
}

const SERVICES: List<RuntimeSnapshot['services'][number]> = {
  name: 'services',
  rows: (snapshot) => snapshot.services,
  key: (row) => row.uri,
};
const CONNECTIONS: List<RuntimeSnapshot['connections'][number]> = {
  name: 'connections',
  rows: (snapshot) => snapshot.connections,
  key: (row) => row.id,
};

/** The events that bring a page which has `known` to `target`; without `known`, everything. */
export async function* updates(
  known: RuntimeSnapshot | undefined,
  target: RuntimeSnapshot,
  intervalMs: number,
): AsyncGenerator<string, void, undefined> {
  yield event(EVENTS.begin, {
    ...withoutLists(target),
    whole: known === undefined,
    intervalMs,
  } satisfies Begin);
  yield* partsOf(SERVICES, known, target);
  yield* partsOf(CONNECTIONS, known, target);
  yield event(EVENTS.end, {});
}

/** The event that says why there is no update. */
export function problem(sentence: string): string {
  return event(EVENTS.problem, { sentence } satisfies Problem);
}

/** The snapshot as JSON, in pieces. */
export async function* json(snapshot: RuntimeSnapshot): AsyncGenerator<string, void, undefined> {
  const { services, connections } = snapshot;
  yield JSON.stringify(withoutLists(snapshot)).slice(0, -1);
  for (const [name, rows] of Object.entries({ services, connections })) {
    yield `,"${name}":[`;
    let separator = '';
    for await (const piece of pieces(rows)) {
      yield separator + piece;
      separator = ',';
    }
    yield ']';
  }
  yield '}\n';
}

/** For JSON, which leaves out what is undefined. */
function withoutLists(snapshot: RuntimeSnapshot) {
  return { ...snapshot, services: undefined, connections: undefined };
}

async function* partsOf<Row extends Json>(
  list: List<Row>,
  known: RuntimeSnapshot | undefined,
  target: RuntimeSnapshot,
): AsyncGenerator<string, void, undefined> {
  const before = new Map(known === undefined ? [] : list.rows(known).map((row) => [list.key(row), row]));
  const changed = function* (): Generator<Row | undefined> {
    for (const row of list.rows(target)) {
      const key = list.key(row);
      const old = before.get(key);
      before.delete(key);
      yield old !== undefined && same(old, row) ? undefined : row;
    }
  };
  for await (const rows of pieces(changed()))
    yield `event: ${EVENTS.part}\ndata: {"${list.name}":[${rows}]}\n\n`;
  // What is left of the old rows is in the new snapshot no more.
  for await (const keys of pieces(before.keys())) {
    yield `event: ${EVENTS.part}\ndata: {"${list.name}Gone":[${keys}]}\n\n`;
  }
}

/** The rows as JSON with commas between, in pieces of bounded length; rows that are undefined are left out. */
async function* pieces(rows: Iterable<Json | Key | undefined>): AsyncGenerator<string, void, undefined> {
  let piece = '';
  let looked = 0;
  for (const row of rows) {
    if (row !== undefined) {
      const text = JSON.stringify(row);
      if (piece !== '' && piece.length + text.length > PIECE_CHARS) {
        yield piece;
        piece = '';
        looked = 0;
        await setImmediate();
      }
      piece += piece === '' ? text : `,${text}`;
    }
    if (++looked === SLICE_ROWS) {
      looked = 0;
      await setImmediate();
    }
  }
  if (piece !== '') yield piece;
}

// JSON has no line breaks outside of its strings and escapes those within, so an event's data is always one line.
function event(name: string, data: Json): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Whether two values of plain data are equal. */
function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const before = a as Readonly<Record<string, unknown>>;
  const after = b as Readonly<Record<string, unknown>>;
  // Thousands of rows are compared in every update: no lists of keys are made for it.
  for (const key in before) {
    if (before[key] !== after[key] && !same(before[key], after[key])) return false;
  }
  for (const key in after) if (!(key in before)) return false;
  return true;
}
