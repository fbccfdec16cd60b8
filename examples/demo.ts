// `npm run demo`: two hosts; one serves a directory, the other gets what is in it and puts it back. Shows one message with its two
// planes, then what moved, how fast, and whether every byte is right. Exits with 1 if one is not.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, createReadStream, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { connect, element, Envelope, XmlSerializer } from '../lib/index.js';
import { makeHosts, start, type Host, type Hosts } from './hosts.js';

const CLI = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
/** The project's own tree: what can be made again is left out. */
const NOT_OURS = /^(node_modules|build.*|dist|prebuilds|coverage|\.git)$/;
/** What `splitplane serve` speaks; docs/CLI.md has the words. */
const SERVICE = 'urn:splitplane:serve:1';

interface Summary {
  readonly files: number;
  readonly failed: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly copiesPerByte: number;
  readonly eventLoopDelayP99Ms: number;
}

/** Runs on the near host: asks for a file by hand, through the public API, and shows the message that answers. */
async function showMessage(address: string, path: string): Promise<void> {
  const connection = await connect(address, { allowInsecure: true });
  const body = element(SERVICE, 'Get', [], { attributes: { path } });
  const answer = await connection.request(Envelope.of({ action: `${SERVICE}/Get`, to: SERVICE, body }));
  const [file] = answer.buffers;
  if (file === undefined) throw new Error('the answer refers to no file');
  console.log('\nThe control plane: the answer to "Get", as it came over the wire.\n');
  console.log(indented(new XmlSerializer().pretty(answer.envelope)));
  const begin = performance.now();
  const bytes = await file.resolve();
  const ms = performance.now() - begin;
  const sha256 = createHash('sha256').update(bytes.bytes).digest('hex');
  console.log(
    `\nThe data plane: its tag resolved, and ${bytes.length} bytes moved beside that message in ${ms.toFixed(2)} ms,\n` +
      `straight from the file into registered memory here. SHA-256 ${sha256.slice(0, 16)}...`,
  );
  bytes.release();
  answer.release();
  await connection.close();
}

function indented(text: string): string {
  return text.trim().replace(/^/gm, '    ');
}

/** What a program wrote, when it has ended well. */
async function outputOf(host: Host, args: readonly string[]): Promise<string> {
  const child = start(host, args);
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => (text += part));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`);
  return text;
}

/** The first line of a server: where it listens. */
async function serve(hosts: Hosts, root: string, flags: readonly string[]): Promise<string> {
  const listen = `${hosts.far.address}:0`;
  const server = start(hosts.far, [
    CLI,
    'serve',
    '--json',
    '--quiet',
    '--listen',
    listen,
    '--root',
    root,
    ...flags,
  ]);
  let text = '';
  server.stdout?.setEncoding('utf8').on('data', (part: string) => (text += part));
  while (!text.includes('\n')) {
    const ended = once(server, 'close').then(() => {
      throw new Error('the server ended before it listened');
    });
    await Promise.race([once(server.stdout as NodeJS.EventEmitter, 'data'), ended]);
  }
  const { listening } = JSON.parse(text.slice(0, text.indexOf('\n'))) as { listening: string };
  return listening.replace('tcp://', '');
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Buffer);
  return hash.digest('hex');
}

/** Every file below a directory, or the file itself, by path, with its digest. */
async function digests(place: string): Promise<Map<string, string>> {
  if (statSync(place).isFile()) return new Map([['', await sha256(place)]]);
  const found = new Map<string, string>();
  for (const entry of readdirSync(place, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found.set(path.slice(place.length), await sha256(path));
  }
  return found;
}

async function equal(one: string, other: string): Promise<boolean> {
  const [a, b] = [await digests(one), await digests(other)];
  return a.size > 0 && a.size === b.size && [...a].every(([path, digest]) => b.get(path) === digest);
}

/** The running node binary and this project's files, as something to serve. */
function prepare(root: string): void {
  mkdirSync(join(root, 'splitplane'), { recursive: true });
  cpSync(process.execPath, join(root, 'node'));
  for (const name of readdirSync(PROJECT)) {
    if (!NOT_OURS.test(name))
      cpSync(join(PROJECT, name), join(root, 'splitplane', name), { recursive: true });
  }
}

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    console.log(`  ${cells.join('   ')}`);
  }
}

async function main(directory: string): Promise<void> {
  const [root, here] = [join(directory, 'far'), join(directory, 'near')];
  prepare(root);
  mkdirSync(here);
  const hosts = makeHosts();
  console.log(`Two hosts: ${hosts.description}.`);
  if (hosts.separate) {
    console.log(
      'Both sides pass --allow-insecure: nothing protects bytes between hosts in this version, and these two',
    );
    console.log('addresses are not loopback. The cable between them exists in this kernel only.');
  }
  const flags = hosts.separate ? ['--allow-insecure'] : [];
  const address = await serve(hosts, root, flags);
  const self = fileURLToPath(import.meta.url);
  process.stdout.write(await outputOf(hosts.near, [self, 'message', address, 'node']));

  const transfers = [
    { name: 'get node', args: ['get', `${address}:node`, join(here, 'a')], pair: ['node', 'a/node'] },
    {
      name: 'get node --no-checksum',
      args: ['get', '--no-checksum', `${address}:node`, join(here, 'b')],
      pair: ['node', 'b/node'],
    },
    {
      name: 'get this project',
      args: ['get', `${address}:splitplane`, here],
      pair: ['splitplane', 'splitplane'],
    },
    {
      name: 'put node back',
      args: ['put', join(here, 'a/node'), `${address}:back/`],
      pair: ['back/node', 'a/node'],
    },
    {
      name: 'put this project back',
      args: ['put', join(here, 'splitplane'), `${address}:back/`],
      pair: ['back/splitplane', 'splitplane'],
    },
  ] as const;
  const rows = [['', 'files', 'bytes', 'seconds', 'GB/s', 'digests', 'copies/byte', 'loop delay p99']];
  for (const { name, args, pair } of transfers) {
    const lines = (await outputOf(hosts.near, [CLI, ...args, '--json', ...flags])).trim().split('\n');
    const { summary } = JSON.parse(lines.at(-1) ?? '') as { summary: Summary };
    const same = await equal(join(root, pair[0]), join(here, pair[1]));
    if (!same) process.exitCode = 1;
    const { files, bytes, seconds, copiesPerByte, eventLoopDelayP99Ms } = summary;
    rows.push([
      name,
      String(files),
      String(bytes),
      seconds.toFixed(3),
      (bytes / seconds / 1e9).toFixed(3),
      same ? 'equal' : 'DIFFERENT',
      copiesPerByte.toFixed(2),
      `${eventLoopDelayP99Ms.toFixed(1)} ms`,
    ]);
  }
  console.log(
    '\nWhat moved, each file compared with its source byte by byte through SHA-256, and fsynced:\n',
  );
  printTable(rows);
  console.log(
    '\nThe kernel moves a file to the socket by itself; only files of a few kilobytes travel inside the message, copied.',
  );
  console.log(
    'The time includes SHA-256 at both ends and fsync; the delay contains the 1 ms between two looks.',
  );
  if (process.exitCode === 1) console.error('\nA digest differs.');
}

if (process.argv[2] === 'message') {
  await showMessage(process.argv[3] ?? '', process.argv[4] ?? '');
} else {
  const directory = mkdtempSync(join(tmpdir(), 'splitplane-demo-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  await main(directory);
  // The server goes on until it is told to stop.
  process.exit();
}
