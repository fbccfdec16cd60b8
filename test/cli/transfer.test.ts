// get and put between two real processes over loopback: what arrives is what was sent, where it was to go, and what cannot be
// transferred is said by a typed error, a sentence and an exit code, with nothing half-written left behind.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { digests, makeDirectory, makeTree, pattern, Served, sha256, splitplane } from './support.js';

const MIB = 1 << 20;
/** More than one range of 4 MiB, and not a multiple of anything. */
const LARGE = 9 * MIB + 12_345;

const TREE = {
  'small.txt': 'a few bytes\n',
  'empty.txt': '',
  'sub/large.bin': pattern(LARGE),
  'sub/deeper/name with ü, & and <.txt': 'x',
  'sub/hollow/': '',
};

/** A 1 MiB file system; undefined where this user may not mount one. */
function mountSmall(...options: string[]): string | undefined {
  const directory = makeDirectory();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', ['size=1m', ...options].join(','), 'none', directory], {
      stdio: 'ignore',
    });
  } catch {
    return undefined;
  }
  mounts.push(directory);
  return directory;
}

const mounts: string[] = [];
afterEach(() => {
  for (const directory of mounts.splice(0)) execFileSync('umount', ['-l', directory]);
});

describe('get', () => {
  test.each([['--poll=event'], ['--no-checksum']])('copies a tree, %s', async (...options) => {
    const [root, target] = [makeDirectory(), join(makeDirectory(), 'made/anew')];
    makeTree(root, TREE);
    const { host } = await Served.start(root);
    const { code, errors } = await splitplane('get', ...options, `${host}:.`, target);
    expect(errors).toBe('');
    expect(code).toBe(0);
    expect(digests(target)).toEqual(digests(root));
  });

  test('copies what is named, each under its own name, by every form of place', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, TREE);
    const { host } = await Served.start(root);
    const places = [`${host}:small.txt`, `${host}:/sub/deeper/`];
    expect((await splitplane('get', ...places, target)).code).toBe(0);
    expect((await splitplane('get', `tcp://${host}/sub/large.bin`, target)).code).toBe(0);
    const wanted = ['deeper', 'deeper/name with ü, & and <.txt', 'large.bin', 'small.txt'];
    expect(Object.keys(digests(target)).sort()).toEqual(wanted);
  });

  test('goes over a unix socket too', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { a: 'a' });
    const socket = `unix:${join(makeDirectory(), 's.sock')}`;
    await Served.start(root, { args: ['--listen', socket] });
    expect((await splitplane('get', `${socket}:a`, target)).code).toBe(0);
    expect(readFileSync(join(target, 'a'), 'utf8')).toBe('a');
  });

  test('tells programs about each file and the whole', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { 'sub/large.bin': TREE['sub/large.bin'] });
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('get', '--json', `${host}:sub`, target);
    expect(code).toBe(0);
    expect(json).toEqual([
      {
        path: 'sub/large.bin',
        ok: true,
        to: 'sub/large.bin',
        bytes: LARGE,
        resumedFrom: 0,
        seconds: expect.any(Number) as number,
        sha256: sha256(TREE['sub/large.bin']),
      },
      {
        summary: {
          files: 1,
          failed: 0,
          bytes: LARGE,
          resumedBytes: 0,
          seconds: expect.any(Number) as number,
          transport: 'shm',
          cpuSecondsPerGB: expect.any(Number) as number,
          copiesPerByte: expect.any(Number) as number,
          eventLoopDelayP99Ms: expect.any(Number) as number,
        },
      },
    ]);
  });

  test('copies nothing in user space over TCP without checksums', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { 'large.bin': TREE['sub/large.bin'] });
    const { host } = await Served.start(root);
    const { json } = await splitplane('get', '--json', '--no-checksum', `tcp://${host}/large.bin`, target);
    expect((json.at(-1)?.['summary'] as { copiesPerByte: number }).copiesPerByte).toBeLessThan(0.01);
  });

  test('keeps permission bits and takes the place of what was there', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { program: '#!/bin/sh\n', plain: 'new' });
    chmodSync(join(root, 'program'), 0o755);
    chmodSync(join(root, 'plain'), 0o444);
    makeTree(target, { plain: 'what was there' });
    const { host } = await Served.start(root);
    expect((await splitplane('get', `${host}:.`, target)).code).toBe(0);
    const before = process.umask();
    expect(statSync(join(target, 'program')).mode & 0o777).toBe(0o755 & ~before);
    expect(statSync(join(target, 'plain')).mode & 0o777).toBe(0o444 & ~before);
    expect(readFileSync(join(target, 'plain'), 'utf8')).toBe('new');
  });

  test('a directory of many names comes in pages', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    const names = Array.from({ length: 1200 }, (_, index) => `many/${index}/`);
    makeTree(root, Object.fromEntries(names.map((name) => [name, ''])));
    const { host } = await Served.start(root);
    expect((await splitplane('get', `${host}:many`, target)).code).toBe(0);
    expect(Object.keys(digests(target))).toHaveLength(1201);
  });

  test('what does not exist fails, and exits with 5 beside what does', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { a: 'a' });
    const { host } = await Served.start(root);
    const none = await splitplane('get', `${host}:none`, target);
    expect(none.code).toBe(1);
    expect(none.errors).toMatch(/^splitplane: none: There is no such file or directory\./);
    const some = await splitplane('get', '--json', `${host}:none`, `${host}:a`, target);
    expect(some.code).toBe(5);
    expect(some.json[0]).toMatchObject({
      path: 'none',
      ok: false,
      error: { code: 'SYSTEM', errno: 'ENOENT' },
    });
    expect(some.json.at(-1)).toMatchObject({ summary: { files: 1, failed: 1 } });
    expect(digests(target)).toEqual({ a: sha256('a') });
  });

  test('a disk that is full here fails, and leaves nothing', async (context) => {
    const target = mountSmall() ?? context.skip('only root may mount a file system');
    const root = makeDirectory();
    makeTree(root, { 'large.bin': TREE['sub/large.bin'] });
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('get', '--json', `${host}:large.bin`, target);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ ok: false, error: { code: 'SYSTEM', errno: 'ENOSPC' } });
    expect(digests(target)).toEqual({});
  });

  test('a directory in the place of a file fails before anything moves', async () => {
    const [root, target] = [makeDirectory(), makeDirectory()];
    makeTree(root, { a: 'a' });
    mkdirSync(join(target, 'a'));
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('get', '--json', `${host}:a`, target);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ error: { errno: 'EISDIR' } });
    expect(digests(target)).toEqual({ a: '' });
  });
});

