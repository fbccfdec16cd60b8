// Runtimes whose services live beside their callers, in threads and in processes. Node 20 cannot start a thread from TypeScript, so these
// are of the compiled library, with the compiled services; what they give and take must come from there, too.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, expect } from 'vitest';
import type * as transport from '../../lib/index.js';
import type * as library from '../../lib/runtime/index.js';
import type { LogLine } from './runtimes.js';
import type * as probe from '../runtime/services/probe.js';
import { compiledFile } from './processes.js';

async function compiled<M>(name: string): Promise<M> {
  return (await import(/* @vite-ignore */ pathToFileURL(compiledFile(name)).href)) as M;
}

const { Runtime } = await compiled<typeof library>('lib/runtime/index');
export const { element, Envelope } = await compiled<typeof transport>('lib/index');
export const { lend } = await compiled<typeof library>('lib/runtime/index');
export const { Probe, bytesOf, digestOf } = await compiled<typeof probe>('test/runtime/services/probe');
export type Hosting = library.Runtime & { readonly lines: readonly LogLine[] };
export type ProbeProxy = library.Proxy<typeof Probe>;

export const HOSTS = ['here', 'thread', 'process'] as const;
export type Host = (typeof HOSTS)[number];

const open = new Set<library.Runtime>();
const outside = tmpdir();
const folders: string[] = [];
/** Where the runtimes of a file put what is temporary: nothing, once they are closed. */
const temporary = mkdtempSync(join(outside, 'splitplane-test-'));
process.env.TMPDIR = temporary;

afterEach(async () => {
  const all = [...open].reverse();
  open.clear();
  for (const runtime of all) await runtime.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  expect(readdirSync(temporary)).toEqual([]);
});

afterAll(() => {
  rmSync(temporary, { recursive: true });
});

/** A policy that goes with its test. */
export function policyFile(text: string): string {
  const folder = mkdtempSync(join(outside, 'splitplane-test-'));
  folders.push(folder);
  const path = join(folder, 'policy.xml');
  writeFileSync(path, text);
  return path;
}

/** A runtime that ends with its test. */
export async function startHosting(init: library.RuntimeInit = {}): Promise<Hosting> {
  const lines: LogLine[] = [];
  const log: library.Log = (level, source, text) => {
    lines.push({ level, source, text });
  };
  const runtime = await Runtime.start({ security: { off: true }, ...init }, { log });
  open.add(runtime);
  return Object.assign(runtime, { lines });
}

/** The entry of a probe. */
export function probeAt(host: Host, init: Partial<library.ServiceEntry> = {}): library.ServiceEntry {
  const module = pathToFileURL(compiledFile('test/runtime/services/probe')).href;
  return { name: 'probe', module, host, partners: {}, ...init };
}
