// The tutorial of docs/RUNTIME.md, done as it says: its files are written, its commands run in their order, and what they print is what
// stands there; "…" is for what differs from run to run. Commands that go on until somebody ends them go on beside the others. Ports
// are other ones, because those of the tutorial may be taken.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { CLI, Command, makeDirectory } from './support.js';

const PORT_SHOWN = '7350';

interface Block {
  readonly kind: string;
  readonly lines: readonly string[];
}

/** What a section shows in blocks, in their order. */
function blocksOf(section: string, port = PORT_SHOWN): Block[] {
  const text = readFileSync(new URL('../../docs/RUNTIME.md', import.meta.url), 'utf8');
  const [, content = ''] = new RegExp(`^## ${section}\\n(.*?)^## `, 'ms').exec(text) ?? [];
  return [...content.replaceAll(PORT_SHOWN, port).matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(
    ([, kind = '', shown = '']) => ({ kind, lines: shown.trimEnd().split('\n') }),
  );
}

/** A folder as `npm install splitplane` leaves it, with the library that the commands are from. */
function makeProject(): string {
  const folder = makeDirectory();
  const installed = join(folder, 'node_modules/splitplane');
  mkdirSync(join(installed, 'bin'), { recursive: true });
  symlinkSync(dirname(dirname(CLI)), join(installed, 'lib'));
  writeFileSync(
    join(installed, 'package.json'),
    JSON.stringify({ type: 'module', exports: { './runtime': './lib/runtime/index.js' } }),
  );
  const command = join(installed, 'bin/splitplane');
  writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`);
  chmodSync(command, 0o755);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  return folder;
}

/** A shell's answer to a command that ends. */
async function run(line: string, cwd: string): Promise<string[]> {
  const PATH = `${join(cwd, 'node_modules/splitplane/bin')}:${process.env['PATH']}`;
  const child = spawn('bash', ['-c', `${line} 2>&1`], { cwd, env: { ...process.env, PATH } });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  await once(child, 'close');
  return text.trimEnd().split('\n');
}

/** Whether lines are what is shown, from the first to the last. A line that is "…" alone stands for any number of lines. */
function matches(lines: readonly string[], shown: readonly string[]): boolean {
  const patterns = shown.map((line) => {
    if (line === '…') return '(?:.*\n)*';
    const parts = line.split('…').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    return `${parts.join('.*')}\n`;
  });
  return new RegExp(`^${patterns.join('')}$`).test(`${lines.join('\n')}\n`);
}

/** A command and what is shown of its output; no command for lines that others print meanwhile. */
function* stepsOf({ lines }: Block): Generator<{ command: string | undefined; shown: string[] }, void, void> {
  let step: { command: string | undefined; shown: string[] } = { command: undefined, shown: [] };
  for (const line of lines) {
    if (!line.startsWith('$ ')) {
      step.shown.push(line);
      continue;
    }
    if (step.command !== undefined || step.shown.length > 0) yield step;
    step = { command: line.slice(2), shown: [] };
  }
  yield step;
}

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return String(port);
}

/** Settles when the lines that are shown were printed, one group after the other, by those that go on. */
async function untilPrinted(shown: readonly string[], going: readonly Command[]): Promise<void> {
  const printed = (line: string): boolean =>
    going.some(({ lines }) => lines.some((one) => matches([one], [line])));
  for (const line of shown) {
    await Promise.race(going.map((command) => command.until(() => printed(line))));
  }
}

test('every command prints what the tutorial says', { timeout: 120_000 }, async () => {
  const folder = makeProject();
  const going: Command[] = [];
  let commands = 0;
  for (const block of blocksOf('Tutorial', await freePort())) {
    if (block.kind !== 'console') {
      const name = /^(?:\/\/|<!--) (\S+)/.exec(block.lines[0] ?? '')?.[1] ?? '';
      writeFileSync(join(folder, name), `${block.lines.join('\n')}\n`);
      continue;
    }
    for (const { command, shown } of stepsOf(block)) {
      if (command === undefined) {
        await untilPrinted(shown, going);
        continue;
      }
      commands++;
      if (!/^splitplane (?:run|watch) /.test(command) || command.includes('--check')) {
        const lines = await run(command, folder);
        const expected = shown.length === 0 ? [''] : shown;
        expect(matches(lines, expected) ? expected : lines, command).toEqual(expected);
        continue;
      }
      const started = new Command(command.split(' ').slice(1), { cwd: folder });
      going.push(started);
      await started.until(({ lines }) => lines.length >= shown.length);
      const lines = started.lines.slice(0, shown.length);
      expect(matches(lines, shown) ? shown : lines, command).toEqual(shown);
    }
  }
  expect(commands).toBeGreaterThan(10);
  for (const command of going.reverse()) {
    expect(await command.end('SIGINT'), command.errors).toBe(0);
  }
});

test('the service that the reference shows stores and finds', { timeout: 60_000 }, async () => {
  const folder = makeProject();
  const port = await freePort();
  const [contracts, service, manifest] = ['Contracts', 'Services', 'Manifests'].map((section) =>
    blocksOf(section, port)[0]?.lines.join('\n'),
  );
  writeFileSync(join(folder, 'contracts.js'), contracts ?? '');
  writeFileSync(join(folder, 'recorder.js'), service ?? '');
  const unsecured = manifest?.replace(/<security .*\/>/, '<security off="true"/>') ?? '';
  writeFileSync(join(folder, 'manifest.xml'), unsecured.replace(/ {2}<service name="files".*\n/, ''));
  writeFileSync(join(folder, 'frame.raw'), 'pixels');
  const running = new Command(['run', 'manifest.xml', '--json'], { cwd: folder });
  await running.until(({ lines }) => lines.length > 0);
  expect(running.json[0]).toMatchObject({ services: [{ name: 'recorder', state: 'running' }] });
  const call = `splitplane call dos://127.0.0.1:${port}/recorder`;
  const frame = '<Frame><sequence>7</sequence><label>sea</label><pixels>cid:frame.raw</pixels></Frame>';
  expect((await run(`${call} Insert '${frame}' --buffer frame.raw`, folder)).join('')).toMatch(/>7<.*>6</);
  expect((await run(`${call} Query '<Find><label>sea</label></Find>'`, folder)).join('')).toMatch(/>7<.*>6</);
  expect((await run(`${call} Get`, folder)).join('')).toMatch(/RecorderState.*frames/);
  expect(await running.end('SIGINT')).toBe(0);
});
