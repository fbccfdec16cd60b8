/**
 * Every process the benchmark starts, and nothing else: it starts them, waits for them, and ends exactly these when a measurement
 * is over, takes too long, or the user presses Ctrl-C. It knows no subject. Native tools run on a leash (peers/leash.c), which
 * reports their CPU time and ends them with this process even when this process is killed.
 */
import { execFile, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { access, constants, mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { BenchError, KIB } from './measurement.js';

const execFileAsync = promisify(execFile);

/** The checkout: the compiled file is dist/bench/children.js, and tests of what needs no process load the source. */
export const PROJECT_ROOT = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../' : '../../', import.meta.url),
);
const BUILD_DIRECTORY = `${PROJECT_ROOT}build/bench`;

/** A tool that writes more than this is broken; its output is cut off here. */
const TOOL_OUTPUT_BYTES_MAX = 4 * 1024 * 1024;

const live = new Set<ChildProcess>();

function track(child: ChildProcess): ChildProcess {
  live.add(child);
  child.once('exit', () => live.delete(child));
  child.once('error', () => live.delete(child));
  return child;
}

/** Ends what is still running: Node.js dies of SIGTERM at once, the leash ends its tool and then itself. */
export function killAllChildren(): void {
  for (const child of live) child.kill('SIGTERM');
}

export async function kill(child: ChildProcess): Promise<void> {
  if (!live.has(child)) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}

/** Two lists of cores, as taskset takes them. */
export interface Placement {
  readonly server: string;
  readonly client: string;
}

/**
 * Each of the two processes gets half of the cores, all its threads included, as on two hosts. Left to itself the scheduler
 * puts both on one core or on two as it likes, and the round trip of the same program is 5 or 60 us from one run to the next. The
 * cores are those that process `of` may use: a measured process has half of them.
 */
export function placement(of: number = process.pid): Placement {
  const status = readFileSync(`/proc/${of}/status`, 'utf8');
  const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(status)?.[1] ?? '0';
  const cores = allowed.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const half = Math.max(1, Math.floor(cores.length / 2));
  return { server: cores.slice(0, half).join(','), client: cores.slice(-half).join(',') };
}

/** Of a list of cores as `placement` gives it. */
export function firstCore(cores: string): string {
  return cores.split(',')[0] ?? '0';
}

/** What a tool says of its version: the first group of `pattern` in what it prints, or "unknown". */
export async function toolVersion(
  command: string,
  args: readonly string[],
  pattern: RegExp,
): Promise<string> {
  const { stdout } = await execFileAsync(command, [...args]);
  return pattern.exec(stdout)?.[1] ?? 'unknown';
}

/** The version of a package that the project has installed. */
export async function packageVersion(name: string): Promise<string> {
  const text = await readFile(`${PROJECT_ROOT}node_modules/${name}/package.json`, 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

export function forkNode(script: URL, cores: string, flags: readonly string[] = []): ChildProcess {
  return track(
    fork(fileURLToPath(script), [], {
      execPath: 'taskset',
      execArgv: ['-c', cores, process.execPath, ...flags],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    }),
  );
}

/** Rejects after `timeoutMs`, and gives `work` up. The caller ends the processes `work` waits for. */
export async function withTimeout<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new BenchError('ERR_BENCH_TIMEOUT', `${what} did not finish within ${timeoutMs} ms; it was ended.`),
      );
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, expired]);
  } finally {
    clearTimeout(timer);
  }
}

export async function requireTool(command: string, debianPackage: string): Promise<void> {
  const path = process.env['PATH'] ?? '';
  for (const directory of path.split(':')) {
    try {
      await access(`${directory}/${command}`, constants.X_OK);
      return;
    } catch {
      // Not here; the next directory may have it.
    }
  }
  throw new BenchError(
    'ERR_BENCH_TOOL_MISSING',
    `${command} is not installed. Install it with: apt-get install ${debianPackage}, or leave it out with --only.`,
  );
}

/** Compiles bench/peers/NAME.c and answers with the path of the program. It is cheap enough to do at every start. */
export async function compileC(name: string): Promise<string> {
  await requireTool('cc', 'gcc libc6-dev');
  await mkdir(BUILD_DIRECTORY, { recursive: true });
  const program = `${BUILD_DIRECTORY}/${name}`;
  try {
    await execFileAsync('cc', [
      '-std=gnu11',
      '-O2',
      '-Wall',
      '-o',
      program,
      `${PROJECT_ROOT}bench/peers/${name}.c`,
    ]);
  } catch (cause) {
    throw new BenchError('ERR_BENCH_BUILD', `bench/peers/${name}.c does not compile; see the cause.`, {
      cause,
    });
  }
  return program;
}

