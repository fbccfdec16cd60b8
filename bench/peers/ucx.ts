/**
 * The peer `ucx`: ucx_perftest, how it is run and read, and its subjects within one host: UCX's own TCP transport on the loopback
 * device, and its shared memory. Tagged messages stand for `push`, `message_rtt` and `message_rate`; `ucp_get`, which UCX
 * emulates over TCP, for `pull` and `read_rtt`.
 */
import {
  freePort,
  placement,
  requireTool,
  startTool,
  toolVersion,
  withTimeout,
  type Tool,
  type ToolResult,
} from '../children.js';
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
import { untilListening } from './listening.js';

type Process = Pick<Tool, 'result' | 'stop'>;

/** Where ucx_perftest runs, and over what. */
export interface UcxSite {
  /** Starts the one that waits, and settles once it listens. */
  serve(
    task: Case,
    timeoutMs: number,
  ): Promise<{ server: Process; readonly connect: (args: readonly string[]) => Promise<Process> }>;
  readonly tests: Readonly<Partial<Record<Metric, UcxTest>>>;
  /** A run of at most so many bytes finds out how many fit into the budget. */
  readonly calibrationBytesMax: number;
}

export interface UcxTest {
  readonly name: string;
  readonly outstanding?: number;
}

/** Calibrations are no longer than this. */
const CALIBRATION_OPERATIONS_MAX = 50;
const WARMUP_FRACTION = 0.1;

interface Result {
  /** One way for `tag_lat`, per operation for the others. */
  readonly percentileUs: number;
  readonly overallUs: number;
  readonly cpuSeconds: number;
  readonly residentMiB: number;
  /** Warm-up included. */
  readonly operationCount: number;
}

