// Proves the console: what the runtime and services write is there in order, filtered and paged, told to subscribers, forgotten
// when it is too much, and harmless to a terminal; the same from this runtime and from another.
import { describe, expect, test } from 'vitest';
import { LINE_LENGTH_MAX, LINES_MAX } from '../../../../lib/runtime/journal.js';
import { Console, type Runtime } from '../../../../lib/runtime/index.js';
import { contract } from '../../../../lib/runtime/contract.js';
import { Service } from '../../../../lib/runtime/service.js';
import { CONSOLE_LINES_MAX } from '../../../../lib/runtime/services/console.js';
import { PAGE_BYTES_MAX } from '../../../../lib/runtime/services/page.js';
import { until } from '../../../support/events.js';
import { PLACES, logOf, startRuntime, subcode } from '../../../support/runtimes.js';

const Silent = contract('urn:splitplane:test:silent:1', {});

class Talkative extends Service<typeof Silent> {
  readonly contract = Silent;
  readonly handlers = {};
  override start(): void {
    this.log('I am here.');
  }
}

const consoleOf = (home: Runtime, from = home) => from.proxy(Console, `${home.prefix}console`);

describe.each(PLACES)('asked from the $name', (place) => {
  test('what a service logs and what others write stands in order, with who wrote it', async () => {
    const { home, away } = await place.start();
    await home.add(new Talkative(), { name: 'talkative' });
    const proxy = consoleOf(home, away);
    await proxy.write({ level: 'warning', lines: ['one', 'two'] });
    const { lines } = await proxy.query();
    expect(lines.map(({ source, text }) => [source, text])).toEqual([
      ['talkative', 'I am here.'],
      [home === away ? 'program' : 'local', 'one'],
      [home === away ? 'program' : 'local', 'two'],
    ]);
    expect(lines.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
    expect(lines.map(({ level }) => level)).toEqual(['info', 'warning', 'warning']);
    expect(lines.every(({ time }) => new Date(time).toISOString() === time)).toBe(true);
    expect(logOf(home).map(({ text }) => text)).toEqual(['I am here.', 'one', 'two']);
  });

  test('filters by level and source, and answers the newest in the order in which they were written', async () => {
    const { home, away } = await place.start();
    const proxy = consoleOf(home, away);
    await proxy.write({ lines: ['a', 'b'] });
    await proxy.write({ level: 'error', lines: ['c'] });
    await proxy.write({ level: 'warning', lines: ['d'] });
    await home.add(new Talkative(), { name: 'talkative' });
    const texts = async (query: Parameters<typeof proxy.query>[0]) =>
      (await proxy.query(query)).lines.map(({ text }) => text);
    expect(await texts({ level: 'warning' })).toEqual(['c', 'd']);
    expect(await texts({ level: 'error' })).toEqual(['c']);
    expect(await texts({ source: 'talkative' })).toEqual(['I am here.']);
    expect(await texts({ limit: 2 })).toEqual(['d', 'I am here.']);
    expect(await texts({ limit: 1, level: 'error', source: 'nobody' })).toEqual([]);
  });

  test('pages of everything after a line come together to everything, however much fits into a message', async () => {
    const { home, away } = await place.start();
    const proxy = consoleOf(home, away);
    // Written in XML each of these takes four times its length.
    const long = '<'.repeat(LINE_LENGTH_MAX);
    const count = Math.ceil(PAGE_BYTES_MAX / LINE_LENGTH_MAX);
    for (let at = 0; at < count; at++) await proxy.write({ lines: [`${at}`, long] });
    const found: number[] = [];
    let after = 0;
    for (let more = true; more;) {
      const page = await proxy.query({ after });
      expect(page.missed).toBe(0);
      expect(page.next).toBeGreaterThan(after);
      found.push(...page.lines.map(({ sequence }) => sequence));
      ({ next: after, more } = page);
    }
    expect(found).toEqual(Array.from({ length: 2 * count }, (_, index) => index + 1));
  });

  test('subscribers are told of every line, of those that come at once in one message', async () => {
    const { home, away } = await place.start();
    const told: string[][] = [];
    await using subscribed = await away.subscribe(Console, `${home.prefix}console`, {
      written: ({ body }) => void told.push(body.lines.map(({ text }) => text)),
    });
    await consoleOf(home, away).write({ lines: ['a', 'b', 'c'] });
    await until(() => told.length > 0);
    expect(told).toEqual([['a', 'b', 'c']]);
    await consoleOf(home, away).write({ lines: ['d'] });
    await until(() => told.length > 1);
    expect(told[1]).toEqual(['d']);
    expect(await subscribed.unsubscribe()).toMatchObject({ published: 2, dropped: 0, failed: 0 });
  });

  test('a message with more lines than are allowed writes none of them', async () => {
    const { home, away } = await place.start();
    const proxy = consoleOf(home, away);
    const lines = Array.from({ length: CONSOLE_LINES_MAX + 1 }, () => 'x');
    expect(await subcode(proxy.write({ lines }))).toBe('OperationFailed');
    expect(await subcode(proxy.write({ lines: ['\n'.repeat(CONSOLE_LINES_MAX)] }))).toBe('OperationFailed');
    expect((await proxy.query()).lines).toEqual([]);
  });
});

test('what is forgotten is counted, and what is left is the newest', async () => {
  const runtime = await startRuntime();
  const proxy = consoleOf(runtime);
  const extra = 7;
  const lines = Array.from({ length: CONSOLE_LINES_MAX }, () => 'x');
  const all = LINES_MAX + extra;
  for (let left = all; left > 0; left -= CONSOLE_LINES_MAX)
    await proxy.write({ lines: lines.slice(0, Math.min(left, CONSOLE_LINES_MAX)) });
  const page = await proxy.query({ after: 0, limit: 1 });
  expect(page).toMatchObject({ missed: extra, next: extra + 1, more: true });
  expect(page.lines[0]?.sequence).toBe(extra + 1);
  const last = await proxy.query({ after: all + 100 });
  expect(last).toMatchObject({ lines: [], next: all, more: false, missed: 0 });
  const newest = await proxy.query({ limit: 1 });
  expect(newest.lines[0]?.sequence).toBe(all);
});

test('what would command a terminal or look like another line does not', async () => {
  const runtime = await startRuntime();
  const proxy = consoleOf(runtime);
  await proxy.write({ lines: ['a\nerror: runtime: b\r\nc', '\u009b31m\u202e\u2028', 'tab\there'] });
  const { lines } = await proxy.query();
  expect(lines.map(({ text }) => text)).toEqual([
    'a',
    'error: runtime: b',
    'c',
    '\ufffd31m\ufffd\ufffd',
    'tab\there',
  ]);
  expect(logOf(runtime).map(({ text }) => text)).toEqual(lines.map(({ text }) => text));
});

test('a line of any characters and of any length can be read in a message', async () => {
  const runtime = await startRuntime();
  class Binary extends Talkative {
    override start(): void {
      this.log(`\0\x1b[2J\ud800 ok \uffff${'x'.repeat(LINE_LENGTH_MAX)}`);
    }
  }
  await runtime.add(new Binary(), { name: 'binary' });
  const { lines } = await consoleOf(runtime).query();
  expect(lines[0]?.text.startsWith('\ufffd\ufffd[2J\ufffd ok \ufffdx')).toBe(true);
  expect(lines[0]?.text.length).toBe(LINE_LENGTH_MAX + '...'.length);
});

test('a subscriber that fails, which is logged, does not have the console talk to itself for ever', async () => {
  const runtime = await startRuntime();
  let told = 0;
  const subscribed = await runtime.subscribe(Console, `${runtime.prefix}console`, {
    written: () => {
      told++;
      throw new Error('I cannot.');
    },
  });
  await consoleOf(runtime).write({ lines: ['start'] });
  await until(() => runtime.snapshot().services.every(({ subscribers }) => subscribers === 0));
  expect(told).toBeGreaterThan(0);
  await subscribed.unsubscribe().catch(() => undefined);
});
