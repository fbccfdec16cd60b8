/**
 * What subjects, metrics and modes are called where people read: in documents and figures. Nothing is computed here.
 */
import {
  formatSize,
  type Encoding,
  type Mode,
  type Row,
  type Setting,
  type SubjectName,
} from './measurement.js';
import type { SuiteName } from './targets.js';

export const SUBJECT_LABELS: Readonly<Record<SubjectName, string>> = {
  splitplane: 'splitplane',
  c: 'C sockets',
  'c-memory': 'C memory',
  iperf3: 'iperf3',
  ucx: 'UCX',
  libfabric: 'libfabric',
  'node:net': 'node:net',
  zeromq: 'zeromq.js',
  grpc: 'grpc-js',
  'grpc-tuned': 'grpc-js, tuned',
  http1: 'HTTP/1.1',
  http2: 'HTTP/2',
  perftest: 'perftest',
  manager: 'network manager',
  messageport: 'MessagePort',
};

export const MODE_LABELS: Readonly<Record<Mode, string>> = {
  event: 'event',
  adaptive: 'adaptive',
  busy: 'polling',
};

export const SUITE_LABELS: Readonly<Record<SuiteName, string>> = {
  tcp: 'TCP',
  shm: 'Shared memory',
  runtime: 'Runtime',
  serializer: 'Codecs, tags and events',
  rdma: 'RDMA',
};

const METRIC_LABELS: Readonly<Record<Row['metric'], string>> = {
  push: 'push',
  pull: 'pull',
  concurrent_pull: 'pull',
  write_rtt: 'one-sided write and one back',
  frame_rtt: 'frame and one back',
  message_rtt: 'message and one back',
  fetch_rtt: 'request answered with',
  read_rtt: 'one-sided read',
  contended_rtt: 'message and one back, another process keeps a core busy',
  message_rate: 'messages one way',
  batch_rate: 'messages one way, in batches',
  buffer_rate: 'messages with a buffer of',
  connections_rate: 'messages one way',
  connections_memory: 'memory of an idle connection',
  idle_cpu: 'processor while nothing happens',
  local_rate: 'request and answer within a runtime',
  routing_rate: 'dispatcher alone, body of',
  request_rtt: 'request and answer between runtimes',
  process_rtt: 'request and answer to a process',
  notify_rate: 'notifications to subscribers',
  lookup: 'finding one of many services',
  services_memory: 'memory of services',
  encode: 'writing an envelope',
  decode: 'reading an envelope',
  decode_header: 'reading its header alone',
  tag_text: 'tag to text and back',
  ring_events: 'events read from the ring',
  soak_transfer: 'growth of memory while bulk moves, transfers of',
  soak_messages: 'growth of memory while messages go one way',
};

export const ENCODING_LABELS: Readonly<Record<Encoding, string>> = {
  fastinfoset: 'Fast Infoset',
  xml: 'text XML',
};

/** "messages one way 64 B, text XML". */
export function describeCase(task: Setting & Pick<Row, 'metric'>): string {
  const parts = [METRIC_LABELS[task.metric], quantity(task)].filter((part) => part !== '');
  const details = [
    task.encoding === undefined ? '' : ENCODING_LABELS[task.encoding],
    task.hosts === undefined ? '' : task.hosts === 1 ? 'within one host' : 'between two hosts',
  ].filter((part) => part !== '');
  return [parts.join(' '), ...details].join(', ');
}

function quantity({ metric, size, count }: Setting & Pick<Row, 'metric'>): string {
  const number = (count ?? size).toLocaleString('en-US');
  switch (metric) {
    case 'notify_rate':
    case 'lookup':
    case 'services_memory':
      return `(${number})`;
    case 'local_rate':
      return size === 0 ? '' : `with a buffer of ${formatSize(size)}`;
    case 'connections_memory':
      return `(one of ${number})`;
    case 'connections_rate':
      return `${formatSize(size)}, ${number} connections`;
    case 'concurrent_pull':
      return `${formatSize(size)}, ${number} at once`;
    case 'idle_cpu':
      return count === undefined ? '' : `with ${number} connections`;
    case 'tag_text':
    case 'ring_events':
      return '';
    default:
      return formatSize(size);
  }
}

/** What is demanded (judge.ts), with the names of subjects as people know them. */
export function describeDemand(demand: string): string {
  const names = Object.keys(SUBJECT_LABELS) as SubjectName[];
  return names
    .sort((a, b) => b.length - a.length)
    .reduce(
      (text, name) => text.replace(new RegExp(`(x |of |and )${name}(?=$| )`), `$1${SUBJECT_LABELS[name]}`),
      demand,
    )
    .replace(' x ', ' × ')
    .replace('(busy', `(${MODE_LABELS.busy}`);
}

/** The same of what is judged, in one of its modes. */
export function describeJudged(task: Setting & Pick<Row, 'metric'>, mode: Mode | undefined): string {
  const details = [
    ...(task.checksum === false ? ['no checksum'] : []),
    ...(mode === undefined ? [] : [MODE_LABELS[mode]]),
  ];
  return [describeCase(task), ...details].join(', ');
}

/** "splitplane, adaptive": the mode where the same subject has others beside it. */
export function describeSubject({ subject, mode, checksum }: Row, among: readonly Row[]): string {
  const modes = new Set(among.filter((row) => row.subject === subject).map((row) => row.mode));
  const words = [
    SUBJECT_LABELS[subject],
    ...(modes.size > 1 ? [MODE_LABELS[mode]] : []),
    ...(checksum === false ? ['no checksum'] : []),
  ];
  return words.join(', ');
}
