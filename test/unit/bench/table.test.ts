// Proves that the printed tables say what the rows say: one block for each figure, ours beside the peers', and a soak that is told
// in its own words.
import { expect, test } from 'vitest';
import type { Target } from '../../../bench/judge.js';
import { MIB } from '../../../bench/measurement.js';
import { formatFigure, formatRows, formatVerdicts } from '../../../bench/table.js';
import { row } from './rows.js';

/** Cells of each line; two blanks or more separate them. */
function cells(text: string): string[][] {
  return text.split('\n').map((line) => line.trim().split(/ {2,}/));
}

test('what runs between two hosts and within one has a block each', () => {
  const pull = (hosts: 1 | 2, median: number) =>
    row({ subject: 'splitplane', metric: 'pull', size: MIB, transport: 'rdma', hosts, median });
  const lines = cells(formatRows([pull(2, 0.0625), pull(1, 0.25)]));
  expect(lines.map(([first]) => first)).toEqual([
    ...['pull 1 MiB between two hosts, GB/s', 'subject', 'splitplane', ''],
    ...['pull 1 MiB within one host, GB/s', 'subject', 'splitplane'],
  ]);
  expect(lines[2]).toContain('0.0625');
});

test('each metric and size has a block with a line for each row and our factor of it', () => {
  const rows = [
    row({
      ...({ subject: 'splitplane', metric: 'pull', size: MIB, median: 6, p99: 5.5 } as const),
      ...{ cpuSecondsPerGB: 0.25, copiesPerByte: 0, eventLoopDelayP99Ms: 1.5, residentMiB: 60, rounds: 5 },
    }),
    row({ subject: 'zeromq', metric: 'pull', size: MIB, median: 2, p99: 2, rounds: 4 }),
    row({ subject: 'c', metric: 'message_rtt', size: 64, unit: 'us', median: 20.04, p99: 30, p999: 41 }),
  ];
  expect(cells(formatRows(rows))).toEqual([
    ['pull 1 MiB, GB/s'],
    [
      'subject',
      'mode',
      'over',
      'median',
      'p99',
      'p99.9',
      'CPU s/GB',
      'copies/byte',
      'loop p99 ms',
      'RSS MiB',
      'rounds',
      'splitplane =',
    ],
    ['splitplane', 'event', 'tcp', '6.00', '5.50', '-', '0.250', '0.00', '1.50', '60', '5', '1.00 x'],
    ['zeromq', 'event', 'tcp', '2.00', '2.00', '-', '-', '-', '-', '-', '4', '3.00 x'],
    [''],
    ['message_rtt 64 B, us'],
    [
      'subject',
      'mode',
      'over',
      'median',
      'p99',
      'p99.9',
      'CPU s/GB',
      'copies/byte',
      'loop p99 ms',
      'RSS MiB',
      'rounds',
      'splitplane =',
    ],
    // Without us there is nothing to compare with.
    ['c', 'event', 'tcp', '20.0', '30.0', '41.0', '-', '-', '-', '-', '1', '-'],
  ]);
});

test('a soak tells growth, peak and what moved', () => {
  const soak = { deliveredBytes: 100.2e9, deliveredMessages: 1_000_960, residentPeakMiB: 140.07 };
  const common = { subject: 'splitplane', unit: 'MiB', eventLoopDelayP99Ms: 2, soak } as const;
  const text = formatRows([
    row({ ...common, metric: 'soak_transfer', size: 16 * MIB, median: -0.5 }),
    row({ ...common, metric: 'soak_messages', size: 64, median: 0 }),
  ]);
  expect(cells(text).filter(([subject]) => subject === 'splitplane')).toEqual([
    ['splitplane', 'event', '-0.5', '140.1', '100.2 GB', '-', '-', '2.00'],
    ['splitplane', 'event', '0.0', '140.1', '1,000,960 messages', '-', '-', '2.00'],
  ]);
  expect(text).not.toContain('NaN');
});

const TARGET: Target = {
  own: { metric: 'pull', size: MIB },
  figure: 'median',
  bound: 'at least',
  limit: 1,
};

test('verdicts are words', () => {
  const verdict = (reached: boolean | null) => ({
    ...{ description: `is ${reached}`, own: 3, peer: reached === null ? null : 2 },
    ...{ target: TARGET, row: undefined },
    ...{ achieved: reached === null ? null : 1.5, reached },
  });
  expect(cells(formatVerdicts([verdict(true), verdict(false), verdict(null)]))).toEqual([
    ['target', 'verdict', 'achieved', 'splitplane', 'peer'],
    ['is true', 'reached', '1.500', '3.000', '2.000'],
    ['is false', 'NOT REACHED', '1.500', '3.000', '2.000'],
    ['is null', 'not measured', '-', '3.000', '-'],
  ]);
});

test('columns line up: names to the left, figures to the right', () => {
  const lines = formatRows([
    row({ subject: 'c', metric: 'message_rate', size: 64, unit: '1/s', median: 1_234_567 }),
    row({ subject: 'splitplane', metric: 'message_rate', size: 64, unit: '1/s', median: 9 }),
  ]).split('\n');
  const [, heading = '', first = '', second = ''] = lines;
  expect(second.indexOf('event')).toBe(first.indexOf('event'));
  const end = heading.indexOf('median') + 'median'.length;
  expect(first.slice(0, end)).toMatch(/1,234,567$/);
  expect(second.slice(0, end)).toMatch(/ 9$/);
});

test('figures are printed in the digits of their unit', () => {
  expect(formatFigure(4.4567, 'GB/s')).toBe('4.46');
  expect(formatFigure(4.4567, 'us')).toBe('4.46');
  expect(formatFigure(14.4567, 'us')).toBe('14.5');
  expect(formatFigure(0.0367, '%')).toBe('0.04');
  expect(formatFigure(1234.5, '1/s')).toBe('1,235');
  expect(formatFigure(16.04, 'MiB')).toBe('16.0');
});
