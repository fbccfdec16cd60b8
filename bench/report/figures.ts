/**
 * Which figures are made of the rows of a suite: a row belongs to each figure that shows its metric. A figure without us or without
 * anything beside us is left out. It must not know how they are drawn.
 */
import { MIB, type Row } from '../measurement.js';
import { describeSubject, ENCODING_LABELS, SUITE_LABELS } from '../words.js';
import type { SuiteName } from '../targets.js';
import type { Axis, Entry, Figure, LineFigure, RankFigure, Series } from './figure.js';
import {
  formatBandwidth,
  formatCost,
  formatCount,
  formatKilobytes,
  formatRate,
  formatSize,
  formatTime,
} from './format.js';

const SMALL_BYTES = 64;
/** Where values differ by more, equal factors get equal space. */
const LINEAR_RATIO_MAX = 12;

/** The figures of one suite, in the order in which they are told. */
export function figuresOf(suite: SuiteName, rows: readonly Row[]): readonly Figure[] {
  const ofSuite = rows.filter((row) => row.suite === suite && row.checksum === undefined);
  if (suite !== 'tcp' && suite !== 'shm') return [];
  const name = (what: string) => `${suite}-${what}`;
  const where = SUITE_LABELS[suite];
  const of = (metric: Row['metric'], size?: number) =>
    ofSuite.filter((row) => row.metric === metric && (size === undefined || row.size === size));
  const figures: readonly (Figure | undefined)[] = [
    ranks(of('message_rtt', SMALL_BYTES), {
      kind: 'dots',
      name: name('round-trip'),
      title: `${where}: round trip of 64 bytes`,
      subtitle:
        'Median, and strokes at p99 and p99.9. Ours is a SOAP message and its answer. Less is better.',
      value: { label: 'round trip', scale: 'log', format: formatTime },
      of: (row) => row.median,
      tail: (row) => (row.p999 === undefined ? [] : [row.p99, row.p999]),
      bestFirst: 'lowest',
    }),
    lines(of('message_rtt'), {
      name: name('latency'),
      title: `${where}: latency against size`,
      subtitle: 'Median round trip of a payload that goes there and comes back. Less is better.',
      x: sizes('payload each way'),
      y: { label: 'round trip', scale: 'log', format: formatTime },
      of: (row) => row.median,
    }),
    lines(of('pull'), {
      name: name('bandwidth'),
      title: `${where}: bandwidth against size`,
      subtitle:
        'Payload that arrives whole in memory of the receiver, a few transfers under way. More is better.',
      x: sizes('one transfer'),
      y: { label: 'bandwidth', scale: 'linear', format: formatBandwidth },
      of: (row) => row.median,
    }),
    lines(of('concurrent_pull'), {
      name: name('concurrency'),
      title: `${where}: bandwidth with transfers under way`,
      subtitle: 'Transfers of 256 KiB over one connection. More is better.',
      x: counts('transfers under way at once'),
      y: { label: 'bandwidth', scale: 'linear', format: formatBandwidth },
      of: (row) => row.median,
    }),
    ranks(of('pull', MIB), {
      kind: 'bars',
      name: name('cost'),
      title: `${where}: what a GB costs`,
      subtitle: 'Processor time of both processes for each GB, transfers of 1 MiB. Less is better.',
      value: { label: 'processor time', scale: 'linear', format: formatCost },
      of: (row) => row.cpuSecondsPerGB,
      tail: () => [],
      bestFirst: 'lowest',
    }),
    ranks([...of('message_rate', SMALL_BYTES), ...of('batch_rate', SMALL_BYTES)], {
      kind: 'dots',
      name: name('rate'),
      title: `${where}: messages of 64 bytes one way`,
      subtitle: 'Ours are full SOAP messages, but for batches. More is better.',
      value: { label: 'messages', scale: 'log', format: formatRate },
      of: (row) => row.median,
      tail: () => [],
      bestFirst: 'highest',
    }),
    lines(of('connections_rate'), {
      name: name('connections'),
      title: `${where}: throughput with many connections`,
      subtitle: 'SOAP messages one way over one of them, the others idle. More is better.',
      x: counts('connections'),
      y: { label: 'messages', scale: 'linear', format: formatRate },
      of: (row) => row.median,
      alone: true,
    }),
    lines(of('connections_memory'), {
      name: name('connection-memory'),
      title: `${where}: memory of an idle connection`,
      subtitle: 'Resident memory that each adds to a process. Less is better.',
      x: counts('connections'),
      y: { label: 'memory', scale: 'linear', format: formatKilobytes },
      of: (row) => row.median,
      alone: true,
    }),
  ];
  return figures.filter((figure) => figure !== undefined);
}

