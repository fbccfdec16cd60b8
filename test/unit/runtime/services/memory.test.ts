// Proves the memory service: regions are made, read, written, replaced, deleted and listed by reference, from this runtime and from
// another; what is lent stays as it was until it is given back; every limit and every wrong wish is a fault with the right name.
import { afterEach, describe, expect, test } from 'vitest';
import { lend, Memory, type Proxy, type Runtime } from '../../../../lib/runtime/index.js';
import {
  MemoryService,
  REGIONS_PAGE_MAX,
  UPDATE_BYTES_MAX,
} from '../../../../lib/runtime/services/memory.js';
import { until, watchPromise, turns } from '../../../support/events.js';
import {
  filledBuffer,
  PLACES,
  pattern,
  startRuntime,
  subcode,
  type Place,
} from '../../../support/runtimes.js';

const KiB = 1024;

const homes = new Set<Runtime>();

// Regions hold memory for as long as the service is there, and after a test nobody is to hold any.
afterEach(async () => {
  for (const home of homes) if (isThere(home)) await home.unload('memory');
  homes.clear();
});

const isThere = (home: Runtime): boolean => home.snapshot().services.some(({ name }) => name === 'memory');

async function withMemory(place: Place, bytesMax?: number) {
  homes.add(place.home);
  const service = new MemoryService();
  service.state = { bytesMax, regions: [] };
  const uri = await place.home.add(service, { name: 'memory' });
  return { uri, proxy: place.away.proxy(Memory, uri), ...place };
}

/** The bytes of a range, and nothing held. */
async function bytesOf(
  proxy: Proxy<typeof Memory>,
  name: string,
  range: { offset?: number; length?: number } = {},
) {
  using answer = await proxy.read({ name, ...range });
  using content = await answer.content.resolve();
  return Buffer.from(content.bytes);
}

