// Trees of which a part cannot be transferred: that is told, and everything beside it arrives.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { digests, makeDirectory, makeTree, Served, splitplane } from './support.js';

/** A name in Latin-1, which what reads names as UTF-8 cannot find again. */
function latin(directory: string): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0x6e, 0xe4])]);
}

describe('put', () => {
  test('a name that is not UTF-8, of a file or a directory, keeps nothing else from arriving', async () => {
    const [root, source] = [makeDirectory(), makeDirectory()];
    makeTree(source, { 'a/first': '', 'z/last': '', last: '' });
    writeFileSync(latin(source), 'x');
    mkdirSync(latin(join(source, 'a')));
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('put', '--json', source, `${host}:tree`);
    expect(code).toBe(5);
    const error = { code: 'INVALID_ARGUMENT', message: expect.stringContaining('not UTF-8') as string };
    expect(json.slice(0, 2)).toMatchObject([
      { path: join(source, 'a/n\ufffd'), error },
      { path: join(source, 'n\ufffd'), error },
    ]);
    expect(json.at(-1)).toMatchObject({ summary: { files: 3, failed: 2 } });
    expect(Object.keys(digests(root))).toEqual(
      expect.arrayContaining(['tree/a/first', 'tree/z/last', 'tree/last']),
    );
  });

  test('a directory that is in the way of another there', async () => {
    const [root, source] = [makeDirectory(), join(makeDirectory(), 'tree')];
    makeTree(source, { 'in-the-way/hidden': '', 'z/last': '' });
    makeTree(root, { 'tree/in-the-way': 'a file' });
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('put', '--json', source, `${host}:.`);
    expect(code).toBe(5);
    expect(json[0]).toMatchObject({ path: join(source, 'in-the-way'), error: { errno: 'ENOTDIR' } });
    expect(Object.keys(digests(root)).sort()).toEqual(['tree', 'tree/in-the-way', 'tree/z', 'tree/z/last']);
  });
});

describe('get', () => {
  test('a directory that cannot be made here', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { 'in-the-way/hidden': '', 'z/last': '' });
    symlinkSync(makeDirectory(), join(target, 'in-the-way'));
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('get', '--json', `${host}:.`, target);
    expect(code).toBe(5);
    expect(json[0]).toMatchObject({ path: 'in-the-way', error: { code: 'PERMISSION_DENIED' } });
    expect(json.at(-1)).toMatchObject({ summary: { files: 1, failed: 1 } });
    expect(Object.keys(digests(target)).sort()).toEqual(['in-the-way', 'z', 'z/last']);
  });

  test('a name there that is not UTF-8', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { a: '', z: '' });
    writeFileSync(latin(root), 'x');
    const { host } = await Served.start(root);
    const { code, errors } = await splitplane('get', `${host}:.`, target);
    expect(code).toBe(5);
    expect(errors).toMatch(/^splitplane: n\ufffd: Its name is not UTF-8/);
    expect(Object.keys(digests(target)).sort()).toEqual(['a', 'z']);
  });
});
