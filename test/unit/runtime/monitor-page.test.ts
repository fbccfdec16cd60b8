// The monitor's page in a real browser, on a real monitor: what it shows and keeps showing, what hostile names can do to it
// (nothing), what the keyboard reaches, and what it says when the runtime does not answer.
/// <reference lib="dom" />
import type { Locator, Page } from 'playwright-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Monitor } from '../../../lib/runtime/monitor/monitor.js';
import type { RuntimeSnapshot } from '../../../lib/runtime/snapshot.js';
import { openPage } from '../../support/browser.js';
import { until } from '../../support/events.js';
import { ask } from '../../support/monitor-client.js';
import { Proxy } from '../../support/proxy.js';
import { connection, manyServices, PREFIX, service, snapshot } from '../../support/snapshots.js';

let now: RuntimeSnapshot;
const monitors: Monitor[] = [];
/** What the browser complains about: errors of the script, refused resources, violations of the policy. */
let complaints: string[] = [];

beforeEach(() => {
  now = snapshot();
  complaints = [];
});

afterEach(async () => {
  await Promise.all(monitors.splice(0).map((monitor) => monitor.close()));
});

async function monitor(
  listen = 'http://127.0.0.1:0',
  limits: { intervalMs?: number; viewersMax?: number } = {},
) {
  const opened = await Monitor.open(listen, () => now, { limits: { intervalMs: 20, ...limits } });
  monitors.push(opened);
  return opened;
}

async function look(url: string): Promise<Page> {
  const page = await openPage();
  // A window without a pointer over the table: the order of rows is not held.
  await page.setViewportSize({ width: 1600, height: 1000 });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('dialog', (dialog) => complaints.push(`a dialog: ${dialog.message()}`));
  await page.goto(url);
  return page;
}

const rows = (page: Page, section = 'services'): Locator =>
  page.locator(`#${section} tbody tr:not(.details)`);
const row = (page: Page, name: string): Locator => rows(page).filter({ hasText: name });
const shows = async (where: Locator, text: string | RegExp): Promise<void> => {
  await where.filter({ hasText: text }).first().waitFor();
};

describe('what it shows', () => {
  test('services with their state in words, their queues, connections and memory', async () => {
    now = snapshot({
      services: [
        service('camera', { host: 'thread', port: { depth: 512, running: 1 }, subscribers: 3 }),
        service('analysis', { state: 'failed', problem: 'It has no default export.' }),
        service('recorder', {
          port: { depth: 1024, refused: 7 },
          partners: { store: 'dos://10.0.0.2:7350/files' },
        }),
      ],
      connections: [connection(1, { peer: 'recorder-host', transport: 'rdma', state: 'interrupted' })],
    });
    const page = await look((await monitor()).url);
    await shows(page.getByRole('heading', { level: 1 }), 'camera-host');
    await shows(page.locator('#link'), 'Live');
    // What needs a look comes first, and is told by words.
    expect(await rows(page).locator('.name').allTextContents()).toEqual(['analysis', 'recorder', 'camera']);
    await shows(row(page, 'analysis'), /failed.*It has no default export\./);
    await shows(row(page, 'recorder'), /running.*queue is full.*1,024 of 1,024, full/);
    await shows(row(page, 'camera'), /running.*thread.*512 of 1,024/);
    const filled = await row(page, 'camera')
      .locator('.bar')
      .evaluate((bar) => {
        const inside = bar.firstElementChild?.getBoundingClientRect().width ?? 0;
        return inside / bar.getBoundingClientRect().width;
      });
    expect(filled).toBeCloseTo(0.5, 1);
    await shows(rows(page, 'connections'), /interrupted.*recorder-host.*anonymous.*rdma.*fastinfoset/);
    await shows(page.locator('[data-tile=services]'), /3.*1 failed.*1 with a problem.*1 running/);
    await shows(page.locator('[data-tile=memory]'), /1 MiB.*3 buffers.*2 MiB/);
    await until(async () => (await page.title()) === '2 problems – camera-host');
    expect(complaints).toEqual([]);
  });

  test('what changes, as it changes, and how fast', async () => {
    now = snapshot({ services: [service('camera'), service('analysis')] });
    const page = await look((await monitor()).url);
    await shows(page.locator('#link'), 'Live');
    expect(await page.locator('.spark .line[points*=",0.0"]').count()).toBe(0);
    now = snapshot({
      uptimeMs: 62_000,
      services: [service('camera', { port: { delivered: 2_468 } }), service('recorder')],
      messages: { local: 2_468, out: 0, in: 0, faults: 0 },
    });
    await shows(rows(page), 'recorder');
    expect(await row(page, 'analysis').count()).toBe(0);
    await shows(page.locator('[data-tile=messages-inside]'), '2,468 in all');
    // It grew by 2,468 in the two seconds that the runtime says have passed; the graph keeps it.
    const peak = row(page, 'camera').locator('.spark .line[points*=",0.0"]');
    await peak.waitFor({ state: 'attached' });
    expect(complaints).toEqual([]);
  });

  test('a runtime without a network and without services', async () => {
    const { nodeId, memory, ...rest } = snapshot({ prefix: 'dos:///' });
    expect([nodeId, memory]).not.toContain(undefined);
    now = rest;
    const page = await look((await monitor()).url);
    await shows(page.locator('#services'), 'No service runs here.');
    await shows(page.locator('#connections'), 'No other runtime is connected.');
    await shows(page.locator('[data-tile=memory]'), 'none');
    expect(await page.locator('#services table').isVisible()).toBe(false);
    expect(complaints).toEqual([]);
  });

  test('the details of a row for as long as they are wanted', async () => {
    now = snapshot({ services: [service('camera', { partners: { store: 'dos://10.0.0.2:7350/files' } })] });
    const page = await look((await monitor()).url);
    const opener = page.getByRole('button', { name: 'camera' });
    await opener.click();
    await shows(page.locator('.details'), /URI.*\/camera.*Partner store.*dos:\/\/10\.0\.0\.2:7350\/files/);
    now = snapshot({ services: [service('camera', { port: { delivered: 41 } })] });
    await shows(page.locator('.details'), /Messages delivered\s*41/);
    expect(await opener.getAttribute('aria-expanded')).toBe('true');
    await opener.click();
    expect(await page.locator('.details').count()).toBe(0);
  });
});

