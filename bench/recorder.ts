/**
 * What one process of a pair records about itself between the begin and the end of the measured interval: what arrived, how
 * long round trips took, its CPU time and its event-loop delay. It runs inside the measured process, so its hot calls do
 * nothing but add. It must not know who is measured.
 */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';
import { KIB } from './measurement.js';
import { quantile } from './statistics.js';

/** Round trips recorded per interval; later ones are counted, not recorded. */
const ROUND_TRIPS_MAX = 1 << 21;

/** Plain data: it crosses to the harness over IPC. */
export interface Report {
  readonly seconds: number;
  /** What arrived took this long to arrive; see RecorderOptions. */
  readonly deliverySeconds: number;
  readonly cpuSeconds: number;
  readonly deliveredBytes: number;
  readonly deliveredMessages: number;
  readonly copiedBytes: number;
  readonly eventLoopDelayP99Ms: number;
  /** The highest so far. */
  readonly residentMiB: number;
  /** In microseconds; `null` where this process made no round trip. */
  readonly roundTrips: { readonly count: number; median: number; p99: number; p999: number } | null;
}

/** Plain data: how far a process is. Counts run from the beginning of the interval, or of the process where none has begun. */
export interface ProcessProgress {
  readonly deliveredBytes: number;
  readonly deliveredMessages: number;
  readonly roundTripCount: number;
  readonly residentBytes: number;
}

export interface RecorderOptions {
  /** While an interval is open the event loop wakes up this often, to see how late it is. */
  readonly loopResolutionMs?: number;
  /**
   * A rate is taken from the last delivery before the interval to the last one in it, and not from the interval itself. Where few
   * deliveries fall into one, whether another just does would else be the larger part of the figure.
   */
  readonly alignsToDeliveries?: boolean;
}

export class Recorder {
  readonly #roundTrips = new Float64Array(ROUND_TRIPS_MAX);
  readonly #loopDelay: IntervalHistogram;
  readonly #aligns: boolean;
  #roundTripCount = 0;
  #bytes = 0;
  #messages = 0;
  #copiedBytes = 0;
  #beginNs = 0n;
  #lastDelivery: number | undefined;
  #lastDeliveryBefore: number | undefined;
  #cpuAtBegin = process.cpuUsage();

  constructor({ loopResolutionMs = 1, alignsToDeliveries = false }: RecorderOptions = {}) {
    this.#aligns = alignsToDeliveries;
    this.#loopDelay = monitorEventLoopDelay({ resolution: loopResolutionMs });
    // Touched once here, so that no page fault falls into a round trip.
    this.#roundTrips.fill(0);
  }

  /** Payload has arrived whole, in the hands of JavaScript. */
  delivered(bytes: number, messages = 1): void {
    this.#bytes += bytes;
    this.#messages += messages;
    if (this.#aligns) this.#lastDelivery = performance.now();
  }

  /** The subject's own code copied payload; copies inside its libraries are declared by the subject instead. */
  copied(bytes: number): void {
    this.#copiedBytes += bytes;
  }

  /** A round trip that began at `begin`, a value of `performance.now()`, has ended. */
  roundTrip(begin: number): void {
    const index = this.#roundTripCount++;
    if (index < ROUND_TRIPS_MAX) this.#roundTrips[index] = (performance.now() - begin) * 1000;
  }

  progress(): ProcessProgress {
    return {
      deliveredBytes: this.#bytes,
      deliveredMessages: this.#messages,
      roundTripCount: this.#roundTripCount,
      residentBytes: process.memoryUsage.rss(),
    };
  }

  begin(): void {
    this.#roundTripCount = 0;
    this.#bytes = 0;
    this.#messages = 0;
    this.#copiedBytes = 0;
    this.#loopDelay.enable();
    this.#loopDelay.reset();
    this.#lastDeliveryBefore = this.#lastDelivery;
    this.#cpuAtBegin = process.cpuUsage();
    this.#beginNs = process.hrtime.bigint();
  }

  end(): Report {
    const seconds = Number(process.hrtime.bigint() - this.#beginNs) / 1e9;
    const cpu = process.cpuUsage(this.#cpuAtBegin);
    this.#loopDelay.disable();
    return {
      seconds,
      deliverySeconds: this.#deliverySeconds() ?? seconds,
      cpuSeconds: (cpu.user + cpu.system) / 1e6,
      deliveredBytes: this.#bytes,
      deliveredMessages: this.#messages,
      copiedBytes: this.#copiedBytes,
      eventLoopDelayP99Ms: this.#loopDelayP99Ms(seconds),
      residentMiB: process.resourceUsage().maxRSS / KIB,
      roundTrips: this.#summarizeRoundTrips(),
    };
  }

  #loopDelayP99Ms(seconds: number): number {
    // A loop that never turned has no sample at all; its delay is the whole interval.
    return this.#loopDelay.count > 0 ? this.#loopDelay.percentile(99) / 1e6 : seconds * 1000;
  }

  #deliverySeconds(): number | undefined {
    if (this.#lastDelivery === undefined || this.#lastDeliveryBefore === undefined) return undefined;
    const elapsed = (this.#lastDelivery - this.#lastDeliveryBefore) / 1000;
    return elapsed > 0 ? elapsed : undefined;
  }

  #summarizeRoundTrips(): Report['roundTrips'] {
    const count = this.#roundTripCount;
    if (count === 0) return null;
    const sorted = this.#roundTrips.slice(0, Math.min(count, ROUND_TRIPS_MAX)).sort();
    return {
      count,
      median: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99),
      p999: quantile(sorted, 0.999),
    };
  }
}
