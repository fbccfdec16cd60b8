// Proves that every demanded figure has its target, and that verdicts are computed from rows alone: reached, not reached, and not
// measured, at and beside each limit.
import { describe, expect, test } from 'vitest';
import { judge as judgeBy, type Target, type Verdict } from '../../../bench/judge.js';
import { MIB, type Row } from '../../../bench/measurement.js';
import { TARGETS, type SuiteName } from '../../../bench/targets.js';
import { row } from './rows.js';

const judge = (suite: SuiteName, rows: readonly Row[]) => judgeBy(TARGETS[suite], rows);

function verdictOn(description: string, rows: readonly Row[], suite: SuiteName = 'tcp'): Verdict {
  const found = judge(suite, rows).filter((verdict) => verdict.description === description);
  expect(found, description).toHaveLength(1);
  return found[0] as Verdict;
}

const SIZES = { '1 MiB': MIB, '16 MiB': 16 * MIB } as const;

describe('without rows', () => {
  test('nothing is measured, and nothing is reached', () => {
    const verdicts = judge('tcp', []);
    for (const verdict of verdicts) {
      expect(verdict).toMatchObject({ own: null, peer: null, achieved: null, reached: null });
    }
  });

  test('every demanded figure is there', () => {
    const bulk = ['push', 'pull'].flatMap((metric) =>
      Object.keys(SIZES).flatMap((size) => {
        const best = `the better of ${size === '1 MiB' ? 'iperf3' : 'c'} and ucx`;
        return [
          `${metric} ${size}: median at least 1 x ${best}`,
          `${metric} ${size}: CPU s/GB at most 1 x ${best}`,
          `${metric} ${size}: median at least 1.5 x zeromq`,
          `${metric} ${size}: median at least 8 x grpc`,
          `${metric} ${size}: copies/byte below 0.001`,
          `${metric} ${size}: loop delay p99 ms below 5`,
        ];
      }),
    );
    expect(judge('tcp', []).map(({ description }) => description)).toEqual([
      ...bulk,
      'message_rtt 64 B adaptive: median at most 0.25 x zeromq',
      'message_rtt 64 B event: median at most 1.5 x node:net',
      'read_rtt 64 B adaptive: median at most 1.2 x c (busy)',
      'message_rtt 1 MiB adaptive: median at most 0.6 x zeromq',
      'fetch_rtt 1 MiB adaptive: median at most 0.6 x zeromq',
      'batch_rate 64 B: median at least 5,000,000',
      'message_rate 64 B: median at least 1 x zeromq',
      'message_rate 64 B, xml: median at least 0.15 x zeromq',
      'contended_rtt 64 B adaptive: median at most 1.3 x splitplane (event)',
      'idle_cpu of an open connection event: median below 0.1',
      'idle_cpu of an open connection adaptive: median below 0.1',
      'connections_memory 10000 connections: median below 20',
      'connections_rate 64 B, 10000 connections: median at least 0.9 x splitplane with 1',
      'soak_transfer 16 MiB: growth MiB at most 16',
      'soak_transfer 16 MiB: loop delay p99 ms below 5',
      'soak_messages 64 B: growth MiB at most 16',
    ]);
  });

  test('every demanded figure of shared memory is there', () => {
    expect(judge('shm', []).map(({ description }) => description)).toEqual([
      'message_rtt 64 MiB adaptive: median at most 1.5 x splitplane (adaptive) at 64 B',
      'buffer_rate 1 MiB: median at least 500,000',
      'read_rtt 64 B busy: median below 1',
      'message_rtt 64 B adaptive: median at most 0.15 x zeromq',
      'message_rtt 1 MiB adaptive: median at most 0.1 x zeromq',
      'fetch_rtt 1 MiB adaptive: median at most 0.1 x zeromq',
      'batch_rate 64 B: median at least 10,000,000',
      'contended_rtt 64 B adaptive: median at most 1.3 x splitplane (event)',
      'idle_cpu of an open connection event: median below 0.1',
      'idle_cpu of an open connection adaptive: median below 0.1',
    ]);
  });
});

