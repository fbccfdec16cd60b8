// Processes that tests start: programs of test/support/children, and services for threads and processes, compiled beside the library when they are older than their
// source (node 20 does not run TypeScript), each with a channel for messages. Every one is ended after its test.
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { afterEach } from 'vitest';
import { News } from './events.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const COMPILED = join(ROOT, 'build/test-children');
const SOURCES = ['lib', 'examples', 'test/support/children', 'test/runtime/services'];

let compiled = false;

/** Compiles what is older than its source. Several processes may do so at once: files appear whole or not at all. */
function compile(): void {
  if (compiled) return;
  const stale = SOURCES.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
      join(ROOT, folder, name),
    ),
  ).filter((source) => source.endsWith('.ts') && isStale(source));
  // Loading TypeScript's compiler would take longer than many of the tests.
  const { outputFiles } = buildSync({
    entryPoints: stale,
    outbase: ROOT,
    outdir: COMPILED,
    format: 'esm',
    target: 'node20',
    write: false,
  });
  for (const { path: target, contents } of outputFiles) {
    mkdirSync(dirname(target), { recursive: true });
    const partial = `${target}.${process.pid}`;
    writeFileSync(partial, contents);
    renameSync(partial, target);
  }
  compiled = true;
}

function isStale(source: string): boolean {
  const target = join(COMPILED, relative(ROOT, source).replace(/\.ts$/, '.js'));
  const existing = statSync(target, { throwIfNoEntry: false });
  return existing === undefined || existing.mtimeMs <= statSync(source).mtimeMs;
}

/** Compiles the library for threads that it starts; vitest.config.ts has them begin there. */
export function compileWorkers(): void {
  compile();
}

/** The compiled program NAME of test/support/children: to fork, or to run as a worker. */
export function program(name: string): string {
  return compiledFile(`test/support/children/${name}`);
}

/** The compiled form of a source file, by its path from the root without ".ts". */
export function compiledFile(name: string): string {
  compile();
  return join(COMPILED, `${name}.js`);
}

const children = new Set<ChildProcess>();

afterEach(async () => {
  await Promise.all(
    [...children].map(async (child) => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }),
  );
});

export interface ChildOptions {
  /** One JSON value for the program. */
  readonly argument?: unknown;
  readonly execArgv?: readonly string[];
  /** What runs node: `['ip', 'netns', 'exec', NAME]`, for example. */
  readonly prefix?: readonly string[];
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process of ours with a channel to it. */
export class Child {
  readonly process: ChildProcess;
  /** Settles when it has ended. */
  readonly exited: Promise<Exit>;
  readonly #told: Record<string, unknown>[] = [];
  readonly #news = new News();
  #errors = '';

  constructor(name: string, options: ChildOptions = {}) {
    const { argument = {}, execArgv = [], prefix = [] } = options;
    const script = program(name);
    const [command, ...rest] = prefix;
    this.process =
      command === undefined
        ? fork(script, [JSON.stringify(argument)], {
            execArgv: [...execArgv],
            stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
          })
        : spawn(command, [...rest, process.execPath, ...execArgv, script, JSON.stringify(argument)], {
            stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
          });
    children.add(this.process);
    this.exited = new Promise((resolve) => {
      this.process.once('exit', (code, signal) => {
        children.delete(this.process);
        resolve({ code, signal });
        this.#news.happened();
      });
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
    this.process.on('message', (message) => {
      this.#told.push(message as Record<string, unknown>);
      this.#news.happened();
    });
  }

  get pid(): number {
    return this.process.pid as number;
  }

  /** What it wrote to its standard error. */
  get errors(): string {
    return this.#errors;
  }

  tell(message: Record<string, unknown>): void {
    this.process.send(message);
  }

  /** The first thing it told, told or yet to come, with this property; it is taken. Rejects when the process ends first. */
  async told<T>(property: string): Promise<T> {
    for (;;) {
      const index = this.#told.findIndex((message) => property in message);
      if (index >= 0) return this.#told.splice(index, 1)[0]?.[property] as T;
      if (this.process.exitCode !== null || this.process.signalCode !== null) {
        throw new Error(`The child ended before it told ${property}. ${this.#errors}`);
      }
      await this.#news.next();
    }
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name);
  }
}
