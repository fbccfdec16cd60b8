// The browser that tests of web pages use: it runs what a server on this host serves, keeps tests apart, and goes.
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { closeBrowser, openPage } from '../support/browser.js';

const PAGE = `<!doctype html>
<title>counter</title>
<button>count</button> <output>0</output>
<script type="module">
  const output = document.querySelector('output');
  document.querySelector('button').addEventListener('click', async () => {
    const answer = await fetch('/count', { method: 'POST' });
    output.textContent = await answer.text();
    localStorage.setItem('counted', output.textContent);
  });
</script>`;

let server: Server;
let origin: string;

beforeEach(async () => {
  let count = 0;
  server = createServer((request, response) => {
    const counts = request.method === 'POST' && request.url === '/count';
    response.setHeader('content-type', counts ? 'text/plain' : 'text/html');
    response.end(counts ? String(++count) : PAGE);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

/** The command lines of the processes that this one started and that have not ended. */
function children(): string[] {
  return readdirSync('/proc/self/task')
    .flatMap((thread) => readFileSync(`/proc/self/task/${thread}/children`, 'utf8').trim().split(' '))
    .filter((pid) => pid !== '')
    .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
}

test('a page runs its script, which a click and the server answer', async () => {
  const page = await openPage();
  await page.goto(origin);
  expect(await page.title()).toBe('counter');
  await page.getByRole('button', { name: 'count' }).click();
  await page.getByRole('status').filter({ hasText: '1' }).waitFor();
  await page.getByRole('button').click();
  await page.getByRole('status').filter({ hasText: '2' }).waitFor();
});

test('one page does not see what another stored', async () => {
  const stored = "localStorage.getItem('counted')";
  const first = await openPage();
  await first.goto(origin);
  await first.getByRole('button').click();
  await first.getByRole('status').filter({ hasText: '1' }).waitFor();
  expect(await first.evaluate(stored)).toBe('1');
  const second = await openPage();
  await second.goto(origin);
  expect(await second.evaluate(stored)).toBeNull();
});

test('a closed browser leaves no process, and the next page starts another', async () => {
  const page = await openPage();
  expect(children().filter((command) => command.includes('chromium'))).toHaveLength(1);
  await closeBrowser();
  expect(page.isClosed()).toBe(true);
  expect(children().filter((command) => command.includes('chromium'))).toEqual([]);
  expect((await openPage()).isClosed()).toBe(false);
});
