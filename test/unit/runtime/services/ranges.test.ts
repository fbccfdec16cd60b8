// Proves the holds on ranges: readers share, a writer is alone on its bytes, whoever came first goes first, nobody who gave up is in
// the way, and a limit holds for each list; any order of asking and leaving ends with everybody served.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HOLDS_MAX, Ranges, WAITING_MAX } from '../../../../lib/runtime/services/ranges.js';
import { failure, turns, watchPromise } from '../../../support/events.js';

const patient = (): AbortSignal => new AbortController().signal;
const READ = false;
const WRITE = true;

const enter = (ranges: Ranges, offset: number, length: number, writes: boolean, signal = patient) =>
  watchPromise(ranges.enter({ offset, length }, writes, signal));

test('readers share, writers of other bytes are not in the way, and those of the same wait for the last reader', async () => {
  const ranges = new Ranges();
  const [one, two] = [enter(ranges, 0, 10, READ), enter(ranges, 5, 10, READ)];
  const beside = enter(ranges, 15, 5, WRITE);
  const over = enter(ranges, 9, 1, WRITE);
  await turns();
  expect([one.settled, two.settled, beside.settled, over.settled]).toEqual([true, true, true, false]);
  one.value?.();
  await turns();
  expect(over.settled).toBe(false);
  two.value?.();
  await turns();
  expect(over.settled).toBe(true);
  expect(ranges.holds).toBe(2);
});

test('a reader that comes after a waiting writer waits behind it', async () => {
  const ranges = new Ranges();
  const reader = enter(ranges, 0, 10, READ);
  const writer = enter(ranges, 0, 10, WRITE);
  const late = enter(ranges, 3, 1, READ);
  await turns();
  expect([writer.settled, late.settled]).toEqual([false, false]);
  reader.value?.();
  await turns();
  expect([writer.settled, late.settled]).toEqual([true, false]);
  writer.value?.();
  await turns();
  expect(late.settled).toBe(true);
});

test('who gives up is not in the way of those behind', async () => {
  const ranges = new Ranges();
  const abort = new AbortController();
  const reader = enter(ranges, 0, 10, READ);
  const writer = enter(ranges, 0, 10, WRITE, () => abort.signal);
  const late = enter(ranges, 0, 10, READ);
  abort.abort();
  await turns();
  expect(writer.error).toMatchObject({ code: 'ABORTED' });
  expect([reader.settled, late.settled, ranges.waiting]).toEqual([true, true, 0]);
  expect(await failure(ranges.enter({ offset: 0, length: 1 }, WRITE, () => abort.signal))).toMatchObject({
    code: 'ABORTED',
  });
});

test('leaving twice is leaving once', async () => {
  const ranges = new Ranges();
  const first = enter(ranges, 0, 1, WRITE);
  const second = enter(ranges, 0, 1, WRITE);
  await turns();
  first.value?.();
  first.value?.();
  const third = enter(ranges, 0, 1, WRITE);
  await turns();
  expect([second.settled, third.settled]).toEqual([true, false]);
});

test('memory that is retired sends away who waits, and is idle when the last has left', async () => {
  const ranges = new Ranges();
  const reader = enter(ranges, 0, 1, READ);
  const writer = enter(ranges, 0, 1, WRITE);
  let idle = 0;
  await turns();
  ranges.retire(() => idle++);
  await turns();
  expect(writer).toMatchObject({ settled: true, value: undefined, error: undefined });
  expect(idle).toBe(0);
  reader.value?.();
  reader.value?.();
  expect(idle).toBe(1);
  expect(await ranges.enter({ offset: 0, length: 1 }, READ, patient)).toBeUndefined();
  const unused = new Ranges();
  unused.retire(() => idle++);
  expect(idle).toBe(2);
});

test('more holds, or more that wait, than there may be are refused', async () => {
  const ranges = new Ranges();
  for (let at = 0; at < HOLDS_MAX; at++) await ranges.enter({ offset: 0, length: 1 }, READ, patient);
  await expect(ranges.enter({ offset: 5, length: 1 }, READ, patient)).rejects.toMatchObject({
    code: 'FAULT',
  });
  const crowded = new Ranges();
  await crowded.enter({ offset: 0, length: 1 }, READ, patient);
  for (let at = 0; at < WAITING_MAX; at++) enter(crowded, 0, 1, WRITE);
  await expect(crowded.enter({ offset: 0, length: 1 }, WRITE, patient)).rejects.toMatchObject({
    code: 'FAULT',
  });
  expect(crowded.waiting).toBe(WAITING_MAX);
});

test('whatever is asked and left in whatever order, nobody writes what another holds, and all are served', async () => {
  const step = fc.record({
    offset: fc.integer({ min: 0, max: 7 }),
    length: fc.integer({ min: 1, max: 8 }),
    writes: fc.boolean(),
    /** Which of those that hold leaves next; none for a while. */
    leaves: fc.option(fc.nat()),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const ranges = new Ranges();
      const inside: { from: number; to: number; writes: boolean; leave: () => void }[] = [];
      let served = 0;
      const check = (): void => {
        for (const a of inside)
          for (const b of inside)
            if (a !== b && (a.writes || b.writes)) expect(a.to <= b.from || b.to <= a.from).toBe(true);
      };
      const go = (index: number): void => inside.splice(index % inside.length, 1)[0]?.leave();
      for (const { offset, length, writes, leaves } of steps) {
        void ranges.enter({ offset, length }, writes, patient).then((leave) => {
          served++;
          inside.push({ from: offset, to: offset + length, writes, leave: leave as () => void });
          check();
        });
        if (leaves !== null && inside.length > 0) go(leaves);
        await Promise.resolve();
      }
      for (await turns(1); inside.length > 0; await turns(1)) go(0);
      expect(served).toBe(steps.length);
      expect([ranges.holds, ranges.waiting]).toEqual([0, 0]);
    }),
  );
});
