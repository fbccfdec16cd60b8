// What the monitor's page computes before it shows anything: rates from counters, what a snapshot and the changes after it
// add up to, and which rows a table shows in which order.
import { beforeEach, describe, expect, test } from 'vitest';
import { bytes, count, duration, rate } from '../../../lib/runtime/monitor/page/format.js';
import { Listing, PAGE_ROWS } from '../../../lib/runtime/monitor/page/listing.js';
import { HISTORY_LENGTH, Meter, type Clock } from '../../../lib/runtime/monitor/page/meter.js';
import { Model, trouble, type ServiceEntry } from '../../../lib/runtime/monitor/page/model.js';
import type { Begin } from '../../../lib/runtime/monitor/wire.js';
import type { RuntimeSnapshot, ServiceSnapshot } from '../../../lib/runtime/snapshot.js';
import { connection, manyServices, service, snapshot } from '../../support/snapshots.js';

describe('a meter', () => {
  const clock: Clock = { turn: 0, seconds: 0 };
  const tick = (): void => {
    clock.turn++;
    clock.seconds = 2;
  };
  beforeEach(() => {
    clock.turn = 0;
    clock.seconds = 0;
  });

  test('has no rate at its first reading, and then what was counted per second', () => {
    const meter = new Meter(clock, 1_000_000);
    expect([meter.rate, meter.history()]).toEqual([0, []]);
    tick();
    meter.read(1_000_010);
    expect([meter.rate, meter.history(), meter.total]).toEqual([5, [5], 1_000_010]);
  });

  test('takes a turn without a reading for one in which nothing was counted', () => {
    const meter = new Meter(clock, 0);
    for (let turn = 1; turn <= 6; turn++) {
      tick();
      if (turn % 3 === 0) meter.read(turn * 2);
    }
    expect(meter.history()).toEqual([0, 0, 3, 0, 0, 3]);
    tick();
    expect(meter.rate).toBe(0);
  });

  test('forgets what is older than a graph is long', () => {
    const meter = new Meter(clock, 0);
    tick();
    meter.read(2);
    for (let turn = 1; turn < HISTORY_LENGTH; turn++) tick();
    expect(meter.history()).toEqual([1, ...new Array<number>(HISTORY_LENGTH - 1).fill(0)]);
    tick();
    expect(meter.history()).toEqual(new Array<number>(HISTORY_LENGTH).fill(0));
    // A reading after a long silence finds nothing of the last round in the ring.
    for (let turn = 0; turn < 2 * HISTORY_LENGTH; turn++) tick();
    meter.read(4);
    expect(meter.history()).toEqual([...new Array<number>(HISTORY_LENGTH - 1).fill(0), 1]);
  });

  test('has no negative rate when its counter begins anew', () => {
    const meter = new Meter(clock, 500);
    tick();
    meter.read(10);
    tick();
    meter.read(14);
    expect(meter.history()).toEqual([0, 2]);
  });
});

describe('the model', () => {
  const begin = (of: RuntimeSnapshot, whole: boolean): Begin => ({ ...of, whole, intervalMs: 1_000 });

  function feed(model: Model, of: RuntimeSnapshot, whole = true): void {
    model.begin(begin(of, whole));
    model.part({ services: of.services });
    model.part({ connections: of.connections });
    model.end();
  }

  test('shows nothing of an update that has not ended', () => {
    const model = new Model();
    model.begin(begin(snapshot(), true));
    model.part({ services: [service('a')] });
    expect([model.head, model.services.size]).toEqual([undefined, 0]);
    feed(model, snapshot({ services: [service('b')] }));
    expect([...model.services.values()].map(({ row }) => row.name)).toEqual(['b']);
  });

  test('adds up changes, and keeps a row the same object', () => {
    const model = new Model();
    feed(
      model,
      snapshot({ services: [service('a'), service('b')], connections: [connection(1), connection(2)] }),
    );
    const [a, b] = [...model.services.values()];
    model.begin(
      begin(snapshot({ uptimeMs: 62_000, messages: { local: 10, out: 0, in: 4, faults: 0 } }), false),
    );
    model.part({ services: [service('a', { port: { delivered: 8 } })] });
    model.part({ servicesGone: [b?.row.uri ?? ''], connectionsGone: [1] });
    model.end();
    expect([...model.services.values()]).toEqual([a]);
    expect([a?.row.port.delivered, a?.delivered.rate, a?.gone, b?.gone]).toEqual([8, 4, false, true]);
    expect([...model.connections.keys()]).toEqual([2]);
    expect([model.totals?.local.rate, model.totals?.in.rate]).toEqual([5, 2]);
  });

  test('a whole update of the same runtime goes on where the last one was', () => {
    const model = new Model();
    feed(model, snapshot({ services: [service('a'), service('b')] }));
    const a = [...model.services.values()][0];
    feed(
      model,
      snapshot({ uptimeMs: 70_000, services: [service('a', { port: { delivered: 50 } }), service('c')] }),
    );
    expect([...model.services.values()].map(({ row }) => row.name)).toEqual(['a', 'c']);
    expect([...model.services.values()][0]).toBe(a);
    expect(a?.delivered.rate).toBe(5);
  });

  test('a runtime that was started again has nothing to do with the one before', () => {
    const model = new Model();
    const before = {
      services: [service('a', { port: { delivered: 5 } })],
      messages: { local: 5, out: 0, in: 0, faults: 0 },
    };
    for (const after of [{ uptimeMs: 100 }, { nodeId: 'ff', uptimeMs: 90_000 }]) {
      feed(model, snapshot(before));
      const [a] = model.services.values();
      feed(model, snapshot({ ...before, ...after }));
      expect([...model.services.values()][0]).not.toBe(a);
      expect([model.totals?.local.rate, model.totals?.local.total]).toEqual([0, 5]);
    }
  });

  test('names what needs a look', () => {
    const wrong = (also: Parameters<typeof service>[1]): string | undefined => {
      const model = new Model();
      feed(model, snapshot({ services: [service('a', also)] }));
      const [entry] = model.services.values();
      return entry && trouble(entry);
    };
    expect(wrong({})).toBeUndefined();
    expect(wrong({ state: 'stopped' })).toBeUndefined();
    expect(wrong({ port: { depth: 100, depthMax: 1_000, faults: 7, refused: 7 } })).toBeUndefined();
    expect(wrong({ state: 'failed', problem: 'It threw.' })).toBe('It threw.');
    expect(wrong({ state: 'failed' })).toContain('failed');
    expect(wrong({ port: { depth: 1_000, depthMax: 1_000 } })).toContain('is full');
    expect(wrong({ port: { depth: 800, depthMax: 1_000 } })).toContain('nearly full');
    expect(wrong({ port: { depth: 0, depthMax: 0 } })).toBeUndefined();
  });
});

