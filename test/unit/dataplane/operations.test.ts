// What an operation is ended by from outside: its signal or its deadline, whichever comes first, and nothing after that.
import { afterEach, expect, test, vi } from 'vitest';
import { watch } from '../../../lib/dataplane/operations.js';

afterEach(() => {
  vi.useRealTimers();
});

test('a signal ends the deadline too: its timer keeps no process alive and calls nobody', () => {
  vi.useFakeTimers();
  const controller = new AbortController();
  const end = vi.fn();
  watch({ signal: controller.signal, deadlineMs: 1000 }, end);
  controller.abort();
  expect(vi.getTimerCount()).toBe(0);
  expect(end.mock.calls).toMatchObject([[{ code: 'ABORTED' }]]);
});

test('a deadline ends the watching of the signal', () => {
  vi.useFakeTimers();
  const controller = new AbortController();
  const end = vi.fn();
  watch({ signal: controller.signal, deadlineMs: 1000 }, end);
  vi.advanceTimersByTime(1000);
  controller.abort();
  expect(end.mock.calls).toMatchObject([[{ code: 'DEADLINE_EXCEEDED' }]]);
});

test('after the operation has ended by itself, neither', () => {
  vi.useFakeTimers();
  const controller = new AbortController();
  const end = vi.fn();
  watch({ signal: controller.signal, deadlineMs: 1000 }, end)?.();
  controller.abort();
  expect(vi.getTimerCount()).toBe(0);
  expect(end).not.toHaveBeenCalled();
});
