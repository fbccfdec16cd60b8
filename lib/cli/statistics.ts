// Medians and quantiles by nearest rank.

/** The value that `fraction` of the ascending values do not exceed; NaN when there are none. */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  const rank = Math.ceil(fraction * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1] ?? NaN;
}

/** Ascending, as a copy. */
export function ascending(values: Iterable<number>): Float64Array {
  return Float64Array.from(values).sort();
}
