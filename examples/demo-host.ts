// What the demo runs on a host: it tells what it does as lines of JSON, keeps its files in a directory of its own, and removes that when
// it ends. Argument, as JSON: Far, which runs the camera's manifest and serves real files until it is told to end; Near, which runs the
// manifest of those who watch, fetches the files and puts them back; or Look, which tells what lies in a directory. It must not
// know what kind of host it is on.
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
import {
  MODULES,
  placeManifest,
  Viewer,
  type Changes,
  type ShownMessage,
  type Watched,
} from './camera-hosts.js';

/** A camera, and the running node binary as `file`, and this project as `tree`, or a part of both. */
export interface Far {
  readonly role: 'far';
  readonly listen: string;
  /** Where the way to others counts as beyond one host. */
  readonly separate: boolean;
  readonly camera: CameraPart;
  readonly flags: readonly string[];
  readonly file: string;
  readonly tree: string;
  readonly part?: { readonly fileBytesMax: number; readonly folders: readonly string[] };
}

/** Watches what a Far's camera sees; fetches what it serves, in several ways, and puts it back into `back`. */
export interface Near {
  readonly role: 'near';
  readonly address: string;
  /** The prefix of the runtime with the camera. */
  readonly cameraHost: string;
  readonly transport: string;
  readonly separate: boolean;
  readonly camera: CameraPart;
  readonly flags: readonly string[];
  readonly file: string;
  readonly tree: string;
}

/** How large a camera's frames are, and how many are watched. */
export interface CameraPart {
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly recordEvery: number;
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

/** What was transferred, and from where to where below the two directories. */
export interface Transferred {
  readonly name: string;
  readonly far: string;
  readonly near: string;
  readonly summary: Summary;
}

/** What a program tells, one of these to a line. */
export interface Told {
  readonly serving?: { readonly address: string; readonly root: string; readonly cameraHost: string };
  readonly message?: ShownMessage;
  readonly watched?: Watched;
  readonly transferred?: Transferred;
  readonly digests?: Digests;
}

const CLI = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
/** At run time this file is in dist/. */
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
/** The project's own tree: what can be made again is left out. */
const NOT_OURS = /^(node_modules|build.*|dist|prebuilds|coverage|\.git)$/;

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
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });
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

/** The first line of what a process says, unless it ends before. */
async function firstLine(child: ChildProcess, end: Promise<void>): Promise<string> {
  const first = once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line');
  const [line] = (await Promise.race([first, end.then(() => [''])])) as [string];
  return line;
}

/** A runtime from a manifest of examples/camera, and what it is called. */
async function startRuntime(
  host: 'camera' | 'analysis',
  folder: string,
  changes: Changes,
): Promise<{ child: ChildProcess; ended: Promise<void>; prefix: string }> {
  const manifest = placeManifest(
    host,
    { source: `${PROJECT}examples/camera/`, modules: MODULES, folder },
    changes,
  );
  const child = start(['run', manifest, '--json']);
  const end = ended(child, `run ${host}-host.xml`);
  const { prefix, services } = JSON.parse(await firstLine(child, end)) as {
    prefix: string;
    services: { name: string; state: string; problem?: string }[];
  };
  const failed = services.find(({ state }) => state !== 'running');
  if (failed !== undefined) throw new Error(`${failed.name} does not run: ${failed.problem}`);
  return { child, ended: end, prefix };
}

/** What a manifest says where the way to others is not within one host. */
function allowInsecure(address: string, separate: boolean): string {
  return separate ? `${address}" allow-insecure="true` : address;
}

async function serve(task: Far): Promise<void> {
  const { listen, flags, separate, camera } = task;
  const root = ownDirectory();
  await prepare(root, task);
  const server = start(['serve', '--json', '--quiet', '--listen', listen, '--root', root, ...flags]);
  const serving = ended(server, 'serve');
  const { listening } = JSON.parse(await firstLine(server, serving)) as { listening: string };
  const runtime = await startRuntime('camera', ownDirectory(), {
    'tcp://127.0.0.1:7350': allowInsecure(listen, separate),
    '<width>640': `<width>${camera.width}`,
    '<height>480': `<height>${camera.height}`,
  });
  tell({ serving: { address: listening, root, cameraHost: runtime.prefix } });
  await Promise.all([serving, runtime.ended]);
}

/** Watches the camera for a while, as a runtime with the services that do. */
async function watch(task: Near, folder: string): Promise<void> {
  const { cameraHost, transport, separate, camera } = task;
  await using viewer = await Viewer.open(separate);
  tell({ message: await viewer.look(`${cameraHost}camera`) });
  const runtime = await startRuntime('analysis', folder, {
    'tcp://127.0.0.1:7351': allowInsecure('tcp://127.0.0.1:0', separate),
    'dos://127.0.0.1:7350/': cameraHost,
    '<folder>camera-frames': `<folder>${folder}/frames`,
    '<recordEvery>15': `<recordEvery>${camera.recordEvery}`,
  });
  const watching = viewer.watch(runtime.prefix, cameraHost, camera.frames, transport);
  const gone = runtime.ended.then(() => Promise.reject(new Error('the analysis ended before it was done')));
  tell({ watched: await Promise.race([watching, gone]) });
  runtime.child.kill('SIGTERM');
  await runtime.ended;
}

/** A `get` or `put` to its end. */
async function transfer(args: readonly string[]): Promise<Summary> {
  const child = start([...args, '--json']);
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => (text += part));
  await ended(child, args.join(' '));
  return (JSON.parse(text.trim().split('\n').at(-1) ?? '') as { summary: Summary }).summary;
}

async function watchAndFetch(task: Near): Promise<void> {
  const { address, flags, file, tree } = task;
  await watch(task, ownDirectory());
  const here = ownDirectory();
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
  else if (argument.role === 'near') await watchAndFetch(argument);
  else tell({ digests: await digests(argument.directory) });
} catch (error) {
  if (interrupted === undefined) throw error;
  process.exit(interrupted);
}
