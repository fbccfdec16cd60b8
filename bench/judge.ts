/**
 * Whether what was demanded was reached: verdicts computed from rows and targets alone. It must not know what is demanded, nor how rows
 * are measured or printed.
 */
import {
  formatCase,
  formatSize,
  type Mode,
  type Row,
  type Setting,
  type SubjectName,
} from './measurement.js';

export type Figure = 'median' | 'cpuSecondsPerGB' | 'copiesPerByte' | 'eventLoopDelayP99Ms';

export interface RowSelector extends Setting {
  readonly metric: Row['metric'];
  readonly mode?: Mode;
}

/** Who is compared with, and what of it where that differs from what is compared. */
export type PeerSelector = { readonly subject: SubjectName } & Partial<RowSelector>;

export interface Target {
  readonly own: RowSelector;
  readonly figure: Figure;
  readonly bound: 'at least' | 'at most' | 'below';
  /** A factor of the peer's figure, or where there is no peer an absolute value. */
  readonly limit: number;
  /** Of several the best one counts, and all of them have to be there. */
  readonly peers?: readonly PeerSelector[];
}

export interface Verdict {
  readonly description: string;
  readonly target: Target;
  /** The row that is judged, where there is one. */
  readonly row: Row | undefined;
  readonly own: number | null;
  readonly peer: number | null;
  /** `own` as a factor of `peer`, or `own` itself where there is no peer. */
  readonly achieved: number | null;
  readonly reached: boolean | null;
}

/** One verdict for each target and each mode in which splitplane was measured for it; one without figures where it was not. */
export function judge(targets: readonly Target[], rows: readonly Row[]): readonly Verdict[] {
  return targets.flatMap((target) => {
    const own = select(rows, 'splitplane', target.own);
    return own.length === 0
      ? [verdict(target, undefined, rows)]
      : own.map((row) => verdict(target, row, rows));
  });
}

function select(rows: readonly Row[], subject: SubjectName, wanted: RowSelector): readonly Row[] {
  return rows.filter(
    (row) =>
      row.subject === subject &&
      row.metric === wanted.metric &&
      row.size === wanted.size &&
      row.hosts === wanted.hosts &&
      // What was left out for a comparison is not what users get: it is judged only where that is asked for.
      row.checksum === wanted.checksum &&
      row.encoding === wanted.encoding &&
      row.count === wanted.count &&
      (wanted.mode === undefined || row.mode === wanted.mode),
  );
}

/** What of a peer is looked at: the same as of ours, but for what the selector names, and for what only we have. */
function peerRow({ own }: Target, { subject, ...different }: PeerSelector, rows: readonly Row[]) {
  const { metric, size, hosts, count } = own;
  const same = { metric, size, ...(hosts && { hosts }), ...(count && { count }) };
  return select(rows, subject, { ...same, ...different })[0];
}

function verdict(target: Target, row: Row | undefined, rows: readonly Row[]): Verdict {
  const { own: selector, figure, bound, limit, peers = [] } = target;
  const own = row?.[figure] ?? null;
  const mode = row?.mode ?? selector.mode;
  const figures = peers.map((peer) => peerRow(target, peer, rows)?.[figure] ?? null);
  const known = figures.filter((value) => value !== null);
  const better = bound === 'at least' ? Math.max : Math.min;
  const peer = known.length === 0 || known.length < figures.length ? null : better(...known);
  const achieved = own === null ? null : peers.length === 0 ? own : peer === null ? null : own / peer;
  return {
    description:
      `${formatCase(selector)}${mode === undefined ? '' : ` ${mode}`}${selector.checksum === false ? ', no checksum' : ''}: ` +
      `${nameOf(figure, selector.metric)} ${demandOf(target)}`,
    target,
    row,
    own,
    peer,
    achieved,
    reached: achieved === null ? null : meets(achieved, bound, limit),
  };
}

/** "at least 1 x the better of ucx and c". */
export function demandOf({ own, bound, limit, peers = [] }: Target): string {
  const number = limit.toLocaleString('en-US');
  const names = peers.map(({ subject, mode, size, count, encoding }) => {
    const at = size === undefined ? '' : ` at ${formatSize(size)}`;
    const with_ = count === undefined ? '' : ` with ${count.toLocaleString('en-US')}`;
    const how = [mode, encoding].filter((word) => word !== undefined);
    return `${subject}${how.length === 0 ? '' : ` (${how.join(', ')})`}${at}${with_}`;
  });
  if (names.length === 0) return `${bound} ${number}`;
  const which = names.length === 1 ? '' : `the ${own.metric.endsWith('rtt') ? 'quicker' : 'better'} of `;
  return `${bound} ${number} x ${which}${names.join(' and ')}`;
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
