// Proves the arithmetic under every published figure: nearest rank for quantiles, the mean of the two middle values for medians.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { median, medianOrNull, quantile } from '../../../bench/statistics.js';

describe('quantile', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);

  test.each([
    [0, 1],
    [0.01, 1],
    [0.5, 50],
    [0.99, 99],
    [0.991, 100],
    [1, 100],
  ])('%d of 1 to 100 is %d', (fraction, expected) => {
    expect(quantile(hundred, fraction)).toBe(expected);
  });

  test('of one value is that value', () => {
    for (const fraction of [0, 0.5, 1]) expect(quantile([7], fraction)).toBe(7);
  });

  test('takes what the recorder has, a Float64Array', () => {
    expect(quantile(Float64Array.of(1, 2, 3), 0.99)).toBe(3);
  });

  test('of nothing is an error', () => {
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });

  // Method: the definition, counted out.
  test('is the smallest value that the fraction does not exceed', () => {
    const values = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 100 }), (unsorted, percent) => {
        const sorted = unsorted.toSorted((a, b) => a - b);
        const value = quantile(sorted, percent / 100);
        const share = (limit: number) => sorted.filter((each) => each <= limit).length / sorted.length;
        // Half a value of slack: percent / 100 * length is no exact number.
        const slack = 0.5 / sorted.length;
        expect(sorted).toContain(value);
        expect(share(value)).toBeGreaterThanOrEqual(percent / 100 - slack);
        expect(share(value - 1)).toBeLessThan(percent / 100 + slack);
      }),
    );
  });
});

describe('median', () => {
  test('is the middle of an odd number, in whatever order', () => {
    expect(median([9, 1, 5])).toBe(5);
  });

  test('is the mean of the two middle ones of an even number', () => {
    expect(median([1, 100, 2, 4])).toBe(3);
  });

  test('compares numbers, not their spelling, and leaves its argument alone', () => {
    const values = [10, 9, 100];
    expect(median(values)).toBe(10);
    expect(values).toEqual([10, 9, 100]);
  });

  test('of nothing is an error', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('medianOrNull', () => {
  test('leaves out what is not there', () => {
    expect(medianOrNull([null, 1, undefined, 3])).toBe(2);
  });

  test('keeps a zero', () => {
    expect(medianOrNull([0, null])).toBe(0);
  });

  test('is null where nothing is there', () => {
    expect(medianOrNull([])).toBeNull();
    expect(medianOrNull([null, undefined])).toBeNull();
  });
});
