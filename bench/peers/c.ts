/**
 * The peers `c` and `c-memory`: plain sockets (cpair.c), over TCP or unix sockets, and plain shared memory (cmemory.c) in minimal
 * programs, the floors that everything above them is compared with. This file only compiles them, runs them, and reads their answers.
 */
import { compileC, firstCore, placement, startTool, toolVersion, withTimeout } from '../children.js';
import {
  BenchError,
  BYTES_PER_GB,
  countsMessages,
  KIB,
  MIB,
  payloadBytesPerOperation,
  type Budget,
  type Case,
  type Metric,
  type Sample,
  type Subject,
} from '../measurement.js';

/** What a program is asked for each metric. */
type Words = Readonly<Partial<Record<Metric, string>>>;

interface Program {
  readonly source: string;
  readonly words: Words;
  /** Between the size and the times, and after all others. */
  arguments(task: Case): { readonly middle: readonly string[]; readonly end: readonly string[] };
}

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

const compiled = new Map<string, Promise<string>>();

function compile({ source }: Program): Promise<string> {
  const program = compiled.get(source) ?? compileC(source);
  compiled.set(source, program);
  return program;
}

async function measure(program: Program, task: Case, budget: Budget): Promise<Sample> {
  const cores = placement();
  const word = program.words[task.metric];
  if (word === undefined) {
    throw new BenchError('ERR_BENCH_USAGE', `${program.source} does not know ${task.metric}.`);
  }
  const { middle, end } = program.arguments(task);
  const tool = await startTool(await compile(program), [
    ...[word, String(task.size), ...middle],
    ...[String(budget.warmupMs), String(budget.measureMs)],
    ...[firstCore(cores.client), firstCore(cores.server), ...end],
  ]);
  try {
    const { stdout, residentMiB } = await withTimeout(
      tool.result,
      budget.timeoutMs,
      `${program.source} ${word}`,
    );
    return { ...toSample(task, JSON.parse(stdout) as Answer), residentMiB };
  } finally {
    await tool.stop();
  }
}

function toSample(task: Case, answer: Answer): Omit<Sample, 'residentMiB'> {
  const payloadBytes = answer.operations * payloadBytesPerOperation(task);
  const common = {
    cpuSecondsPerGB: (answer.cpuSeconds / payloadBytes) * BYTES_PER_GB,
    // The kernel copies; the program passes the same buffers to send and recv.
    copiesPerByte: task.metric === 'pull' && task.mode === 'busy' ? 1 : 0,
    eventLoopDelayP99Ms: null,
  };
  if (answer.median !== undefined && answer.p99 !== undefined && answer.p999 !== undefined) {
    return { median: answer.median, p99: answer.p99, p999: answer.p999, ...common };
  }
  if (answer.perSecond === undefined)
    throw new BenchError('ERR_BENCH_PEER', 'The program printed no result.');
  return {
    median: answer.perSecond * (countsMessages(task.metric) ? 1 : task.size / BYTES_PER_GB),
    ...common,
  };
}

const sockets = (family: 'tcp' | 'unix'): Program => ({
  source: 'cpair',
  words: {
    push: 'push',
    pull: 'pull',
    message_rtt: 'rtt',
    read_rtt: 'rtt',
    fetch_rtt: 'fetch',
    message_rate: 'rate',
  },
  arguments: ({ mode }) => ({ middle: [mode], end: [family] }),
});

function cSubject(
  program: Program,
  what: Pick<Subject, 'name' | 'cases'> & { readonly transport?: string },
): Subject {
  return {
    ...what,
    version: () => toolVersion('cc', ['--version'], /^(.*)$/m),
    prepare: async () => {
      await compile(program);
    },
    measure: (task, budget) => measure(program, task, budget),
  };
}

const ROUND_TRIPS: readonly Case[] = (['event', 'busy'] as const).flatMap((mode): Case[] => [
  { metric: 'message_rtt', size: 64, mode },
  { metric: 'message_rtt', size: 4 * KIB, mode, brief: true },
  { metric: 'message_rtt', size: 64 * KIB, mode, brief: true },
  { metric: 'message_rtt', size: MIB, mode, brief: true },
]);

export const cTcpSubject = cSubject(sockets('tcp'), {
  name: 'c',
  cases: [
    ...[MIB, 16 * MIB].map((size): Case => ({ metric: 'push', size, mode: 'event' })),
    ...[4 * KIB, 64 * KIB].map((size): Case => ({ metric: 'pull', size, mode: 'event', brief: true })),
    ...[MIB, 16 * MIB].map((size): Case => ({ metric: 'pull', size, mode: 'event' })),
    ...ROUND_TRIPS,
    { metric: 'read_rtt', size: 64, mode: 'event' },
    { metric: 'read_rtt', size: 64, mode: 'busy' },
    { metric: 'fetch_rtt', size: MIB, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event' },
  ],
});

export const cUnixSubject = cSubject(sockets('unix'), {
  name: 'c',
  transport: 'unix',
  cases: [
    ...[4 * KIB, 64 * KIB, 16 * MIB].map((size): Case => ({
      metric: 'pull',
      size,
      mode: 'event',
      brief: true,
    })),
    { metric: 'pull', size: MIB, mode: 'event' },
    ...ROUND_TRIPS.filter(({ mode }) => mode === 'event'),
    { metric: 'fetch_rtt', size: MIB, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event' },
  ],
});

const memory: Program = {
  source: 'cmemory',
  words: { pull: 'pull', message_rtt: 'rtt', read_rtt: 'rtt', message_rate: 'rate' },
  arguments: () => ({ middle: [], end: [] }),
};

export const cMemorySubject = cSubject(memory, {
  name: 'c-memory',
  cases: [
    ...[4 * KIB, 64 * KIB, 16 * MIB].map((size): Case => ({
      metric: 'pull',
      size,
      mode: 'busy',
      brief: true,
    })),
    { metric: 'pull', size: MIB, mode: 'busy' },
    ...ROUND_TRIPS.filter(({ mode }) => mode === 'busy'),
    { metric: 'read_rtt', size: 64, mode: 'busy' },
    { metric: 'message_rate', size: 64, mode: 'busy' },
  ],
});
