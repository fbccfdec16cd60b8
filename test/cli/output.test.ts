// What becomes of a command whose output is not read to its end, or cannot be written: what it was to do is done, what it exits
// with says so, and nothing prints a stack. By closing the pipe that it writes into, and by the device that is always full.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { until } from '../support/events.js';
import { CLI, Command, digests, makeDirectory, makeTree, Served, sha256, splitplane } from './support.js';

const COUNT = 100;

describe('a reader who has seen enough', () => {
  test('leaves no file behind that get was to bring', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    const names = Array.from({ length: COUNT }, (_, index) => `file-${index}`);
    makeTree(root, Object.fromEntries(names.map((name) => [name, name])));
    const { host } = await Served.start(root);
    const command = new Command(['get', '--json', `${host}:.`, target]);
    await command.until(({ lines }) => lines.length > 0);
    command.process.stdout?.destroy();
    expect(await command.exited).toBe(0);
    expect(digests(target)).toEqual(Object.fromEntries(names.map((name) => [name, sha256(name)])));
  });

  test('does not make a failure a success', async () => {
    const { host } = await Served.start(makeDirectory());
    const command = new Command(['get', '--json', `${host}:none`, makeDirectory()]);
    command.process.stdout?.destroy();
    expect(await command.exited).toBe(1);
  });

  test('does not end the command when it is problems that are not read', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { a: 'a' });
    const { host } = await Served.start(root);
    const command = new Command(['get', `${host}:none`, `${host}:a`, target]);
    command.process.stderr?.destroy();
    expect(await command.exited).toBe(5);
    expect(digests(target)).toEqual({ a: sha256('a') });
  });

  test('ends ping, and serve at its next line, in good order', async () => {
    const { host, command } = await Served.start(makeDirectory());
    const ping = new Command(['ping', host, '--interval', '0.01']);
    await ping.until(({ lines }) => lines.length > 1);
    ping.process.stdout?.destroy();
    expect(await ping.exited).toBe(0);
    expect(ping.errors).toBe('');
    command.process.stdout?.destroy();
    const another = new Command(['ping', host, '--count', '1']);
    expect(await command.exited).toBe(0);
    await another.end('SIGKILL');
    expect(command.errors).toBe('');
  });
});

/** Runs it with standard output on a disk that is full. */
async function intoFullDisk(args: readonly string[]): Promise<{ code: number | null; errors: string }> {
  const full = openSync('/dev/full', 'w');
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', full, 'pipe'] });
  closeSync(full);
  let errors = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, errors };
}

describe('an output on a disk that is full', () => {
  test('is told once, in a sentence, and exits with 1', async () => {
    const { code, errors } = await intoFullDisk(['info']);
    expect(errors).toMatch(/^splitplane: standard output: The disk is full\.[^\n]* \[SYSTEM\]\n$/);
    expect(code).toBe(1);
  });

  test('keeps no file from being transferred, and tells programs', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { a: 'a', b: 'b' });
    const { host } = await Served.start(root);
    const { code, errors } = await intoFullDisk(['get', '--json', `${host}:.`, target]);
    expect(code).toBe(1);
    expect(JSON.parse(errors)).toMatchObject({ error: { code: 'SYSTEM', errno: 'ENOSPC' } });
    expect(Object.keys(digests(target)).sort()).toEqual(['a', 'b']);
  });

  test('does not end a server', async () => {
    const root = makeDirectory();
    const socket = join(root, 'socket');
    const full = openSync('/dev/full', 'w');
    const args = ['serve', '--listen', `unix:${socket}`, '--root', root];
    const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', full, 'ignore'] });
    closeSync(full);
    const ended = once(child, 'close');
    await until(async () => (await splitplane('ping', `unix:${socket}`, '--count', '1')).code === 0);
    expect((await splitplane('ping', `unix:${socket}`, '--count', '1')).code).toBe(0);
    child.kill('SIGTERM');
    expect(await ended).toEqual([1, null]);
  });
});