describe('ten thousand services', () => {
  beforeEach(() => {
    const services = manyServices(10_000);
    services[7_654] = service('service-7654', { port: { depth: 99 } });
    now = snapshot({ services });
  });

  test('are shown a page at a time, and found by a word', async () => {
    const page = await look((await monitor()).url);
    await shows(page.locator('#services .pager'), '1–50 of 10,000');
    expect(await rows(page).count()).toBe(50);
    await page.locator('#services').getByRole('button', { name: 'Last' }).click();
    await shows(page.locator('#services .pager'), '9,951–10,000 of 10,000');
    await shows(rows(page), 'service-9999');
    await page.getByRole('searchbox', { name: /Filter services/ }).fill('SERVICE-765');
    await shows(page.locator('#services .found'), '11 of 10,000 services');
    expect(await rows(page).count()).toBe(11);
    await page.getByRole('searchbox', { name: /Filter services/ }).fill('no such');
    await shows(page.locator('#services'), 'Nothing matches.');
  });

  test('are sorted by what is asked for, the largest first', async () => {
    const page = await look((await monitor()).url);
    const heading = page.getByRole('columnheader', { name: 'Queue' });
    await heading.getByRole('button').click();
    await shows(rows(page).first(), 'service-7654');
    expect(await heading.getAttribute('aria-sort')).toBe('descending');
    await heading.getByRole('button').click();
    expect(await heading.getAttribute('aria-sort')).toBe('ascending');
    await shows(rows(page).first(), 'service-0');
  });
});

