/**
 * The files that the bench writes and reads: rows as JSON, the page with its figures, and tables in documents. It must not know how
 * anything in them is measured or drawn.
 */
import { access, constants, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Outputs } from './command-line.js';
import { BenchError, METRICS, type Row } from './measurement.js';
import { hasSection, replaceSections } from './markdown.js';
import { drawFigures, drawPage } from './report/report.js';

/** Rejects with a BenchError where something could not be written when everything has been measured. */
export async function checkOutputs({ jsonFile, reportFile, markdownFile }: Outputs): Promise<void> {
  for (const file of [jsonFile, reportFile]) {
    if (file === undefined) continue;
    try {
      await access(dirname(file), constants.W_OK);
    } catch (cause) {
      throw new BenchError('ERR_BENCH_USAGE', `There is no folder to write ${file} into. Make it first.`, {
        cause,
      });
    }
  }
  if (markdownFile === undefined) return;
  if (!hasSection(await read(markdownFile))) {
    throw new BenchError(
      'ERR_BENCH_USAGE',
      `${markdownFile} has no place for tables. Put <!-- bench NAME --> and <!-- end bench NAME --> where those of a suite belong.`,
    );
  }
}

export async function writeOutputs(
  rows: readonly Row[],
  { jsonFile, reportFile, markdownFile }: Outputs,
): Promise<void> {
  if (jsonFile !== undefined) await writeFile(jsonFile, `${JSON.stringify(rows, null, 2)}\n`);
  if (reportFile !== undefined) {
    await writeFile(reportFile, await drawPage(rows));
    const folder = figuresFolder(reportFile);
    await mkdir(folder, { recursive: true });
    for (const { name, svg } of drawFigures(rows)) await writeFile(join(folder, `${name}.svg`), svg);
  }
  if (markdownFile !== undefined) {
    const figures = reportFile && relative(dirname(markdownFile), figuresFolder(reportFile));
    await writeFile(markdownFile, replaceSections(await read(markdownFile), rows, figures));
  }
}

/** Beside the page. */
function figuresFolder(reportFile: string): string {
  return join(dirname(reportFile), 'figures');
}

/** Rows that `writeOutputs` wrote. Rejects with a BenchError for anything else. */
export async function readRows(files: readonly string[]): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const file of files) {
    const parsed = parse(await read(file));
    if (!Array.isArray(parsed) || !parsed.every(isRow)) {
      throw new BenchError(
        'ERR_BENCH_USAGE',
        `${file} holds no rows of this bench. Give it what --json wrote.`,
      );
    }
    rows.push(...parsed);
  }
  return rows;
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new BenchError('ERR_BENCH_USAGE', `${file} cannot be read; see the cause.`, { cause });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const KNOWN_METRICS: readonly string[] = [...METRICS, 'soak_transfer', 'soak_messages'];

/** Enough to tell a file of rows from another one; what the bench wrote itself is not doubted further. */
function isRow(value: unknown): value is Row {
  if (typeof value !== 'object' || value === null) return false;
  const { metric, median, environment } = value as Partial<Row>;
  return (
    metric !== undefined &&
    KNOWN_METRICS.includes(metric) &&
    typeof median === 'number' &&
    typeof environment === 'object'
  );
}
