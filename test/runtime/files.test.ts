// The files service through the runtime, from beside it and from another runtime: the operations of its contract and what they leave
// on the disk, two services in one runtime, what is told of changes, and what hostile askers get.
import { execFileSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import {
  failureOfFault,
  Files,
  FilesService,
  lend,
  type FilesInit,
  type Proxy,
  type Runtime,
} from '../../lib/runtime/index.js';
import type { Failure } from '../../lib/runtime/failure.js';
import { element } from '../../lib/soap/infoset.js';
import { FaultError } from '../../lib/soap/fault.js';
import { until } from '../support/events.js';
import { compileWorkers } from '../support/processes.js';
import { filledBuffer, logOf, pattern, PLACES, startListening, type Place } from '../support/runtimes.js';

const MIB = 1 << 20;
/** More than a range of 4 MiB, and not a multiple of anything. */
const LARGE = 9 * MIB + 12_345;

compileWorkers();

const directories: string[] = [];
const mounts: string[] = [];
afterEach(() => {
  for (const directory of mounts.splice(0)) execFileSync('umount', ['-l', directory]);
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'splitplane-files-'));
  directories.push(directory);
  return directory;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

interface Served extends Place {
  readonly root: string;
  readonly files: Proxy<typeof Files>;
}

async function serve(place: Place, init: FilesInit = {}, name = 'files'): Promise<Served> {
  const root = init.root ?? makeDirectory();
  const uri = await place.home.add(new FilesService({ root, ...init }), { name });
  return { ...place, root, files: place.away.proxy(Files, uri) };
}

/** Bytes to put, lent for as many reads as it takes. */
function content(of: Runtime, length: number, seed = 1) {
  const buffer = filledBuffer(of, length, seed);
  return lend(
    buffer,
    'read',
    () => {
      buffer.release();
    },
    Infinity,
  );
}

/** What an operation was refused with. */
async function refusal(asked: Promise<unknown>): Promise<Failure> {
  const error: unknown = await asked.then(
    () => expect.fail('It was to be refused.'),
    (reason: unknown) => reason,
  );
  expect(error, String((error as Error).stack)).toBeInstanceOf(FaultError);
  return failureOfFault((error as FaultError).fault);
}

describe.each(PLACES)('a files service, $name', (where) => {
  const start = () => where.start();

  test('what is put can be looked at, listed and got, whole or in ranges, and removed', async () => {
    const { root, files, away } = await serve(await start());
    const bytes = pattern(LARGE, 3);
    const put = await files.put({ path: 'deep/er/large.bin', mode: 0o640, content: content(away, LARGE, 3) });
    expect(put).toMatchObject({ size: LARGE, resumedFrom: 0 });
    expect(put.sha256).toBeUndefined();
    expect(readFileSync(join(root, 'deep/er/large.bin')).equals(bytes)).toBe(true);
    expect(statSync(join(root, 'deep/er/large.bin')).mode & 0o777).toBe(0o640 & ~process.umask());

    const { version } = put;
    expect(await files.stat({ path: '/deep/./er/large.bin' })).toMatchObject({
      kind: 'file',
      size: LARGE,
      version,
    });
    expect(await files.stat({ path: 'deep' })).toMatchObject({ kind: 'directory' });
    const page = await files.list({ path: 'deep/er' });
    expect(page).toMatchObject({ entries: [{ name: 'large.bin', kind: 'file', size: LARGE }], more: false });

    {
      using got = await files.get({ path: 'deep/er/large.bin' });
      expect(got).toMatchObject({ size: LARGE, version });
      const parts: Buffer[] = [];
      for (let offset = 0; offset < LARGE; offset += 4 * MIB) {
        using part = await got.content?.resolve({
          range: { offset, length: Math.min(4 * MIB, LARGE - offset) },
        });
        parts.push(Buffer.from(part?.bytes ?? []));
      }
      expect(Buffer.concat(parts).equals(bytes)).toBe(true);
      const into = Buffer.alloc(1000);
      await got.content?.resolve({ into, range: { offset: 5 * MIB, length: 1000 } });
      expect(into.equals(bytes.subarray(5 * MIB, 5 * MIB + 1000))).toBe(true);
    }
    expect(await files.digest({ path: 'deep/er/large.bin', length: MIB, version })).toMatchObject({
      sha256: sha256(bytes.subarray(0, MIB)),
    });

    expect(await refusal(files.remove({ path: 'deep' }))).toMatchObject({
      code: 'SYSTEM',
      errno: 'ENOTEMPTY',
    });
    await files.remove({ path: 'deep/er/large.bin' });
    await files.remove({ path: 'deep/er' });
    await files.remove({ path: 'deep' });
    expect(readdirSync(root)).toEqual([]);
    expect(await refusal(files.remove({ path: 'deep' }))).toMatchObject({
      errno: 'ENOENT',
      subcode: 'UnknownEntry',
      path: 'deep',
    });
  });

  test('files with nothing in them, and names that XML cannot hold', async () => {
    const { root, files } = await serve(await start());
    const path = 'a <&> \u0001 ü %41.txt';
    await files.put({ path });
    expect(readdirSync(root)).toEqual([path]);
    expect(readFileSync(join(root, path)).length).toBe(0);
    expect((await files.list({ path: '' })).entries).toEqual([{ name: path, kind: 'file', size: 0 }]);
    using got = await files.get({ path });
    expect(got.size).toBe(0);
    expect(got.content).toBeUndefined();
  });

  test('a directory comes in pages, in the order of names', async () => {
    const { root, files } = await serve(await start());
    const names = Array.from({ length: 700 }, (_, index) => `f${index}`).sort();
    for (const name of names) writeFileSync(join(root, name), '');
    const first = await files.list({ path: '' });
    expect(first.more).toBe(true);
    const second = await files.list({ path: '', after: first.entries.at(-1)?.name });
    expect(second.more).toBe(false);
    expect([...first.entries, ...second.entries].map(({ name }) => name)).toEqual(names);
  });

  test('what is not what its sender says is not stored, and what was there stays', async () => {
    const { root, files, away } = await serve(await start());
    writeFileSync(join(root, 'f'), 'what was there');
    const wrong = sha256(Buffer.from('something else'));
    expect(await refusal(files.put({ path: 'f', sha256: wrong, content: content(away, MIB) }))).toMatchObject(
      {
        code: 'CHECKSUM_MISMATCH',
      },
    );
    const late = refusal(files.put({ path: 'f', transfer: 'one', content: content(away, MIB) }));
    await files.confirm({ transfer: 'one', sha256: wrong });
    expect(await late).toMatchObject({ code: 'CHECKSUM_MISMATCH' });
    expect(readdirSync(root)).toEqual(['f']);
    expect(readFileSync(join(root, 'f'), 'utf8')).toBe('what was there');

    const right = sha256(pattern(MIB));
    const transfer = randomUUID();
    const stored = files.put({ path: 'f', transfer, content: content(away, MIB) });
    await files.confirm({ transfer, sha256: right });
    expect(await stored).toMatchObject({ sha256: right });
    expect(sha256(readFileSync(join(root, 'f')))).toBe(right);
  });

  test('a put that breaks off leaves a beginning, which the next one goes on from', async () => {
    const { root, files, away } = await serve(await start());
    const stop = new AbortController();
    const broken = files.put(
      { path: 'f', transfer: 'one', content: content(away, LARGE) },
      { signal: stop.signal },
    );
    const partial = join(root, '.f.splitplane-partial');
    await until(() => (statSync(partial, { throwIfNoEntry: false })?.size ?? 0) === LARGE);
    expect(await refusal(files.put({ path: 'f' }))).toMatchObject({ code: 'REGION_BUSY' });
    stop.abort();
    await expect(broken).rejects.toMatchObject({ code: 'ABORTED' });
    await until(() =>
      files.partial({ path: 'f' }).then(
        ({ size }) => size > 0,
        () => false,
      ),
    );
    truncateSync(partial, 5 * MIB);
    const bytes = pattern(LARGE);
    expect(await files.partial({ path: 'f' })).toMatchObject({
      size: 5 * MIB,
      sha256: sha256(bytes.subarray(0, 5 * MIB)),
    });
    expect((await files.list({ path: '' })).entries).toEqual([]);
    const whole = sha256(bytes);
    expect(await refusal(files.put({ path: 'f', from: 17, content: content(away, LARGE) }))).toMatchObject({
      code: 'FILE_CHANGED',
    });
    writeFileSync(partial, bytes.subarray(0, 5 * MIB));
    expect(
      await files.put({ path: 'f', from: 5 * MIB, sha256: whole, content: content(away, LARGE) }),
    ).toMatchObject({ resumedFrom: 5 * MIB, sha256: whole });
    expect(sha256(readFileSync(join(root, 'f')))).toBe(whole);
    expect(await files.partial({ path: 'f' })).toMatchObject({ size: 0 });
    expect(await files.partial({ path: 'no/such/f' })).toMatchObject({ size: 0 });
    expect(readdirSync(root)).toEqual(['f']);
  });

  test('a file goes from one service to another by reference', async () => {
    const place = await start();
    const first = await serve(place, {}, 'first');
    const second = await serve(place, {}, 'second');
    writeFileSync(join(first.root, 'f'), pattern(LARGE, 9));
    const region = await place.away.registerFile(join(first.root, 'f'));
    const lent = lend(
      region,
      'read',
      () => {
        region.release();
      },
      Infinity,
    );
    await second.files.put({ path: 'copy', sha256: sha256(pattern(LARGE, 9)), content: lent });
    expect(sha256(readFileSync(join(second.root, 'copy')))).toBe(sha256(pattern(LARGE, 9)));
    expect(readdirSync(first.root)).toEqual(['f']);
    await until(() => region.released);
  });

  test('a file that changes is not taken for the one that was looked at', async () => {
    const { root, files } = await serve(await start());
    writeFileSync(join(root, 'f'), pattern(MIB));
    using got = await files.get({ path: 'f' });
    truncateSync(join(root, 'f'), 1000);
    await expect(got.content?.resolve()).rejects.toMatchObject({ code: 'FILE_CHANGED' });
    const { version } = got;
    expect(await refusal(files.digest({ path: 'f', length: 10, version }))).toMatchObject({
      code: 'FILE_CHANGED',
    });
    rmSync(join(root, 'f'));
    expect(await refusal(files.digest({ path: 'f', length: 10, version }))).toMatchObject({
      code: 'FILE_CHANGED',
    });
  });

  test('subscribers are told what changed through the service', async () => {
    const { files, away } = await serve(await start());
    const told: string[] = [];
    const subscribed = await away.subscribe(Files, files.$uri, {
      stored: ({ body }) => void told.push(`stored ${body.path} ${body.size}`),
      directoryMade: ({ body }) => void told.push(`made ${body.path}`),
      removed: ({ body }) => void told.push(`removed ${body.path}`),
    });
    await files.put({ path: 'a/b/f', content: content(away, 10) });
    await files.makeDirectory({ path: 'a/b/' });
    await files.makeDirectory({ path: 'a/c' });
    await files.remove({ path: 'a/b/f' });
    await refusal(files.remove({ path: 'a/b/f' }));
    await until(() => told.length >= 5);
    expect(told).toEqual(['made a', 'made a/b', 'stored a/b/f 10', 'made a/c', 'removed a/b/f']);
    expect(await subscribed.unsubscribe()).toMatchObject({ published: 5, delivered: 5 });
  });

  test('one that is read only changes nothing, and says so in its state', async () => {
    const { root, files, away } = await serve(await start(), { readOnly: true });
    writeFileSync(join(root, 'f'), 'there');
    expect(await files.$state()).toEqual({ readOnly: true });
    const refused = await Promise.all(
      [
        files.put({ path: 'f', content: content(away, 10) }),
        files.makeDirectory({ path: 'd' }),
        files.remove({ path: 'f' }),
      ].map(refusal),
    );
    for (const why of refused)
      expect(why).toMatchObject({ code: 'PERMISSION_DENIED', subcode: 'PermissionDenied' });
    expect(await files.partial({ path: 'f' })).toMatchObject({ size: 0 });
    expect(readdirSync(root)).toEqual(['f']);
  });

  test.each(['../x', 'a/../../x', '/../x', '..'])('nothing gets out of the root by %s', async (path) => {
    const { files, home, root } = await serve(await start());
    const refused = await Promise.all(
      [
        files.stat({ path }),
        files.list({ path }),
        files.get({ path }),
        files.partial({ path }),
        files.put({ path }),
        files.makeDirectory({ path }),
        files.remove({ path }),
      ].map(refusal),
    );
    for (const why of refused) expect(why).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(readdirSync(root)).toEqual([]);
    expect(logOf(home)).toEqual([]);
  });

  test('nor by links, which are removed themselves and not what they lead to', async () => {
    const { files, root } = await serve(await start());
    const outside = makeDirectory();
    writeFileSync(join(outside, 'secret'), 'secret');
    symlinkSync(outside, join(root, 'out'));
    symlinkSync(join(outside, 'secret'), join(root, 'file'));
    const refused = await Promise.all(
      [
        files.get({ path: 'file' }),
        files.get({ path: 'out/secret' }),
        files.list({ path: 'out' }),
        files.put({ path: 'out/new' }),
        files.makeDirectory({ path: 'out/new/er' }),
        files.remove({ path: 'out/secret' }),
      ].map(refusal),
    );
    for (const why of refused) expect(why).toMatchObject({ code: 'PERMISSION_DENIED' });
    expect((await files.list({ path: '' })).entries.map(({ kind }) => kind)).toEqual(['other', 'other']);
    await files.put({ path: 'file' });
    await files.remove({ path: 'out' });
    expect(readdirSync(root)).toEqual(['file']);
    expect(readdirSync(outside)).toEqual(['secret']);
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret');
  });

  test('what is no file or no place is refused with a sentence', async () => {
    const { files, root, away } = await serve(await start());
    mkdirSync(join(root, 'd'));
    execFileSync('mkfifo', [join(root, 'pipe')]);
    expect(await refusal(files.get({ path: 'pipe' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await refusal(files.get({ path: 'd' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await refusal(files.put({ path: 'd' }))).toMatchObject({ errno: 'EISDIR' });
    expect(await refusal(files.put({ path: '' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await refusal(files.remove({ path: '.' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await refusal(files.stat({ path: 'a\0b' }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await refusal(files.put({ path: 'pipe/f' }))).toMatchObject({ errno: 'ENOTDIR' });
    const writable = filledBuffer(away, 100_000);
    const lent = lend(writable, 'write', () => {
      writable.release();
    });
    expect(await refusal(files.put({ path: 'f', content: lent }))).toMatchObject({ code: 'TAG_DIRECTION' });
    expect(readdirSync(root).sort()).toEqual(['d', 'pipe']);
  });

  test('a disk that is full fails with the system’s name for it, and leaves nothing', async (context) => {
    const root = makeDirectory();
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', root], { stdio: 'ignore' });
    } catch {
      context.skip('only root may mount a file system');
    }
    mounts.push(root);
    const { files, away } = await serve(await start(), { root });
    expect(await refusal(files.put({ path: 'f', content: content(away, LARGE) }))).toMatchObject({
      code: 'SYSTEM',
      errno: 'ENOSPC',
      subcode: 'InsufficientResources',
      path: 'f',
    });
    expect(readdirSync(root)).toEqual([]);
    await files.put({ path: 'f', content: content(away, 1000) });
    expect(readdirSync(root)).toEqual(['f']);
  });

  test('more than 64 requests of one asker at once are refused, and the others go on', async () => {
    const place = await start();
    const { root, files } = await serve(place);
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    // None of these is ever told its digest.
    const waiting = Array.from({ length: 64 }, (_, index) =>
      files.put({ path: `f${index}`, transfer: `t${index}` }, { signal: stop.signal }),
    );
    await until(() => readdirSync(root).length === 64);
    expect(await refusal(files.stat({ path: '' }))).toMatchObject({ subcode: 'QueuingLimitExceeded' });
    // What they wait for is let through.
    const empty = sha256(Buffer.alloc(0));
    await files.confirm({ transfer: 't0', sha256: empty });
    await waiting[0];
    expect(await files.stat({ path: 'f0' })).toMatchObject({ kind: 'file', size: 0 });
    stop.abort();
    const outcomes = await Promise.allSettled(waiting);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await until(() => readdirSync(root).length === 1);
  });

  test('a transfer of one asker cannot be confirmed twice under one name, nor be left open by the end', async () => {
    const place = await start();
    const { root, files, home, away } = await serve(place);
    const first = refusal(files.put({ path: 'f', transfer: 'one', content: content(away, LARGE) }));
    await until(() => existsSync(join(root, '.f.splitplane-partial')));
    expect(await refusal(files.put({ path: 'g', transfer: 'one' }))).toMatchObject({
      subcode: 'DuplicateEntry',
    });
    await home.unload('files');
    expect(await first).toMatchObject({ code: 'CLOSED' });
    expect(readdirSync(root)).toEqual(['.f.splitplane-partial']);
  });
});

test('a manifest names the root in the state; without one, or with none that exists, the service does not start', async () => {
  const root = makeDirectory();
  writeFileSync(join(root, 'f'), 'there');
  const runtime = await startListening();
  const state = (path: string) =>
    element(Files.uri, 'FilesState', [
      element(Files.uri, 'root', path),
      element(Files.uri, 'readOnly', 'true'),
    ]);
  const entry = { builtin: 'files', host: 'here', partners: {}, at: { line: 1, column: 1 } } as const;
  const uri = await runtime.load({ ...entry, name: 'files', state: state(root) });
  expect(await runtime.proxy(Files, uri).stat({ path: 'f' })).toMatchObject({ kind: 'file', size: 5 });
  await expect(runtime.load({ ...entry, name: 'none' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await expect(
    runtime.load({ ...entry, name: 'gone', state: state(join(root, 'gone')) }),
  ).rejects.toMatchObject({ code: 'SYSTEM', errno: 'ENOENT' });
});
