// What the demo runs on a host: it tells what it does as lines of JSON, keeps its files in a directory of its own, and removes that when
// it ends. Argument, as JSON: Far, which serves real files until it is told to end; Near, which fetches them and puts them back; or
// Look, which tells what lies in a directory. It must not know what kind of host it is on.
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  cpSync,
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { connect, element, Envelope, XmlSerializer } from '../lib/index.js';

/** Serves the running node binary as `file`, and this project as `tree`, or a part of both. */
export interface Far {
  readonly role: 'far';
  readonly listen: string;
  readonly flags: readonly string[];
  readonly file: string;
  readonly tree: string;
  readonly part?: { readonly fileBytesMax: number; readonly folders: readonly string[] };
}

/** Fetches what a Far serves, in several ways, and puts it back into `back`. */
export interface Near {
  readonly role: 'near';
  readonly address: string;
  readonly flags: readonly string[];
  readonly file: string;
  readonly tree: string;
}

export interface Look {
  readonly role: 'look';
  readonly directory: string;
}

/** SHA-256 of every file below a directory, by path. */
export type Digests = Readonly<Record<string, string>>;

export interface Summary {
  readonly files: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly transport: string;
  readonly copiesPerByte: number;
  readonly eventLoopDelayP99Ms: number;
}

/** One message, as it came, and the buffer beside it. */
export interface ShownMessage {
  readonly envelope: string;
  readonly bytes: number;
  readonly ms: number;
  readonly sha256: string;
  readonly transport: string;
  /** What carried it: devices and their ports. */
  readonly carriers: readonly string[];
}

/** What was transferred, and from where to where below the two directories. */
export interface Transferred {
  readonly name: string;
  readonly far: string;
  readonly near: string;
  readonly summary: Summary;
}

/** What a program tells, one of these to a line. */
export interface Told {
  readonly serving?: { readonly address: string; readonly root: string };
  readonly message?: ShownMessage;
  readonly transferred?: Transferred;
  readonly digests?: Digests;
}

const CLI = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
/** At run time this file is in dist/. */
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
/** The project's own tree: what can be made again is left out. */
const NOT_OURS = /^(node_modules|build.*|dist|prebuilds|coverage|\.git)$/;
/** What `splitplane serve` speaks; docs/CLI.md has the words. */
const SERVICE = 'urn:splitplane:serve:1';

function tell(told: Told): void {
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

const children = new Set<ChildProcess>();
/** The exit code of a process that was told to end. */
let interrupted: number | undefined;

/** A `splitplane`. */
function start(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  child.once('close', () => children.delete(child));
  return child;
}

async function ended(child: ChildProcess, what: string): Promise<void> {
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code !== 0) throw new Error(`splitplane ${what} ended with ${signal ?? code}`);
}

/** A directory that is removed when this process ends: by itself, by a signal, or because those that write there were told to. */
function ownDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'splitplane-demo-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => {
      interrupted = code;
      if (children.size === 0) process.exit(code);
      for (const child of children) child.kill('SIGTERM');
    });
  }
  return directory;
}

async function prepare(root: string, { file, tree, part }: Far): Promise<void> {
  const end = (part?.fileBytesMax ?? Infinity) - 1;
  await pipeline(createReadStream(process.execPath, { end }), createWriteStream(join(root, file)));
  mkdirSync(join(root, tree));
  for (const name of part?.folders ?? readdirSync(PROJECT)) {
    if (!NOT_OURS.test(name)) cpSync(join(PROJECT, name), join(root, tree, name), { recursive: true });
  }
}

async function serve(task: Far): Promise<void> {
  const { listen, flags } = task;
  const root = ownDirectory();
  await prepare(root, task);
  const server = start(['serve', '--json', '--quiet', '--listen', listen, '--root', root, ...flags]);
  const serving = ended(server, 'serve');
  const first = once(createInterface({ input: server.stdout as NodeJS.ReadableStream }), 'line');
  const [line] = (await Promise.race([first, serving.then(() => [''])])) as [string];
  const { listening } = JSON.parse(line) as { listening: string };
  tell({ serving: { address: listening, root } });
  await serving;
}

/** Asks for a file by hand, through the public API, and tells the message that answers. */
async function showMessage(address: string, path: string): Promise<void> {
  const connection = await connect(address, { allowInsecure: true });
  const body = element(SERVICE, 'Get', [], { attributes: { path } });
  const answer = await connection.request(Envelope.of({ action: `${SERVICE}/Get`, to: SERVICE, body }));
  const [file] = answer.buffers;
  if (file === undefined) throw new Error('the answer refers to no file');
  const begin = performance.now();
  const bytes = await file.resolve();
  const ms = performance.now() - begin;
  const { transport, localAddress } = connection.facts;
  const known = connection.manager.transports.find(({ name }) => name === transport)?.facts ?? [];
  const local = localAddress.replace(/^.*\/\/|:\d+$/g, '').replace(/^\[|\]$/g, '');
  tell({
    message: {
      envelope: new XmlSerializer().pretty(answer.envelope),
      bytes: bytes.length,
      ms,
      sha256: createHash('sha256').update(bytes.bytes).digest('hex'),
      transport,
      carriers: known.filter(({ text }) => text.includes(local)).map(({ name, text }) => `${name}: ${text}`),
    },
  });
  bytes.release();
  answer.release();
  await connection.close();
}

/** A `get` or `put` to its end. */
async function transfer(args: readonly string[]): Promise<Summary> {
  const child = start([...args, '--json']);
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => (text += part));
  await ended(child, args.join(' '));
  return (JSON.parse(text.trim().split('\n').at(-1) ?? '') as { summary: Summary }).summary;
}

async function fetchAndReturn({ address, flags, file, tree }: Near): Promise<void> {
  const here = ownDirectory();
  await showMessage(address, file);
  const transfers = [
    {
      name: `get ${file}`,
      args: ['get', `${address}/${file}`, join(here, 'a')],
      far: file,
      near: `a/${file}`,
    },
    {
      name: `get ${file} --no-checksum`,
      args: ['get', '--no-checksum', `${address}/${file}`, join(here, 'b')],
      far: file,
      near: `b/${file}`,
    },
    {
      name: `get ${tree}`,
      args: ['get', `${address}/${tree}`, here],
      far: tree,
      near: tree,
    },
    {
      name: `put ${file} back`,
      args: ['put', join(here, 'a', file), `${address}/back/`],
      far: `back/${file}`,
      near: `a/${file}`,
    },
    {
      name: `put ${tree} back`,
      args: ['put', join(here, tree), `${address}/back/`],
      far: `back/${tree}`,
      near: tree,
    },
  ];
  for (const { name, args, far, near } of transfers) {
    tell({ transferred: { name, far, near, summary: await transfer([...args, ...flags]) } });
  }
  tell({ digests: await digests(here) });
}

async function digests(directory: string): Promise<Digests> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const hash = createHash('sha256');
    for await (const part of createReadStream(path)) hash.update(part as Buffer);
    found[path.slice(directory.length + 1)] = hash.digest('hex');
  }
  return found;
}

const argument = JSON.parse(process.argv[2] ?? '') as Far | Near | Look;
try {
  if (argument.role === 'far') await serve(argument);
  else if (argument.role === 'near') await fetchAndReturn(argument);
  else tell({ digests: await digests(argument.directory) });
} catch (error) {
  if (interrupted === undefined) throw error;
  process.exit(interrupted);
}
