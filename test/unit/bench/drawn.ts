// Rows of a run as it would be drawn: the harness's own, of subjects that answer at once. The figures in them mean nothing.
import { runSuite } from '../../../bench/harness.js';
import {
  CONCURRENCY,
  KIB,
  MIB,
  type Case,
  type Row,
  type Subject,
  type SubjectName,
} from '../../../bench/measurement.js';
import type { SuiteName } from '../../../bench/targets.js';
import { BUDGET, ENVIRONMENT, sample } from './rows.js';

const SIZES = [4 * KIB, 64 * KIB, MIB, 16 * MIB];

const CASES: readonly Case[] = [
  ...SIZES.map((size): Case => ({ metric: 'pull', size, mode: 'event' })),
  { metric: 'push', size: MIB, mode: 'event' },
  ...CONCURRENCY.map((count): Case => ({ metric: 'concurrent_pull', size: 256 * KIB, mode: 'event', count })),
  { metric: 'message_rtt', size: 64, mode: 'event' },
  ...[64, ...SIZES].map((size): Case => ({ metric: 'message_rtt', size, mode: 'adaptive' })),
  { metric: 'message_rtt', size: 64, mode: 'adaptive', encoding: 'xml' },
  { metric: 'message_rate', size: 64, mode: 'event' },
  { metric: 'message_rate', size: 64, mode: 'event', encoding: 'xml' },
  ...[1, 100, 10_000].map((count): Case => ({ metric: 'connections_rate', size: 64, mode: 'event', count })),
];
/** Ours in all cases; of the others only what has no encoding. */
const NAMES: readonly SubjectName[] = ['splitplane', 'c', 'ucx', 'node:net', 'zeromq', 'http1'];

function subject(name: SubjectName, slowness: number): Subject {
  return {
    name,
    version: () => Promise.resolve('1.2.3'),
    cases: CASES.filter(({ encoding }) => name === 'splitplane' || encoding === undefined),
    measure: ({ metric, size, count = 1 }) => {
      const us = slowness * (20 + size / 5000);
      if (metric.endsWith('_rtt')) return Promise.resolve(sample({ median: us, p99: 2 * us, p999: 3 * us }));
      const perSecond = (Math.sqrt(count) * 1e6) / slowness;
      const isRate = metric.endsWith('_rate');
      return Promise.resolve(
        sample({ median: isRate ? perSecond : size / us / 1000, cpuSecondsPerGB: slowness / 4 }),
      );
    },
  };
}

export async function drawnRows(name: SuiteName): Promise<readonly Row[]> {
  const subjects = NAMES.map((each, index) => subject(each, 1 + index));
  const { rows } = await runSuite(
    { name, transport: name, subjects, soaks: [] },
    { rounds: 1, budget: BUDGET, environment: ENVIRONMENT, commit: '0123456789abcdef', onProgress: () => {} },
  );
  return rows;
}
