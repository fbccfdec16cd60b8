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
  'concurrent_pull',
  'write_rtt',
  'frame_rtt',
  'message_rtt',
  'fetch_rtt',
  'read_rtt',
  'contended_rtt',
  'message_rate',
  'batch_rate',
  'buffer_rate',
  'connections_rate',
  'connections_memory',
  'idle_cpu',
  'local_rate',
  'routing_rate',
  'request_rtt',
  'process_rtt',
  'notify_rate',
  'lookup',
  'services_memory',
  'encode',
  'decode',
  'decode_header',
  'tag_text',
  'ring_events',
] as const;
export type Metric = (typeof METRICS)[number];

/** How much resident memory grows while a lot moves. Only this project is soaked, once, after the rounds. */
export const SOAK_METRICS = ['soak_transfer', 'soak_messages'] as const;
export type SoakMetric = (typeof SOAK_METRICS)[number];

export const SUBJECT_NAMES = [
  'splitplane',
  'c',
  'c-memory',
  'iperf3',
  'ucx',
  'libfabric',
  'node:net',
  'zeromq',
  'grpc',
  'grpc-tuned',
  'http1',
  'http2',
  'perftest',
  'manager',
  'messageport',
] as const;
export type SubjectName = (typeof SUBJECT_NAMES)[number];

/** How the waiting side waits: it sleeps in the kernel, it polls, or it polls for a while and then sleeps. */
export type Mode = 'adaptive' | 'busy' | 'event';

export type Unit = 'GB/s' | 'us' | '1/s' | 'MiB' | 'kB' | '%';

/** How envelopes of ours are written. */
export type Encoding = 'xml' | 'fastinfoset';

/**
 * What sets a case apart from others of its metric. `size` is the payload of one message or transfer in bytes, or a number of
 * subscribers or services.
 */
export interface Setting {
  readonly size: number;
  /** On how many hosts the two processes are, in a suite that has both. */
  readonly hosts?: 1 | 2;
  /** Of transfers of ours: without our own checksum over the bytes, as the tools that stand beside them. Computed where not told. */
  readonly checksum?: false;
  /** Of messages of ours, where encodings are compared; else what connections take by themselves, which is Fast Infoset. */
  readonly encoding?: Encoding;
  /** Transfers kept under way, or connections, where their number is what is looked at. */
  readonly count?: number;
}

/** The setting alone of what has one. */
export function settingOf({ size, hosts, checksum, encoding, count }: Setting): Setting {
  return {
    size,
    ...(hosts === undefined ? {} : { hosts }),
    ...(checksum === undefined ? {} : { checksum }),
    ...(encoding === undefined ? {} : { encoding }),
    ...(count === undefined ? {} : { count }),
  };
}

/** One thing to measure. */
export interface Case extends Setting {
  readonly metric: Metric;
  readonly mode: Mode;
  /** A point of a curve that no target judges: half of the time will do, and a quick run does without. */
  readonly brief?: true;
}

/** Over shared memory nothing is in flight but a reference, or a copy that one processor makes. */
const TRANSFERS_IN_FLIGHT = { tcp: 4, shm: 4, rdma: 8 } as const;
export type TransportName = keyof typeof TRANSFERS_IN_FLIGHT;
/** But not more bytes than this: what does not fit the processor's cache costs both ends. */
const BYTES_IN_FLIGHT_MAX = 32 * MIB;

/** Transfers that are kept under way, in ours and in the peers that can be told. */
export function transfersInFlight(transport: TransportName, size: number): number {
  return Math.min(TRANSFERS_IN_FLIGHT[transport], Math.ceil(BYTES_IN_FLIGHT_MAX / size));
}

/** Transfers under way at once, where that is what a curve is over. */
export const CONCURRENCY = [1, 2, 4, 8, 16, 64] as const;

/** How long one measurement of one case may take. The warm-up is not measured; the timeout covers everything. */
export interface Budget {
  readonly warmupMs: number;
  /** Besides, where processes outlive a measurement: so many round trips of messages each has made before its first measured one. */
  readonly warmupRoundTrips?: number;
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
  /** The highest resident size of the larger of the two processes. `null` where nobody has looked. */
  readonly residentMiB: number | null;
}

/** Of a sample that tells one figure and nothing beside it. */
export const UNTOLD: Omit<Sample, 'median'> = {
  cpuSecondsPerGB: null,
  copiesPerByte: null,
  eventLoopDelayP99Ms: null,
  residentMiB: null,
};

