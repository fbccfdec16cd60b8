/**
 * The words of the benchmark: what a case, a sample, a subject and a row are. Everything else in bench/ imports this file, and it
 * imports nothing. It must not know any subject, and holds no measuring code.
 */

/** Bytes in one GB: rates and CPU costs are decimal, as network speeds are. Sizes of buffers stay binary (MiB). */
export const BYTES_PER_GB = 1e9;
export const KIB = 1024;
export const MIB = 1024 * 1024;

/** In the order in which they run and are printed. */
export const METRICS = [
  'push',
  'pull',
  'write_rtt',
  'frame_rtt',
  'message_rtt',
  'read_rtt',
  'message_rate',
  'local_rate',
  'routing_rate',
  'request_rtt',
  'process_rtt',
  'notify_rate',
  'lookup',
  'services_memory',
] as const;
export type Metric = (typeof METRICS)[number];

/** How much resident memory grows while a lot moves. Only this project is soaked, once, after the rounds. */
export const SOAK_METRICS = ['soak_transfer', 'soak_messages'] as const;
export type SoakMetric = (typeof SOAK_METRICS)[number];

export const SUBJECT_NAMES = [
  'splitplane',
  'c',
  'iperf3',
  'ucx',
  'node:net',
  'zeromq',
  'grpc',
  'grpc-tuned',
  'perftest',
  'manager',
  'messageport',
] as const;
export type SubjectName = (typeof SUBJECT_NAMES)[number];

/** How the waiting side waits: it sleeps in the kernel, it polls, or it polls for a while and then sleeps. */
export type Mode = 'adaptive' | 'busy' | 'event';

export type Unit = 'GB/s' | 'us' | '1/s' | 'MiB';

/** One thing to measure. `size` is the payload of one message or transfer in bytes, or a number of subscribers or services. */
export interface Case {
  readonly metric: Metric;
  readonly size: number;
  readonly mode: Mode;
  /** On how many hosts the two processes are, in a suite that has both. */
  readonly hosts?: 1 | 2;
  /** Of transfers of ours: without our own checksum over the bytes, as the tools that stand beside them. Computed where not told. */
  readonly checksum?: false;
}

const TRANSFERS_IN_FLIGHT = { tcp: 4, rdma: 8 } as const;
/** But not more bytes than this: what does not fit the processor's cache costs both ends. */
const BYTES_IN_FLIGHT_MAX = 32 * MIB;

/** Transfers that are kept under way, in ours and in the peers that can be told. */
export function transfersInFlight(transport: 'tcp' | 'rdma', size: number): number {
  return Math.min(TRANSFERS_IN_FLIGHT[transport], Math.ceil(BYTES_IN_FLIGHT_MAX / size));
}

/** How long one measurement of one case may take. The warm-up is not measured; the timeout covers everything. */
export interface Budget {
  readonly warmupMs: number;
  readonly measureMs: number;
  readonly timeoutMs: number;
}

/**
 * What one subject achieved for one case in one round. For latencies `median`, `p99` and `p999` are over the single round trips,
 * in microseconds. For rates `median` is the mean rate over the measured interval and there is nothing else to tell.
 */
export interface Sample {
  readonly median: number;
  readonly p99?: number;
  readonly p999?: number;
  /** User and system time of both processes over the payload that arrived; a round trip counts its payload in both directions. */
  readonly cpuSecondsPerGB: number | null;
  /** Copies in user space, both sides together, per byte of payload. `null` where nobody has counted. */
  readonly copiesPerByte: number | null;
  /** The worse of the two processes. It contains the sampling interval. `null` where there is no event loop. */
  readonly eventLoopDelayP99Ms: number | null;
}

/** A thing that is measured: a peer, or this project. */
export interface Subject {
  readonly name: SubjectName;
  readonly cases: readonly Case[];
  /** Runs once before the first round: compiles, or checks that the tool is installed. Rejects with a BenchError. */
  prepare?(): Promise<void>;
  /** Measures one case once, with two processes that are gone when the promise settles. Rejects with a BenchError. */
  measure(task: Case, budget: Budget): Promise<Sample>;
}

export interface Environment {
  readonly cpuModel: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly date: string;
  readonly loadAverage1Min: number;
}

