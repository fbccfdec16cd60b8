// Proves that wrong arguments are refused with a sentence before anything runs, and what the right ones select.
import { CommanderError } from 'commander';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { readCommandLine, type SuitePlan } from '../../../bench/command-line.js';
import { BYTES_PER_GB, MIB } from '../../../bench/measurement.js';

let printed = '';

beforeEach(() => {
  printed = '';
  const note = (text: string | Uint8Array) => {
    printed += String(text);
    return true;
  };
  vi.spyOn(process.stderr, 'write').mockImplementation(note);
  vi.spyOn(process.stdout, 'write').mockImplementation(note);
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe('refuses', () => {
  test.each([
    { args: ['--suite', 'udp'], sentence: 'Choose from all or tcp, shm, runtime, serializer, rdma.' },
    { args: ['--suite', 'tcp,udp'], sentence: 'Choose from all or tcp' },
    { args: ['--suite', 'tcp', '--from'], sentence: 'argument missing' },
    { args: ['--suite', 'tcp', '--rounds', '0'], sentence: 'Give a whole number from 1 to 100.' },
    { args: ['--suite', 'tcp', '--rounds', '1.5'], sentence: 'Give a whole number from 1 to 100.' },
    { args: ['--suite', 'tcp', '--rounds', '101'], sentence: 'Give a whole number from 1 to 100.' },
    { args: ['--suite', 'tcp', '--rounds', 'many'], sentence: 'Give a whole number from 1 to 100.' },
    {
      args: ['--suite', 'tcp', '--only', 'splitplane,nobody'],
      sentence: 'Choose from splitplane, c, c-memory, iperf3',
    },
    { args: ['--suite', 'tcp', '--only', ''], sentence: 'Choose from splitplane, c, c-memory' },
    { args: ['--suite', 'tcp', '--json'], sentence: 'argument missing' },
    { args: ['--suite', 'tcp', '--fast'], sentence: "unknown option '--fast'" },
    { args: ['--suite', 'tcp', 'more'], sentence: 'too many arguments' },
  ])('$args', ({ args, sentence }) => {
    let error: unknown;
    try {
      readCommandLine(args);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(CommanderError);
    expect(error).toMatchObject({ exitCode: 1 });
    expect(printed).toContain(sentence);
  });
});

test('help names the amounts, the fields and the exit codes, and is no failure', () => {
  let error: unknown;
  try {
    readCommandLine(['--help']);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toMatchObject({ exitCode: 0 });
  for (const word of ['100 GB', '1,000,000 messages', 'eventLoopDelayP99Ms', 'Exit codes']) {
    expect(printed).toContain(word);
  }
});

test('refuses to do nothing', () => {
  const usage = { code: 'ERR_BENCH_USAGE' };
  expect(() => readCommandLine([])).toThrow(expect.objectContaining(usage));
  expect(() => readCommandLine(['--suite', 'rdma', '--only', 'zeromq'])).toThrow(
    expect.objectContaining(usage),
  );
});

describe('selects', () => {
  /** The plan of the one suite that was asked for. */
  function planOf(...args: readonly string[]): SuitePlan {
    const { suites } = readCommandLine(['--suite', ...args]);
    expect(suites).toHaveLength(1);
    return suites[0] as SuitePlan;
  }
  const casesOf = ({ suite }: SuitePlan) => suite.subjects.flatMap(({ cases }) => cases);
  const namesOf = ({ suite }: SuitePlan) => suite.subjects.map(({ name }) => name);

  test('everything, in full', () => {
    const plan = planOf('tcp');
    expect(plan).toMatchObject({ rounds: 3, soak: { bytes: 100 * BYTES_PER_GB, messages: 1_000_000 } });
    expect(namesOf(plan)).toEqual([
      ...['splitplane', 'c', 'iperf3', 'ucx', 'libfabric', 'node:net', 'zeromq', 'grpc', 'grpc-tuned'],
      ...['http1', 'http2'],
    ]);
    expect(plan.suite.soaks.map(({ metric }) => metric)).toEqual(['soak_transfer', 'soak_messages']);
  });

  test('less with --quick, but every metric of every subject', () => {
    const full = planOf('tcp');
    const quick = planOf('tcp', '--quick');
    expect(quick).toMatchObject({ rounds: 1, soak: { bytes: 2 * BYTES_PER_GB, messages: 20_000 } });
    expect(quick.suite.soaks).toHaveLength(2);
    expect(namesOf(quick)).toEqual(namesOf(full));
    const metricsOf = (plan: SuitePlan) =>
      plan.suite.subjects.map(({ cases }) => [...new Set(cases.map(({ metric }) => metric))]);
    expect(metricsOf(quick)).toEqual(metricsOf(full));
    expect(casesOf(quick).length).toBeLessThan(casesOf(full).length);
    // Of what is judged only what takes ten thousand connections is left out.
    const short = casesOf(full).filter(({ brief, count = 1 }) => brief !== true && count <= 1000);
    expect(casesOf(quick)).toEqual(expect.arrayContaining(short));
  });

  test('several suites, or all of them, each with rounds and peers of its own', () => {
    const several = readCommandLine(['--suite', 'runtime,tcp', '--json', 'rows.json']);
    expect(several.suites.map(({ suite }) => suite.name)).toEqual(['tcp', 'runtime']);
    expect(several.jsonFile).toBe('rows.json');
    const all = readCommandLine(['--suite', 'all']);
    expect(all.suites.map(({ suite }) => suite.name)).toEqual([
      'tcp',
      'shm',
      'runtime',
      'serializer',
      'rdma',
    ]);
    const rdma = planOf('rdma');
    expect(namesOf(rdma)).toEqual(['splitplane', 'perftest', 'ucx']);
    expect(rdma).toMatchObject({ rounds: 3, suite: { soaks: [] } });
  });

  test('no bulk but of 1 MiB with --quick over rdma, and no processes that have run for long', () => {
    const [full, quick] = [planOf('rdma'), planOf('rdma', '--quick')];
    expect(casesOf(quick)).toEqual(casesOf(full).filter(({ size }) => size <= MIB));
    expect(full.budget.warmupRoundTrips).toBeGreaterThan(0);
    expect(quick.budget.warmupRoundTrips).toBeUndefined();
  });

  test('the rounds that were asked for, also with --quick', () => {
    expect(planOf('tcp', '--quick', '--rounds', '7').rounds).toBe(7);
  });

  test('only the named subjects, no soak without splitplane, and no suite without any of them', () => {
    const { suite } = planOf('tcp', '--only', 'zeromq, node:net');
    expect(suite.subjects.map(({ name }) => name)).toEqual(['node:net', 'zeromq']);
    expect(suite.soaks).toEqual([]);
    expect(planOf('tcp', '--only', 'splitplane').suite.soaks).toHaveLength(2);
    const { suites } = readCommandLine(['--suite', 'all', '--only', 'zeromq']);
    expect(suites.map(({ suite: { name } }) => name)).toEqual(['tcp', 'shm']);
  });

  test('rows of earlier runs, to be drawn without measuring', () => {
    expect(readCommandLine(['--from', 'a.json', 'b.json', '--report', 'page.html'])).toEqual({
      ...{ suites: [], fromFiles: ['a.json', 'b.json'] },
      ...{ jsonFile: undefined, reportFile: 'page.html', markdownFile: undefined },
    });
  });
});
