// Proves that files are received whatever others do: one asker whose bytes never come, in as many transfers as it may have, leaves the
// others their way. Method: senders that exist in the test only, and answer or do not.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { RegisteredBuffer } from '../../../../lib/dataplane/memory.js';
import type { Attached } from '../../../../lib/runtime/attached.js';
import { Hashes } from '../../../../lib/runtime/services/files/hashes.js';
import { Limiter } from '../../../../lib/runtime/services/files/limiter.js';
import { Root } from '../../../../lib/runtime/services/files/root.js';
import { RANGE_BYTES, Receiver } from '../../../../lib/runtime/services/files/store.js';
import { turns, until, watchPromise } from '../../../support/events.js';
import { makeManager } from '../../../support/managers.js';

const folder = mkdtempSync(join(tmpdir(), 'splitplane-store-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts `count` that end when they are let go, and says which have begun. */
function start(limiter: Limiter, asker: string, count: number, begun: string[]): () => void {
  let end!: () => void;
  const ended = new Promise<void>((resolve) => (end = resolve));
  for (let at = 0; at < count; at++) {
    void limiter.run(asker, () => {
      begun.push(asker);
      return ended;
    });
  }
  return end;
}

describe('the limiter', () => {
  test('takes so many of one asker, so many of all, and one of everybody', async () => {
    const limiter = new Limiter(4, 3);
    const begun: string[] = [];
    const endFirst = start(limiter, 'a', 5, begun);
    start(limiter, 'b', 3, begun);
    start(limiter, 'c', 2, begun);
    expect(begun).toEqual(['a', 'a', 'a', 'b', 'c']);
    // All of the first's end, those too that begin now: who waited first goes first, until four of the others are there.
    endFirst();
    await turns();
    expect(begun).toEqual(['a', 'a', 'a', 'b', 'c', 'a', 'a', 'b', 'b']);
  });

  test('goes on after one that fails', async () => {
    const limiter = new Limiter(1, 1);
    const failing = limiter.run('a', () => Promise.reject(new Error('failed')));
    const next = limiter.run('a', () => Promise.resolve('done'));
    await expect(failing).rejects.toThrow('failed');
    expect(await next).toBe('done');
  });
});

test('an asker that stopped does not keep another from storing a file', async () => {
  const manager = makeManager();
  await using hashes = new Hashes();
  await using root = await Root.open(folder);
  await using directory = await root.directory('');
  const receiver = new Receiver((length) => manager.allocate(length), hashes);
  const size = 2 * RANGE_BYTES + 5;
  const stop = new AbortController();
  const store = (asker: string, name: string, resolve: (into: RegisteredBuffer) => Promise<void>) =>
    receiver.store(directory, name, {
      asker,
      remote: {
        length: size,
        resolve: ({ into }: { into: RegisteredBuffer }) => resolve(into),
      } as unknown as Attached,
      size,
      mode: 0o600,
      verify: false,
      signal: stop.signal,
      start: () => Promise.resolve(0),
      accept: () => Promise.resolve(),
      onBytes: () => undefined,
    });
  const stopped = new Promise<void>((_, reject) => {
    stop.signal.addEventListener('abort', () => reject(stop.signal.reason as Error));
  });
  const stuck = Array.from({ length: 8 }, (_, at) =>
    watchPromise(store('stopped', `stuck${at}`, () => stopped)),
  );
  await until(() => manager.stats.memory.buffers >= 12);
  const good = await Promise.all(
    ['one', 'two'].map((name) =>
      store('other', name, (into) => {
        into.bytes.fill(name);
        return Promise.resolve();
      }),
    ),
  );
  expect(good).toHaveLength(2);
  expect(readFileSync(join(folder, 'two'))).toHaveLength(size);
  stop.abort(new Error('enough'));
  await until(() => stuck.every(({ settled }) => settled));
  expect(manager.stats.memory.buffers).toBe(0);
});
