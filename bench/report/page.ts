/**
 * The page: for each suite what was demanded, its figures with their data behind them, and all rows; then where it was measured. One
 * HTML document without anything from outside. It must not know how figures are drawn.
 */
import { demandOf, judge, type Verdict } from '../judge.js';
import { unitOf, type Environment, type Row } from '../measurement.js';
import { formatFigure } from '../table.js';
import { SUITE_NAMES, TARGETS, type SuiteName } from '../targets.js';
import {
  describeCase,
  describeDemand,
  describeJudged,
  describeSubject,
  SUBJECT_LABELS,
  SUITE_LABELS,
} from '../words.js';
import type { Figure } from './figure.js';
import { figuresOf } from './figures.js';
import { paletteCss } from './palette.js';
import { embed, escape, FIGURE_CSS, tag, type Drawing } from './svg.js';

/** Drawn twice, since letters are not to shrink with the picture: for a phone, and for anything wider. */
const WIDTHS = { narrow: 338, wide: 620 } as const;

/** Nothing may be fetched, and no script runs but the page's own. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

type Draw = (figure: Figure, width: number) => Drawing;

export function composePage(
  rows: readonly Row[],
  draw: Draw,
  { css, script }: { readonly css: string; readonly script: string },
): string {
  const suites = SUITE_NAMES.filter((name) => rows.some((row) => row.suite === name));
  const sections = suites.map((name) => suiteSection(name, rows, draw));
  const links = suites.map((name) => tag('a', { href: `#${name}` }, SUITE_LABELS[name]));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${escape(POLICY)}">
<link rel="icon" href="data:,">
<title>splitplane beside its peers</title>
<style>${paletteCss()}${FIGURE_CSS}
${css}</style>
</head>
<body>
<header>
<h1>splitplane beside its peers</h1>
<p class="lead">${escape(originOf(rows))}</p>
<nav>${links.join('')}</nav>
</header>
<main>
${sections.join('\n')}
${howSection(rows)}
</main>
<div id="tip" hidden></div>
<script>${script}</script>
</body>
</html>
`;
}

function originOf(rows: readonly Row[]): string {
  const [row] = rows;
  if (row === undefined) return 'Nothing was measured.';
  const { cpuModel, cores, kernel, node, date } = row.environment;
  return `${cores} cores of ${cpuModel}, ${kernel}, Node.js ${node}, ${date.slice(0, 10)}, commit ${shortCommit(row)}.`;
}

function shortCommit({ commit }: Row): string {
  return commit === null ? 'unknown' : commit.replace(/^([0-9a-f]{10})[0-9a-f]*/, '$1');
}

function suiteSection(name: SuiteName, all: readonly Row[], draw: Draw): string {
  const rows = all.filter((row) => row.suite === name);
  const verdicts = judge(TARGETS[name], rows);
  const figures = figuresOf(name, all).map((figure) => figureCard(figure, draw));
  return tag(
    'section',
    { id: name },
    `<h2>${escape(SUITE_LABELS[name])}</h2>` +
      (verdicts.length === 0 ? '' : verdictPart(verdicts)) +
      (figures.length === 0 ? '' : `<div class="figures">${figures.join('')}</div>`) +
      details(`All ${rows.length} rows`, rowsTable(rows), figures.length === 0),
  );
}

function figureCard(figure: Figure, draw: Draw): string {
  const pictures = (['narrow', 'wide'] as const).map((size) =>
    embed(draw(figure, WIDTHS[size]), figure.title, size),
  );
  return tag(
    'figure',
    { id: figure.name },
    `<figcaption><h3>${escape(figure.title)}</h3><p>${escape(figure.subtitle)}</p></figcaption>` +
      pictures.join('') +
      details('Data', dataTable(figure), false),
  );
}

function details(summary: string, content: string, open: boolean): string {
  return `<details${open ? ' open' : ''}><summary>${escape(summary)}</summary><div class="scroll">${content}</div></details>`;
}

function dataTable(figure: Figure): string {
  if (figure.kind !== 'lines') {
    return table(
      ['', figure.value.label, 'p99', 'p99.9'],
      figure.entries.map(({ label, value, tail }) => [
        label,
        ...[value, tail[0], tail[1]].map((each) => (each === undefined ? '–' : figure.value.format(each))),
      ]),
    );
  }
  const { x, y, series } = figure;
  return table(
    ['', ...x.ticks.map(x.format)],
    series.map(({ label, points }) => [
      label,
      ...x.ticks.map((tick) => {
        const point = points.find((each) => each.x === tick);
        return point === undefined ? '–' : y.format(point.y);
      }),
    ]),
  );
}

