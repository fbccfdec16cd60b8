// The contract with Node's environments: an engine per worker, a worker that is terminated while bytes move, a process that
// ends by itself, and garbage collection that comes at the worst moment. Each in a process of its own, because a mistake here
// ends the process.
import { describe, expect, test } from 'vitest';
import { Child } from '../support/processes.js';
import { tolerated } from '../support/resident.js';
import { repetitions, TRANSPORTS } from '../support/transports.js';

/** For a machine that is emulated; a backstop, as every timeout here. */
const SLOW = 600_000;
/** One is enough: TCP's other kinds of addresses differ in nothing that matters to an environment. */
const at = TRANSPORTS[0]?.listenAddress();

// Goal: no crash, and no memory or descriptor left, when workers are terminated with transfers in flight. Method: in one
// process; what it has after the last is what it had after the first few.
test('worker.terminate() with transfers in flight, again and again', { timeout: SLOW }, async () => {
  const child = new Child('terminate', { argument: { at, rounds: repetitions(20) } });
  const rounds = await child.told<{ rss: number; descriptors: number }[]>('rounds');
  expect(await child.exited, child.errors).toEqual({ code: 0, signal: null });
  const [early, last] = [rounds[3], rounds.at(-1)];
  expect(last?.descriptors).toBe(early?.descriptors);
  // Each worker holds 128 MiB of buffers, so leaking them shows within three rounds.
  expect((last?.rss ?? 0) - (early?.rss ?? 0)).toBeLessThan(tolerated(100));
});

describe('a process ends by itself', () => {
  test.each(['close', 'destroy', 'dispose', 'nothing'])('after %s', async (end) => {
    const child = new Child('exits', { argument: { at, end } });
    expect(await child.exited, child.errors).toEqual({ code: 0, signal: null });
  });
});

// Goal: an exception in a user's listener is his, and uncaught; what else came in the same batch of events is not lost with it.
test('a listener that throws', async () => {
  const child = new Child('throws', { argument: { at } });
  expect(await child.told('result')).toEqual({ thrown: 6, received: 150 });
  expect(await child.exited, child.errors).toEqual({ code: 0, signal: null });
});

// Goal: garbage collection never takes memory that is in use, external memory is bounded, and a leak is told.
test('heavy garbage collection', { timeout: SLOW }, async () => {
  const child = new Child('garbage', {
    argument: { at, rounds: repetitions(24) },
    execArgv: ['--expose-gc'],
  });
  const result = await child.told<{
    leaksBefore: number;
    leaks: number;
    wrong: number;
    external: number[];
    intact: boolean;
  }>('result');
  expect(await child.exited, child.errors).toEqual({ code: 0, signal: null });
  expect(result.wrong).toBe(0);
  expect(result.leaksBefore).toBe(0);
  expect(result.leaks).toBe(1);
  expect(result.intact).toBe(true);
  const half = result.external.length / 2;
  const early = Math.max(...result.external.slice(0, half));
  expect(Math.max(...result.external.slice(half))).toBeLessThan(early + (16 << 20));
});
