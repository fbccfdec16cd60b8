// The command line in real processes: run one to its end, or keep one and talk to it by signals; directories that end with the
// test. The programs are compiled as those of test/support/children are.
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach } from 'vitest';
import { News } from '../support/events.js';
import { fill } from '../support/managers.js';
import { program } from '../support/processes.js';

export type Json = Record<string, unknown>;

/** The compiled `splitplane`. */
export const CLI = fileURLToPath(new URL('../../../lib/cli/main.js', pathToFileURL(program('peer'))));

const running = new Set<Command>();
const directories = new Set<string>();

afterEach(async () => {
  await Promise.all([...running].map((command) => command.end('SIGKILL')));
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  directories.clear();
});

/** A `splitplane` that runs. */
export class Command {
  readonly process: ChildProcess;
  /** What it exits with: 128 and the signal's number if that ended it, as in a shell. */
  readonly exited: Promise<number>;
  /** Lines of standard output so far. */
  readonly lines: string[] = [];
  errors = '';
  readonly #news = new News();

  constructor(
    args: readonly string[],
    { cwd = tmpdir(), input = '' }: { cwd?: string; input?: string } = {},
  ) {
    this.process = spawn(process.execPath, [CLI, ...args], { cwd, stdio: 'pipe' });
    // What ends without reading it all is no failure of the test.
    this.process.stdin?.on('error', () => undefined).end(input);
    running.add(this);
    let rest = '';
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      this.lines.push(...parts);
      this.#news.happened();
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
      this.#news.happened();
    });
    this.exited = once(this.process, 'close').then(([code, signal]) => {
      running.delete(this);
      this.#news.happened();
      return (code as number | null) ?? 128 + (signal === 'SIGKILL' ? 9 : 15);
    });
  }

  get json(): Json[] {
    return this.lines.map((line) => JSON.parse(line) as Json);
  }

  /** Settles when `holds` does, looking whenever it has written something. Rejects when it ends before. */
  async until(holds: (command: this) => boolean): Promise<void> {
    while (!holds(this)) {
      if (!running.has(this)) throw new Error(`It ended before. ${this.lines.join('\n')}\n${this.errors}`);
      await this.#news.next();
    }
  }

  signal(name: NodeJS.Signals): void {
    this.process.kill(name);
  }

  async end(name: NodeJS.Signals): Promise<number> {
    this.signal(name);
    return await this.exited;
  }
}

export interface Outcome {
  readonly code: number;
  readonly lines: readonly string[];
  readonly json: Json[];
  readonly errors: string;
}

/** Runs it to its end. */
export async function splitplane(...args: string[]): Promise<Outcome> {
  return await outcomeOf(new Command(args));
}

/** Runs it to its end, as splitplane does. */
export async function outcomeOf(command: Command): Promise<Outcome> {
  const code = await command.exited;
  return {
    code,
    lines: command.lines,
    errors: command.errors,
    get json() {
      return command.json;
    },
  };
}

/** A `splitplane serve`, and where it listens. */
export class Served {
  readonly command: Command;
  /** HOST:PORT. */
  readonly host: string;

  private constructor(command: Command, host: string) {
    this.command = command;
    this.host = host;
  }

  static async start(root: string, options: { port?: string; args?: string[] } = {}): Promise<Served> {
    const { port = '0', args = [] } = options;
    const command = new Command([
      'serve',
      '--json',
      '--listen',
      `127.0.0.1:${port}`,
      '--root',
      root,
      ...args,
    ]);
    await command.until(({ lines }) => lines.length > 0);
    const address = command.json[0]?.['listening'] as string;
    return new Served(command, address.replace('tcp://', ''));
  }

  get port(): string {
    return this.host.slice(this.host.lastIndexOf(':') + 1);
  }

  /** The log of requests so far. */
  get log(): Json[] {
    return this.command.json.slice(1);
  }
}

/** A directory that ends with the test. */
export function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'splitplane-cli-'));
  directories.add(directory);
  return directory;
}

/** Bytes that only this seed gives. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  fill(bytes, seed);
  return bytes;
}

/** Files by path, with their content; a path with a slash at its end is an empty directory. */
export function makeTree(root: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [path, content] of Object.entries(files)) {
    const place = join(root, path);
    mkdirSync(path.endsWith('/') ? place : dirname(place), { recursive: true });
    if (!path.endsWith('/')) writeFileSync(place, content);
  }
}

/** What lies below a directory: each file's SHA-256 by path, '' for a directory. */
export function digests(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  if (!existsSync(root)) return found;
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const place = join(entry.parentPath, entry.name);
    const path = place.slice(root.length + 1);
    found[path] = entry.isFile() ? sha256(readFileSync(place)) : '';
  }
  return found;
}

export function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
