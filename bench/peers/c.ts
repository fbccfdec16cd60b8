/**
 * The peer `c`: plain sockets in a minimal C program (cpair.c), the floor that everything above sockets is compared with. This
 * file only compiles it, runs it, and reads its answer.
 */
import { compileC, placement, startTool, withTimeout } from '../children.js';
import {
  BenchError,
  BYTES_PER_GB,
  KIB,
  MIB,
  payloadBytesPerOperation,
  type Budget,
  type Case,
  type Metric,
  type Sample,
  type Subject,
} from '../measurement.js';

const PROGRAM_WORDS: Readonly<Partial<Record<Metric, string>>> = {
  push: 'push',
  pull: 'pull',
  message_rtt: 'rtt',
  read_rtt: 'rtt',
  message_rate: 'rate',
};

interface Answer {
  readonly operations: number;
  readonly cpuSeconds: number;
  /** Streams only. */
  readonly perSecond?: number;
  /** Round trips only, in microseconds. */
  readonly median?: number;
  readonly p99?: number;
  readonly p999?: number;
}

let program: Promise<string> | undefined;

async function measure(task: Case, budget: Budget): Promise<Sample> {
  program ??= compileC('cpair');
  const cores = placement();
  const oneCore = (list: string) => list.split(',')[0] ?? '0';
  const word = PROGRAM_WORDS[task.metric];
  if (word === undefined) throw new BenchError('ERR_BENCH_USAGE', `cpair does not know ${task.metric}.`);
  const tool = await startTool(await program, [
    word,
    String(task.size),
    task.mode,
    String(budget.warmupMs),
    String(budget.measureMs),
    oneCore(cores.client),
    oneCore(cores.server),
  ]);
  try {
    const { stdout } = await withTimeout(tool.result, budget.timeoutMs, `cpair ${task.metric}`);
    return toSample(task, JSON.parse(stdout) as Answer);
  } finally {
    await tool.stop();
  }
}

function toSample(task: Case, answer: Answer): Sample {
  const payloadBytes = answer.operations * payloadBytesPerOperation(task);
  const common = {
    cpuSecondsPerGB: (answer.cpuSeconds / payloadBytes) * BYTES_PER_GB,
    // The kernel copies; the program passes the same buffers to send and recv.
    copiesPerByte: 0,
    eventLoopDelayP99Ms: null,
  };
  if (answer.median !== undefined && answer.p99 !== undefined && answer.p999 !== undefined) {
    return { median: answer.median, p99: answer.p99, p999: answer.p999, ...common };
  }
  if (answer.perSecond === undefined) throw new BenchError('ERR_BENCH_PEER', 'cpair printed no result.');
  const perOperation = task.metric === 'message_rate' ? 1 : task.size / BYTES_PER_GB;
  return { median: answer.perSecond * perOperation, ...common };
}

export const cSubject: Subject = {
  name: 'c',
  cases: [
    ...[64 * KIB, MIB, 16 * MIB].flatMap((size): Case[] => [
      { metric: 'push', size, mode: 'event' },
      { metric: 'pull', size, mode: 'event' },
    ]),
    { metric: 'message_rtt', size: 64, mode: 'event' },
    { metric: 'message_rtt', size: 64, mode: 'busy' },
    { metric: 'read_rtt', size: 64, mode: 'event' },
    { metric: 'read_rtt', size: 64, mode: 'busy' },
    { metric: 'message_rate', size: 64, mode: 'event' },
  ],
  prepare: async () => {
    program ??= compileC('cpair');
    await program;
  },
  measure,
};
