/**
 * Rows and verdicts as Markdown, and the places in a document that hold them: between `<!-- bench NAME -->` and `<!-- end bench NAME -->`
 * stand the tables of suite NAME, and nothing else in the document is touched. It must not know any file.
 */
import { demandOf, judge, type Verdict } from './judge.js';
import { KIB, type Row, type Unit } from './measurement.js';
import { figuresOf } from './report/figures.js';
import { formatFigure } from './table.js';
import { SUITE_NAMES, TARGETS, type SuiteName } from './targets.js';
import {
  describeCase,
  describeDemand,
  describeJudged,
  describeSubject,
  MODE_LABELS,
  SUBJECT_LABELS,
} from './words.js';

/** Points of curves: figures show them, and tables would be twice as long. */
const CURVE_SIZES: readonly number[] = [4 * KIB, 64 * KIB, 256 * KIB];

const UNIT_WORDS: Readonly<Record<Unit, string>> = {
  'GB/s': 'GB/s',
  us: 'µs',
  '1/s': '/s',
  MiB: 'MiB',
  kB: 'kB',
  '%': '%',
};

function section(name: string): RegExp {
  return new RegExp(`(<!-- bench ${name} -->)([^]*?)(<!-- end bench ${name} -->)`);
}

/** Whether a document has a place for the tables of any suite. */
export function hasSection(document: string): boolean {
  return SUITE_NAMES.some((name) => section(name).test(document));
}

/**
 * The document with the tables of every suite that has rows, where it has a place for them; and its figures, if `figuresPath` says where
 * their files are as the document sees it.
 */
export function replaceSections(document: string, rows: readonly Row[], figuresPath?: string): string {
  return SUITE_NAMES.reduce((text, name) => {
    const ofSuite = rows.filter(({ suite }) => suite === name);
    if (ofSuite.length === 0) return text;
    const images =
      figuresPath === undefined
        ? []
        : figuresOf(name, ofSuite).map(({ name: file, title }) => `![${title}](${figuresPath}/${file}.svg)`);
    const tables = [formatSuite(name, ofSuite), ...images].join('\n\n');
    return text.replace(
      section(name),
      (_, begin: string, __, end: string) => `${begin}\n\n${tables}\n\n${end}`,
    );
  }, document);
}

export function formatSuite(name: SuiteName, rows: readonly Row[]): string {
  const told = rows.filter(({ size }) => !CURVE_SIZES.includes(size));
  const ofUnit = (unit: Unit) => told.filter((row) => row.unit === unit);
  const verdicts = judge(TARGETS[name], rows);
  return [
    formatOrigin(rows),
    ...(name === 'runtime' || name === 'serializer'
      ? [formatList(told)]
      : [
          formatMatrix('GB/s (CPU seconds per GB)', ofUnit('GB/s')),
          formatMatrix('µs, median (p99)', ofUnit('us')),
          formatList(told.filter(({ unit }) => unit !== 'GB/s' && unit !== 'us')),
        ]),
    ...(verdicts.length === 0 ? [] : [formatVerdicts(verdicts)]),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function formatOrigin(rows: readonly Row[]): string {
  const [row] = rows;
  if (row === undefined) return '';
  const { cpuModel, cores, kernel, node, date } = row.environment;
  const rounds = Math.max(...rows.map((each) => each.rounds));
  const commit = row.commit === null ? 'unknown' : row.commit.replace(/^([0-9a-f]{10})[0-9a-f]*/, '$1');
  return (
    `${cores} cores (${cpuModel}), ${kernel}, Node.js ${node}, ${date.slice(0, 10)}, commit ${commit}; ` +
    `${rounds === 1 ? 'one round' : `medians of ${rounds} interleaved rounds`}.`
  );
}

/** Subjects below each other, cases beside each other. */
function formatMatrix(title: string, rows: readonly Row[]): string {
  const cases = unique(rows.map((row) => describeCase(row)));
  const subjects = unique(rows.map((row) => describeSubject(row, rows)));
  if (cases.length === 0) return '';
  const lines = subjects.map((subject) => {
    const cells = cases.map((name) => {
      const row = rows.find((each) => describeSubject(each, rows) === subject && describeCase(each) === name);
      return row === undefined ? '–' : formatCell(row);
    });
    return [emphasize(subject, subject.startsWith(SUBJECT_LABELS.splitplane)), ...cells];
  });
  return table([title, ...cases], lines);
}

function formatCell(row: Row): string {
  const median = formatFigure(row.median, row.unit);
  if (row.unit === 'us')
    return row.p999 === undefined ? median : `${median} (${formatFigure(row.p99, row.unit)})`;
  return row.cpuSecondsPerGB === null ? median : `${median} (${row.cpuSecondsPerGB.toFixed(2)})`;
}

/** Ours below each other, with what stands beside each. */
function formatList(rows: readonly Row[]): string {
  const names = unique(rows.map(describeCase));
  const lines = names.flatMap((name) => {
    const ofCase = rows.filter((row) => describeCase(row) === name);
    const own = ofCase.filter(({ subject }) => subject === 'splitplane');
    const peers = ofCase.filter(({ subject }) => subject !== 'splitplane');
    if (own.length === 0 && peers.length === 0) return [];
    const figures = own.map((row) => figureOf(row, own.length > 1 ? `${MODE_LABELS[row.mode]} ` : ''));
    const beside = peers.map((row) => figureOf(row, `${describeSubject(row, ofCase)} `));
    return [[name, figures.join(', ') || '–', beside.join(', ') || '–']];
  });
  return lines.length === 0 ? '' : table(['', emphasize('splitplane', true), 'beside it'], lines);
}

function figureOf(row: Row, name: string): string {
  return `${name}${formatFigure(row.median, row.unit)} ${UNIT_WORDS[row.unit]}`.replace(' /s', '/s');
}

function formatVerdicts(verdicts: readonly Verdict[]): string {
  const reached = verdicts.filter((verdict) => verdict.reached === true).length;
  const lines = verdicts.map(({ target, row, own, peer, achieved, reached: isReached }) => {
    const mode = row?.mode ?? target.own.mode;
    const what = describeJudged(target.own, mode) + FIGURE_WORDS[target.figure];
    const figures = own === null || peer === null ? '–' : `${short(own)} : ${short(peer)}`;
    return [
      what,
      describeDemand(demandOf(target)),
      figures,
      achieved === null ? '–' : short(achieved),
      isReached === null ? 'not measured' : isReached ? 'reached' : '**not reached**',
    ];
  });
  return (
    `What is demanded, and what was reached: ${reached} of ${verdicts.length}.\n\n` +
    table(['', 'demanded', 'ours : peer', 'achieved', ''], lines)
  );
}

const FIGURE_WORDS = {
  median: '',
  cpuSecondsPerGB: ': CPU seconds per GB',
  copiesPerByte: ': copies per byte',
  eventLoopDelayP99Ms: ': p99 delay of the event loop, ms',
} as const;

function short(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

function emphasize(text: string, isOurs: boolean): string {
  return isOurs ? `**${text}**` : text;
}

function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)];
}

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...lines.map(line)].join('\n');
}
