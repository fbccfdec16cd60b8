// Proves that the soak sees a leak in either process and takes a heap that breathes for what it is; and that the two reports of a
// pair become the figures of the side they belong to.
import { describe, expect, test } from 'vitest';
import { MIB } from '../../../bench/measurement.js';
import { toSample } from '../../../bench/pair.js';
import type { Report } from '../../../bench/recorder.js';
import { residentGrowth, type ResidentSample } from '../../../bench/soak.js';

/** Samples at even steps of what moved, from sizes in MiB. */
function samples(server: readonly number[], client: readonly number[]): ResidentSample[] {
  return server.map((size, index) => ({
    done: index * 100,
    residentBytes: { server: size * MIB, client: (client[index] ?? 0) * MIB },
  }));
}

describe('residentGrowth', () => {
  test('of a heap that breathes is nothing', () => {
    expect(residentGrowth(samples([90, 120, 80, 90, 120, 85], [50, 50, 50, 50, 50, 50]))).toEqual({
      growthMiB: 0,
      peakMiB: 120,
    });
  });

  test('of a leak is what came in the second half', () => {
    const leak = [100, 110, 120, 130, 140, 150];
    const flat = [200, 200, 200, 200, 200, 200];
    expect(residentGrowth(samples(leak, flat))).toEqual({ growthMiB: 30, peakMiB: 150 });
    expect(residentGrowth(samples(flat, leak))).toEqual({ growthMiB: 30, peakMiB: 150 });
  });

  test('of memory given back is negative', () => {
    expect(residentGrowth(samples([100, 100, 60, 60], [70, 70, 60, 60])).growthMiB).toBe(-10);
  });

  test('halves are halves of what moved, not of the time it took', () => {
    const slowAtFirst = [0, 1, 2, 3, 4, 1000].map((done, index) => ({
      done,
      residentBytes: { server: (100 + index) * MIB, client: 0 },
    }));
    expect(residentGrowth(slowAtFirst).growthMiB).toBe(1);
  });

  test('takes samples from both halves', () => {
    expect(() => residentGrowth([])).toThrow(RangeError);
    expect(() => residentGrowth(samples([1], [1]))).toThrow(RangeError);
  });
});

describe('toSample', () => {
  const idle: Report = {
    ...{
      seconds: 2,
      deliverySeconds: 2,
      cpuSeconds: 0.5,
      deliveredBytes: 0,
      deliveredMessages: 0,
      copiedBytes: 0,
    },
    ...{ eventLoopDelayP99Ms: 1, residentMiB: 60, roundTrips: null },
  };
  const ours = { name: 'splitplane', libraryCopiesPerByte: 0 } as const;

  test('takes a stream from the side that received it, and costs and delays from both', () => {
    const receiving = {
      ...idle,
      deliveredBytes: 4e9,
      deliveredMessages: 400,
      copiedBytes: 1e9,
      cpuSeconds: 1,
    };
    const task = { metric: 'push', size: 1e7, mode: 'event' } as const;
    const expected = {
      ...{ median: 2, cpuSecondsPerGB: 0.375, copiesPerByte: 0.25 },
      ...{ eventLoopDelayP99Ms: 7, residentMiB: 90 },
    };
    const sending = { ...idle, eventLoopDelayP99Ms: 7, residentMiB: 90 };
    expect(toSample(ours, task, { server: receiving, client: sending })).toEqual(expected);
    expect(toSample(ours, task, { server: sending, client: receiving })).toEqual(expected);
  });

  test('counts the payload of a round trip in both directions', () => {
    const roundTrips = { count: 1e6, median: 20, p99: 30, p999: 40 };
    const task = { metric: 'message_rtt', size: 500, mode: 'event' } as const;
    const sample = toSample(ours, task, { server: idle, client: { ...idle, roundTrips } });
    expect(sample).toMatchObject({ median: 20, p99: 30, p999: 40, cpuSecondsPerGB: 1 });
  });

  test('counts messages where messages are asked for', () => {
    const server = { ...idle, deliveredBytes: 6400, deliveredMessages: 100 };
    const task = { metric: 'message_rate', size: 64, mode: 'event' } as const;
    expect(toSample(ours, task, { server, client: idle }).median).toBe(50);
  });

  test('does not make up copies that nobody counted', () => {
    const server = { ...idle, deliveredBytes: 1, deliveredMessages: 1 };
    const task = { metric: 'push', size: 1, mode: 'event' } as const;
    const sample = toSample({ name: 'zeromq', libraryCopiesPerByte: null }, task, { server, client: idle });
    expect(sample.copiesPerByte).toBeNull();
  });

  test('nothing delivered is a failure, not a rate of nought', () => {
    const task = { metric: 'pull', size: 1, mode: 'event' } as const;
    const nothing = () => toSample(ours, task, { server: idle, client: idle });
    expect(nothing).toThrow(expect.objectContaining({ code: 'ERR_BENCH_PEER' }));
  });
});
