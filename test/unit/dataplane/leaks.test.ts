// Proves that a buffer that is collected without release() is told, whether it died young or old, and that no other is.
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Leaks } from '../../../lib/dataplane/leaks.js';
import type { RegisteredBuffer } from '../../../lib/dataplane/memory.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What Leaks knows of a buffer. */
interface Watched {
  readonly length: number;
  released: boolean;
  isWatched: boolean;
}

function watchedBuffer(leaks: Leaks, length: number): Watched {
  const buffer: Watched = { length, released: false, isWatched: false };
  leaks.watch(buffer as unknown as RegisteredBuffer);
  return buffer;
}

function release(leaks: Leaks, buffer: Watched): void {
  leaks.forget(buffer as unknown as RegisteredBuffer);
  buffer.released = true;
}

/** Turns the loop until `done`; collections that find nothing do no harm. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) {
    collectGarbage();
    await turn();
  }
}

test('a buffer that nobody released is told once, of its length', async () => {
  const told: number[] = [];
  const leaks = new Leaks(({ length }) => told.push(length));
  watchedBuffer(leaks, 7);
  await until(() => told.length > 0);
  expect(told).toEqual([7]);
  leaks.close();
});

// Method: as many as are looked at together, of which some were released before and some after that.
test('released buffers are not told, whenever that was', async () => {
  const told: number[] = [];
  const leaks = new Leaks(({ length }) => told.push(length));
  (() => {
    const buffers = Array.from({ length: 1000 }, (_, index) => {
      const buffer = watchedBuffer(leaks, index);
      if (index % 2 === 0) release(leaks, buffer);
      return buffer;
    });
    for (const buffer of buffers) if (buffer.length % 4 === 1) release(leaks, buffer);
  })();
  const leaked = Array.from({ length: 250 }, (_, index) => index * 4 + 3);
  await until(() => told.length >= leaked.length);
  collectGarbage();
  await turn();
  expect(told.sort((a, b) => a - b)).toEqual(leaked);
  leaks.close();
});

test('after close() nothing is told', async () => {
  const told: number[] = [];
  const other: number[] = [];
  const leaks = new Leaks(({ length }) => told.push(length));
  const later = new Leaks(({ length }) => other.push(length));
  for (let index = 0; index < 200; index++) watchedBuffer(leaks, index);
  leaks.close();
  watchedBuffer(later, 1);
  await until(() => other.length > 0);
  expect(told).toEqual([]);
  later.close();
});
