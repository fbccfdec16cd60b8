/**
 * What splitplane must reach in each suite, relative to peers of the same run, and whether it did. Only the ratios are
 * written here; every figure is computed from rows. It must not know how rows are measured or printed.
 */
import { formatCase, formatSize, MIB, type Mode, type Row, type SubjectName } from './measurement.js';

type Figure = 'median' | 'cpuSecondsPerGB' | 'copiesPerByte' | 'eventLoopDelayP99Ms';

interface RowSelector {
  readonly metric: Row['metric'];
  readonly size: number;
  readonly mode?: Mode;
  readonly hosts?: 1 | 2;
  readonly checksum?: false;
}

interface Target {
  readonly own: RowSelector;
  readonly figure: Figure;
  readonly bound: 'at least' | 'at most' | 'below';
  /** A factor of the peer's figure, or where there is no peer an absolute value. */
  readonly limit: number;
  readonly peer?: { readonly subject: SubjectName } & Partial<RowSelector>;
}

export interface Verdict {
  readonly description: string;
  readonly own: number | null;
  readonly peer: number | null;
  /** `own` as a factor of `peer`, or `own` itself where there is no peer. */
  readonly achieved: number | null;
  readonly reached: boolean | null;
}

const SMALL_BYTES = 64;
const EVENT_LOOP_DELAY_MS = 5;
/**
 * What is read together with a record's head is moved from there to its place: a few bytes of a payload now and then, three in a million
 * as measured. A payload that is copied counts one.
 */
const COPIES_PER_BYTE = 0.001;
/**
 * Flat is no exact word: V8's young generation alone breathes by as much, however little is kept. What leaks shows all the same: a
 * registered buffer of one transfer is 16 MiB, and 17 bytes kept of each of a million messages are more than this.
 */
const RESIDENT_GROWTH_MIB = 16;

const BULK_TARGETS: readonly Target[] = (['push', 'pull'] as const).flatMap((metric) =>
  [MIB, 16 * MIB].flatMap((size): Target[] => {
    const own = { metric, size };
    // iperf3 writes at most 1 MiB and sends one hot buffer; above that, a C pair with buffers of the size is the floor.
    const floor = size === MIB ? ('iperf3' as const) : ('c' as const);
    return [
      { own, figure: 'median', bound: 'at least', limit: 0.95, peer: { subject: floor } },
      { own, figure: 'median', bound: 'at least', limit: 1.5, peer: { subject: 'zeromq' } },
      { own, figure: 'median', bound: 'at least', limit: 8, peer: { subject: 'grpc' } },
      {
        own,
        figure: 'cpuSecondsPerGB',
        bound: 'at most',
        limit: 1.1,
        peer: { subject: 'iperf3', size: MIB },
      },
      { own, figure: 'copiesPerByte', bound: 'below', limit: COPIES_PER_BYTE },
      { own, figure: 'eventLoopDelayP99Ms', bound: 'below', limit: EVENT_LOOP_DELAY_MS },
    ];
  }),
);

const roundTrip = { metric: 'message_rtt', size: SMALL_BYTES } as const;
const read = { metric: 'read_rtt', size: SMALL_BYTES } as const;
const rate = { metric: 'message_rate', size: SMALL_BYTES } as const;