describe('where it is looked at', () => {
  for (const width of [360, 768, 1600]) {
    test(`nothing sticks out of a window of ${width} pixels, whatever the names`, async () => {
      const long = 'x'.repeat(300);
      now = snapshot({
        name: long,
        services: [
          service(long, {
            state: 'failed',
            problem: long,
            contract: long,
            port: { depth: 1e9, depthMax: 1e9 },
          }),
          ...manyServices(60),
        ],
        connections: [connection(1, { peer: long, principal: long, transport: long, state: 'interrupted' })],
        messages: { local: 1e15, out: 1e15, in: 1e15, faults: 1e15 },
      });
      for (const colorScheme of ['light', 'dark'] as const) {
        const page = await look((await monitor()).url);
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 800 });
        await page.locator('.opener').first().click();
        const sticksOut = await page.evaluate(() => {
          const limit = document.documentElement.clientWidth;
          return [...document.querySelectorAll('body *:not(.skip)')]
            .filter((element) => element.getBoundingClientRect().right > limit + 0.5)
            .map((element) => `${element.tagName}.${element.getAttribute('class') ?? ''}`);
        });
        expect(sticksOut).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
      }
    });
  }

  test('by keyboard alone: to a filter, a heading and a row, which stay where they are while it is used', async () => {
    now = snapshot({ services: [service('a'), service('b'), service('c')] });
    const page = await look((await monitor()).url);
    await shows(rows(page), 'c');
    const focused = (): Promise<string> =>
      page.evaluate(
        () => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? '',
      );
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Skip to the services');
    await page.keyboard.press('Enter');
    const reached: string[] = [];
    for (let i = 0; i < 14; i++) {
      await page.keyboard.press('Tab');
      reached.push(await focused());
    }
    expect(reached.slice(0, 4)).toEqual([
      'Filter services: words that all must be there',
      '',
      'State',
      'Service',
    ]);
    expect(reached.at(-1)).toContain('c');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await shows(page.locator('.details'), `${PREFIX}b`);
    // a and c are in trouble now and would go before b; the row under the fingers stays.
    const failed = { state: 'failed', problem: 'It threw.' } as const;
    now = snapshot({ services: [service('b'), service('c', failed), service('a', failed)] });
    await shows(row(page, 'It threw.').nth(1), 'c');
    expect(await focused()).toContain('b');
    expect(await rows(page).locator('.name').allTextContents()).toEqual(['a', 'b', 'c']);
    await page.getByRole('searchbox', { name: /Filter services/ }).focus();
    await until(async () => (await rows(page).locator('.name').allTextContents()).join() === 'a,c,b');
  });
});

describe('hostile texts', () => {
  test('are shown as they are, and do nothing', async () => {
    const evil = [
      `<img src=x onerror="alert(1)">`,
      `<script>alert(1)</script>`,
      `"><svg onload=alert(1)>`,
      `'-alert(1)-'`,
      '\u202Egnp.exe',
      'data: {}\n\nevent: end\ndata: {}\n\n',
      '__proto__',
      '</style></script>{{7*7}}${alert(1)}',
    ];
    now = snapshot({
      name: evil[1] ?? '',
      services: evil.map((text) =>
        service(text, {
          contract: text,
          problem: text,
          state: 'failed',
          partners: JSON.parse(`{${JSON.stringify(text)}:"javascript:alert(1)"}`) as Record<string, string>,
        }),
      ),
      connections: evil.map((text, index) =>
        connection(index, { peer: text, principal: text, transport: text }),
      ),
    });
    const page = await look((await monitor()).url);
    await shows(page.locator('#services .found'), `${evil.length} services`);
    for (const opener of await page.locator('.opener').all()) await opener.click();
    const names = await rows(page).locator('.name').allTextContents();
    expect(new Set(names)).toEqual(new Set(evil));
    expect(await rows(page, 'connections').locator('.name').count()).toBeGreaterThan(0);
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe(evil[1]);
    const inside = await page.evaluate(() => ({
      foreign: document.querySelectorAll('main img, main script, main svg:not(.spark), main [onload]').length,
      links: [...document.querySelectorAll('main a')].map((a) => a.getAttribute('href')),
      isolated: [...document.querySelectorAll('.name')].every(
        (e) => getComputedStyle(e).unicodeBidi === 'isolate',
      ),
    }));
    expect(inside).toEqual({ foreign: 0, links: ['#services', '#connections'], isolated: true });
    expect(complaints).toEqual([]);
  });

  test('could not become markup or be sent elsewhere even by a mistake of the page', async () => {
    const page = await look((await monitor()).url);
    await shows(page.locator('#link'), 'Live');
    const attempt = await page.evaluate(async () => {
      const markup = ((): string => {
        try {
          document.body.innerHTML = '<b>x</b>';
          return 'done';
        } catch (error) {
          return (error as Error).name;
        }
      })();
      const elsewhere = await fetch('http://127.0.0.1:9/', { mode: 'no-cors' }).then(
        () => 'done',
        () => 'refused',
      );
      const image = document.createElement('img');
      image.src = 'http://127.0.0.1:9/x.png';
      const picture = new Promise<string>((resolve) => {
        document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
          if (effectiveDirective === 'img-src') resolve('refused');
        });
      });
      return { markup, elsewhere, picture: await picture };
    });
    expect(attempt).toEqual({ markup: 'TypeError', elsewhere: 'refused', picture: 'refused' });
  });
});

