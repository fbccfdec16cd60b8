/**
 * Rows as a page and as pictures: the entry of this folder. It reads the page's style and script from beside its source, and must not
 * know where what it makes is written.
 */
import { readFile } from 'node:fs/promises';
import { PROJECT_ROOT } from '../children.js';
import type { Row } from '../measurement.js';
import { SUITE_NAMES } from '../targets.js';
import type { Figure } from './figure.js';
import { figuresOf } from './figures.js';
import { drawLines } from './lines.js';
import { composePage } from './page.js';
import { drawRanks } from './ranks.js';
import { standAlone, type Drawing } from './svg.js';

const FILE_WIDTH = 760;

export function draw(figure: Figure, width: number): Drawing {
  return figure.kind === 'lines' ? drawLines(figure, width) : drawRanks(figure, width);
}

/** Each figure of all suites as an SVG document of its own, that is light or dark as its reader is. */
export function drawFigures(
  rows: readonly Row[],
): readonly { readonly name: string; readonly svg: string }[] {
  return SUITE_NAMES.flatMap((suite) => figuresOf(suite, rows)).map((figure) => ({
    name: figure.name,
    svg: `${standAlone(draw(figure, FILE_WIDTH), figure.title, figure.subtitle)}\n`,
  }));
}

/** The page: one document that asks for nothing else. */
export async function drawPage(rows: readonly Row[]): Promise<string> {
  const [css, script] = await Promise.all(
    ['page.css', 'pointer.js'].map((name) => readFile(`${PROJECT_ROOT}bench/report/${name}`, 'utf8')),
  );
  return composePage(rows, draw, { css: css ?? '', script: script ?? '' });
}
