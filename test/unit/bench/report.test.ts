// Proves that the page of a run holds its figures with their data, asks for nothing from outside, fits a phone and follows the reader's
// theme, as a real browser shows it; and that each figure is a document of its own.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Row } from '../../../bench/measurement.js';
import { drawFigures, drawPage } from '../../../bench/report/report.js';
import { spread } from '../../../bench/report/svg.js';
import { openPage } from '../../support/browser.js';
import { drawnRows } from './drawn.js';

const FIGURES = ['round-trip', 'latency', 'bandwidth', 'concurrency', 'cost', 'rate', 'connections'];
let rows: readonly Row[];

beforeAll(async () => {
  rows = [...(await drawnRows('tcp')), ...(await drawnRows('shm'))];
});

interface Shown {
  readonly page: Page;
  /** What the page complained about or asked for. */
  readonly complaints: readonly string[];
}

async function show(of: readonly Row[], width = 1280): Promise<Shown> {
  const folder = mkdtempSync(`${tmpdir()}/bench-page-`);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = `${folder}/page.html`;
  writeFileSync(file, await drawPage(of));
  const page = await openPage();
  const complaints: string[] = [];
  const own = pathToFileURL(file).href;
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', ({ message }) => complaints.push(message));
  page.on('request', (request) => {
    if (request.url() !== own && !request.url().startsWith('data:')) complaints.push(request.url());
  });
  await page.setViewportSize({ width, height: 900 });
  await page.goto(own);
  return { page, complaints };
}

test('every figure of every suite is there, with its data, and nothing goes wrong', async () => {
  const { page, complaints } = await show(rows);
  const wanted = ['tcp', 'shm'].flatMap((suite) => FIGURES.map((name) => `${suite}-${name}`));
  const ids = await page.locator('figure').evaluateAll((figures) => figures.map(({ id }) => id));
  expect(ids).toEqual(wanted);
  for (const id of ids) {
    const figure = page.locator(`#${id}`);
    expect(await figure.locator('svg:visible').count(), id).toBe(1);
    expect(await figure.locator('svg:visible .ours').count(), id).toBeGreaterThan(0);
    await figure.getByText('Data').click();
    await figure.locator('table:visible').waitFor();
    expect(await figure.locator('tbody tr').first().textContent()).not.toContain('NaN');
  }
  expect(complaints).toEqual([]);
});

test('no mark and no label lies outside its picture, nor on another label', async () => {
  for (const width of [1280, 375]) {
    const { page } = await show(rows, width);
    const problems = await page.locator('figure svg:visible').evaluateAll((pictures) =>
      pictures.flatMap((picture) => {
        const frame = picture.getBoundingClientRect();
        const texts = [...picture.querySelectorAll('text')].map((element) => ({
          words: element.textContent,
          box: element.getBoundingClientRect(),
        }));
        const outside = [...picture.querySelectorAll('text, circle')].filter((element) => {
          const box = element.getBoundingClientRect();
          return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
        });
        const overlaps = texts.flatMap(({ words, box }, index) =>
          texts
            .slice(index + 1)
            .filter(
              (other) =>
                Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left) > 2 &&
                Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top) > 5,
            )
            .map((other) => `${words} on ${other.words}`),
        );
        const name = picture.getAttribute('aria-label');
        return [...outside.map(({ textContent }) => `${textContent} outside`), ...overlaps].map(
          (problem) => `${name}: ${problem}`,
        );
      }),
    );
    expect(problems, `${width} pixels`).toEqual([]);
  }
});

test('fits a phone: nothing but tables has to be moved sideways', async () => {
  const { page } = await show(rows, 375);
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(375);
  await page.locator('details').evaluateAll((all) => {
    for (const each of all) each.setAttribute('open', '');
  });
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(375);
});

test('is dark where its reader is', async () => {
  const { page } = await show(rows);
  const colors = () =>
    page.evaluate<Record<string, string>>(`(() => {
      const { backgroundColor, color } = getComputedStyle(document.body);
      const line = getComputedStyle(document.querySelector('#tcp-latency .ours path')).stroke;
      return { backgroundColor, color, line };
    })()`);
  await page.emulateMedia({ colorScheme: 'light' });
  const light = await colors();
  await page.emulateMedia({ colorScheme: 'dark' });
  const dark = await colors();
  for (const name of Object.keys(light)) expect(dark[name], name).not.toBe(light[name]);
});

test('tells what lies under the pointer', async () => {
  const { page } = await show(rows);
  await page.locator('#tcp-latency svg:visible .hit').nth(2).hover();
  await page
    .locator('#tip:visible')
    .filter({ hasText: '64 KiB' })
    .filter({ hasText: 'splitplane' })
    .waitFor();
  await page.locator('h1').hover();
  await page.locator('#tip').waitFor({ state: 'hidden' });
});

test('what a file says is shown as text', async () => {
  const odd = rows.map((row) => ({ ...row, version: '<img src=x onerror=alert(1)>', commit: '<b>&"' }));
  const { page, complaints } = await show(odd);
  expect(await page.locator('img').count()).toBe(0);
  await page.getByText('<img src=x').first().waitFor();
  expect(complaints).toEqual([]);
});

describe('figures as files', () => {
  test('are documents of their own, light and dark, and well formed', async () => {
    const figures = drawFigures(rows);
    expect(figures.map(({ name }) => name)).toHaveLength(2 * FIGURES.length);
    const page = await openPage();
    for (const { name, svg } of figures) {
      const problems = await page.evaluate((text) => {
        const parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
        return parsed.querySelector('parsererror')?.textContent ?? '';
      }, svg);
      expect(problems, name).toBe('');
      expect(svg).toContain('prefers-color-scheme:dark');
      expect(svg).not.toMatch(/href=|url\(/);
    }
  });

  test('without us, or with nobody beside us, there is none', () => {
    expect(drawFigures(rows.filter(({ subject }) => subject !== 'splitplane'))).toEqual([]);
    const alone = drawFigures(rows.filter(({ subject }) => subject === 'splitplane'));
    expect(alone.map(({ name }) => name)).toEqual(['tcp-connections', 'shm-connections']);
  });
});

describe('labels', () => {
  test('stay where they want to be while there is room', () => {
    expect(spread([10, 50, 90], 14, 0, 100)).toEqual([10, 50, 90]);
  });

  test('make room for each other, keep their order, and stay inside', () => {
    for (const wanted of [
      [50, 50, 50],
      [0, 1, 2, 3],
      [100, 99, 98],
      [10, 12, 90, 91],
    ]) {
      const placed = spread(wanted, 14, 0, 100);
      const sorted = [...placed].sort((a, b) => a - b);
      sorted
        .slice(1)
        .forEach((at, index) => expect(at - (sorted[index] ?? 0)).toBeGreaterThanOrEqual(14 - 1e-9));
      expect(sorted[0]).toBeGreaterThanOrEqual(0);
      expect(sorted.at(-1)).toBeLessThanOrEqual(100);
      wanted.forEach((value, index) => {
        const above = wanted.filter((other) => other < value).length;
        expect(placed[index]).toBeGreaterThanOrEqual(sorted[above] ?? 0);
      });
    }
  });
});
