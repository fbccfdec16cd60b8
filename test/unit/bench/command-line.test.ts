// Proves that wrong arguments are refused with a sentence before anything runs, and what the right ones select.
import { CommanderError } from 'commander';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { readCommandLine } from '../../../bench/command-line.js';
import { BYTES_PER_GB } from '../../../bench/measurement.js';

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
    { args: [], sentence: "required option '--suite <name>' not specified" },
    { args: ['--suite', 'udp'], sentence: 'Allowed choices are tcp, runtime, rdma' },
    { args: ['--suite', 'tcp', '--rounds', '0'], sentence: 'Give a whole number from 1 to 100.' },
    { args: ['--suite', 'tcp', '--rounds', '1.5'], sentence: 'Give a whole number from 1 to 100.' },
    { args: ['--suite', 'tcp', '--rounds', '101'], sentence: 'Give a whole number from 1 to 100.' },
    { args: ['--suite', 'tcp', '--rounds', 'many'], sentence: 'Give a whole number from 1 to 100.' },
    {
      args: ['--suite', 'tcp', '--only', 'splitplane,nobody'],
      sentence: 'Choose from splitplane, c, iperf3',
    },
    { args: ['--suite', 'tcp', '--only', ''], sentence: 'Choose from splitplane, c, iperf3' },
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

describe('selects', () => {
  test('everything, in full', () => {
    const plan = readCommandLine(['--suite', 'tcp']);
    expect(plan).toMatchObject({ rounds: 5, soak: { bytes: 100 * BYTES_PER_GB, messages: 1_000_000 } });
    expect(plan.jsonFile).toBeUndefined();
    expect(plan.suite.subjects.map(({ name }) => name)).toEqual([
      ...['splitplane', 'c', 'iperf3', 'ucx', 'node:net', 'zeromq', 'grpc', 'grpc-tuned'],
    ]);
    expect(plan.suite.soaks.map(({ metric }) => metric)).toEqual(['soak_transfer', 'soak_messages']);
  });

  test('less with --quick, but of everything', () => {
    const plan = readCommandLine(['--suite', 'tcp', '--quick', '--json', 'rows.json']);
    expect(plan).toMatchObject({ rounds: 1, jsonFile: 'rows.json' });
    expect(plan).toMatchObject({ soak: { bytes: 5 * BYTES_PER_GB, messages: 50_000 } });
    expect(plan.suite.subjects).toHaveLength(8);
    expect(plan.suite.soaks).toHaveLength(2);
  });

  test('suite rdma with its own rounds and peers, and nothing to soak', () => {
    const full = readCommandLine(['--suite', 'rdma']);
    const quick = readCommandLine(['--suite', 'rdma', '--quick']);
    expect(full.suite.subjects.map(({ name }) => name)).toEqual(['splitplane', 'perftest', 'ucx']);
    expect(full).toMatchObject({ rounds: 3, suite: { soaks: [] } });
    expect(quick).toMatchObject({ rounds: 1, suite: { soaks: [] } });
    expect(quick.budget.measureMs).toBeLessThan(full.budget.measureMs);
  });

  test('the rounds that were asked for, also with --quick', () => {
    expect(readCommandLine(['--suite', 'tcp', '--quick', '--rounds', '7']).rounds).toBe(7);
  });

  test('only the named subjects, and no soak without splitplane', () => {
    const { suite } = readCommandLine(['--suite', 'tcp', '--only', 'zeromq, node:net']);
    expect(suite.subjects.map(({ name }) => name)).toEqual(['node:net', 'zeromq']);
    expect(suite.soaks).toEqual([]);
    expect(readCommandLine(['--suite', 'tcp', '--only', 'splitplane']).suite.soaks).toHaveLength(2);
  });
});
