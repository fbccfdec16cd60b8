/**
 * Runs a suite in interleaved rounds and makes rows of what the subjects achieved. Within a round, everything of one metric and size
 * runs back to back, and each round begins with another subject, so that drift of the machine hits all alike. It must not
 * know how any subject measures, nor what is a good result.
 */
import {
  asBenchError,
  BenchError,
  METRICS,
  settingOf,
  unitOf,
  type Budget,
  type Case,
  type Environment,
  type Row,
  type Sample,
  type Subject,
} from './measurement.js';
import { median, medianOrNull, quantile } from './statistics.js';
import type { Suite } from './suites.js';

/** Rounds of a point of a curve: there are many, and nobody judges them. */
const BRIEF_ROUNDS_MAX = 2;

export interface RunOptions {
  readonly rounds: number;
  readonly budget: Budget;
  readonly environment: Environment;
  readonly commit: string | null;
  /** Told before the rounds how many measurements there will be, then of each one as it ends. */
  readonly onProgress: (progress: Progress) => void;
}

export interface Progress {
  readonly round: number;
  readonly done: number;
  readonly total: number;
  readonly subject: Subject;
  readonly task: Case;
  /** A failed measurement leaves its round out of the row; it does not end the run. */
  readonly outcome: Sample | BenchError;
}

export interface RunResult {
  readonly rows: readonly Row[];
  /** Cases of which not one round succeeded. They have no row. */
  readonly failed: readonly { readonly subject: Subject; readonly task: Case; readonly error: BenchError }[];
}

interface Entry {
  readonly subject: Subject;
  readonly task: Case;
  readonly version: string | undefined;
  readonly samples: Sample[];
  lastError: BenchError | undefined;
}

/** Prepares all subjects, so that everything that is missing is named at once. Rejects with the BenchErrors it met. */
export async function prepare(subjects: readonly Subject[]): Promise<void> {
  const outcomes = await Promise.allSettled(subjects.map(async (subject) => subject.prepare?.()));
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' ? [asBenchError(outcome.reason)] : [],
  );
  if (errors.length > 0) throw new AggregateError(errors, 'Some subjects cannot be measured here.');
}

function roundsOf({ brief }: Case, rounds: number): number {
  return brief === true ? Math.min(BRIEF_ROUNDS_MAX, rounds) : rounds;
}

export async function runSuite(suite: Suite, options: RunOptions): Promise<RunResult> {
  const versions = await Promise.all(suite.subjects.map(async (subject) => subject.version?.()));
  const groups = groupByFigure(suite.subjects, versions);
  const total = groups.flat().reduce((sum, { task }) => sum + roundsOf(task, options.rounds), 0);
  let done = 0;
  for (let round = 0; round < options.rounds; round++) {
    for (const group of groups) {
      for (const entry of rotate(group, round)) {
        if (round >= roundsOf(entry.task, options.rounds)) continue;
        const outcome = await measureOnce(entry, options.budget);
        if (outcome instanceof BenchError) entry.lastError = outcome;
        else entry.samples.push(outcome);
        options.onProgress({ round: round + 1, done: ++done, total, ...entry, outcome });
      }
    }
  }
  const entries = groups.flat();
  return {
    rows: entries.filter((entry) => entry.samples.length > 0).map((entry) => toRow(suite, entry, options)),
    failed: entries.flatMap(({ subject, task, samples, lastError: error }) =>
      samples.length === 0 && error !== undefined ? [{ subject, task, error }] : [],
    ),
  };
}

/** Figures that are compared with each other are measured next to each other: one group for each metric, size and place. */
function groupByFigure(
  subjects: readonly Subject[],
  versions: readonly (string | undefined)[],
): readonly (readonly Entry[])[] {
  const entries = subjects.flatMap((subject, index) =>
    subject.cases.map((task): Entry => ({
      subject,
      task,
      version: versions[index],
      samples: [],
      lastError: undefined,
    })),
  );
  return METRICS.flatMap((metric) => {
    const ofMetric = entries.filter(({ task }) => task.metric === metric);
    const sizes = [...new Set(ofMetric.map(({ task }) => task.size))].sort((a, b) => a - b);
    const counts = [...new Set(ofMetric.map(({ task }) => task.count))].sort((a, b) => (a ?? 0) - (b ?? 0));
    const places = [...new Set(ofMetric.map(({ task }) => task.hosts))];
    const figures = sizes.flatMap((size) =>
      counts.flatMap((count) => places.map((hosts) => ({ size, count, hosts }))),
    );
    return figures
      .map(({ size, count, hosts }) =>
        ofMetric.filter(({ task }) => task.size === size && task.count === count && task.hosts === hosts),
      )
      .filter((group) => group.length > 0);
  });
}

function rotate<T>(items: readonly T[], by: number): readonly T[] {
  const start = by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

async function measureOnce({ subject, task }: Entry, budget: Budget): Promise<Sample | BenchError> {
  const brief = { ...budget, measureMs: budget.measureMs / 2 };
  try {
    return await subject.measure(task, task.brief === true ? brief : budget);
  } catch (error) {
    return asBenchError(error);
  }
}

function toRow(suite: Suite, { subject, task, samples, version }: Entry, options: RunOptions): Row {
  const medians = samples.map((sample) => sample.median);
  const p999 = medianOrNull(samples.map((sample) => sample.p999));
  // A latency has a tail within each round; of a rate, only rounds can be slow.
  const slowTail = quantile(
    medians.toSorted((a, b) => a - b),
    0.01,
  );
  return {
    suite: suite.name,
    subject: subject.name,
    ...(version === undefined ? {} : { version }),
    ...settingOf(task),
    mode: task.mode,
    metric: task.metric,
    transport: subject.transport ?? suite.transport,
    unit: unitOf(task.metric),
    median: median(medians),
    p99: medianOrNull(samples.map((sample) => sample.p99)) ?? slowTail,
    ...(p999 === null ? {} : { p999 }),
    cpuSecondsPerGB: medianOrNull(samples.map((sample) => sample.cpuSecondsPerGB)),
    copiesPerByte: medianOrNull(samples.map((sample) => sample.copiesPerByte)),
    eventLoopDelayP99Ms: medianOrNull(samples.map((sample) => sample.eventLoopDelayP99Ms)),
    residentMiB: medianOrNull(samples.map((sample) => sample.residentMiB)),
    rounds: samples.length,
    environment: options.environment,
    commit: options.commit,
  };
}
