/**
 * The program that runs one micro-benchmark: it is told which over IPC, tells what it has found, and ends. Each gets a process of its own,
 * so that none is compiled for what another one did.
 */
import Benchmark from 'benchmark';
import { isDeepStrictEqual } from 'node:util';
import type { Case } from '../measurement.js';
import { quantile } from '../statistics.js';
import { MICROS } from './micros.js';

export interface Order {
  readonly task: Case;
  readonly measureMs: number;
}

/** Operations a second: the mean, and what 99 % of the samples reached. */
export interface Finding {
  readonly perSecond: number;
  readonly slowest: number;
}

function run({ task, measureMs }: Order): Finding {
  const micro = MICROS.find((candidate) => isDeepStrictEqual(candidate.task, task));
  if (micro === undefined) throw new Error(`there is no such micro-benchmark: ${JSON.stringify(task)}`);
  let failure: Error | undefined;
  const benchmark = new Benchmark(task.metric, micro.prepare(), {
    maxTime: measureMs / 1000,
    onError: () => (failure = new Error(`${task.metric} failed`, { cause: benchmark.error })),
  });
  benchmark.run();
  if (failure !== undefined) throw failure;
  const seconds = benchmark.stats.sample.toSorted((a, b) => b - a);
  return {
    perSecond: micro.operations / benchmark.stats.mean,
    slowest: micro.operations / quantile(seconds, 0.01),
  };
}

process.on('message', (order: Order) => {
  process.send?.(run(order), undefined, undefined, () => process.exit(0));
});
process.on('disconnect', () => process.exit(0));
// An interrupt from the terminal reaches this process as well; the harness decides what it means.
process.on('SIGINT', () => undefined);
