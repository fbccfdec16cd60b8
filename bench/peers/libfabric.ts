/**
 * The peer `libfabric`: fi_pingpong, which comes with Debian's libfabric-bin, over the provider for TCP or the one for shared memory.
 * It polls. It tells the mean of its round trips and nothing else, so there is no tail, and its figure is a mean beside medians; of
 * rates and one-sided operations it knows nothing.
 */
import {
  freePort,
  placement,
  requireTool,
  startTool,
  toolVersion,
  withTimeout,
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
  type Sample,
  type Subject,
} from '../measurement.js';
import { untilListening } from './listening.js';

interface Provider {
  readonly name: 'tcp' | 'shm';
  /** The kind of endpoint: `rdm` over TCP is twice as slow, and shared memory has no other. */
  readonly endpoint: 'msg' | 'rdm';
}

const CALIBRATION_OPERATIONS = 50;

interface Result {
  /** One way, the mean. */
  readonly transferUs: number;
  readonly cpuSeconds: number;
  readonly residentMiB: number;
  readonly operationCount: number;
}

async function run(
  { name, endpoint }: Provider,
  { size }: Case,
  operations: number,
  timeoutMs: number,
): Promise<Result> {
  const cores = placement();
  const port = String(await freePort());
  const options = ['-p', name, '-e', endpoint, '-S', String(size), '-I', String(operations)];
  const server = await startTool('fi_pingpong', ['-B', port, ...options], { cores: cores.server });
  try {
    await withTimeout(untilListening(Number(port), server.result), timeoutMs, 'the fi_pingpong server');
    const client = await startTool('fi_pingpong', ['-P', port, ...options, '127.0.0.1'], {
      cores: cores.client,
    });
    try {
      const ended = Promise.all([client.result, server.result]);
      const [fromClient, fromServer] = await withTimeout(ended, timeoutMs, 'fi_pingpong');
      return {
        transferUs: parseTransferUs(fromClient),
        cpuSeconds: fromClient.cpuSeconds + fromServer.cpuSeconds,
        residentMiB: Math.max(fromClient.residentMiB, fromServer.residentMiB),
        operationCount: operations,
      };
    } finally {
      await client.stop();
    }
  } finally {
    await server.stop();
  }
}

/** Reads "usec/xfer" of the line below the heading: bytes #sent #ack total time MB/sec usec/xfer Mxfers/sec. */
export function parseTransferUs({ stdout }: Pick<ToolResult, 'stdout'>): number {
  const columns = stdout.trim().split('\n').at(-1)?.trim().split(/\s+/) ?? [];
  const transferUs = Number(columns[6]);
  if (transferUs > 0) return transferUs;
  throw new BenchError('ERR_BENCH_PEER', `fi_pingpong printed no result: ${stdout.trim()}`);
}

async function measure(
  provider: Provider,
  calibrations: Map<number, Promise<Result>>,
  task: Case,
  { measureMs, timeoutMs }: Budget,
): Promise<Sample> {
  const calibrating = calibrations.get(task.size) ?? run(provider, task, CALIBRATION_OPERATIONS, timeoutMs);
  calibrating.catch(() => calibrations.delete(task.size));
  calibrations.set(task.size, calibrating);
  const calibration = await calibrating;
  const operations = Math.max(
    2 * CALIBRATION_OPERATIONS,
    Math.round((measureMs * 1000) / (2 * calibration.transferUs)),
  );
  const main = await run(provider, task, operations, timeoutMs);
  // Start-up costs both runs the same, so the difference is free of it. A short run can drown in noise; then nothing is said.
  const cpuSeconds = main.cpuSeconds - calibration.cpuSeconds;
  const payloadBytes = (main.operationCount - calibration.operationCount) * payloadBytesPerOperation(task);
  return {
    median: 2 * main.transferUs,
    cpuSecondsPerGB: cpuSeconds > 0 ? (cpuSeconds / payloadBytes) * BYTES_PER_GB : null,
    copiesPerByte: null,
    eventLoopDelayP99Ms: null,
    residentMiB: main.residentMiB,
  };
}

function libfabricSubject(provider: Provider): Subject {
  const calibrations = new Map<number, Promise<Result>>();
  return {
    name: 'libfabric',
    cases: [
      { metric: 'message_rtt', size: 64, mode: 'busy' },
      { metric: 'message_rtt', size: 4 * KIB, mode: 'busy', brief: true },
      { metric: 'message_rtt', size: 64 * KIB, mode: 'busy', brief: true },
      { metric: 'message_rtt', size: MIB, mode: 'busy', brief: true },
    ],
    version: () => toolVersion('fi_info', ['--version'], /libfabric: ([\d.]+)/),
    prepare: () => requireTool('fi_pingpong', 'libfabric-bin'),
    measure: (task, budget) => measure(provider, calibrations, task, budget),
  };
}

export const libfabricTcpSubject = libfabricSubject({ name: 'tcp', endpoint: 'msg' });
export const libfabricShmSubject = libfabricSubject({ name: 'shm', endpoint: 'rdm' });