function verdictPart(verdicts: readonly Verdict[]): string {
  const count = (reached: boolean | null) => verdicts.filter((verdict) => verdict.reached === reached).length;
  const lines = verdicts.map(({ target, row, achieved, own, peer, reached }) => {
    const mode = row?.mode ?? target.own.mode;
    const what = describeJudged(target.own, mode);
    const state = reached === null ? 'none' : reached ? 'good' : 'bad';
    return `<tr><td>${escape(what)}<small>${escape(FIGURE_WORDS[target.figure])} ${escape(describeDemand(demandOf(target)))}</small></td>
<td class="number">${format(achieved)}</td><td class="number soft">${own === null || peer === null ? '' : `${format(own)} : ${format(peer)}`}</td>
<td><span class="state ${state}">${STATE_WORDS[state]}</span></td></tr>`;
  });
  const missing = count(null);
  return (
    `<p class="score"><strong>${count(true)}</strong> of ${verdicts.length} demands reached` +
    `${missing === 0 ? '' : `, ${missing} not measured`}</p>` +
    details(
      'What was demanded',
      `<table class="verdicts"><thead><tr><th>Demand</th><th class="number">Achieved</th><th class="number">Ours : peer</th><th></th></tr></thead><tbody>${lines.join('')}</tbody></table>`,
      false,
    )
  );
}

const STATE_WORDS = { good: 'reached', bad: 'not reached', none: 'not measured' } as const;
const FIGURE_WORDS = {
  median: '',
  cpuSecondsPerGB: 'CPU seconds per GB',
  copiesPerByte: 'copies per byte',
  eventLoopDelayP99Ms: 'p99 delay of the event loop, ms,',
} as const;

function format(value: number | null): string {
  if (value === null) return '–';
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : 2);
}

function rowsTable(rows: readonly Row[]): string {
  const head = [
    '',
    'subject',
    'unit',
    'median',
    'p99',
    'p99.9',
    'CPU s/GB',
    'copies/byte',
    'loop p99 ms',
    'RSS MiB',
  ];
  const lines = rows.map((row) => [
    describeCase(row),
    describeSubject(row, rows),
    unitOf(row.metric),
    formatFigure(row.median, row.unit),
    formatFigure(row.p99, row.unit),
    row.p999 === undefined ? '–' : formatFigure(row.p999, row.unit),
    optional(row.cpuSecondsPerGB, 3),
    optional(row.copiesPerByte, 2),
    optional(row.eventLoopDelayP99Ms, 2),
    optional(row.residentMiB, 0),
  ]);
  return table(head, lines, 3);
}

function optional(value: number | null, digits: number): string {
  return value === null ? '–' : value.toFixed(digits);
}

/** The first `names` columns hold words. */
function table(head: readonly string[], lines: readonly (readonly string[])[], names = 1): string {
  const cells = (tagName: 'td' | 'th', line: readonly string[]) =>
    line
      .map((cell, index) => tag(tagName, { class: index < names ? undefined : 'number' }, escape(cell)))
      .join('');
  return `<table><thead><tr>${cells('th', head)}</tr></thead><tbody>${lines
    .map((line) => `<tr>${cells('td', line)}</tr>`)
    .join('')}</tbody></table>`;
}

function howSection(rows: readonly Row[]): string {
  const versions = new Map(
    rows.flatMap((row) =>
      row.version === undefined ? [] : [[SUBJECT_LABELS[row.subject], row.version] as const],
    ),
  );
  const environments = new Map(rows.map((row) => [row.suite, row]));
  return `<section id="how"><h2>How it was measured</h2>
<p>Each subject runs in two processes on separate halves of the cores, in interleaved rounds: everything of one figure back to back, each
round beginning with another subject. Medians of one run can be compared with each other; those of different runs cannot. A GB is 10⁹
bytes. Processor time is that of both processes; resident memory is the highest of the larger one.</p>
<div class="scroll">${table(
    ['Suite', 'Machine', 'Memory', 'Kernel', 'Node.js', 'Load', 'When', 'Commit', 'Rounds'],
    [...environments].map(([suite, row]) => environmentLine(suite, row)),
    9,
  )}</div>
<p class="versions">${[...versions].map(([name, version]) => `<span>${escape(name)} <b>${escape(version)}</b></span>`).join('')}</p>
</section>`;
}

function environmentLine(suite: string, row: Row): readonly string[] {
  const { cpuModel, cores, memoryBytes, kernel, node, loadAverage1Min, date }: Environment = row.environment;
  return [
    suite,
    `${cores} × ${cpuModel}`,
    `${(memoryBytes / 2 ** 30).toFixed(1)} GiB`,
    kernel,
    node,
    loadAverage1Min.toFixed(2),
    date.slice(0, 16).replace('T', ' '),
    shortCommit(row),
    String(row.rounds),
  ];
}