describe('put', () => {
  test.each([['--poll=event'], ['--no-checksum']])('copies a tree, %s', async (...options) => {
    const [root, source] = [makeDirectory(), makeDirectory()];
    makeTree(source, TREE);
    const { host } = await Served.start(root);
    const { code, errors } = await splitplane('put', ...options, source, `${host}:copy`);
    expect(errors).toBe('');
    expect(code).toBe(0);
    expect(digests(join(root, 'copy'))).toEqual(digests(source));
  });

  test('goes into a directory or takes the name, as cp does', async () => {
    const [root, source] = [makeDirectory(), makeDirectory()];
    makeTree(source, { a: 'a', b: 'b' });
    makeTree(root, { 'there/': '' });
    const { host } = await Served.start(root);
    const [a, b] = [join(source, 'a'), join(source, 'b')];
    expect((await splitplane('put', a, `${host}:named`)).code).toBe(0);
    expect((await splitplane('put', a, `${host}:there`)).code).toBe(0);
    expect((await splitplane('put', a, `${host}:made/`)).code).toBe(0);
    expect((await splitplane('put', a, b, `${host}:both`)).code).toBe(0);
    expect((await splitplane('put', a, `${host}:.`)).code).toBe(0);
    expect(
      Object.keys(digests(root))
        .filter((path) => digests(root)[path] !== '')
        .sort(),
    ).toEqual(['a', 'both/a', 'both/b', 'made/a', 'named', 'there/a']);
  });

  test('tells programs about each file and the whole', async () => {
    const [root, source] = [makeDirectory(), makeDirectory()];
    makeTree(source, { a: 'abc' });
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('put', '--json', join(source, 'a'), `${host}:.`);
    expect(code).toBe(0);
    expect(json).toMatchObject([
      { path: join(source, 'a'), ok: true, to: 'a', bytes: 3, resumedFrom: 0, sha256: sha256('abc') },
      { summary: { files: 1, failed: 0, bytes: 3 } },
    ]);
  });

  test('symbolic links in a tree are left out and told', async () => {
    const [root, source] = [makeDirectory(), makeDirectory()];
    makeTree(source, { 'tree/a': 'a' });
    symlinkSync('a', join(source, 'tree/link'));
    const { host } = await Served.start(root);
    const { code, errors } = await splitplane('put', join(source, 'tree'), `${host}:.`);
    expect(code).toBe(0);
    expect(errors).toMatch(/link is left out/);
    expect(Object.keys(digests(root)).sort()).toEqual(['tree', 'tree/a']);
  });

  test('a host that only lets read refuses with 4', async () => {
    const [root, source] = [makeDirectory(), makeDirectory()];
    makeTree(source, { a: 'a' });
    const { host } = await Served.start(root, { args: ['--read-only'] });
    const { code, json } = await splitplane('put', '--json', join(source, 'a'), `${host}:a`);
    expect(code).toBe(4);
    expect(json[0]).toMatchObject({ error: { code: 'PERMISSION_DENIED', subcode: 'PermissionDenied' } });
    expect(digests(root)).toEqual({});
  });

  test('a disk that is full there fails, and leaves nothing', async (context) => {
    const root = mountSmall() ?? context.skip('only root may mount a file system');
    const source = makeDirectory();
    makeTree(source, { 'large.bin': TREE['sub/large.bin'], 'small.txt': 'fits' });
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('put', '--json', source, `${host}:in`);
    expect(code).toBe(5);
    expect(json.find(({ ok }) => ok === false)).toMatchObject({
      error: { code: 'SYSTEM', errno: 'ENOSPC', subcode: 'InsufficientResources' },
    });
    expect(digests(join(root, 'in'))).toEqual({ 'small.txt': sha256('fits') });
  });

  test('a root that cannot be written to fails', async (context) => {
    const root = mountSmall('ro') ?? context.skip('only root may mount a file system');
    const source = makeDirectory();
    makeTree(source, { a: 'a' });
    const { host } = await Served.start(root);
    const { code, json } = await splitplane('put', '--json', join(source, 'a'), `${host}:a`);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({ error: { code: 'SYSTEM', errno: 'EROFS' } });
  });

  test('what does not exist fails before anything moves', async () => {
    const { host } = await Served.start(makeDirectory());
    const { code, errors } = await splitplane('put', join(makeDirectory(), 'none'), `${host}:a`);
    expect(code).toBe(1);
    expect(errors).toMatch(/There is no such file or directory/);
  });
});

