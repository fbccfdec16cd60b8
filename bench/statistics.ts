/**
 * Medians and quantiles by nearest rank. It owns no state and knows nothing of rows or subjects.
 */

/** The value that `fraction` of the sorted values do not exceed (nearest rank). `sorted` is ascending and not empty. */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  const rank = Math.ceil(fraction * sorted.length);
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, rank - 1))];
  if (value === undefined) throw new RangeError('quantile of no values');
  return value;
}

/** The middle value; the mean of the two middle ones where their number is even, because rounds are few. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  const high = sorted[Math.ceil((sorted.length - 1) / 2)];
  if (low === undefined || high === undefined) throw new RangeError('median of no values');
  return (low + high) / 2;
}

/** The median of those values that are there, or `null` where none is. */
export function medianOrNull(values: readonly (number | null | undefined)[]): number | null {
  const present = values.filter((value): value is number => typeof value === 'number');
  return present.length === 0 ? null : median(present);
}
