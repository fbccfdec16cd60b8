// What docs/CLI.md shows of services is what happens: its files are written as they stand there, its lines run in a shell, and what
// they print is compared, times and the port left out.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { CLI, makeDirectory } from './support.js';

const DOCUMENT = readFileSync(new URL('../../docs/CLI.md', import.meta.url), 'utf8');
const SECTION = /^## run, services, call and watch\n(.*?)^## /ms.exec(DOCUMENT)?.[1] ?? '';
const RUNTIME = new URL('../runtime/index.js', pathToFileURL(CLI)).href;
const DOCUMENT_PORT = '7350';

/** A line that was started with & and may still run. */
class Background {
  readonly #process: ReturnType<typeof spawn>;
  readonly #exited: Promise<unknown>;
  readonly #listeners = new Set<() => void>();
  output = '';
  #ended = false;

  constructor(shell: string, line: string, options: { cwd: string; env: NodeJS.ProcessEnv }) {
    this.#process = spawn(shell, ['-c', `exec ${line}`], { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        this.#tell();
      });
    }
    this.#exited = once(this.#process, 'close').then(() => {
      this.#ended = true;
      this.#tell();
    });
  }

  /** Settles when it has printed as many lines, or has ended. */
  async printed(lines: number): Promise<void> {
    while (!this.#ended && this.output.split('\n').length <= lines) {
      await new Promise<void>((resolve) => this.#listeners.add(resolve));
    }
  }

  async end(): Promise<void> {
    this.#process.kill('SIGINT');
    await this.#exited;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }
}

const running: Background[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((background) => background.end()));
});

/** Each line of a block with a prompt, and what stands below it. */
function stepsOf(block: string): { line: string; shown: string[] }[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const [line = '', ...shown] = step
        .replaceAll('\\\n>', '\\\n')
        .trimEnd()
        .split(/(?<!\\)\n/);
      return { line, shown };
    });
}

test('the lines that docs/CLI.md shows of services print what it says', async () => {
  const directory = makeDirectory();
  for (const [, name = '', content = ''] of SECTION.matchAll(/`([\w.]+)`:\n\n```\w+\n(.*?)```/gs)) {
    const text = content.replace("'splitplane/runtime'", `'${RUNTIME}'`).replace(`:${DOCUMENT_PORT}`, ':0');
    writeFileSync(join(directory, name), text);
  }
  const command = join(directory, 'splitplane');
  writeFileSync(command, `#!/bin/sh\nexec ${process.execPath} ${CLI} "$@"\n`);
  chmodSync(command, 0o755);
  const options = { cwd: directory, env: { ...process.env, PATH: `${directory}:${process.env.PATH ?? ''}` } };
  let port = DOCUMENT_PORT;
  const normal = (text: string): string[] =>
    text
      .replaceAll(`:${port}`, `:${DOCUMENT_PORT}`)
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
      .split('\n')
      .filter((line) => line !== '');

  let blocks = 0;
  for (const [, block = ''] of SECTION.matchAll(/^```\n(\$ .*?)^```/gms)) {
    blocks++;
    const steps = stepsOf(block);
    const inBlock: Background[] = [];
    let printed = '';
    for (const { line, shown } of steps) {
      const actual = line.replaceAll(`:${DOCUMENT_PORT}`, `:${port}`);
      const isBackground = actual.endsWith('&');
      const background = new Background('/bin/sh', actual.replace(/ &$/, ''), options);
      running.push(background);
      if (!isBackground) {
        await background.printed(Infinity);
        printed += background.output;
        continue;
      }
      inBlock.push(background);
      await background.printed(shown.length);
      port = /dos:\/\/127\.0\.0\.1:(\d+)\/, listening/.exec(background.output)?.[1] ?? port;
    }
    const shown = steps.flatMap((step) => step.shown).join('\n');
    // What runs beside the others prints when it does: the lines are compared, and not their order.
    const left = (): number => normal(shown).length - normal(printed).length;
    for (const background of inBlock) {
      await background.printed(left());
      printed += background.output;
    }
    expect(normal(printed).sort()).toEqual(normal(shown).sort());
  }
  expect(blocks).toBe(4);
});
