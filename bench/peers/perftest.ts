/**
 * The peer `perftest`: Debian's ib_write_bw, ib_read_bw, ib_write_lat and ib_send_lat over the same devices, connected by rdma_cm as
 * we are. They are the floor: verbs in a loop over one registered buffer that nobody looks at.
 */
import { requireTool, withTimeout, type ToolResult } from '../children.js';
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
  transfersInFlight,
} from '../measurement.js';
import { clientHost, serverAddress, startToolOn } from '../rdma/hosts.js';

/** Named alike in our rows: a message is a SEND, its reply another. */
const PROGRAMS: Readonly<Partial<Record<Metric, string>>> = {
  push: 'ib_write_bw',
  pull: 'ib_read_bw',
  write_rtt: 'ib_write_lat',
  message_rtt: 'ib_send_lat',
};
/** It takes no less. A first run of so many finds out how many fit into the budget. */
const OPERATIONS_MIN = 5;
const CALIBRATION_OPERATIONS = { bulk: OPERATIONS_MIN, latency: 50 };
const OPERATIONS_MAX = 1_000_000;
/** Its latencies are half of a round trip, says its README. */
const ONE_WAY = 0.5;

interface Run {
  readonly operations: number;
  readonly cpuSeconds: number;
  /** For one of the operations; of a latency, for one way. */
  readonly perOperationUs: number;
  readonly sample: Pick<Sample, 'median' | 'p99' | 'p999'>;
}

const isBulk = ({ metric }: Case) => metric === 'push' || metric === 'pull';

/** Before it measures it compares two clocks, and where the machine is too busy for that it prints zeros for everything. */
const ATTEMPTS_MAX = 3;

async function run(task: Case, operations: number, budget: Budget): Promise<Run> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const result = await runOnce(task, operations, budget);
    if (result.sample.median > 0 && Number.isFinite(result.sample.median)) return result;
  }
  throw new BenchError(
    'ERR_BENCH_PEER',
    'perftest could not measure its clock; let nothing else run meanwhile.',
  );
}

async function runOnce(task: Case, operations: number, { timeoutMs }: Budget): Promise<Run> {
  const program = PROGRAMS[task.metric];
  if (program === undefined) throw new BenchError('ERR_BENCH_USAGE', `perftest has no ${task.metric}.`);
  const line = [
    // Its output is buffered, and whether it listens is told nowhere else.
    `stdbuf -oL ${program} -R -F \${LAB_DEVICE:+--ib-dev=$LAB_DEVICE}`,
    `--size=${task.size} --iters=${operations}`,
    ...(isBulk(task) ? [`--tx-depth=${transfersInFlight('rdma', task.size)}`] : []),
    ...(task.metric === 'pull' ? [`--outs=${transfersInFlight('rdma', task.size)}`] : []),
    ...(task.mode === 'event' ? ['--events'] : []),
  ].join(' ');
  const server = await startToolOn('a', line);
  try {
    await withTimeout(server.printed(/Waiting for client/), timeoutMs, `the ${program} server`);
    const client = await startToolOn(clientHost(task), `${line} ${serverAddress(task)}`);
    try {
      const ended = Promise.all([client.result, server.result]);
      const [fromClient, fromServer] = await withTimeout(ended, timeoutMs, program);
      return parse(task, operations, fromClient, fromServer);
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
}

/** Reads the one line of figures below the line that begins with "#bytes". */
export function parseFigures(stdout: string): readonly number[] {
  const lines = stdout.split('\n').map((line) => line.trim());
  const head = lines.findIndex((line) => line.startsWith('#bytes'));
  const figures = head < 0 ? [] : (lines[head + 1]?.split(/\s+/).map(Number) ?? []);
  if (figures.length < 5 || figures.some((figure) => Number.isNaN(figure))) {
    throw new BenchError('ERR_BENCH_PEER', `perftest printed no result: ${stdout.trim()}`);
  }
  return figures;
}

function parse(task: Case, operations: number, client: ToolResult, server: ToolResult): Run {
  const figures = parseFigures(client.stdout);
  const common = { operations, cpuSeconds: client.cpuSeconds + server.cpuSeconds };
  if (isBulk(task)) {
    // #bytes #iterations peak average rate, where a MB is a MiB.
    const [, , , average = 0] = figures;
    const bytesPerSecond = average * MIB;
    return {
      ...common,
      perOperationUs: (task.size / bytesPerSecond) * 1e6,
      sample: { median: bytesPerSecond / BYTES_PER_GB },
    };
  }
  // #bytes #iterations min max typical average deviation 99 % 99.9 %, where typical is the median.
  const [, , , , typical = 0, average = 0, , p99 = 0, p999 = 0] = figures;
  return {
    ...common,
    perOperationUs: average / ONE_WAY,
    sample: { median: typical / ONE_WAY, p99: p99 / ONE_WAY, p999: p999 / ONE_WAY },
  };
}

/** By what is measured: a round takes what the one before has learned. */
const calibrations = new Map<string, Promise<Run>>();

async function measure(task: Case, budget: Budget): Promise<Sample> {
  const key = JSON.stringify(task);
  let calibrating = calibrations.get(key);
  if (calibrating === undefined) {
    calibrating = run(task, CALIBRATION_OPERATIONS[isBulk(task) ? 'bulk' : 'latency'], budget);
    calibrating.catch(() => calibrations.delete(key));
    calibrations.set(key, calibrating);
  }
  const calibration = await calibrating;
  const wanted = Math.round((budget.measureMs * 1000) / calibration.perOperationUs);
  const operations = Math.min(OPERATIONS_MAX, Math.max(2 * calibration.operations, wanted));
  const main = await run(task, operations, budget);
  // Start-up costs both runs the same, so the difference is free of it. A short run can drown in noise; then nothing is said.
  const cpuSeconds = main.cpuSeconds - calibration.cpuSeconds;
  const payloadBytes = (main.operations - calibration.operations) * payloadBytesPerOperation(task);
  return {
    ...main.sample,
    cpuSecondsPerGB: cpuSeconds > 0 ? (cpuSeconds / payloadBytes) * BYTES_PER_GB : null,
    copiesPerByte: null,
    eventLoopDelayP99Ms: null,
    residentMiB: null,
  };
}

export const perftestSubject: Subject = {
  name: 'perftest',
  cases: [
    ...([2, 1] as const).flatMap((hosts): Case[] => [
      { metric: 'push', size: MIB, mode: 'busy', hosts },
      { metric: 'push', size: 16 * MIB, mode: 'busy', hosts },
      { metric: 'pull', size: MIB, mode: 'busy', hosts },
      { metric: 'pull', size: 16 * MIB, mode: 'busy', hosts },
    ]),
    { metric: 'write_rtt', size: 64, mode: 'busy', hosts: 2 },
    { metric: 'message_rtt', size: 64, mode: 'busy', hosts: 2 },
    { metric: 'message_rtt', size: 64, mode: 'event', hosts: 2 },
  ],
  prepare: () => requireTool('ib_write_bw', 'perftest'),
  measure,
};