/** A thing that is measured: a peer, or this project. */
export interface Subject {
  readonly name: SubjectName;
  readonly cases: readonly Case[];
  /** What its bytes travel through, where that is not what its suite is about. */
  readonly transport?: string;
  /** What is measured, told beside its figures: "6.5.0". Asked once, after `prepare`. */
  version?(): Promise<string>;
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
export interface Row extends Setting {
  readonly suite: string;
  readonly subject: SubjectName;
  /** Of the subject. */
  readonly version?: string;
  readonly mode: Mode;
  readonly metric: Metric | SoakMetric;
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
  readonly residentMiB: number | null;
  readonly soak?: SoakFacts;
  readonly rounds: number;
  readonly environment: Environment;
  readonly commit: string | null;
}

const UNITS: Readonly<Record<Metric | SoakMetric, Unit>> = {
  push: 'GB/s',
  pull: 'GB/s',
  concurrent_pull: 'GB/s',
  write_rtt: 'us',
  frame_rtt: 'us',
  message_rtt: 'us',
  fetch_rtt: 'us',
  read_rtt: 'us',
  contended_rtt: 'us',
  message_rate: '1/s',
  batch_rate: '1/s',
  buffer_rate: '1/s',
  connections_rate: '1/s',
  connections_memory: 'kB',
  idle_cpu: '%',
  local_rate: '1/s',
  routing_rate: '1/s',
  request_rtt: 'us',
  process_rtt: 'us',
  notify_rate: '1/s',
  lookup: 'us',
  services_memory: 'MiB',
  encode: '1/s',
  decode: '1/s',
  decode_header: '1/s',
  tag_text: '1/s',
  ring_events: '1/s',
  soak_transfer: 'MiB',
  soak_messages: 'MiB',
};

export function unitOf(metric: Metric | SoakMetric): Unit {
  return UNITS[metric];
}

/** Payload that goes there and comes back. */
const ECHOES: readonly Metric[] = [
  'write_rtt',
  'frame_rtt',
  'message_rtt',
  'contended_rtt',
  'request_rtt',
  'process_rtt',
];

/** Payload bytes that one completed operation stands for, both directions together. */
export function payloadBytesPerOperation({ metric, size }: Case): number {
  return ECHOES.includes(metric) ? 2 * size : size;
}

/** What a case or a row is about, without its subject and mode: "pull 1 MiB between two hosts". */
export function formatCase(task: Setting & Pick<Row, 'metric'>): string {
  const { metric, hosts, encoding } = task;
  const place = hosts === undefined ? '' : hosts === 1 ? ' within one host' : ' between two hosts';
  return `${metric} ${formatQuantity(task)}${encoding === undefined ? '' : `, ${encoding}`}${place}`;
}

/** Most sizes are of payloads; some cases count things. */
function formatQuantity({ metric, size, count }: Setting & Pick<Row, 'metric'>): string {
  switch (metric) {
    case 'notify_rate':
      return `${size} subscribers`;
    case 'lookup':
    case 'services_memory':
      return `${size} services`;
    case 'local_rate':
      return size === 0 ? 'without a buffer' : `with a buffer of ${formatSize(size)}`;
    case 'concurrent_pull':
      return `${formatSize(size)}, ${count ?? 1} at once`;
    case 'connections_rate':
      return `${formatSize(size)}, ${count ?? 1} connections`;
    case 'connections_memory':
      return `${count ?? 1} connections`;
    case 'idle_cpu':
      return count === undefined ? 'of an open connection' : `of ${count} connections`;
    default:
      return formatSize(size);
  }
}

/** Metrics whose payload is no payload, or none that moves. */
const WITHOUT_PAYLOAD: readonly Metric[] = [
  'local_rate',
  'routing_rate',
  'notify_rate',
  'buffer_rate',
  'idle_cpu',
  'contended_rtt',
];

/** Whether such a case moves payload at all, so that a cost per byte means something. */
export function movesPayload(metric: Metric): boolean {
  return !WITHOUT_PAYLOAD.includes(metric);
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

/** Whatever was thrown while something was measured, as the benchmark's own error. */
export function asBenchError(error: unknown): BenchError {
  if (error instanceof BenchError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new BenchError('ERR_BENCH_PEER', message, { cause: error });
}