describe('of suite rdma', () => {
  test('every demanded figure is there', () => {
    const bulk = ['between two hosts', 'within one host'].flatMap((place) =>
      ['push', 'pull'].flatMap((metric) =>
        Object.keys(SIZES).flatMap((size) => [
          `${metric} ${size} ${place}: median at least 0.9 x perftest`,
          `${metric} ${size} ${place}, no checksum: median at least 0.9 x perftest`,
          `${metric} ${size} ${place}: copies/byte at most 0`,
        ]),
      ),
    );
    expect(judge('rdma', []).map(({ description }) => description)).toEqual([
      ...bulk,
      'write_rtt 64 B between two hosts busy: median at most 1.3 x perftest',
      'message_rtt 64 B between two hosts busy: median at most 3 x perftest (busy)',
      'message_rtt 64 B between two hosts event: median at most 3 x perftest (event)',
    ]);
  });

  test('a peer within one host is no measure for what crosses a link', () => {
    const pull = (subject: Row['subject'], hosts: 1 | 2, median: number) =>
      row({ subject, metric: 'pull', size: MIB, hosts, median });
    const rows = [pull('splitplane', 2, 8), pull('perftest', 1, 100), pull('perftest', 2, 10)];
    const description = 'pull 1 MiB between two hosts event: median at least 0.9 x perftest';
    expect(verdictOn(description, rows, 'rdma')).toMatchObject({ own: 8, peer: 10, reached: false });
  });

  test('what goes without a checksum is judged by itself', () => {
    const pull = (fields: Partial<Row>) =>
      row({ subject: 'splitplane', metric: 'pull', size: MIB, hosts: 1, ...fields });
    const rows = [pull({ median: 5 }), pull({ median: 9, checksum: false })];
    const verdict = verdictOn('pull 1 MiB within one host event: copies/byte at most 0', rows, 'rdma');
    expect(verdict.own).toBeNull();
    const rate = 'pull 1 MiB within one host event: median at least 0.9 x perftest';
    expect(verdictOn(rate, rows, 'rdma').own).toBe(5);
    const bare = 'pull 1 MiB within one host event, no checksum: median at least 0.9 x perftest';
    expect(verdictOn(bare, rows, 'rdma').own).toBe(9);
  });

  test('not one byte may be copied', () => {
    const pull = (copiesPerByte: number) =>
      row({ subject: 'splitplane', metric: 'pull', size: MIB, hosts: 1, copiesPerByte });
    const description = 'pull 1 MiB within one host event: copies/byte at most 0';
    expect(verdictOn(description, [pull(0)], 'rdma').reached).toBe(true);
    expect(verdictOn(description, [pull(1e-9)], 'rdma').reached).toBe(false);
  });
});

