// Transfers that break off: a server that is killed, Ctrl-C, a file that changes meanwhile. What was received is kept, verified
// against the sender and continued; and what is wrong with it is never given a name.
import { existsSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { until } from '../support/events.js';
import { Proxy } from '../support/proxy.js';
import { Command, digests, makeDirectory, makeTree, pattern, Served, sha256, splitplane } from './support.js';

const MIB = 1 << 20;
const FILE = pattern(48 * MIB, 7);
/** The link stops here, well inside the file. */
const STALL_AFTER = 24 * MIB;
/** What must have arrived by then; the rest may be anywhere on its way. */
const ARRIVED = 8 * MIB;
const PARTIAL = '.file.splitplane-partial';

interface Stalled {
  readonly served: Served;
  readonly proxy: Proxy;
  readonly command: Command;
  /** The partial file, at whichever end it is. */
  readonly partial: string;
  readonly root: string;
  readonly here: string;
  /** The same command again, straight to the server. */
  readonly again: () => ReturnType<typeof splitplane>;
}

/** A transfer in whose middle nothing moves any more, with a beginning in the partial file. */
async function stall(direction: 'get' | 'put', ...options: string[]): Promise<Stalled> {
  const [root, here] = [makeDirectory(), makeDirectory()];
  makeTree(direction === 'get' ? root : here, { file: FILE });
  const served = await Served.start(root);
  const proxy = await Proxy.before(`tcp://${served.host}`);
  proxy.tamper = (bytes) => {
    if (proxy.passed.up + proxy.passed.down > STALL_AFTER) proxy.stalled = true;
    return bytes;
  };
  const args = (host: string): string[] =>
    direction === 'get'
      ? ['get', '--json', ...options, `${host}:file`, here]
      : ['put', '--json', ...options, join(here, 'file'), `${host}:file`];
  const command = new Command(args(proxy.address.replace('tcp://', '')));
  const partial = join(direction === 'get' ? here : root, PARTIAL);
  await until(() => (statSync(partial, { throwIfNoEntry: false })?.size ?? 0) >= ARRIVED);
  return { served, proxy, command, partial, root, here, again: () => splitplane(...args(served.host)) };
}

/** Lets everything pass again. */
function resume(proxy: Proxy): void {
  proxy.tamper = undefined;
  proxy.stalled = false;
}

/** Kills the server, starts another at its place, and lets the client find that out. */
async function replaceServer({ served, proxy, root }: Stalled): Promise<Served> {
  await served.command.end('SIGKILL');
  const next = await Served.start(root, { port: served.port });
  proxy.tamper = undefined;
  proxy.stalled = false;
  proxy.cut();
  return next;
}

describe.each(['get', 'put'] as const)('%s', (direction) => {
  test('a server is killed: the command says so, and again goes on where it stopped', async () => {
    const stalled = await stall(direction);
    await replaceServer(stalled);
    expect(await stalled.command.exited).toBe(3);
    expect(stalled.command.json[0]).toMatchObject({
      ok: false,
      error: { code: expect.any(String) as string },
    });
    expect(digests(direction === 'get' ? stalled.here : stalled.root)).not.toHaveProperty('file');

    const { code, json } = await stalled.again();
    expect(code).toBe(0);
    expect(json[0]).toMatchObject({ ok: true, bytes: FILE.length, sha256: sha256(FILE) });
    expect(json[0]?.['resumedFrom']).toBeGreaterThanOrEqual(ARRIVED);
    const target = direction === 'get' ? stalled.here : stalled.root;
    expect(digests(target)).toEqual({ file: sha256(FILE) });
  });

  test('a link that only breaks is waited for, and the command succeeds', async () => {
    const { proxy, command, here, root } = await stall(direction);
    resume(proxy);
    proxy.cut(true);
    expect(await command.exited).toBe(0);
    expect(command.errors).toMatch(/The connection was lost/);
    expect(digests(direction === 'get' ? here : root)).toEqual({ file: sha256(FILE) });
  });

  test('a beginning that is not the file is thrown away', async () => {
    const stalled = await stall(direction);
    await replaceServer(stalled);
    expect(await stalled.command.exited).toBe(3);
    const spoiled = readFileSync(stalled.partial);
    spoiled[1000] = (spoiled[1000] ?? 0) ^ 1;
    writeFileSync(stalled.partial, spoiled);
    const { code, json } = await stalled.again();
    expect(code).toBe(0);
    expect(json[0]).toMatchObject({ resumedFrom: 0, sha256: sha256(FILE) });
  });

  test('Ctrl-C ends it with 130 and keeps what came', async () => {
    const { command, proxy, partial, again, served } = await stall(direction);
    command.signal('SIGINT');
    // Ending does not wait for the network here; there, a partial file is the server's, and it has to be told.
    if (direction === 'put') resume(proxy);
    expect(await command.exited).toBe(130);
    await until(() => direction === 'get' || served.log.some(({ action }) => action === 'Put'));
    expect(existsSync(partial)).toBe(true);
    const { code, json } = await again();
    expect(code).toBe(0);
    expect(json[0]?.['resumedFrom']).toBeGreaterThanOrEqual(ARRIVED);
  });

  test('SIGTERM ends it with 143', async () => {
    const { command } = await stall(direction);
    expect(await command.end('SIGTERM')).toBe(143);
  });

  test.each([['--json'], ['--no-checksum']])(
    'a file that is cut short ends it with FILE_CHANGED, %s',
    async (...options) => {
      const { command, proxy, root, here } = await stall(direction, ...options);
      truncateSync(join(direction === 'get' ? root : here, 'file'), 20 * MIB);
      resume(proxy);
      expect(await command.exited).toBe(1);
      expect(command.json[0]).toMatchObject({ ok: false, error: { code: 'FILE_CHANGED' } });
      // A put that is called off may leave its beginning, as after a break; never the file.
      expect(digests(direction === 'get' ? here : root)).not.toHaveProperty('file');
    },
  );
});

test('without checksums, a file that is rewritten meanwhile is not stored', async () => {
  const { command, proxy, root, here } = await stall('get', '--no-checksum');
  writeFileSync(join(root, 'file'), pattern(FILE.length, 8));
  utimesSync(join(root, 'file'), 1, 1);
  resume(proxy);
  expect(await command.exited).toBe(1);
  expect(command.json[0]).toMatchObject({ ok: false, error: { code: 'FILE_CHANGED' } });
  expect(digests(here)).toEqual({});
});

test('while one get writes a file, another is refused, and the first one is not disturbed', async () => {
  const { command, proxy, here, again } = await stall('get', '--no-checksum');
  const { code, json } = await again();
  expect(code).toBe(1);
  expect(json[0]).toMatchObject({ ok: false, error: { code: 'REGION_BUSY' } });
  resume(proxy);
  expect(await command.exited).toBe(0);
  expect(digests(here)).toEqual({ file: sha256(FILE) });
});