describe('nothing outside the root', () => {
  /** A root with links that lead out and one that stays inside, and a secret beside it. */
  async function prepare(): Promise<{ root: string; outside: string; host: string }> {
    const above = makeDirectory();
    const [root, outside] = [join(above, 'root'), join(above, 'outside')];
    makeTree(above, { 'outside/secret': 'secret', 'root/inside/a': 'a' });
    symlinkSync('../outside/secret', join(root, 'file-link'));
    symlinkSync(outside, join(root, 'directory-link'));
    symlinkSync('inside', join(root, 'inner-link'));
    const { host } = await Served.start(root);
    return { root, outside, host };
  }

  test.each([
    '../outside/secret',
    'inside/../../outside/secret',
    'file-link',
    'directory-link/secret',
    'directory-link',
  ])('get %s is refused with 4', async (path) => {
    const { host } = await prepare();
    const target = makeDirectory();
    const { code, json } = await splitplane('get', '--json', `${host}:${path}`, target);
    expect(code).toBe(4);
    expect(json[0]).toMatchObject({ error: { code: 'PERMISSION_DENIED' } });
    expect(digests(target)).toEqual({});
  });

  test.each(['../outside/new', 'directory-link/new', 'directory-link/deep/new'])(
    'put to %s is refused with 4',
    async (path) => {
      const { host, outside } = await prepare();
      const source = makeDirectory();
      makeTree(source, { new: 'new' });
      const { code, lines, errors } = await splitplane(
        'put',
        '--json',
        join(source, 'new'),
        `${host}:${path}`,
      );
      expect(code).toBe(4);
      expect(lines.join('') + errors).toMatch(/"code":"PERMISSION_DENIED"/);
      expect(digests(outside)).toEqual({ secret: sha256('secret') });
    },
  );

  test('a link that is in the way of a file is replaced, and not written through', async () => {
    const { root, outside, host } = await prepare();
    const source = makeDirectory();
    makeTree(source, { 'file-link': 'new' });
    expect((await splitplane('put', join(source, 'file-link'), `${host}:.`)).code).toBe(0);
    expect(digests(outside)).toEqual({ secret: sha256('secret') });
    expect(digests(root)['file-link']).toBe(sha256('new'));
  });

  test('an absolute path is below the root, and a link that stays inside is followed', async () => {
    const { host } = await prepare();
    const target = makeDirectory();
    expect((await splitplane('get', `${host}:/inner-link/a`, target)).code).toBe(0);
    expect(digests(target)).toEqual({ a: sha256('a') });
  });

  test('a tree is copied without the links in it', async () => {
    const { host } = await prepare();
    const target = makeDirectory();
    const { code, errors } = await splitplane('get', `${host}:.`, target);
    expect(code).toBe(0);
    expect(errors.match(/is left out/g)).toHaveLength(3);
    expect(Object.keys(digests(target)).sort()).toEqual(['inside', 'inside/a']);
  });

  test('neither does get write through a link in its target', async () => {
    const { host } = await prepare();
    const [target, elsewhere] = [makeDirectory(), makeDirectory()];
    symlinkSync(elsewhere, join(target, 'inside'));
    const { code } = await splitplane('get', `${host}:inside`, target);
    expect(code).toBe(4);
    expect(digests(elsewhere)).toEqual({});
  });
});