describe('a listing', () => {
  function entries(rows: readonly ServiceSnapshot[]): Map<string, ServiceEntry> {
    const model = new Model();
    model.begin({ ...snapshot(), whole: true, intervalMs: 1_000 });
    model.part({ services: rows });
    model.end();
    return model.services;
  }
  const byName = { by: (entry: ServiceEntry) => entry.row.name, descending: false };
  const byDepth = { by: (entry: ServiceEntry) => entry.row.port.depth, descending: true };
  const names = (rows: readonly ServiceEntry[]): string[] => rows.map(({ row }) => row.name);
  const listing = (): Listing<ServiceEntry> => new Listing((entry) => entry.row.name);

  test('sorts numbers by size, texts as people count, and equals by name', () => {
    const rows = entries([
      service('part-10', { port: { depth: 5 } }),
      service('part-9', { port: { depth: 5 } }),
      service('part-2', { port: { depth: 70 } }),
    ]);
    expect(names(listing().update(rows, byName, false).rows)).toEqual(['part-2', 'part-9', 'part-10']);
    expect(names(listing().update(rows, byDepth, false).rows)).toEqual(['part-2', 'part-9', 'part-10']);
  });

  test('filters by words that all must be there, in any case and any place', () => {
    const rows = entries([
      service('Camera', { contract: 'urn:example:camera:1' }),
      service('analysis', { state: 'failed', problem: 'No camera answered.' }),
      service('recorder'),
    ]);
    const list = listing();
    const found = (filter: string): string[] => {
      list.filter = filter;
      return names(list.update(rows, byName, false).rows);
    };
    expect(found('CAMERA')).toEqual(['analysis', 'Camera']);
    expect(found(' failed  camera ')).toEqual(['analysis']);
    expect(found('camera recorder')).toEqual([]);
    expect(found('')).toHaveLength(3);
  });

  test('cuts into pages, and stays within them', () => {
    const rows = entries(manyServices(PAGE_ROWS * 2 + 1));
    const list = listing();
    list.page = 99;
    const view = list.update(rows, byName, false);
    expect([view.page, view.pageCount, view.rows.length]).toEqual([2, 3, 1]);
    list.page = -1;
    expect(list.update(rows, byName, false).page).toBe(0);
    list.filter = 'no such service';
    expect(list.update(rows, byName, false)).toMatchObject({ page: 0, pageCount: 1, matching: 0, rows: [] });
  });

  test('holds its order while somebody reads: what is gone goes, what is new comes last', () => {
    const rows = entries([service('b'), service('c'), service('d')]);
    const list = listing();
    list.update(rows, byName, false);
    const [b] = rows.values();
    if (b !== undefined) b.gone = true;
    rows.delete(b?.row.uri ?? '');
    for (const [uri, entry] of entries([service('a')])) rows.set(uri, entry);
    expect(names(list.update(rows, byDepth, true).rows)).toEqual(['c', 'd', 'a']);
    expect(names(list.update(rows, byName, false).rows)).toEqual(['a', 'c', 'd']);
  });
});

test('numbers are written as people read them', () => {
  expect([count(1_234_567), rate(0), rate(0.25), rate(12.7), rate(99_999), rate(1_234_567)]).toEqual([
    '1,234,567',
    '0',
    '0.3',
    '13',
    '99,999',
    '1.2M',
  ]);
  expect([bytes(0), bytes(1023), bytes(1536), bytes(150 * 1024), bytes(2 ** 40)]).toEqual([
    '0 B',
    '1,023 B',
    '1.5 KiB',
    '150 KiB',
    '1 TiB',
  ]);
  expect([duration(0), duration(61_000), duration(3_600_000), duration(90_061_000)]).toEqual([
    '0 s',
    '1 min 1 s',
    '1 h 0 min',
    '1 d 1 h',
  ]);
});
