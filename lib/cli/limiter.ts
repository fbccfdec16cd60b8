// Things that are done for many items, a few at once.

/**
 * Runs `act` for every item, at most `count` at once, in their order. Settles when all have ended; `act` handles its own
 * failures, and after `signal` aborts no more are begun.
 */
export async function forEach<T>(
  items: readonly T[],
  count: number,
  signal: AbortSignal,
  act: (item: T) => Promise<void>,
): Promise<void> {
  const left = items[Symbol.iterator]();
  const lane = async (): Promise<void> => {
    for (const item of left) {
      if (signal.aborted) return;
      await act(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, items.length) }, lane));
}
