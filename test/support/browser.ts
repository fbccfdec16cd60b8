// A real browser for tests of web pages: Debian's Chromium without a window, driven over a pipe, which also ends it when
// the process that runs the tests dies. One browser serves a test file and is started by its first page; each test's
// pages have cookies and storage of their own and are closed after it. It knows nothing of what the pages show.
import { existsSync } from 'node:fs';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, afterEach } from 'vitest';

/** Where Debian's package `chromium`, which ci/setup.mjs installs, puts it. */
const CHROMIUM = '/usr/bin/chromium';

let started: Promise<Browser> | undefined;

function browser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`There is no ${CHROMIUM}. Install it: npm run setup`);
  started ??= chromium.launch({
    executablePath: CHROMIUM,
    // Chromium's sandbox refuses to be set up by root.
    chromiumSandbox: process.getuid?.() !== 0,
  });
  return started;
}

/** An empty page in a profile of its own. It is closed after the test; rejects when there is no browser to start. */
export async function openPage(): Promise<Page> {
  return (await browser()).newPage();
}

/** Closes all pages and the browser; settles when its process has ended. The next page starts another. */
export async function closeBrowser(): Promise<void> {
  const closing = started;
  started = undefined;
  await (await closing)?.close();
}

afterEach(async () => {
  const contexts = (await started)?.contexts() ?? [];
  await Promise.all(contexts.map((context) => context.close()));
});

afterAll(closeBrowser);