const SMALL_TARGETS: readonly Target[] = [
  {
    own: { ...roundTrip, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit: 0.5,
    peer: { subject: 'zeromq' },
  },
  {
    own: { ...roundTrip, mode: 'event' },
    figure: 'median',
    bound: 'at most',
    limit: 1.5,
    peer: { subject: 'node:net' },
  },
  {
    own: { ...read, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit: 1.5,
    peer: { subject: 'c', mode: 'busy' },
  },
  { own: rate, figure: 'median', bound: 'at least', limit: 0.15, peer: { subject: 'zeromq' } },
];

const transferSoak = { metric: 'soak_transfer', size: 16 * MIB } as const;
const messageSoak = { metric: 'soak_messages', size: SMALL_BYTES } as const;

const SOAK_TARGETS: readonly Target[] = [
  { own: transferSoak, figure: 'median', bound: 'at most', limit: RESIDENT_GROWTH_MIB },
  { own: transferSoak, figure: 'eventLoopDelayP99Ms', bound: 'below', limit: EVENT_LOOP_DELAY_MS },
  { own: messageSoak, figure: 'median', bound: 'at most', limit: RESIDENT_GROWTH_MIB },
];

/**
 * What RDMA hardware does alone is what perftest measures; between it and JavaScript no byte may be copied. perftest computes no
 * checksum, so ours is judged with its own, as users get it, and without, like with like.
 */
const RDMA_BULK_TARGETS: readonly Target[] = ([2, 1] as const).flatMap((hosts) =>
  (['push', 'pull'] as const).flatMap((metric) =>
    [MIB, 16 * MIB].flatMap((size): Target[] => {
      const own = { metric, size, hosts };
      return [
        { own, figure: 'median', bound: 'at least', limit: 0.9, peer: { subject: 'perftest' } },
        {
          own: { ...own, checksum: false },
          figure: 'median',
          bound: 'at least',
          limit: 0.9,
          peer: { subject: 'perftest' },
        },
        { own, figure: 'copiesPerByte', bound: 'at most', limit: 0 },
      ];
    }),
  ),
);

const RDMA_SMALL_TARGETS: readonly Target[] = [
  {
    own: { metric: 'write_rtt', size: SMALL_BYTES, hosts: 2, mode: 'busy' },
    figure: 'median',
    bound: 'at most',
    limit: 1.3,
    peer: { subject: 'perftest' },
  },
  ...(['busy', 'event'] as const).map((mode): Target => ({
    own: { metric: 'message_rtt', size: SMALL_BYTES, hosts: 2, mode },
    figure: 'median',
    bound: 'at most',
    limit: 3,
    peer: { subject: 'perftest', mode },
  })),
];

/** What messages between services must reach. A buffer that goes with one must cost nothing, and the size of a body neither. */
const LOCAL_RATE = 300_000;
const RUNTIME_TARGETS: readonly Target[] = [
  ...[0, 64 * MIB].map((size): Target => ({
    own: { metric: 'local_rate', size },
    figure: 'median',
    bound: 'at least',
    limit: LOCAL_RATE,
  })),
  {
    own: { metric: 'routing_rate', size: MIB },
    figure: 'median',
    bound: 'at least',
    limit: 0.9,
    peer: { subject: 'splitplane', size: 64 },
  },
  {
    own: { metric: 'request_rtt', size: SMALL_BYTES },
    figure: 'median',
    bound: 'at most',
    limit: 1.3,
    peer: { subject: 'manager' },
  },
  {
    own: { metric: 'process_rtt', size: SMALL_BYTES },
    figure: 'median',
    bound: 'at most',
    limit: 1.3,
    peer: { subject: 'manager' },
  },
  { own: { metric: 'lookup', size: 100_000 }, figure: 'median', bound: 'at most', limit: 2 },
  { own: { metric: 'services_memory', size: 100_000 }, figure: 'median', bound: 'below', limit: 200 },
];

export type SuiteName = 'tcp' | 'runtime' | 'rdma';

const TARGETS: Readonly<Record<SuiteName, readonly Target[]>> = {
  tcp: [...BULK_TARGETS, ...SMALL_TARGETS, ...SOAK_TARGETS],
  runtime: RUNTIME_TARGETS,
  rdma: [...RDMA_BULK_TARGETS, ...RDMA_SMALL_TARGETS],
};

/** One verdict for each target and each mode in which splitplane was measured for it; one without figures where it was not. */
export function judge(suite: SuiteName, rows: readonly Row[]): readonly Verdict[] {
  return TARGETS[suite].flatMap((target) => {
    const own = select(rows, 'splitplane', target.own);
    return own.length === 0
      ? [verdict(target, undefined, rows)]
      : own.map((row) => verdict(target, row, rows));
  });
}

function select(
  rows: readonly Row[],
  subject: SubjectName,
  { metric, size, mode, hosts, checksum }: RowSelector,
): readonly Row[] {
  return rows.filter(
    (row) =>
      row.subject === subject &&
      row.metric === metric &&
      row.size === size &&
      row.hosts === hosts &&
      // What was left out for a comparison is not what users get: it is judged only where that is asked for.
      row.checksum === checksum &&
      (mode === undefined || row.mode === mode),
  );
}

function verdict(target: Target, ownRow: Row | undefined, rows: readonly Row[]): Verdict {
  const { own: selector, figure, bound, limit, peer: peerSelector } = target;
  const own = ownRow?.[figure] ?? null;
  const mode = ownRow?.mode ?? selector.mode;
  let peer: number | null = null;
  let reference = '';
  if (peerSelector !== undefined) {
    const { subject, metric = selector.metric, size = selector.size, mode: peerMode } = peerSelector;
    const wanted = {
      metric,
      size,
      ...(selector.hosts === undefined ? {} : { hosts: selector.hosts }),
      ...(peerMode === undefined ? {} : { mode: peerMode }),
    };
    peer = select(rows, subject, wanted)[0]?.[figure] ?? null;
    reference = ` x ${subject}${peerMode === undefined ? '' : ` (${peerMode})`}${size === selector.size ? '' : ` at ${formatSize(size)}`}`;
  }
  const achieved = own === null ? null : peerSelector === undefined ? own : peer === null ? null : own / peer;
  return {
    description:
      `${formatCase(selector)}${mode === undefined ? '' : ` ${mode}`}${selector.checksum === false ? ', no checksum' : ''}: ` +
      `${nameOf(figure, selector.metric)} ${bound} ${limit}${reference}`,
    own,
    peer,
    achieved,
    reached: achieved === null ? null : meets(achieved, bound, limit),
  };
}

const FIGURE_NAMES: Readonly<Record<Figure, string>> = {
  median: 'median',
  cpuSecondsPerGB: 'CPU s/GB',
  copiesPerByte: 'copies/byte',
  eventLoopDelayP99Ms: 'loop delay p99 ms',
};

function nameOf(figure: Figure, metric: Row['metric']): string {
  const isSoak = metric === 'soak_transfer' || metric === 'soak_messages';
  return isSoak && figure === 'median' ? 'growth MiB' : FIGURE_NAMES[figure];
}

function meets(achieved: number, bound: Target['bound'], limit: number): boolean {
  switch (bound) {
    case 'at least':
      return achieved >= limit;
    case 'at most':
      return achieved <= limit;
    case 'below':
      return achieved < limit;
  }
}
