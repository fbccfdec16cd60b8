// Proves that a signal that follows two others says what the first of them says, and leaves nothing with either.
import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { EitherSignal } from '../../../../lib/runtime/services/files/either-signal.js';

test.each([0, 1])('it aborts when number %i does, for the same reason', (which) => {
  const of = [new AbortController(), new AbortController()] as const;
  using either = new EitherSignal(of[0].signal, of[1].signal);
  expect(either.signal.aborted).toBe(false);
  of[which]?.abort('first');
  of[1 - which]?.abort('second');
  expect(either.signal.reason).toBe('first');
});

test.each([0, 1])('number %i may have aborted before', (which) => {
  const of = [AbortSignal.abort('before'), new AbortController().signal] as const;
  using either = new EitherSignal(of[which] as AbortSignal, of[1 - which] as AbortSignal);
  expect(either.signal.reason).toBe('before');
});

test('it lets go of both', () => {
  const of = [new AbortController(), new AbortController()] as const;
  const either = new EitherSignal(of[0].signal, of[1].signal);
  either[Symbol.dispose]();
  for (const { signal } of of) expect(getEventListeners(signal, 'abort')).toEqual([]);
  of[0].abort();
  expect(either.signal.aborted).toBe(false);
});