/** What only a soak tells. A soak counts from the end of its warm-up. */
export interface SoakFacts {
  readonly deliveredBytes: number;
  readonly deliveredMessages: number;
  /** The highest resident size of the process that grew more. */
  readonly residentPeakMiB: number;
}

/** One line of the result file: the fields of `perf --json`, then who was measured, how often, and where. */
export interface Row {
  readonly suite: string;
  readonly subject: SubjectName;
  readonly mode: Mode;
  readonly metric: Metric | SoakMetric;
  readonly size: number;
  readonly hosts?: 1 | 2;
  readonly checksum?: false;
  readonly transport: string;
  readonly unit: Unit;
  /** Median over the rounds. Soaks: the growth of resident memory of the worse process; negative where both shrank. */
  readonly median: number;
  /** Latencies: median over the rounds of each round's p99. Rates: what 99 % of the rounds reached, that is, the slow tail. */
  readonly p99: number;
  readonly p999?: number;
  readonly cpuSecondsPerGB: number | null;
  readonly copiesPerByte: number | null;
  readonly eventLoopDelayP99Ms: number | null;
  readonly soak?: SoakFacts;
  readonly rounds: number;
  readonly environment: Environment;
  readonly commit: string | null;
}

export function unitOf(metric: Metric | SoakMetric): Unit {
  switch (metric) {
    case 'push':
    case 'pull':
      return 'GB/s';
    case 'write_rtt':
    case 'frame_rtt':
    case 'message_rtt':
    case 'read_rtt':
    case 'request_rtt':
    case 'process_rtt':
    case 'lookup':
      return 'us';
    case 'message_rate':
    case 'local_rate':
    case 'routing_rate':
    case 'notify_rate':
      return '1/s';
    case 'soak_transfer':
    case 'soak_messages':
    case 'services_memory':
      return 'MiB';
  }
}

/** Payload bytes that one completed operation stands for, both directions together. */
export function payloadBytesPerOperation(task: Case): number {
  switch (task.metric) {
    case 'write_rtt':
    case 'frame_rtt':
    case 'message_rtt':
    case 'request_rtt':
    case 'process_rtt':
      return 2 * task.size;
    default:
      return task.size;
  }
}

/** What a case or a row is about, without its subject and mode: "pull 1 MiB between two hosts". */
export function formatCase({ metric, size, hosts }: Pick<Row, 'metric' | 'size' | 'hosts'>): string {
  const place = hosts === undefined ? '' : hosts === 1 ? ' within one host' : ' between two hosts';
  return `${metric} ${formatQuantity(metric, size)}${place}`;
}

/** Most sizes are of payloads; some cases count things. */
function formatQuantity(metric: Row['metric'], size: number): string {
  switch (metric) {
    case 'notify_rate':
      return `${size} subscribers`;
    case 'lookup':
    case 'services_memory':
      return `${size} services`;
    case 'local_rate':
      return size === 0 ? 'without a buffer' : `with a buffer of ${formatSize(size)}`;
    default:
      return formatSize(size);
  }
}

/** Whether such a case moves payload at all, so that a cost per byte means something. */
export function movesPayload(metric: Metric): boolean {
  return metric !== 'local_rate' && metric !== 'routing_rate' && metric !== 'notify_rate';
}

/** Whether what such a case tells is how many arrived, whatever they hold. */
export function countsMessages(metric: Metric): boolean {
  return unitOf(metric) === '1/s';
}

export function formatSize(bytes: number): string {
  if (bytes >= MIB && bytes % MIB === 0) return `${bytes / MIB} MiB`;
  if (bytes >= KIB && bytes % KIB === 0) return `${bytes / KIB} KiB`;
  return `${bytes} B`;
}

export type BenchErrorCode =
  'ERR_BENCH_TOOL_MISSING' | 'ERR_BENCH_BUILD' | 'ERR_BENCH_PEER' | 'ERR_BENCH_TIMEOUT' | 'ERR_BENCH_USAGE';

/** A failure of the benchmark itself; the message says what to do. */
export class BenchError extends Error {
  readonly code: BenchErrorCode;

  constructor(code: BenchErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BenchError';
    this.code = code;
  }
}
