/**
 * The peer `ucx`: ucx_perftest over UCX's own TCP transport on the loopback device. Tagged messages stand for `push`,
 * `message_rtt` and `message_rate`; `ucp_get`, which UCX emulates over TCP, for `pull` and `read_rtt`.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, placement, requireTool, startTool, withTimeout, type ToolResult } from '../children.js';
import {
  BenchError,
  BYTES_PER_GB,
  MIB,
  payloadBytesPerOperation,
  type Budget,
  type Case,
  type Metric,
  type Sample,
  type Subject,
} from '../measurement.js';

const ENVIRONMENT = { UCX_TLS: 'tcp', UCX_NET_DEVICES: 'lo' };

interface Test {
  readonly name: string;
  /** Gets in flight: four are twice as fast as one; unlimited is as slow as one. */
  readonly outstanding?: number;
}

const TESTS: Readonly<Record<Metric, Test>> = {
  push: { name: 'tag_bw' },
  pull: { name: 'ucp_get', outstanding: 4 },
  message_rtt: { name: 'tag_lat' },
  read_rtt: { name: 'ucp_get', outstanding: 1 },
  message_rate: { name: 'tag_bw' },
};

/** Runs of this many operations find out how many fit into the budget. */
const CALIBRATION_OPERATIONS = 50;
const CALIBRATION_BYTES_MAX = 256 * MIB;
const WARMUP_FRACTION = 0.1;
const LISTEN_POLL_MS = 5;

interface Result {
  /** One way for `tag_lat`, per operation for the others. */
  readonly percentileUs: number;
  readonly overallUs: number;
  readonly cpuSeconds: number;
  /** Warm-up included. */
  readonly operationCount: number;
}

async function run(task: Case, operations: number, percentile: number, budget: Budget): Promise<Result> {
  const cores = placement();
  const port = String(await freePort());
  const test = TESTS[task.metric];
  const warmup = Math.ceil(operations * WARMUP_FRACTION);
  const server = await startTool('ucx_perftest', ['-p', port], {
    cores: cores.server,
    environment: ENVIRONMENT,
  });
  try {
    await withTimeout(
      untilListening(Number(port), server.result),
      budget.timeoutMs,
      'the ucx_perftest server',
    );
    const client = await startTool(
      'ucx_perftest',
      [
        ...['127.0.0.1', '-p', port, '-t', test.name, '-s', String(task.size)],
        ...['-n', String(operations), '-w', String(warmup), '-R', String(percentile), '-f', '-v'],
        ...['-E', task.mode === 'event' ? 'sleep' : 'poll'],
        ...(test.outstanding === undefined ? [] : ['-O', String(test.outstanding)]),
      ],
      { cores: cores.client, environment: ENVIRONMENT },
    );
    try {
      const ended = Promise.all([client.result, server.result]);
      const [fromClient, fromServer] = await withTimeout(
        ended,
        budget.timeoutMs,
        `ucx_perftest ${test.name}`,
      );
      return {
        ...parse(fromClient),
        cpuSeconds: fromClient.cpuSeconds + fromServer.cpuSeconds,
        operationCount: operations + warmup,
      };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
}

/** Its output is buffered and it accepts a single connection, so neither reading nor knocking tells whether it listens. */
async function untilListening(port: number, ended: Promise<ToolResult>): Promise<void> {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  const listening = new RegExp(`^\\s*\\d+: [0-9A-F]+:${hexPort} \\S+ 0A `, 'm');
  let failure: Error | undefined;
  ended.catch((error: Error) => (failure = error));
  for (;;) {
    const tables = await Promise.all(
      ['/proc/net/tcp', '/proc/net/tcp6'].map((path) => readFile(path, 'utf8')),
    );
    if (tables.some((table) => listening.test(table))) return;
    if (failure !== undefined) throw failure;
    await delay(LISTEN_POLL_MS);
  }
}

/** Reads the two lines that -f -v prints: names of columns, then their values. */
function parse(result: ToolResult): Pick<Result, 'percentileUs' | 'overallUs'> {
  const lines = result.stdout.split('\n').map((line) => line.trim());
  const headerIndex = lines.findIndex((line) => line.startsWith('iterations,'));
  const names = lines[headerIndex]?.split(',') ?? [];
  const values = lines[headerIndex + 1]?.split(',') ?? [];
  const column = (suffix: string) => Number(values[names.findIndex((name) => name.endsWith(suffix))]);
  const percentileUs = column('_percentile_lat');
  const overallUs = column('overall_lat');
  if (!(percentileUs > 0) || !(overallUs > 0)) {
    throw new BenchError('ERR_BENCH_PEER', `ucx_perftest printed no result: ${result.stdout.trim()}`);
  }
  return { percentileUs, overallUs };
}

async function measure(task: Case, budget: Budget): Promise<Sample> {
  const isLatency = task.metric === 'message_rtt' || task.metric === 'read_rtt';
  const calibrationOperations = Math.ceil(
    Math.min(CALIBRATION_OPERATIONS, CALIBRATION_BYTES_MAX / task.size),
  );
  const calibration = await run(task, calibrationOperations, 50, budget);
  // A latency takes two runs, because a run tells one percentile.
  const measureUs = (budget.measureMs * 1000) / (isLatency ? 2 : 1);
  const operations = Math.max(2 * calibrationOperations, Math.round(measureUs / calibration.overallUs));
  const main = await run(task, operations, 50, budget);
  // Start-up costs both runs the same, so the difference is free of it. A short run can drown in noise; then nothing is said.
  const cpuSeconds = main.cpuSeconds - calibration.cpuSeconds;
  const payloadBytes = (main.operationCount - calibration.operationCount) * payloadBytesPerOperation(task);
  const common = {
    cpuSecondsPerGB: cpuSeconds > 0 ? (cpuSeconds / payloadBytes) * BYTES_PER_GB : null,
    copiesPerByte: null,
    eventLoopDelayP99Ms: null,
  };
  if (isLatency) {
    const tail = await run(task, operations, 99, budget);
    // tag_lat tells half of a round trip; a get is a round trip.
    const trips = task.metric === 'message_rtt' ? 2 : 1;
    return { median: main.percentileUs * trips, p99: tail.percentileUs * trips, ...common };
  }
  const perSecond = 1e6 / main.overallUs;
  return {
    median: task.metric === 'message_rate' ? perSecond : (perSecond * task.size) / BYTES_PER_GB,
    ...common,
  };
}

export const ucxSubject: Subject = {
  name: 'ucx',
  cases: [
    { metric: 'push', size: MIB, mode: 'busy' },
    { metric: 'push', size: 16 * MIB, mode: 'busy' },
    { metric: 'pull', size: MIB, mode: 'busy' },
    { metric: 'pull', size: 16 * MIB, mode: 'busy' },
    { metric: 'message_rtt', size: 64, mode: 'event' },
    { metric: 'message_rtt', size: 64, mode: 'busy' },
    // Its responder looks once a millisecond unless it sleeps, so a polling get would measure that timer.
    { metric: 'read_rtt', size: 64, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'busy' },
  ],
  prepare: () => requireTool('ucx_perftest', 'ucx-utils'),
  measure,
};
