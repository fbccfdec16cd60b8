/**
 * What splitplane must reach in each suite, relative to peers of the same run. Only the ratios are written here; every figure is computed
 * from rows. It must not know how rows are measured, judged or printed.
 */
import type { Target } from './judge.js';
import { MIB } from './measurement.js';

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

/** Of both processes together. It is not 0, because a peer is asked for a sign of life now and then. */
const IDLE_PERCENT = 0.1;

/** In batches, no envelope is parsed in between. */
const BATCH_RATE = { tcp: 5_000_000, shm: 10_000_000 };

const BULK_TARGETS: readonly Target[] = (['push', 'pull'] as const).flatMap((metric) =>
  [MIB, 16 * MIB].flatMap((size): Target[] => {
    const own = { metric, size };
    // iperf3 writes at most 1 MiB and sends one hot buffer; above that, a C pair with buffers of the size is the floor.
    const floor = size === MIB ? ('iperf3' as const) : ('c' as const);
    const best = [{ subject: floor }, { subject: 'ucx' }] as const;
    return [
      { own, figure: 'median', bound: 'at least', limit: 1, peers: best },
      { own, figure: 'cpuSecondsPerGB', bound: 'at most', limit: 1, peers: best },
      { own, figure: 'median', bound: 'at least', limit: 1.5, peers: [{ subject: 'zeromq' }] },
      { own, figure: 'median', bound: 'at least', limit: 8, peers: [{ subject: 'grpc' }] },
      { own, figure: 'copiesPerByte', bound: 'below', limit: COPIES_PER_BYTE },
      { own, figure: 'eventLoopDelayP99Ms', bound: 'below', limit: EVENT_LOOP_DELAY_MS },
    ];
  }),
);

const roundTrip = { metric: 'message_rtt', size: SMALL_BYTES } as const;
const read = { metric: 'read_rtt', size: SMALL_BYTES } as const;
const rate = { metric: 'message_rate', size: SMALL_BYTES } as const;
const batches = { metric: 'batch_rate', size: SMALL_BYTES } as const;
const text = { encoding: 'xml' } as const;

/** Alike over TCP and shared memory. */
const CONDUCT_TARGETS: readonly Target[] = [
  {
    own: { metric: 'contended_rtt', size: SMALL_BYTES, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit: 1.3,
    peers: [{ subject: 'splitplane', mode: 'event' }],
  },
  ...(['event', 'adaptive'] as const).map((mode): Target => ({
    own: { metric: 'idle_cpu', size: SMALL_BYTES, mode },
    figure: 'median',
    bound: 'below',
    limit: IDLE_PERCENT,
  })),
];

const MANY = 10_000;
const IDLE_CONNECTION_KB = 20;

/** What many idle connections cost: memory, and throughput of the one that is used. */
const CONNECTION_TARGETS: readonly Target[] = [
  {
    own: { metric: 'connections_memory', size: SMALL_BYTES, count: MANY },
    figure: 'median',
    bound: 'below',
    limit: IDLE_CONNECTION_KB,
  },
  {
    own: { metric: 'connections_rate', size: SMALL_BYTES, count: MANY },
    figure: 'median',
    bound: 'at least',
    limit: 0.9,
    peers: [{ subject: 'splitplane', count: 1 }],
  },
];

/** Both ways with the payload, and for the asking. */
const exchangeTargets = (limit: number): readonly Target[] =>
  (['message_rtt', 'fetch_rtt'] as const).map((metric): Target => ({
    own: { metric, size: MIB, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit,
    peers: [{ subject: 'zeromq' }],
  }));

const SMALL_TARGETS: readonly Target[] = [
  {
    own: { ...roundTrip, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit: 0.25,
    peers: [{ subject: 'zeromq' }],
  },
  {
    own: { ...roundTrip, mode: 'event' },
    figure: 'median',
    bound: 'at most',
    limit: 1.5,
    peers: [{ subject: 'node:net' }],
  },
  {
    own: { ...read, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit: 1.2,
    peers: [{ subject: 'c', mode: 'busy' }],
  },
  ...exchangeTargets(0.6),
  { own: batches, figure: 'median', bound: 'at least', limit: BATCH_RATE.tcp },
  {
    own: rate,
    figure: 'median',
    bound: 'at least',
    limit: 1,
    peers: [{ subject: 'zeromq' }],
  },
  {
    own: { ...rate, ...text },
    figure: 'median',
    bound: 'at least',
    limit: 0.15,
    peers: [{ subject: 'zeromq' }],
  },
  ...CONDUCT_TARGETS,
  ...CONNECTION_TARGETS,
];

const SHM_TARGETS: readonly Target[] = [
  {
    own: { ...roundTrip, size: 64 * MIB, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit: 1.5,
    peers: [{ subject: 'splitplane', mode: 'adaptive', size: SMALL_BYTES }],
  },
  { own: { metric: 'buffer_rate', size: MIB }, figure: 'median', bound: 'at least', limit: 500_000 },
  { own: { ...read, mode: 'busy' }, figure: 'median', bound: 'below', limit: 1 },
  {
    own: { ...roundTrip, mode: 'adaptive' },
    figure: 'median',
    bound: 'at most',
    limit: 0.15,
    peers: [{ subject: 'zeromq' }],
  },
  ...exchangeTargets(0.1),
  { own: batches, figure: 'median', bound: 'at least', limit: BATCH_RATE.shm },
  ...CONDUCT_TARGETS,
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
        { own, figure: 'median', bound: 'at least', limit: 0.9, peers: [{ subject: 'perftest' }] },
        {
          own: { ...own, checksum: false },
          figure: 'median',
          bound: 'at least',
          limit: 0.9,
          peers: [{ subject: 'perftest' }],
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
    peers: [{ subject: 'perftest' }],
  },
  ...(['busy', 'event'] as const).map((mode): Target => ({
    own: { metric: 'message_rtt', size: SMALL_BYTES, hosts: 2, mode },
    figure: 'median',
    bound: 'at most',
    limit: 3,
    peers: [{ subject: 'perftest', mode }],
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
    peers: [{ subject: 'splitplane', size: 64 }],
  },
  {
    own: { metric: 'request_rtt', size: SMALL_BYTES },
    figure: 'median',
    bound: 'at most',
    limit: 1.3,
    peers: [{ subject: 'manager' }],
  },
  {
    own: { metric: 'process_rtt', size: SMALL_BYTES },
    figure: 'median',
    bound: 'at most',
    limit: 1.3,
    peers: [{ subject: 'manager' }],
  },
  { own: { metric: 'lookup', size: 100_000 }, figure: 'median', bound: 'at most', limit: 2 },
  { own: { metric: 'services_memory', size: 100_000 }, figure: 'median', bound: 'below', limit: 200 },
];

export const SUITE_NAMES = ['tcp', 'shm', 'runtime', 'serializer', 'rdma'] as const;
export type SuiteName = (typeof SUITE_NAMES)[number];

export const TARGETS: Readonly<Record<SuiteName, readonly Target[]>> = {
  tcp: [...BULK_TARGETS, ...SMALL_TARGETS, ...SOAK_TARGETS],
  shm: SHM_TARGETS,
  runtime: RUNTIME_TARGETS,
  rdma: [...RDMA_BULK_TARGETS, ...RDMA_SMALL_TARGETS],
  // How quick a codec is shows where messages are measured; here it can be seen where it went.
  serializer: [],
};
