// Files of one command that would get one name: the first is stored whole, the others are refused, and nothing is a mixture. By
// trees in which several files have one last name, both ways.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digests, makeDirectory, makeTree, pattern, Served, sha256, splitplane } from './support.js';

/** Several ranges of 4 MiB: without the refusal they would be on their way at the same time. */
const LARGE = 24 << 20;
const FIRST = pattern(LARGE, 1);
const SECOND = pattern(LARGE, 2);

const refused = {
  ok: false,
  error: { code: 'INVALID_ARGUMENT', message: expect.stringContaining('Another of these files') as string },
};

test.each([['--json'], ['--no-checksum']])('get stores the first of them, %s', async (option) => {
  const [root, target] = [makeDirectory(), makeDirectory()];
  makeTree(root, { 'one/same': FIRST, 'two/same': SECOND });
  const { host } = await Served.start(root);
  const places = [`${host}:one/same`, `${host}:two/same`];
  const { code, json } = await splitplane('get', '--json', option, ...places, target);
  expect(code).toBe(5);
  expect(json[0]).toMatchObject({ path: 'two/same', ...refused });
  expect(json.at(-1)).toMatchObject({ summary: { files: 1, failed: 1 } });
  expect(digests(target)).toEqual({ same: sha256(FIRST) });
});

test('put stores the first of them', async () => {
  const [root, source] = [makeDirectory(), makeDirectory()];
  makeTree(source, { 'one/same': 'first', 'two/same': 'second' });
  const { host } = await Served.start(root);
  const files = [join(source, 'one/same'), join(source, 'two/same')];
  const { code, json } = await splitplane('put', '--json', ...files, `${host}:.`);
  expect(code).toBe(5);
  expect(json[0]).toMatchObject({ path: files[1], ...refused });
  expect(digests(root)).toEqual({ same: sha256('first') });
});

test('directories of one name become one, with the files of both', async () => {
  const [root, target] = [makeDirectory(), makeDirectory()];
  makeTree(root, { 'one/tree/a': 'a', 'two/tree/b': 'b' });
  const { host } = await Served.start(root);
  expect((await splitplane('get', `${host}:one/tree`, `${host}:two/tree`, target)).code).toBe(0);
  expect(digests(target)).toEqual({ tree: '', 'tree/a': sha256('a'), 'tree/b': sha256('b') });
});