describe('when the runtime does not answer', () => {
  test('it says so, and comes back by itself', async () => {
    now = snapshot({ services: [service('before')] });
    const first = await monitor();
    const page = await look(first.url);
    await shows(rows(page), 'before');
    await first.close();
    await shows(page.locator('#link'), 'Connection lost');
    await shows(page.getByRole('alert'), /is lost.*What you see is from/);
    await until(async () => (await page.title()) === 'connection lost – camera-host');
    expect(await row(page, 'before').isVisible()).toBe(true);
    now = snapshot({ nodeId: 'ff', uptimeMs: 10, services: [service('after')] });
    await monitor(first.url);
    await shows(rows(page), 'after');
    await shows(page.locator('#link'), 'Live');
    expect(await page.getByRole('alert').isVisible()).toBe(false);
    expect(await row(page, 'before').count()).toBe(0);
  });

  test('it tries at once when it is told to', async () => {
    const first = await monitor();
    const page = await openPage();
    await page.clock.install();
    await page.goto(first.url);
    await shows(page.locator('#link'), 'Live');
    await first.close();
    await shows(page.locator('#link'), 'Connection lost');
    // Time stands still for the page: what follows is the button's doing.
    await page.clock.pauseAt(new Date(Date.now() + 3_600_000));
    await shows(page.locator('#link'), 'Connection lost');
    await monitor(first.url);
    await page.getByRole('button', { name: 'Try now' }).click();
    await shows(page.locator('#link'), 'Live');
  });

  test('it notices silence on a connection that stands', async () => {
    const { port } = new URL((await monitor()).url);
    // Through a tunnel: the page is asked for at another port than the monitor's.
    const tunnel = await Proxy.before(`tcp://127.0.0.1:${port}`);
    const page = await openPage();
    await page.clock.install();
    await page.goto(tunnel.address.replace('tcp:', 'http:'));
    await shows(page.locator('#link'), 'Live');
    tunnel.stalled = true;
    await until(async () => {
      await page.clock.runFor(2_000);
      return (await page.locator('#link').textContent()) === 'No answer';
    });
    await shows(page.getByRole('alert'), 'The runtime says nothing.');
    tunnel.stalled = false;
    await shows(page.locator('#link'), 'Live');
  });

  test('it shows why the runtime cannot say how it is', async () => {
    let broken = true;
    const opened = await Monitor.open(
      'http://127.0.0.1:0',
      () => {
        if (broken) throw new Error('It is being closed.');
        return now;
      },
      { limits: { intervalMs: 20 } },
    );
    monitors.push(opened);
    const page = await look(opened.url);
    await shows(page.getByRole('alert'), 'It is being closed.');
    broken = false;
    await shows(page.locator('#link'), 'Live');
  });

  test('it waits for a place where too many look, and takes it', async () => {
    const { url } = await monitor(undefined, { viewersMax: 1 });
    const page = await look(url);
    await shows(page.locator('#link'), 'Live');
    const second = await look(url);
    await shows(second.getByRole('alert'), 'As many look at this page as the runtime allows.');
    await page.close();
    await shows(second.locator('#link'), 'Live');
  });

  test('a page that nobody sees takes no place', async () => {
    const { url } = await monitor(undefined, { viewersMax: 1 });
    const page = await look(url);
    await shows(page.locator('#link'), 'Live');
    // Chromium without a window hides nothing by itself; the page is told what a window would tell it.
    const hide = (hidden: boolean): Promise<void> =>
      page.evaluate((value) => {
        Object.defineProperty(document, 'hidden', { configurable: true, value });
        document.dispatchEvent(new Event('visibilitychange'));
      }, hidden);
    const taken = async (): Promise<boolean> =>
      (await ask(new URL('events', url), 'HEAD')).statusCode === 503;
    expect(await taken()).toBe(true);
    await hide(true);
    await until(async () => !(await taken()));
    await hide(false);
    await until(taken);
    await shows(page.locator('#link'), 'Live');
  });
});
