// `splitplane watch` and `splitplane services` as real processes against a `splitplane run`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { UNCONFIRMED_MAX, WAITING_MAX } from '../../lib/runtime/subscriptions.js';
import { CONTRACT, manifestOf, PARTS, Running } from './runtime-support.js';
import { Command, digests, makeDirectory, pattern, sha256, splitplane, type Json } from './support.js';

const { unsecured, network, recorder, broken } = PARTS;

/** A `splitplane watch` that has subscribed. */
async function watching(uri: string, ...args: string[]): Promise<Command> {
  const command = new Command(['watch', uri, ...args]);
  await command.until(({ lines }) => /^(Watching|\{"watching")/.test(lines[0] ?? ''));
  return command;
}

/** Has the recorder tell `times` times that something was removed. */
async function tell(uri: string, times: number): Promise<void> {
  expect((await splitplane('call', uri, 'Submit', `<Tell><times>${times}</times></Tell>`)).code).toBe(0);
}

describe('watch', () => {
  test('prints what is told, with its buffers, until Ctrl-C ends the subscription', async () => {
    const running = await Running.start();
    const uri = running.uri('recorder');
    const command = await watching(uri);
    expect(command.lines[0]).toBe(`Watching ${uri}: Frame, Key`);
    const file = join(running.directory, 'frame.raw');
    writeFileSync(file, pattern(5_000));
    const body = '<Frame><sequence>7</sequence><pixels>cid:buffer-0</pixels></Frame>';
    await splitplane('call', uri, 'Insert', body, '--buffer', file);
    await command.until(({ lines }) => lines.some((line) => line.startsWith('buffer')));
    expect(command.lines[1]).toMatch(/^\S+Z Frame$/);
    expect(command.lines.slice(2, 4)).toEqual([
      `<b:Frame xmlns:b="${CONTRACT}">`,
      '  <b:sequence>7</b:sequence>',
    ]);
    expect(command.lines.at(-1)).toBe('buffer pixels: 5.00 kB');
    const before = await subscribers(running);
    expect(await command.end('SIGINT')).toBe(0);
    expect(command.lines.at(-1)).toBe('1 notification');
    expect([before, await subscribers(running)]).toEqual([1, 0]);
  });

  test('--count ends it by itself, --type leaves out the others, --into stores buffers', async () => {
    const running = await Running.start();
    const uri = running.uri('recorder');
    const into = join(makeDirectory(), 'told');
    const command = await watching(uri, '--type', 'stored', '--count', '2', '--into', into, '--json');
    const file = join(running.directory, 'frame.raw');
    writeFileSync(file, pattern(300_000));
    await tell(uri, 3);
    for (const sequence of [1, 2]) {
      const body = `<Frame><sequence>${sequence}</sequence><pixels>cid:buffer-0</pixels></Frame>`;
      await splitplane('call', uri, 'Insert', body, '--buffer', file);
    }
    expect(await command.exited).toBe(0);
    const [first, ...rest] = command.json;
    expect(first).toEqual({ watching: uri, notifications: ['Frame'] });
    const frame = (sequence: number): Json => ({
      time: expect.any(String) as string,
      element: 'Frame',
      namespace: CONTRACT,
      content: { sequence: String(sequence), pixels: { buffer: 'pixels' } },
      buffers: [{ cid: 'pixels', bytes: 300_000, file: join(into, `00000${sequence}-pixels`) }],
    });
    expect(rest).toEqual([
      frame(1),
      frame(2),
      { summary: expect.objectContaining({ printed: 2 }) as unknown },
    ]);
    const digest = sha256(pattern(300_000));
    expect(digests(into)).toEqual({ '000001-pixels': digest, '000002-pixels': digest });
  });

  test('every notification is printed, or counted as dropped', async () => {
    const running = await Running.start();
    const uri = running.uri('recorder');
    const command = await watching(uri, '--json');
    await tell(uri, 2000);
    // What it had to drop, it drops at once: the rest is under way.
    const told = (): Json[] => command.json.slice(1);
    await command.until(() => told().length >= UNCONFIRMED_MAX + WAITING_MAX);
    expect(await command.end('SIGINT')).toBe(0);
    const { summary } = command.json.at(-1) as { summary: Record<string, number> };
    const { printed = NaN, published = NaN, dropped = NaN } = summary;
    expect({ published, sum: printed + dropped }).toEqual({ published: 2000, sum: 2000 });
  });

  // Method: portions that the publisher can hold, of together more than the pipe and the publisher do.
  test('what is not read waits at the publisher, which drops what is too much', async () => {
    const running = await Running.start();
    const uri = running.uri('recorder');
    const command = await watching(uri, '--json');
    command.process.stdout?.pause();
    const [portion, times] = [WAITING_MAX - UNCONFIRMED_MAX, 20];
    for (let i = 0; i < times; i++) await tell(uri, portion);
    command.process.stdout?.resume();
    expect(await command.end('SIGINT')).toBe(0);
    const { summary } = command.json.at(-1) as { summary: Record<string, number> };
    const { printed = NaN, published = NaN, dropped = NaN } = summary;
    expect(published).toBe(portion * times);
    expect(dropped).toBeGreaterThan(0);
    // The rest was on its way when it ended.
    expect(published - printed - dropped).toBeLessThanOrEqual(UNCONFIRMED_MAX);
  });

  test('says when the runtime of the publisher has ended', async () => {
    const running = await Running.start();
    const command = await watching(running.uri('recorder'));
    await running.command.end('SIGTERM');
    expect(await command.exited).toBe(3);
    expect(command.errors).toMatch(/The publisher \S+\/recorder is gone: .* \[CONNECTION_LOST\]$/m);
    expect(command.lines.at(-1)).toBe('0 notifications');
  });

  test('what tells nothing, and what it does not tell, are mistakes', async () => {
    const running = await Running.start();
    const silent = await splitplane('watch', running.uri('node'));
    expect(silent).toMatchObject({
      code: 2,
      errors: expect.stringContaining('tells nobody anything') as string,
    });
    const other = await splitplane('watch', running.uri('recorder'), '--type', 'moved');
    expect(other).toMatchObject({
      code: 2,
      errors: expect.stringContaining('it tells stored, removed') as string,
    });
  });

  test('a file that cannot be written ends it, and the subscription', async () => {
    const running = await Running.start();
    const uri = running.uri('recorder');
    const into = join(running.directory, 'recorder.mjs');
    const command = await watching(uri, '--into', into);
    const body = '<Frame><sequence>1</sequence><pixels>cid:buffer-0</pixels></Frame>';
    await splitplane('call', uri, 'Insert', body, '--buffer', into);
    expect(await command.exited).toBe(1);
    expect(command.errors).toContain('[SYSTEM]');
    expect(await subscribers(running)).toBe(0);
  });
});

async function subscribers(running: Running): Promise<number> {
  const { json } = await splitplane('services', running.host, '--contract', CONTRACT, '--json');
  return json[0]?.['subscribers'] as number;
}

describe('services', () => {
  test('lists what runs and what failed, and why', async () => {
    const running = await Running.start({ text: manifestOf(unsecured, network, recorder, broken) });
    const { code, lines } = await splitplane('services', running.host);
    expect(code).toBe(0);
    expect(lines[0]).toMatch(/^NAME +STATE +WHERE +CONTRACT +WAITING +HANDLED +FAULTS +SUBSCRIBERS$/);
    const text = lines.join('\n');
    expect(text).toMatch(/^recorder +running +here +urn:example:recorder:1 +0 +0 +0 +0$/m);
    expect(text).toMatch(/^directory +running +here +urn:splitplane:directory:1 /m);
    expect(text).toMatch(/^broken +failed /m);
    expect(text).toMatch(/^broken: .*missing\.mjs/m);
  });

  test('filters by contract, and says the same to programs', async () => {
    const running = await Running.start();
    const { code, json } = await splitplane('services', running.host, '--contract', CONTRACT, '--json');
    expect(code).toBe(0);
    expect(json).toEqual([
      expect.objectContaining({
        uri: running.uri('recorder'),
        name: 'recorder',
        contract: CONTRACT,
        state: 'running',
        subscribers: 0,
      }),
    ]);
    const none = await splitplane('services', running.host, '--contract', 'urn:example:none', '--json');
    expect(none).toMatchObject({ code: 0, lines: [] });
  });

  test('several pages of it are one list', async () => {
    const many = Array.from({ length: 300 }, (_, index) => {
      const name = `r${String(index).padStart(3, '0')}`;
      return `<service name="${name}" module="./recorder.mjs"/>`;
    });
    const running = await Running.start({ text: manifestOf(unsecured, network, ...many) });
    const { json } = await splitplane('services', running.host, '--contract', CONTRACT, '--json');
    expect(json.map(({ name }) => name)).toEqual(many.map((line) => /name="(\w+)"/.exec(line)?.[1]));
  });

  test('nobody there is exit code 3', async () => {
    expect((await splitplane('services', '127.0.0.1:1')).code).toBe(3);
  });
});