async function run(
  site: UcxSite,
  task: Case,
  operations: number,
  percentile: number,
  { timeoutMs }: Budget,
): Promise<Result> {
  const test = site.tests[task.metric];
  if (test === undefined) throw new BenchError('ERR_BENCH_USAGE', `ucx is not asked for ${task.metric}.`);
  const warmup = Math.ceil(operations * WARMUP_FRACTION);
  const { server, connect } = await site.serve(task, timeoutMs);
  try {
    const client = await connect([
      ...['-t', test.name, '-s', String(task.size)],
      ...['-n', String(operations), '-w', String(warmup), '-R', String(percentile), '-f', '-v'],
      ...['-E', task.mode === 'event' ? 'sleep' : 'poll'],
      ...(test.outstanding === undefined ? [] : ['-O', String(test.outstanding)]),
    ]);
    try {
      const ended = Promise.all([client.result, server.result]);
      const [fromClient, fromServer] = await withTimeout(ended, timeoutMs, `ucx_perftest ${test.name}`);
      return {
        ...parse(fromClient),
        cpuSeconds: fromClient.cpuSeconds + fromServer.cpuSeconds,
        residentMiB: Math.max(fromClient.residentMiB, fromServer.residentMiB),
        operationCount: operations + warmup,
      };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
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

/** By what is measured, at each site: a round takes what the one before has learned. */
const calibrationsAt = new WeakMap<UcxSite, Map<string, Promise<Result>>>();

export async function measureUcx(site: UcxSite, task: Case, budget: Budget): Promise<Sample> {
  const isLatency = task.metric.endsWith('_rtt');
  const calibrationOperations = Math.ceil(
    Math.min(CALIBRATION_OPERATIONS_MAX, site.calibrationBytesMax / task.size),
  );
  const calibrations = calibrationsAt.get(site) ?? new Map<string, Promise<Result>>();
  calibrationsAt.set(site, calibrations);
  const key = JSON.stringify(task);
  let calibrating = calibrations.get(key);
  if (calibrating === undefined) {
    calibrating = run(site, task, calibrationOperations, 50, budget);
    calibrating.catch(() => calibrations.delete(key));
    calibrations.set(key, calibrating);
  }
  const calibration = await calibrating;
  // A latency takes two runs, because a run tells one percentile.
  const measureUs = (budget.measureMs * 1000) / (isLatency ? 2 : 1);
  const operations = Math.max(2 * calibrationOperations, Math.round(measureUs / calibration.overallUs));
  const main = await run(site, task, operations, 50, budget);
  // Start-up costs both runs the same, so the difference is free of it. A short run can drown in noise; then nothing is said.
  const cpuSeconds = main.cpuSeconds - calibration.cpuSeconds;
  const payloadBytes = (main.operationCount - calibration.operationCount) * payloadBytesPerOperation(task);
  const common = {
    cpuSecondsPerGB: cpuSeconds > 0 ? (cpuSeconds / payloadBytes) * BYTES_PER_GB : null,
    copiesPerByte: null,
    eventLoopDelayP99Ms: null,
    residentMiB: main.residentMiB,
  };
  if (isLatency) {
    const tail = await run(site, task, operations, 99, budget);
    // Ping-pong tells half of a round trip; a get is a round trip.
    const trips = task.metric === 'read_rtt' ? 1 : 2;
    return { median: main.percentileUs * trips, p99: tail.percentileUs * trips, ...common };
  }
  const perSecond = 1e6 / main.overallUs;
  return {
    median: task.metric === 'message_rate' ? perSecond : (perSecond * task.size) / BYTES_PER_GB,
    ...common,
  };
}

/** `environment` chooses the transport. Both ends are on this host, and find each other over a port. */
function local(environment: Readonly<Record<string, string>>): UcxSite {
  return {
    tests: {
      push: { name: 'tag_bw' },
      // Four gets in flight are twice as fast as one; unlimited is as slow as one.
      pull: { name: 'ucp_get', outstanding: 4 },
      message_rtt: { name: 'tag_lat' },
      read_rtt: { name: 'ucp_get', outstanding: 1 },
      message_rate: { name: 'tag_bw' },
    },
    calibrationBytesMax: 256 * MIB,
    async serve(_task, timeoutMs) {
      const cores = placement();
      const port = String(await freePort());
      const start = (args: readonly string[], on: string) =>
        startTool('ucx_perftest', args, { cores: on, environment });
      const server = await start(['-p', port], cores.server);
      try {
        await withTimeout(untilListening(Number(port), server.result), timeoutMs, 'the ucx_perftest server');
      } catch (error) {
        await server.stop();
        throw error;
      }
      return { server, connect: (args) => start(['127.0.0.1', '-p', port, ...args], cores.client) };
    },
  };
}

function ucxSubject(environment: Readonly<Record<string, string>>, cases: readonly Case[]): Subject {
  const site = local(environment);
  return {
    name: 'ucx',
    cases,
    version: () => toolVersion('ucx_info', ['-v'], /Version ([\d.]+)/),
    prepare: () => requireTool('ucx_perftest', 'ucx-utils'),
    measure: (task, budget) => measureUcx(site, task, budget),
  };
}

export const ucxTcpSubject = ucxSubject({ UCX_TLS: 'tcp', UCX_NET_DEVICES: 'lo' }, [
  { metric: 'push', size: MIB, mode: 'busy' },
  { metric: 'push', size: 16 * MIB, mode: 'busy' },
  { metric: 'pull', size: 64 * KIB, mode: 'busy', brief: true },
  { metric: 'pull', size: MIB, mode: 'busy' },
  { metric: 'pull', size: 16 * MIB, mode: 'busy' },
  { metric: 'message_rtt', size: 64, mode: 'event' },
  { metric: 'message_rtt', size: 64, mode: 'busy' },
  { metric: 'message_rtt', size: 64 * KIB, mode: 'busy', brief: true },
  { metric: 'message_rtt', size: MIB, mode: 'busy', brief: true },
  // Its responder looks once a millisecond unless it sleeps, so a polling get would measure that timer.
  { metric: 'read_rtt', size: 64, mode: 'event' },
  { metric: 'message_rate', size: 64, mode: 'busy' },
]);

/** `shm` stands for POSIX and System V segments and cross-memory attach; UCX chooses among them by size. */
export const ucxShmSubject = ucxSubject({ UCX_TLS: 'shm' }, [
  { metric: 'push', size: MIB, mode: 'busy' },
  { metric: 'pull', size: 64 * KIB, mode: 'busy', brief: true },
  { metric: 'pull', size: MIB, mode: 'busy' },
  { metric: 'pull', size: 16 * MIB, mode: 'busy', brief: true },
  { metric: 'message_rtt', size: 64, mode: 'busy' },
  { metric: 'message_rtt', size: 4 * KIB, mode: 'busy', brief: true },
  { metric: 'message_rtt', size: 64 * KIB, mode: 'busy', brief: true },
  { metric: 'message_rtt', size: MIB, mode: 'busy', brief: true },
  { metric: 'message_rtt', size: 64 * MIB, mode: 'busy', brief: true },
  { metric: 'read_rtt', size: 64, mode: 'busy' },
  { metric: 'message_rate', size: 64, mode: 'busy' },
]);