describe.each(PLACES)('asked from the $name', (place) => {
  test('a region of so many bytes is zeros, whatever the memory was before', async () => {
    const { home, proxy } = await withMemory(await place.start());
    // What the pool gives next was somebody's.
    const before = filledBuffer(home, 64 * KiB);
    before.release();
    expect(await proxy.insert({ name: 'a', length: 64 * KiB })).toMatchObject({
      name: 'a',
      length: 64 * KiB,
    });
    expect(await bytesOf(proxy, 'a')).toEqual(Buffer.alloc(64 * KiB));
  });

  test('what was written is read, whole or in part, and versions only grow', async () => {
    const { proxy, away } = await withMemory(await place.start());
    const made = await proxy.insert({ name: 'a', length: 64 * KiB });
    const written = await proxy.write({ name: 'a', offset: KiB, content: filledBuffer(away, 8 * KiB) });
    expect(written.version).toBeGreaterThan(made.version);
    const expected = Buffer.alloc(64 * KiB);
    pattern(8 * KiB).copy(expected, KiB);
    expect(await bytesOf(proxy, 'a')).toEqual(expected);
    expect(await bytesOf(proxy, 'a', { offset: KiB + 7, length: 100 })).toEqual(
      pattern(8 * KiB).subarray(7, 107),
    );
    expect(await bytesOf(proxy, 'a', { offset: 63 * KiB })).toEqual(Buffer.alloc(KiB));
    using answer = await proxy.read({ name: 'a', offset: 3, length: 5 });
    expect(answer).toMatchObject({ name: 'a', version: written.version, length: 64 * KiB, offset: 3 });
    expect(answer.content.length).toBe(5);
  });

  test('given buffers and lent ones become regions, and replace them with others of any length', async () => {
    const { proxy, away } = await withMemory(await place.start());
    await proxy.insert({ name: 'given', content: filledBuffer(away, 32 * KiB) });
    expect(await bytesOf(proxy, 'given')).toEqual(pattern(32 * KiB));
    const mine = filledBuffer(away, 32 * KiB, 2);
    let returned = 0;
    await proxy.put({ name: 'lent', content: lend(mine.slice(KiB, 2 * KiB), 'read', () => returned++) });
    await until(() => returned === 1);
    mine.bytes.fill(0);
    mine.release();
    expect(await bytesOf(proxy, 'lent')).toEqual(pattern(32 * KiB, 2).subarray(KiB, 3 * KiB));
    const put = await proxy.put({ name: 'lent', content: filledBuffer(away, 40 * KiB, 3) });
    expect(put).toMatchObject({ name: 'lent', length: 40 * KiB });
    expect(await bytesOf(proxy, 'lent')).toEqual(pattern(40 * KiB, 3));
  });

  test('while a reader has a range, who writes there waits, and who writes or reads elsewhere does not', async () => {
    const { proxy, away } = await withMemory(await place.start());
    await proxy.insert({ name: 'a', content: filledBuffer(away, 64 * KiB) });
    const reader = await proxy.read({ name: 'a', offset: 0, length: 32 * KiB });
    const content = await reader.content.resolve();
    const writing = watchPromise(proxy.write({ name: 'a', content: filledBuffer(away, 16 * KiB, 2) }));
    await proxy.write({ name: 'a', offset: 48 * KiB, content: filledBuffer(away, 16 * KiB, 3) });
    expect(await bytesOf(proxy, 'a', { offset: 48 * KiB })).toEqual(pattern(16 * KiB, 3));
    expect(writing.settled).toBe(false);
    expect(content.bytes.equals(pattern(64 * KiB).subarray(0, 32 * KiB))).toBe(true);
    content.release();
    reader[Symbol.dispose]();
    await until(() => writing.settled);
    expect(writing.error).toBeUndefined();
    expect(await bytesOf(proxy, 'a', { length: 16 * KiB })).toEqual(pattern(16 * KiB, 2));
  });

  test('replacing or deleting a region that is lent waits for nobody and changes nothing for who has it', async () => {
    const { proxy, away } = await withMemory(await place.start());
    await proxy.insert({ name: 'a', content: filledBuffer(away, 64 * KiB) });
    const first = await proxy.read({ name: 'a' });
    await proxy.put({ name: 'a', content: filledBuffer(away, KiB, 2) });
    const second = await proxy.read({ name: 'a' });
    const lent = (await proxy.query()).bytes;
    expect(lent).toBe(65 * KiB);
    await proxy.remove({ name: 'a' });
    expect(await subcode(proxy.read({ name: 'a' }))).toBe('UnknownEntry');
    await proxy.insert({ name: 'a', length: 2 });
    for (const [answer, expected] of [
      [first, pattern(64 * KiB)],
      [second, pattern(KiB, 2)],
    ] as const) {
      using content = await answer.content.resolve();
      expect(content.bytes.equals(expected)).toBe(true);
      content.release();
      answer[Symbol.dispose]();
    }
    // The bytes come back when the readers are done, and not before.
    await until(async () => (await proxy.query()).bytes === 2);
  });

  test('who waits for a region that is deleted learns that, and who waits for one that is replaced gets the new one', async () => {
    const { proxy, away } = await withMemory(await place.start());
    await proxy.insert({ name: 'a', content: filledBuffer(away, 64 * KiB) });
    const reader = await proxy.read({ name: 'a' });
    const writing = watchPromise(proxy.write({ name: 'a', content: filledBuffer(away, KiB, 2) }));
    await proxy.put({ name: 'a', content: filledBuffer(away, 32 * KiB, 3) });
    await until(() => writing.settled);
    const expected = pattern(32 * KiB, 3);
    pattern(KiB, 2).copy(expected);
    expect(await bytesOf(proxy, 'a')).toEqual(expected);
    const again = await proxy.read({ name: 'a' });
    const late = watchPromise(proxy.write({ name: 'a', content: filledBuffer(away, KiB, 4) }));
    await turns();
    await proxy.query();
    expect(late.settled).toBe(false);
    await proxy.remove({ name: 'a' });
    await until(() => late.settled);
    expect(late.error).toMatchObject({ fault: { subcodes: [{ localName: 'UnknownEntry' }] } });
    reader[Symbol.dispose]();
    again[Symbol.dispose]();
  });

  test('subscribers are told what changed, and read it', async () => {
    const { proxy, away, uri } = await withMemory(await place.start());
    const told: string[] = [];
    const seen: Buffer[] = [];
    const subscribed = await away.subscribe(Memory, uri, {
      inserted: ({ body: { name, length } }) => void told.push(`inserted ${name} ${length}`),
      changed: async ({ body: { name, offset, count, length } }) => {
        told.push(`changed ${name} ${offset}+${count} of ${length}`);
        seen.push(await bytesOf(proxy, name, { offset, length: count }));
      },
      deleted: ({ body: { name } }) => void told.push(`deleted ${name}`),
    });
    await proxy.insert({ name: 'a', length: 8 * KiB });
    await proxy.write({ name: 'a', offset: 100, content: filledBuffer(away, KiB) });
    await until(() => seen.length === 1);
    await proxy.put({ name: 'a', content: filledBuffer(away, 2 * KiB, 2) });
    await until(() => seen.length === 2);
    await proxy.put({ name: 'b', content: filledBuffer(away, 1) });
    await proxy.remove({ name: 'a' });
    await until(() => told.length === 5);
    expect(told).toEqual([
      `inserted a ${8 * KiB}`,
      `changed a 100+${KiB} of ${8 * KiB}`,
      `changed a 0+${2 * KiB} of ${2 * KiB}`,
      'inserted b 1',
      'deleted a',
    ]);
    expect(seen).toEqual([pattern(KiB), pattern(2 * KiB, 2)]);
    await subscribed.unsubscribe();
  });

  test('what cannot be done is a fault that says why, and leaves everything as it was', async () => {
    const { proxy, away, home } = await withMemory(await place.start(), 64 * KiB);
    const content = () => filledBuffer(away, KiB);
    await proxy.insert({ name: 'a', length: 32 * KiB });
    expect(await subcode(proxy.insert({ name: 'a', length: 1 }))).toBe('DuplicateEntry');
    expect(await subcode(proxy.insert({ name: 'a', content: content() }))).toBe('DuplicateEntry');
    expect(await subcode(proxy.insert({ name: 'b' }))).toBe('OperationFailed');
    expect(await subcode(proxy.insert({ name: 'b', length: 5, content: content() }))).toBe('OperationFailed');
    expect(await subcode(proxy.insert({ name: '../b', length: 5 }))).toBe('OperationFailed');
    expect(await subcode(proxy.insert({ name: 'b', length: 32 * KiB + 1 }))).toBe('InsufficientResources');
    expect(await subcode(proxy.put({ name: 'b', content: filledBuffer(away, 33 * KiB) }))).toBe(
      'InsufficientResources',
    );
    expect(await subcode(proxy.read({ name: 'c' }))).toBe('UnknownEntry');
    expect(await subcode(proxy.write({ name: 'c', content: content() }))).toBe('UnknownEntry');
    expect(await subcode(proxy.remove({ name: 'c' }))).toBe('UnknownEntry');
    expect(await subcode(proxy.read({ name: 'a', offset: 32 * KiB }))).toBe('OperationFailed');
    expect(await subcode(proxy.read({ name: 'a', offset: 1, length: 32 * KiB }))).toBe('OperationFailed');
    expect(await subcode(proxy.read({ name: 'a', offset: Number.MAX_SAFE_INTEGER }))).toBe('OperationFailed');
    expect(await subcode(proxy.write({ name: 'a', offset: 31 * KiB + 1, content: content() }))).toBe(
      'OperationFailed',
    );
    expect(await proxy.query()).toMatchObject({ regions: [{ name: 'a', readers: 0 }], bytes: 32 * KiB });
    expect(await bytesOf(proxy, 'a')).toEqual(Buffer.alloc(32 * KiB));
    expect(home.snapshot().services.find(({ name }) => name === 'memory')?.state).toBe('running');
  });

  test('a list comes in pages', async () => {
    const { proxy } = await withMemory(await place.start());
    const expected: string[] = [];
    for (let at = 0; at <= REGIONS_PAGE_MAX; at++) {
      expected.push(`frames/${String(at).padStart(4, '0')}`);
      await proxy.insert({ name: expected.at(-1) as string, length: 1 });
    }
    await proxy.insert({ name: 'a', length: 1 });
    const first = await proxy.query({ prefix: 'frames/' });
    const second = await proxy.query({ prefix: 'frames/', after: first.next });
    expect([...first.regions, ...second.regions].map(({ name }) => name)).toEqual(expected);
    expect(second.next).toBeUndefined();
    expect((await proxy.query({ limit: 1 })).regions.map(({ name }) => name)).toEqual(['a']);
    expect((await proxy.query({ prefix: 'b' })).regions).toEqual([]);
  });

  test('ending the service gives everything back, what readers have when they are done', async () => {
    const { home, proxy, away } = await withMemory(await place.start());
    const before = home.snapshot().memory?.buffers ?? 0;
    await proxy.insert({ name: 'a', content: filledBuffer(away, 64 * KiB) });
    await proxy.insert({ name: 'b', length: KiB });
    const reader = await proxy.read({ name: 'a' });
    const waiting = watchPromise(proxy.write({ name: 'a', content: filledBuffer(away, 1) }));
    await proxy.query();
    await home.unload('memory');
    await until(() => waiting.settled);
    expect(waiting.error).toMatchObject({ fault: { subcodes: [{ localName: 'UnknownEntry' }] } });
    using content = await reader.content.resolve();
    expect(content.bytes.equals(pattern(64 * KiB))).toBe(true);
    content.release();
    reader[Symbol.dispose]();
    await until(() => (home.snapshot().memory?.buffers ?? 0) === before);
  });
});

