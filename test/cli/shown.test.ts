// What a terminal is shown of words that are not ours: names of files, here and there, with control characters in them command
// nothing. By names with escape sequences of one byte and of two, C1, and what turns the direction of writing.
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Command, makeDirectory, makeTree, Served, splitplane } from './support.js';

const NAME = 'a\u001b[31mb\u009b31mc\u202ed';

test('problems and notes of what lies here', async () => {
  const source = makeDirectory();
  makeTree(source, { 'tree/plain': '' });
  symlinkSync('plain', join(source, 'tree', NAME));
  const { host } = await Served.start(makeDirectory());
  const put = await splitplane('put', join(source, 'tree'), join(source, `none${NAME}`), `${host}:.`);
  expect(put.code).toBe(5);
  expect(put.errors).toMatch(/is left out[^]*There is no such file/);
  expect(put.errors.replaceAll('\n', '')).not.toMatch(/\p{C}/u);
});

test('the log of a server, and what programs get, which loses nothing', async () => {
  const root = makeDirectory();
  makeTree(root, { [NAME]: '' });
  const serve = new Command(['serve', '--listen', '127.0.0.1:0', '--root', root]);
  await serve.until(({ lines }) => lines.length > 0);
  const [, host = ''] = /tcp:\/\/([\d.:]+)/.exec(serve.lines[0] ?? '') ?? [];
  const got = await splitplane('get', '--json', `${host}:${NAME}`, makeDirectory());
  expect(got.json[0]).toMatchObject({ path: NAME, ok: true });
  const none = await splitplane('get', '--json', `${host}:none\u009b`, makeDirectory());
  expect(none.code).toBe(1);
  await serve.until(({ lines }) => lines.some((line) => line.includes('no such file')));
  expect([...serve.lines, ...got.lines, ...none.lines].filter((line) => /\p{C}/u.test(line))).toEqual([]);
});

test('with --json, a command line that is wrong is told to programs', async () => {
  const wrong = await splitplane('ping', '--json', '--count', 'x', '127.0.0.1');
  expect(wrong.code).toBe(2);
  expect(JSON.parse(wrong.errors)).toEqual({
    error: { code: 'USAGE', message: expect.stringContaining("'--count <n>' argument 'x'") as string },
  });
  const help = await splitplane('ping', '--json', '--help');
  expect(help).toMatchObject({ code: 0, errors: '' });
});
