// What the commands write: lines for people on standard output, JSON lines for programs, problems and progress on standard
// error. Knows nothing of what is written.
import { once } from 'node:events';
import { SingleBar } from 'cli-progress';
import { systemFailure } from '../runtime/failure.js';
import { printableLine } from '../runtime/printable.js';
import { describe, EXIT, type Problem } from './failure.js';

/** How often a progress bar is drawn anew. */
const PROGRESS_EVERY_MS = 100;

/** What terminals obey, of what neither JSON nor XML keeps out; all of it in one UTF-16 unit. */
export const COMMANDS = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

const reader = new AbortController();
/** Aborts when nobody reads standard output any more (`| head`). */
export const readerGone: AbortSignal = reader.signal;

/**
 * Has what cannot be written be no reason to break off what is under way: that a reader is gone is told to who listens to
 * `readerGone`; anything else is told once, and makes the exit code one of failure.
 */
export function guardOutput(json: boolean): void {
  let told = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') {
      reader.abort();
      return;
    }
    if (told) return;
    told = true;
    complain(systemFailure(error, 'standard output'), json);
    process.on('exit', () => {
      if (process.exitCode === undefined || process.exitCode === EXIT.ok) process.exitCode = EXIT.failed;
    });
  });
  // Where problems are told nobody listens, or nothing can be written: there is nowhere to tell it.
  process.stderr.on('error', () => undefined);
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function printJson(value: unknown): void {
  print(jsonLine(value));
}

/** Settles when as much was read of standard output as is to wait here, or `signal` aborts: let it be one that ends with the reader. */
export async function drained(signal: AbortSignal): Promise<void> {
  if (!process.stdout.writableNeedDrain) return;
  await once(process.stdout, 'drain', { signal }).catch(() => undefined);
}

/** JSON whose text commands no terminal: what JSON leaves as it is and a terminal obeys, C1 and what turns the writing, is escaped. */
function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(
    COMMANDS,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Tells of a failure: a sentence, or with `json` one line with the property `error`. Answers what it told. */
export function complain(error: unknown, json: boolean): Problem {
  const problem = describe(error);
  const { code, message, faultCode, subcode } = problem;
  const fault = faultCode === undefined ? '' : `${[...new Set([faultCode, subcode])].join(', ')}: `;
  const line = json
    ? jsonLine({ error: problem })
    : printableLine(`splitplane: ${fault}${message} [${code}]`);
  process.stderr.write(`${line}\n`);
  return problem;
}

/** Something that people should know and programs need not. What is unfit to be shown, names of files say, is replaced. */
export function note(line: string): void {
  process.stderr.write(`splitplane: ${printableLine(line)}\n`);
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return unit === 0 ? `${bytes} B` : `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Sizes of buffers, which are powers of two. */
export function formatSize(bytes: number): string {
  if (bytes >= 1 << 20 && bytes % (1 << 20) === 0) return `${bytes / (1 << 20)} MiB`;
  if (bytes >= 1 << 10 && bytes % (1 << 10) === 0) return `${bytes / (1 << 10)} KiB`;
  return `${bytes} B`;
}

/** Rows under their headings: the first `leftCount` columns to the left, the others to the right. */
export function printTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  leftCount = 1,
): void {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const row of all) {
    const cells = row.map((cell, column) =>
      column < leftCount ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    print(cells.join('  ').trimEnd());
  }
}

/** A bar on standard error that shows `moved()` of `total` bytes; answers how to take it away. Only on a terminal. */
export function showProgress(total: number, moved: () => number): () => void {
  if (!process.stderr.isTTY || total === 0) return () => undefined;
  const bar = new SingleBar({
    format: '{bar} {percentage}% | {moved} of {size} | {rate}/s | {eta_formatted} left',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  });
  const begin = performance.now();
  const size = formatBytes(total);
  const facts = () => {
    const bytes = Math.min(moved(), total);
    const rate = formatBytes(Math.round((bytes * 1000) / Math.max(1, performance.now() - begin)));
    return { bytes, payload: { moved: formatBytes(bytes), size, rate } };
  };
  bar.start(total, 0, facts().payload);
  const timer = setInterval(() => {
    const { bytes, payload } = facts();
    bar.update(bytes, payload);
  }, PROGRESS_EVERY_MS);
  return () => {
    clearInterval(timer);
    bar.stop();
  };
}