test('in this process, what is given whole becomes the region without a copy, and what is read is the region itself', async () => {
  const home = await startRuntime();
  const { proxy } = await withMemory({ home, away: home });
  const mine = filledBuffer(home, 64 * KiB);
  const { bytes } = mine;
  await proxy.put({ name: 'a', content: mine });
  using answer = await proxy.read({ name: 'a', offset: KiB, length: KiB });
  using content = await answer.content.resolve();
  expect(content.bytes.buffer).toBe(bytes.buffer);
  expect(content.bytes.byteOffset).toBe(bytes.byteOffset + KiB);
});

test('an update that is too large for one go is refused before anything moves', async () => {
  const home = await startRuntime();
  const { proxy } = await withMemory({ home, away: home });
  await proxy.insert({ name: 'a', length: UPDATE_BYTES_MAX + 1 });
  const content = home.allocate(UPDATE_BYTES_MAX + 1);
  expect(await subcode(proxy.write({ name: 'a', content }))).toBe('OperationFailed');
  expect(content.released).toBe(true);
});

test('a writer whose time is up stops waiting, and nobody is behind it', async () => {
  const home = await startRuntime();
  const { proxy } = await withMemory({ home, away: home });
  await proxy.insert({ name: 'a', length: KiB });
  const reader = await proxy.read({ name: 'a' });
  expect(await subcode(proxy.write({ name: 'a', content: filledBuffer(home, 1) }, { timeoutMs: 20 }))).toBe(
    'ResponseTimeout',
  );
  expect(await bytesOf(proxy, 'a')).toEqual(Buffer.alloc(KiB));
  reader[Symbol.dispose]();
});