describe('relative to a peer', () => {
  const own = row({ subject: 'splitplane', metric: 'pull', size: MIB, median: 3 });
  const against = (peerMedian: number) =>
    verdictOn('pull 1 MiB event: median at least 1.5 x zeromq', [
      own,
      row({ subject: 'zeromq', metric: 'pull', size: MIB, median: peerMedian }),
    ]);

  test('at the limit is reached', () => {
    expect(against(2)).toMatchObject({ own: 3, peer: 2, achieved: 1.5, reached: true });
  });

  test('just under it is not', () => {
    expect(against(2.001)).toMatchObject({ own: 3, peer: 2.001, reached: false });
  });

  test('"at most" turns it round', () => {
    const description = 'message_rtt 64 B event: median at most 1.5 x node:net';
    const peer = row({ subject: 'node:net', metric: 'message_rtt', size: 64, median: 20 });
    const mine = (median: number) => row({ subject: 'splitplane', metric: 'message_rtt', size: 64, median });
    expect(verdictOn(description, [mine(30), peer]).reached).toBe(true);
    expect(verdictOn(description, [mine(30.1), peer]).reached).toBe(false);
  });

  test('a peer of another size, metric or subject does not count', () => {
    const others = [
      row({ subject: 'zeromq', metric: 'pull', size: 16 * MIB }),
      row({ subject: 'zeromq', metric: 'push', size: MIB }),
      row({ subject: 'grpc', metric: 'pull', size: MIB }),
    ];
    const verdict = verdictOn('pull 1 MiB event: median at least 1.5 x zeromq', [own, ...others]);
    expect(verdict).toMatchObject({ own: 3, peer: null, achieved: null, reached: null });
  });

  test('the mode of the peer is the one that is named', () => {
    const ping = (median: number, mode: Row['mode']) =>
      row({ subject: 'c', metric: 'read_rtt', size: 64, mode, median });
    const read = row({ subject: 'splitplane', metric: 'read_rtt', size: 64, mode: 'adaptive', median: 12 });
    const verdict = verdictOn('read_rtt 64 B adaptive: median at most 1.2 x c (busy)', [
      read,
      ping(60, 'event'),
      ping(6, 'busy'),
    ]);
    expect(verdict).toMatchObject({ own: 12, peer: 6, achieved: 2, reached: false });
  });

  test('of several the better one counts: more where more is better, less where less is', () => {
    const pull = (subject: Row['subject'], median: number, cpuSecondsPerGB: number) =>
      row({ subject, metric: 'pull', size: MIB, median, cpuSecondsPerGB });
    const rows = [pull('splitplane', 5, 0.3), pull('iperf3', 4, 0.4), pull('ucx', 5.1, 0.2)];
    const speed = 'pull 1 MiB event: median at least 1 x the better of iperf3 and ucx';
    const cost = 'pull 1 MiB event: CPU s/GB at most 1 x the better of iperf3 and ucx';
    expect(verdictOn(speed, rows)).toMatchObject({ own: 5, peer: 5.1, reached: false });
    expect(verdictOn(cost, rows)).toMatchObject({ own: 0.3, peer: 0.2, reached: false });
    expect(verdictOn(speed, rows.slice(0, 2))).toMatchObject({ own: 5, peer: null, reached: null });
  });

  test('an encoding is judged by itself, against peers that have none', () => {
    const rate = (fields: Partial<Row>) =>
      row({ subject: 'splitplane', metric: 'message_rate', size: 64, unit: '1/s', ...fields });
    const rows = [
      rate({ median: 10, encoding: 'xml' }),
      rate({ median: 30 }),
      rate({ subject: 'zeromq', median: 20 }),
    ];
    const binary = 'message_rate 64 B event: median at least 1 x zeromq';
    const text = 'message_rate 64 B, xml event: median at least 0.15 x zeromq';
    expect(verdictOn(binary, rows)).toMatchObject({ own: 30, peer: 20, reached: true });
    expect(verdictOn(text, rows)).toMatchObject({ own: 10, peer: 20, reached: true });
  });

  test('ours can be held against ours, in another setting', () => {
    const trip = (size: number, median: number) =>
      row({ subject: 'splitplane', suite: 'shm', metric: 'message_rtt', size, mode: 'adaptive', median });
    const large = 'message_rtt 64 MiB adaptive: median at most 1.5 x splitplane (adaptive) at 64 B';
    expect(verdictOn(large, [trip(64, 10), trip(64 * MIB, 15)], 'shm')).toMatchObject({ achieved: 1.5 });
    expect(verdictOn(large, [trip(64, 10), trip(64 * MIB, 16)], 'shm').reached).toBe(false);
  });

  test('a number of connections is part of what is compared', () => {
    const target: Target = {
      own: { metric: 'connections_rate', size: 64, count: 1000 },
      figure: 'median',
      bound: 'at least',
      limit: 0.9,
      peers: [{ subject: 'splitplane', count: 1 }],
    };
    const rate = (count: number, median: number) =>
      row({ subject: 'splitplane', metric: 'connections_rate', size: 64, count, median });
    const [verdict] = judgeBy([target], [rate(1, 10), rate(100, 5), rate(1000, 9)]);
    expect(verdict).toMatchObject({ own: 9, peer: 10, reached: true });
  });

  test('each mode of ours is judged by itself, where the target names none', () => {
    const rate = (mode: Row['mode'], median: number) =>
      row({ subject: 'splitplane', metric: 'message_rate', size: 64, mode, median });
    const rows = [
      rate('event', 99),
      rate('busy', 100),
      row({ subject: 'zeromq', metric: 'message_rate', size: 64, median: 100 }),
    ];
    expect(verdictOn('message_rate 64 B event: median at least 1 x zeromq', rows).reached).toBe(false);
    expect(verdictOn('message_rate 64 B busy: median at least 1 x zeromq', rows).reached).toBe(true);
  });
});

describe('absolute', () => {
  const pull = (fields: Partial<Row>) => [
    row({ subject: 'splitplane', metric: 'pull', size: MIB, ...fields }),
  ];

  test('a loop delay at the limit is not below it', () => {
    const description = 'pull 1 MiB event: loop delay p99 ms below 5';
    expect(verdictOn(description, pull({ eventLoopDelayP99Ms: 4.99 })).reached).toBe(true);
    expect(verdictOn(description, pull({ eventLoopDelayP99Ms: 5 })).reached).toBe(false);
    expect(verdictOn(description, pull({ eventLoopDelayP99Ms: null })).reached).toBeNull();
  });

  test('a payload that is copied once is found, stray bytes beside a head are not', () => {
    const description = 'pull 1 MiB event: copies/byte below 0.001';
    expect(verdictOn(description, pull({ copiesPerByte: 0 })).reached).toBe(true);
    expect(verdictOn(description, pull({ copiesPerByte: 3e-6 })).reached).toBe(true);
    expect(verdictOn(description, pull({ copiesPerByte: 1 })).reached).toBe(false);
  });

  test('resident memory may breathe, not grow', () => {
    const soaked = (median: number) => [
      row({ subject: 'splitplane', metric: 'soak_messages', size: 64, unit: 'MiB', median }),
    ];
    const description = 'soak_messages 64 B event: growth MiB at most 16';
    expect(verdictOn(description, soaked(-3)).reached).toBe(true);
    expect(verdictOn(description, soaked(16)).reached).toBe(true);
    expect(verdictOn(description, soaked(16.5)).reached).toBe(false);
  });
});