/**
 * Compiles bench/native/NAME.cc against the native library that the build has just made, so that what is measured is what the
 * addon holds. Answers with the path of the program.
 */
export async function compileNative(name: string): Promise<string> {
  await requireTool('g++', 'g++');
  await mkdir(BUILD_DIRECTORY, { recursive: true });
  const program = `${BUILD_DIRECTORY}/native-${name}`;
  try {
    await execFileAsync('g++', [
      ...['-std=c++20', '-O2', '-D_GNU_SOURCE', '-fno-exceptions', '-fno-rtti', '-I', PROJECT_ROOT],
      ...['-o', program, `${PROJECT_ROOT}bench/native/${name}.cc`],
      ...[`${PROJECT_ROOT}build/Release/splitplane_core.a`, '-ldl', '-pthread'],
    ]);
  } catch (cause) {
    throw new BenchError('ERR_BENCH_BUILD', `bench/native/${name}.cc does not compile; see the cause.`, {
      cause,
    });
  }
  return program;
}

let leash: Promise<string> | undefined;

/** The program that native tools are started with, compiled at the first use. */
export function leashProgram(): Promise<string> {
  return (leash ??= compileC('leash'));
}

export interface ToolResult {
  readonly stdout: string;
  /** User and system time of the tool and its descendants, from start to end. */
  readonly cpuSeconds: number;
  /** The highest of the largest process among them. */
  readonly residentMiB: number;
}

/** What the leash writes when its command has ended; `undefined` where it has not. */
export function parseUsage(text: string): Omit<ToolResult, 'stdout'> | undefined {
  const [, cpuSeconds, residentKib] = /(\d+\.\d+) (\d+)\s*$/.exec(text) ?? [];
  if (cpuSeconds === undefined || residentKib === undefined) return undefined;
  return { cpuSeconds: Number(cpuSeconds), residentMiB: Number(residentKib) / KIB };
}

export interface Tool {
  /** Settles when the tool has ended by itself; rejects where it failed. */
  readonly result: Promise<ToolResult>;
  /** Settles when the tool has printed `text`. */
  printed(text: string): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a native tool. The caller awaits `result` or calls `stop()`; doing both is fine. */
export async function startTool(
  command: string,
  args: readonly string[],
  { cores, environment = {} }: { cores?: string; environment?: Readonly<Record<string, string>> } = {},
): Promise<Tool> {
  const child = track(
    spawn(
      await leashProgram(),
      [...(cores === undefined ? [] : ['taskset', '-c', cores]), command, ...args],
      {
        stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
        env: { ...process.env, ...environment },
      },
    ),
  );
  const output = ['', '', '', ''];
  let onOutput: (() => void) | undefined;
  for (const descriptor of [1, 2, 3]) {
    child.stdio[descriptor]?.on('data', (chunk: Buffer) => {
      const before = output[descriptor] ?? '';
      if (before.length < TOOL_OUTPUT_BYTES_MAX) output[descriptor] = before + chunk.toString('utf8');
      onOutput?.();
    });
  }
  const result = new Promise<ToolResult>((resolve, reject) => {
    child.once('error', (cause) => {
      reject(new BenchError('ERR_BENCH_PEER', `${command} could not be started; see the cause.`, { cause }));
    });
    child.once('close', (exitCode) => {
      const usage = parseUsage(output[3] ?? '');
      if (exitCode === 0 && usage !== undefined) resolve({ stdout: output[1] ?? '', ...usage });
      else
        reject(
          new BenchError('ERR_BENCH_PEER', `${command} failed: ${lastLines(output[2] || output[1] || '')}`),
        );
      onOutput?.();
    });
  });
  // A tool that is stopped fails; whoever waits for `result` hears of it, and nobody else needs to.
  result.catch(() => undefined);
  return {
    result,
    printed: (text) =>
      new Promise<void>((resolve, reject) => {
        onOutput = () => {
          if ((output[1] ?? '').includes(text)) resolve();
        };
        onOutput();
        result.then(() => {
          reject(new BenchError('ERR_BENCH_PEER', `${command} ended before it was ready.`));
        }, reject);
      }),
    stop: () => kill(child),
  };
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-5).join(' ') || 'it said nothing';
}

/** A port that was free a moment ago, for tools that cannot choose one themselves. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string')
    throw new TypeError('a TCP server has an address with a port');
  return address.port;
}
