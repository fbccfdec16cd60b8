/**
 * Rows and verdicts as text for people. It computes nothing but the ratio beside each line.
 */
import { BYTES_PER_GB, formatCase, type Row, type SoakFacts, type Unit } from './measurement.js';
import type { Verdict } from './judge.js';

const HEADINGS = [
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
];
const SOAK_HEADINGS = [
  'subject',
  'mode',
  'growth',
  'peak',
  'moved',
  'CPU s/GB',
  'copies/byte',
  'loop p99 ms',
];
/** Names stand left, figures right. */
const LEFT_COLUMNS = 2;

/** One block for each metric, size and place, in the order of the rows. */
export function formatRows(rows: readonly Row[]): string {
  const blocks = new Map<string, Row[]>();
  for (const row of rows) {
    const title = `${formatCase(row)}, ${row.unit}`;
    blocks.set(title, [...(blocks.get(title) ?? []), row]);
  }
  return [...blocks].map(([title, block]) => `${title}\n${formatBlock(block)}`).join('\n\n');
}

function formatBlock(rows: readonly Row[]): string {
  if (rows.some((row) => row.soak !== undefined))
    return align([SOAK_HEADINGS, ...rows.map(soakLine)], LEFT_COLUMNS);
  const own = rows.find((row) => row.subject === 'splitplane');
  const lines = rows.map((row) => [
    row.subject,
    row.checksum === false ? `${row.mode}, no checksum` : row.mode,
    row.transport,
    formatFigure(row.median, row.unit),
    formatFigure(row.p99, row.unit),
    row.p999 === undefined ? '-' : formatFigure(row.p999, row.unit),
    formatOptional(row.cpuSecondsPerGB, row.unit === 'GB/s' ? 3 : 0),
    formatOptional(row.copiesPerByte, 2),
    formatOptional(row.eventLoopDelayP99Ms, 2),
    formatOptional(row.residentMiB, 0),
    String(row.rounds),
    own === undefined ? '-' : `${(own.median / row.median).toFixed(2)} x`,
  ]);
  return align([HEADINGS, ...lines], LEFT_COLUMNS + 1);
}

/** A soak is run by one subject, so nothing stands beside it. */
function soakLine(row: Row): readonly string[] {
  return [
    row.subject,
    row.mode,
    formatFigure(row.median, row.unit),
    row.soak === undefined ? '-' : formatFigure(row.soak.residentPeakMiB, 'MiB'),
    row.soak === undefined ? '-' : formatMoved(row.metric, row.soak),
    formatOptional(row.cpuSecondsPerGB, row.metric === 'soak_transfer' ? 3 : 0),
    formatOptional(row.copiesPerByte, 2),
    formatOptional(row.eventLoopDelayP99Ms, 2),
  ];
}

function formatMoved(metric: Row['metric'], { deliveredBytes, deliveredMessages }: SoakFacts): string {
  return metric === 'soak_messages'
    ? `${deliveredMessages.toLocaleString('en-US')} messages`
    : `${(deliveredBytes / BYTES_PER_GB).toFixed(1)} GB`;
}

export function formatVerdicts(verdicts: readonly Verdict[]): string {
  const lines = verdicts.map(({ description, own, peer, achieved, reached }) => [
    description,
    reached === null ? 'not measured' : reached ? 'reached' : 'NOT REACHED',
    formatOptional(achieved, 3),
    formatOptional(own, 3),
    formatOptional(peer, 3),
  ]);
  return align([['target', 'verdict', 'achieved', 'splitplane', 'peer'], ...lines], 2);
}

export function formatFigure(value: number, unit: Unit): string {
  switch (unit) {
    case 'GB/s':
      // An emulated machine moves hundredths of a GB.
      return value.toFixed(value < 0.1 ? 4 : 2);
    case 'us':
    case 'MiB':
    case 'kB':
      // What takes less than a microsecond is told in nanoseconds' worth of digits.
      return value.toFixed(Math.abs(value) < 10 && unit === 'us' ? 2 : 1);
    case '%':
      return value.toFixed(2);
    case '1/s':
      return Math.round(value).toLocaleString('en-US');
  }
}

function formatOptional(value: number | null, digits: number): string {
  return value === null ? '-' : value.toFixed(digits);
}

function align(lines: readonly (readonly string[])[], leftColumns: number): string {
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  const pad = (cell: string, column: number) =>
    column < leftColumns ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  return lines.map((line) => `  ${line.map(pad).join('  ').trimEnd()}`).join('\n');
}
