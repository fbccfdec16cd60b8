// Proves what becomes of the samples of several rounds: one row for each case with every published field, a failure that costs its
// round only, and rounds in which each subject comes first once.
import { expect, test } from 'vitest';
import { prepare, runSuite, type Progress } from '../../../bench/harness.js';
import { BenchError, MIB, UNTOLD, type Budget, type Row, type Subject } from '../../../bench/measurement.js';
import { BUDGET, ENVIRONMENT, sample, scripted } from './rows.js';

const PULL = { metric: 'pull', size: MIB, mode: 'event' } as const;
const ROUND_TRIP = { metric: 'message_rtt', size: 64, mode: 'adaptive' } as const;

function run(
  subjects: readonly Subject[],
  rounds: number,
  onProgress: (progress: Progress) => void = () => {},
) {
  const suite = { name: 'tcp' as const, transport: 'tcp', subjects, soaks: [] };
  return runSuite(suite, { rounds, budget: BUDGET, environment: ENVIRONMENT, commit: 'abc', onProgress });
}

test('the file is an array of rows with every field, and nothing is lost in JSON', async () => {
  const rate = sample({
    median: 4,
    cpuSecondsPerGB: 0.3,
    copiesPerByte: 0,
    eventLoopDelayP99Ms: 2,
    residentMiB: 60,
  });
  const latency = sample({ median: 20, p99: 30, p999: 40 });
  const { rows } = await run(
    [scripted('splitplane', PULL, [rate]), scripted('zeromq', ROUND_TRIP, [latency])],
    1,
  );
  const fromFile = JSON.parse(JSON.stringify(rows)) as unknown;
  const common = { suite: 'tcp', transport: 'tcp', rounds: 1, environment: ENVIRONMENT, commit: 'abc' };
  expect(fromFile).toStrictEqual([
    {
      ...common,
      ...{ subject: 'splitplane', mode: 'event', metric: 'pull', size: MIB, unit: 'GB/s', median: 4, p99: 4 },
      ...{ cpuSecondsPerGB: 0.3, copiesPerByte: 0, eventLoopDelayP99Ms: 2, residentMiB: 60 },
    },
    {
      ...common,
      ...{ subject: 'zeromq', mode: 'adaptive', metric: 'message_rtt', size: 64, unit: 'us' },
      ...{ median: 20, p99: 30, p999: 40 },
      ...UNTOLD,
    },
  ]);
});

test('figures are medians over the rounds; the tail of a rate is its slowest round', async () => {
  const rates = [3, 1, 2].map((median) => sample({ median, cpuSecondsPerGB: median * 10 }));
  const latencies = [30, 10, 20].map((median) => sample({ median, p99: median + 1, p999: median + 2 }));
  const { rows } = await run(
    [scripted('splitplane', PULL, rates), scripted('zeromq', ROUND_TRIP, latencies)],
    3,
  );
  expect(rows).toMatchObject([
    { metric: 'pull', median: 2, p99: 1, cpuSecondsPerGB: 20, rounds: 3 },
    { metric: 'message_rtt', median: 20, p99: 21, p999: 22, rounds: 3 },
  ]);
});

test('a failure leaves its round out and is told; a case that never succeeded has no row', async () => {
  const outcomes: Progress['outcome'][] = [];
  const { rows, failed } = await run(
    [
      scripted('splitplane', PULL, [new Error('broken'), sample({ median: 5 })]),
      scripted('grpc', PULL, [new BenchError('ERR_BENCH_TIMEOUT', 'late'), new Error('dead')]),
    ],
    2,
    ({ outcome }) => outcomes.push(outcome),
  );
  expect(rows).toMatchObject([{ subject: 'splitplane', median: 5, rounds: 1 }]);
  expect(failed).toMatchObject([
    { subject: { name: 'grpc' }, task: PULL, error: { code: 'ERR_BENCH_PEER', message: 'dead' } },
  ]);
  expect(outcomes.filter((outcome) => outcome instanceof BenchError)).toHaveLength(3);
});

test('what is compared runs back to back, and each round begins with another subject', async () => {
  const asked: string[] = [];
  const twice = [sample({ median: 1 }), sample({ median: 1 })];
  await run(
    [
      scripted('splitplane', PULL, twice, asked),
      scripted('splitplane', ROUND_TRIP, twice, asked),
      scripted('zeromq', PULL, twice, asked),
      scripted('zeromq', ROUND_TRIP, twice, asked),
    ],
    2,
  );
  expect(asked).toEqual([
    ...['splitplane pull', 'zeromq pull', 'splitplane message_rtt', 'zeromq message_rtt'],
    ...['zeromq pull', 'splitplane pull', 'zeromq message_rtt', 'splitplane message_rtt'],
  ]);
});

test('a point of a curve has fewer rounds, and half of the time once it is warm', async () => {
  const budgets: Budget[] = [];
  const samples = [sample({ median: 1 }), sample({ median: 2 }), sample({ median: 9 })];
  const brief = scripted('splitplane', { ...PULL, brief: true }, samples);
  const noting: Subject = {
    ...brief,
    measure: (task, budget) => {
      budgets.push(budget);
      return brief.measure(task, budget);
    },
  };
  const totals = new Set<number>();
  const suite = { name: 'tcp' as const, transport: 'tcp', subjects: [noting], soaks: [] };
  const { rows } = await runSuite(suite, {
    ...{ rounds: 3, budget: { warmupMs: 10, measureMs: 30, timeoutMs: 500 } },
    ...{ environment: ENVIRONMENT, commit: null, onProgress: ({ total }) => totals.add(total) },
  });
  expect(rows).toMatchObject([{ median: 1.5, rounds: 2 }]);
  expect(rows[0]).not.toHaveProperty('brief');
  expect(budgets).toEqual(Array(2).fill({ warmupMs: 10, measureMs: 15, timeoutMs: 500 }));
  expect([...totals]).toEqual([2]);
});

test('between two hosts and within one are two figures, each with its peers next to it', async () => {
  const asked: string[] = [];
  const at = (name: Row['subject'], hosts: 1 | 2) =>
    scripted(name, { ...PULL, hosts }, [sample({ median: hosts })], asked);
  const { rows } = await run(
    [at('splitplane', 2), at('splitplane', 1), at('perftest', 2), at('perftest', 1)],
    1,
  );
  expect(rows.map(({ subject, hosts, median }) => [subject, hosts, median])).toEqual([
    ['splitplane', 2, 2],
    ['perftest', 2, 2],
    ['splitplane', 1, 1],
    ['perftest', 1, 1],
  ]);
});

test('everything that is missing is named at once', async () => {
  const missing = (name: Row['subject'], tool: string): Subject => ({
    ...scripted(name, PULL, []),
    prepare: () => Promise.reject(new BenchError('ERR_BENCH_TOOL_MISSING', tool)),
  });
  const preparing = prepare([missing('iperf3', 'iperf3'), scripted('grpc', PULL, []), missing('ucx', 'ucx')]);
  await expect(preparing).rejects.toMatchObject({
    errors: [
      { code: 'ERR_BENCH_TOOL_MISSING', message: 'iperf3' },
      { code: 'ERR_BENCH_TOOL_MISSING', message: 'ucx' },
    ],
  });
});
