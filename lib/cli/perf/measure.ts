// Measures one metric at one size: runs its traffic for a while, and makes a row of what arrived and what both processes
// spent. Knows nothing of how rows are shown.
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../client.js';
import { ascending, quantile } from '../statistics.js';
import { SharedMeter } from '../usage.js';
import { drive, type Listener, type Metric } from './traffic.js';

export type Unit = 'us' | 'GB/s' | '1/s';

/** What to measure; `size` is the payload of one message or transfer in bytes. */
export interface Case {
  readonly metric: Metric;
  readonly size: number;
}

/** The warm-up is not measured. */
export interface Budget {
  readonly warmupMs: number;
  readonly measureMs: number;
}

/** One line of `perf --json`. */
export interface Row {
  readonly suite: 'perf';
  readonly metric: Metric;
  readonly size: number;
  readonly transport: string;
  readonly unit: Unit;
  /** Of the single round trips; of rates, over windows of 100 ms. */
  readonly median: number;
  /** What 99 % of the round trips stay below; of rates, what 99 % of the windows reach. */
  readonly p99: number;
  /** Of both processes, for 1e9 bytes of payload; a round trip counts both directions. */
  readonly cpuSecondsPerGB: number;
  /** Copies in user space, of both processes. */
  readonly copiesPerByte: number;
  /** Of the later of both event loops. It contains the 1 ms between two looks. */
  readonly eventLoopDelayP99Ms: number;
}

const WINDOW_MS = 100;
/** Round trips recorded; later ones take the place of the earliest. */
const ROUND_TRIPS_MAX = 1 << 20;
const BYTES_PER_GB = 1e9;

export function unitOf(metric: Metric): Unit {
  if (metric === 'push' || metric === 'pull') return 'GB/s';
  return metric === 'message_rate' ? '1/s' : 'us';
}

/** Adds up what arrives. */
class Record implements Listener {
  bytes = 0;
  count = 0;
  readonly rates: number[] = [];
  readonly #unit: Unit;
  #roundTrips = new Float64Array(0);
  #roundTripCount = 0;
  #windowBegin = 0;
  #windowTotal = 0;

  constructor(unit: Unit) {
    this.#unit = unit;
  }

  /** From now on it counts. */
  begin(): void {
    this.#roundTrips = new Float64Array(ROUND_TRIPS_MAX);
    this.#roundTripCount = 0;
    this.bytes = 0;
    this.count = 0;
    this.rates.length = 0;
    this.#windowBegin = performance.now();
    this.#windowTotal = 0;
  }

  roundTrip(begin: number): void {
    this.#roundTrips[this.#roundTripCount++ % ROUND_TRIPS_MAX] = (performance.now() - begin) * 1000;
  }

  delivered(bytes: number, count: number): void {
    this.bytes += bytes;
    this.count += count;
  }

  /** Ends a window and begins the next. */
  window(): void {
    const now = performance.now();
    const total = this.#unit === '1/s' ? this.count : this.bytes / BYTES_PER_GB;
    this.rates.push(((total - this.#windowTotal) * 1000) / (now - this.#windowBegin));
    this.#windowBegin = now;
    this.#windowTotal = total;
  }

  summary(): { median: number; p99: number } {
    if (this.#unit === 'us') {
      const sorted = ascending(this.#roundTrips.subarray(0, Math.min(this.#roundTripCount, ROUND_TRIPS_MAX)));
      return { median: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) };
    }
    const sorted = ascending(this.rates);
    return { median: quantile(sorted, 0.5), p99: quantile(sorted, 0.01) };
  }
}

/** Settles with what was measured. Rejects with what moving rejects with, and when `signal` aborts. */
export async function measure(
  client: Client,
  { metric, size }: Case,
  { warmupMs, measureMs }: Budget,
  signal: AbortSignal,
): Promise<Row> {
  const unit = unitOf(metric);
  const record = new Record(unit);
  const meter = new SharedMeter(client, signal);
  const stop = new AbortController();
  const traffic = drive(client, metric, size, record, AbortSignal.any([stop.signal, signal]));
  const interval = async () => {
    await delay(warmupMs, undefined, { signal });
    await meter.start();
    record.begin();
    const timer = setInterval(() => {
      record.window();
    }, WINDOW_MS);
    try {
      await delay(measureMs, undefined, { signal });
    } finally {
      clearInterval(timer);
    }
    record.window();
    const { bytes } = record;
    return { ...(await meter.read()), bytes, ...record.summary() };
  };
  try {
    const failed = new Promise<never>((_, reject) => {
      traffic.catch(reject);
    });
    const measured = await Promise.race([interval(), failed]);
    const { bytes, cpuSeconds, copiesPerByte, eventLoopDelayP99Ms, median, p99 } = measured;
    const { transport } = client.connection.facts;
    const cpuSecondsPerGB = (cpuSeconds / bytes) * BYTES_PER_GB;
    return {
      suite: 'perf',
      metric,
      size,
      transport,
      unit,
      median,
      p99,
      cpuSecondsPerGB,
      copiesPerByte,
      eventLoopDelayP99Ms,
    };
  } finally {
    stop.abort();
    // Whoever pressed Ctrl-C does not wait for a peer that may not answer; what is in flight ends with the connection.
    traffic.catch(() => undefined);
    if (!signal.aborted) await traffic.catch(() => undefined);
  }
}
