/**
 * The soak: one case of one subject goes on until a given amount has moved, while the resident memory of both processes is watched. It
 * tells growth, not speed; what growth is too much is for targets.ts. It must not know the subject.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { MIB, unitOf, type Case, type Environment, type Row, type SoakMetric } from './measurement.js';
import { withPair, type Both, type Pair } from './pair-processes.js';
import { toSample, type PairDefinition } from './pair.js';

/** One soak of a suite: `task` is the case that goes on, `metric` the name under which its growth is told. */
export interface Soak {
  readonly metric: SoakMetric;
  readonly definition: PairDefinition;
  readonly task: Case;
}

export interface SoakOptions {
  readonly suite: string;
  readonly transport: string;
  /** Transfers or messages that must arrive after the warm-up. */
  readonly operations: number;
  /** For warm-up and soak together. */
  readonly timeoutMs: number;
  readonly environment: Environment;
  readonly commit: string | null;
  /** Told about ten times, evenly over the soak. */
  readonly onProgress: (progress: SoakProgress) => void;
}

export interface SoakProgress extends ResidentSample {
  readonly soak: Soak;
  readonly operations: number;
}

/** The resident size of both processes when `done` operations had arrived. */
export interface ResidentSample {
  readonly done: number;
  readonly residentBytes: Both<number>;
}

export interface ResidentGrowth {
  readonly growthMiB: number;
  readonly peakMiB: number;
}

/**
 * Pools fill, code is compiled and the heap finds its size while this share of the amount moves, in addition to it, and for at least
 * this long: a tenth of a short soak is over before the heap has been collected often enough.
 */
const WARMUP_FRACTION = 0.1;
const WARMUP_MS = 2000;
const SAMPLE_EVERY_MS = 20;
const PROGRESS_STEPS = 10;

/** Rejects with a BenchError. Both processes are gone when the promise settles. */
export function runSoak(soak: Soak, options: SoakOptions): Promise<Row> {
  const { definition, task, metric } = soak;
  return withPair(definition, task, options.timeoutMs, async (pair) => {
    await delay(WARMUP_MS);
    while ((await sample(pair)).done < options.operations * WARMUP_FRACTION) await delay(SAMPLE_EVERY_MS);
    pair.begin();
    const samples = await watch(pair, soak, options);
    const reports = await pair.end();
    const costs = toSample(definition, task, reports);
    const { growthMiB, peakMiB } = residentGrowth(samples);
    const { server, client } = reports;
    const receiver = client.deliveredBytes >= server.deliveredBytes ? client : server;
    return {
      suite: options.suite,
      subject: definition.name,
      mode: task.mode,
      metric,
      size: task.size,
      transport: options.transport,
      unit: unitOf(metric),
      median: growthMiB,
      // One soak has no tail.
      p99: growthMiB,
      cpuSecondsPerGB: costs.cpuSecondsPerGB,
      copiesPerByte: costs.copiesPerByte,
      eventLoopDelayP99Ms: costs.eventLoopDelayP99Ms,
      residentMiB: costs.residentMiB,
      soak: {
        deliveredBytes: receiver.deliveredBytes,
        deliveredMessages: receiver.deliveredMessages,
        residentPeakMiB: peakMiB,
      },
      rounds: 1,
      environment: options.environment,
      commit: options.commit,
    };
  });
}

async function watch(
  pair: Pair,
  soak: Soak,
  { operations, onProgress }: SoakOptions,
): Promise<readonly ResidentSample[]> {
  const samples: ResidentSample[] = [];
  let told = 0;
  for (;;) {
    const latest = await sample(pair);
    samples.push(latest);
    const step = Math.floor((latest.done / operations) * PROGRESS_STEPS);
    if (step > told) {
      told = step;
      onProgress({ soak, operations, ...latest });
    }
    if (latest.done >= operations) return samples;
    await delay(SAMPLE_EVERY_MS);
  }
}

async function sample(pair: Pair): Promise<ResidentSample> {
  const { server, client } = await pair.progress();
  return {
    // One of them receives.
    done: Math.max(server.deliveredMessages, client.deliveredMessages),
    residentBytes: { server: server.residentBytes, client: client.residentBytes },
  };
}

/**
 * How much more was resident at most in the second half of what moved than in the first, in the process where that is worse. Peaks are
 * compared because a collected heap comes and goes; what leaks raises every peak. Throws a RangeError without samples in both.
 */
export function residentGrowth(samples: readonly ResidentSample[]): ResidentGrowth {
  const half = (samples.at(-1)?.done ?? 0) / 2;
  const [worse] = (['server', 'client'] as const)
    .map((side): ResidentGrowth => {
      const peak = (of: readonly ResidentSample[]) =>
        Math.max(...of.map((each) => each.residentBytes[side])) / MIB;
      const early = peak(samples.filter(({ done }) => done < half));
      const late = peak(samples.filter(({ done }) => done >= half));
      return { growthMiB: late - early, peakMiB: Math.max(early, late) };
    })
    .sort((a, b) => b.growthMiB - a.growthMiB);
  if (worse === undefined || !Number.isFinite(worse.growthMiB)) {
    throw new RangeError('growth takes samples from both halves');
  }
  return worse;
}
