// Waiting for what happens instead of for time to pass.
import { expect } from 'vitest';
import { SplitplaneError, type ErrorCode } from '../../lib/index.js';

/** How often a state is looked at that no event announces. */
const LOOK_EVERY_MS = 2;

/** Settles when `holds` does. There is no limit: a test that hangs is ended by vitest, which names it. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
}

/** Who waits for something to happen, to look then whether it is what they wait for. */
export class News {
  readonly #waiting = new Set<() => void>();

  /** Settles when something happens. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
    });
  }

  happened(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** Lets everything that is ready on this loop happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** What a promise or call failed with, which must be a SplitplaneError with a sentence. */
export async function failure(of: Promise<unknown> | (() => unknown)): Promise<SplitplaneError> {
  let outcome: unknown;
  try {
    outcome = await (typeof of === 'function' ? of() : of);
  } catch (error) {
    expect(error, String((error as Error).stack)).toBeInstanceOf(SplitplaneError);
    const failed = error as SplitplaneError;
    expect(failed.message.length).toBeGreaterThan(10);
    return failed;
  }
  expect.fail(`It was to fail and came to ${String(outcome)}.`);
}

/** The code that a promise or call fails with. */
export async function code(of: Promise<unknown> | (() => unknown)): Promise<ErrorCode> {
  return (await failure(of)).code;
}

/** Whether a promise has settled, and how, without waiting for it. */
export function watchPromise<T>(promise: Promise<T>): {
  settled: boolean;
  value: T | undefined;
  error: unknown;
} {
  const watched: { settled: boolean; value: T | undefined; error: unknown } = {
    settled: false,
    value: undefined,
    error: undefined,
  };
  promise.then(
    (value) => {
      watched.settled = true;
      watched.value = value;
    },
    (error: unknown) => {
      watched.settled = true;
      watched.error = error;
    },
  );
  return watched;
}
