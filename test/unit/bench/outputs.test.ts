// Proves that tables go where a document has a place for them and nowhere else, that what is written can be read again, and that what
// cannot be written is refused before anything is measured.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, onTestFinished, test } from 'vitest';
import { formatSuite, replaceSections } from '../../../bench/markdown.js';
import { MIB } from '../../../bench/measurement.js';
import { checkOutputs, readRows, writeOutputs } from '../../../bench/outputs.js';
import { drawnRows } from './drawn.js';
import { row } from './rows.js';

const NOWHERE = { jsonFile: undefined, reportFile: undefined, markdownFile: undefined };
const USAGE = { code: 'ERR_BENCH_USAGE' };

function folder(): string {
  const path = mkdtempSync(`${tmpdir()}/bench-outputs-`);
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

test('tables replace what stands between the markers of their suite', async () => {
  const document = [
    ...['before', '<!-- bench tcp -->', 'old', '<!-- end bench tcp -->', 'between'],
    ...['<!-- bench shm -->', 'kept', '<!-- end bench shm -->', 'after'],
  ].join('\n');
  const rows = await drawnRows('tcp');
  const once = replaceSections(document, rows);
  expect(once).toMatch(/^before\n<!-- bench tcp -->\n\n[^]*\n\n<!-- end bench tcp -->\nbetween\n/);
  expect(once).toContain('<!-- bench shm -->\nkept\n<!-- end bench shm -->\nafter');
  expect(once).not.toContain('old');
  expect(once).toContain('| **splitplane** |');
  expect(replaceSections(once, rows)).toBe(once);
});

test('a table has ours first among its columns of figures, and says what was not measured', () => {
  const text = formatSuite('tcp', [
    row({ subject: 'splitplane', metric: 'pull', size: MIB, median: 6, cpuSecondsPerGB: 0.25 }),
    row({ subject: 'iperf3', metric: 'pull', size: MIB, median: 4 }),
    row({ subject: 'ucx', metric: 'pull', size: MIB, median: 5 }),
  ]);
  const cells = text.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  expect(cells).toContainEqual(['', 'GB/s (CPU seconds per GB)', 'pull 1 MiB', '']);
  expect(cells).toContainEqual(['', '**splitplane**', '6.00 (0.25)', '']);
  expect(cells).toContainEqual(['', 'iperf3', '4.00', '']);
  expect(cells).toContainEqual([
    ...[
      '',
      'pull 1 MiB, event',
      'at least 1 × the better of iperf3 and UCX',
      '6.00 : 5.00',
      '1.20',
      'reached',
      '',
    ],
  ]);
  expect(cells).toContainEqual([...['', 'push 1 MiB', 'at least 8 × grpc-js', '–', '–', 'not measured', '']]);
});

test('rows, page, figures and tables are written, and rows can be read again', async () => {
  const directory = folder();
  const rows = await drawnRows('tcp');
  const outputs = {
    jsonFile: `${directory}/rows.json`,
    reportFile: `${directory}/page.html`,
    markdownFile: `${directory}/page.md`,
  };
  writeFileSync(outputs.markdownFile, '<!-- bench tcp --><!-- end bench tcp -->\n');
  await checkOutputs(outputs);
  await writeOutputs(rows, outputs);
  expect(await readRows([outputs.jsonFile])).toEqual(rows);
  expect(await readRows([outputs.jsonFile, outputs.jsonFile])).toHaveLength(2 * rows.length);
  expect(readFileSync(outputs.reportFile, 'utf8')).toContain('<!doctype html>');
  expect(readFileSync(outputs.markdownFile, 'utf8')).toContain(
    '\n![TCP: latency against size](figures/tcp-latency.svg)\n',
  );
  expect(readdirSync(`${directory}/figures`)).toContain('tcp-latency.svg');
});

test('what cannot be written or read is refused with a sentence', async () => {
  const directory = folder();
  const usage = (work: Promise<unknown>, words: RegExp) =>
    expect(work).rejects.toMatchObject({ ...USAGE, message: expect.stringMatching(words) as string });
  await usage(checkOutputs({ ...NOWHERE, jsonFile: `${directory}/none/rows.json` }), /no folder/);
  await usage(checkOutputs({ ...NOWHERE, markdownFile: `${directory}/none.md` }), /cannot be read/);
  writeFileSync(`${directory}/plain.md`, 'nothing here');
  await usage(checkOutputs({ ...NOWHERE, markdownFile: `${directory}/plain.md` }), /no place for tables/);
  for (const [index, text] of [
    '',
    '{}',
    '[1]',
    '[{"metric":"pull"}]',
    '[{"metric":"no","median":1}]',
  ].entries()) {
    const file = `${directory}/${index}.json`;
    writeFileSync(file, text);
    await usage(readRows([file]), /holds no rows/);
  }
  mkdirSync(`${directory}/folder`);
  await usage(readRows([`${directory}/folder`]), /cannot be read/);
});