test('a manifest says which regions there are, and what does not fit keeps the service from starting', async () => {
  const home = await startRuntime();
  const entry = { builtin: 'memory', host: 'here', partners: {} } as const;
  const { compose } = await import('../../../../lib/runtime/compose.js');
  const state = (value: unknown) => compose(Memory.state as never, Memory.uri, value).element;
  const regions = [
    { name: 'frames/a', length: KiB },
    { name: 'frames/b', length: 1 },
  ];
  const uri = await home.load({ ...entry, name: 'frames', state: state({ bytesMax: 2 * KiB, regions }) });
  const proxy = home.proxy(Memory, uri);
  expect(await proxy.query()).toMatchObject({ regions, bytes: KiB + 1, bytesMax: 2 * KiB });
  expect(await proxy.$state()).toMatchObject({ bytesMax: 2 * KiB, regions });
  for (const bad of [
    { bytesMax: KiB, regions },
    { regions: [regions[0], regions[0]] },
    { regions: [{ name: '.', length: 1 }] },
  ]) {
    await expect(home.load({ ...entry, name: 'bad', state: state(bad) })).rejects.toMatchObject({
      code: 'FAULT',
    });
  }
  expect(home.snapshot().memory?.buffers).toBe(2);
  await home.unload('frames');
});