type XAxis = (rows: readonly Row[]) => LineFigure['x'] & { readonly of: (row: Row) => number };

function sizes(label: string): XAxis {
  return (rows) => ({
    label,
    scale: 'log',
    format: formatSize,
    of: (row) => row.size,
    ticks: ascending(rows.map((row) => row.size)),
  });
}

function counts(label: string): XAxis {
  return (rows) => ({
    label,
    scale: 'log',
    format: formatCount,
    of: (row) => row.count ?? 1,
    ticks: ascending(rows.map((row) => row.count ?? 1)),
  });
}

function ascending(values: readonly number[]): readonly number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

interface LinesPlan extends Pick<LineFigure, 'name' | 'title' | 'subtitle'> {
  readonly x: XAxis;
  readonly y: Axis;
  readonly of: (row: Row) => number | null;
  /** There is nobody to stand beside us. */
  readonly alone?: true;
}

function lines(rows: readonly Row[], { x, y, of, alone, ...words }: LinesPlan): LineFigure | undefined {
  const axis = x(rows);
  const names = [...new Set(rows.map((row) => nameOf(row, rows)))];
  const series = names.flatMap((label): Series[] => {
    const own = rows.filter((row) => nameOf(row, rows) === label);
    const points = own.flatMap((row) => {
      const value = of(row);
      return value === null || value <= 0 ? [] : [{ x: axis.of(row), y: value, row }];
    });
    const [first] = own;
    // One point is no line.
    if (first === undefined || points.length < 2) return [];
    const isDashed = first.mode === 'busy' || first.subject === 'grpc-tuned' || first.subject === 'http2';
    points.sort((a, b) => a.x - b.x);
    return [{ subject: first.subject, label, isDashed, points }];
  });
  if (!isWorthIt(series, alone)) return undefined;
  const values = series.flatMap(({ points }) => points.map((point) => point.y));
  const isWide = Math.max(...values) / Math.min(...values) > LINEAR_RATIO_MAX;
  const { label, scale, format } = axis;
  const shown = new Set(series.flatMap(({ points }) => points.map((point) => point.x)));
  return {
    kind: 'lines',
    ...words,
    x: { label, scale, format, ticks: axis.ticks.filter((tick) => shown.has(tick)) },
    y: isWide ? { ...y, scale: 'log' } : y,
    series,
  };
}

interface RanksPlan extends Pick<RankFigure, 'kind' | 'name' | 'title' | 'subtitle' | 'value'> {
  readonly of: (row: Row) => number | null;
  readonly tail: (row: Row) => readonly number[];
  readonly bestFirst: 'lowest' | 'highest';
}

function ranks(rows: readonly Row[], { of, tail, bestFirst, ...figure }: RanksPlan): RankFigure | undefined {
  const entries = rows.flatMap((row): Entry[] => {
    const value = of(row);
    return value === null || value <= 0
      ? []
      : [{ subject: row.subject, label: nameOf(row, rows), value, tail: tail(row), row }];
  });
  entries.sort((a, b) => (bestFirst === 'lowest' ? a.value - b.value : b.value - a.value));
  return isWorthIt(entries) ? { ...figure, entries } : undefined;
}

function isWorthIt(shown: readonly Pick<Series, 'subject'>[], alone?: true): boolean {
  const isOurs = ({ subject }: Pick<Series, 'subject'>) => subject === 'splitplane';
  return shown.some(isOurs) && (alone === true || shown.some((each) => !isOurs(each)));
}

/** "splitplane, text XML, adaptive". */
function nameOf(row: Row, among: readonly Row[]): string {
  const how = [
    ...(row.metric === 'batch_rate' ? ['in batches'] : []),
    ...(row.encoding === undefined ? [] : [ENCODING_LABELS[row.encoding]]),
  ];
  const [subject = '', ...modes] = describeSubject(row, among).split(', ');
  return [subject, ...how, ...modes].join(', ');
}
