// Proves the constructor: it makes services of built-in kinds and of modules below the manifest's folder, with name, partners and
// state as wished; whatever is wrong is a fault with the right name, leads out of no folder, and leaves nothing behind.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import {
  body,
  Constructor,
  contract,
  integer,
  Memory,
  Service,
  Submit,
  type Handlers,
  type Runtime,
} from '../../../../lib/runtime/index.js';
import { compose } from '../../../../lib/runtime/compose.js';
import { until } from '../../../support/events.js';
import { PLACES, servicePath, startRuntime, subcode } from '../../../support/runtimes.js';
import { Counter } from '../../../runtime/services/counter.js';

/** Where the modules of these tests are, as if a manifest were beside them. */
const SOURCE = servicePath('manifest.xml');

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'constructor-'));
  folders.push(folder);
  return folder;
}

const constructorOf = (home: Runtime, from = home) => from.proxy(Constructor, `${home.prefix}constructor`);

describe.each(PLACES)('asked from the $name', (place) => {
  test('a service of a built-in kind is there when the answer is, with the state that was wished for', async () => {
    const { home, away } = await place.start();
    const state = compose(Memory.state as never, Memory.uri, { regions: [{ name: 'a', length: 5 }] }).element;
    const created = await constructorOf(home, away).create({
      builtin: 'memory',
      name: 'frames/memory',
      contract: Memory.uri,
      partners: [],
      state,
    });
    expect({ ...created }).toEqual({ uri: `${home.prefix}frames/memory`, name: 'frames/memory' });
    const memory = away.proxy(Memory, created.uri);
    expect((await memory.query()).regions).toMatchObject([{ name: 'a', length: 5 }]);
    await memory.$drop();
  });

  test('without a name it gets one that says what it is, and no two get the same', async () => {
    const { home, away } = await place.start();
    const proxy = constructorOf(home, away);
    const [one, two] = [
      await proxy.create({ builtin: 'memory', partners: [] }),
      await proxy.create({ builtin: 'memory', partners: [] }),
    ];
    expect(one.name).toMatch(/^memory\/[0-9a-f-]{36}$/);
    expect(two.name).not.toBe(one.name);
    expect(await away.proxy(Memory, one.uri).$lookup()).toMatchObject({ contract: Memory.uri });
  });

  test('what cannot be made is a fault that says why', async () => {
    const { home, away } = await place.start();
    const proxy = constructorOf(home, away);
    const create = (wish: Partial<Parameters<typeof proxy.create>[0]>) =>
      subcode(proxy.create({ partners: [], ...wish }));
    await proxy.create({ builtin: 'memory', name: 'taken', partners: [] });
    expect(await create({ builtin: 'memory', name: 'taken' })).toBe('DuplicateEntry');
    expect(await create({ builtin: 'memory', name: 'directory' })).toBe('DuplicateEntry');
    expect(await create({ builtin: 'toString' })).toBe('UnknownEntry');
    expect(await create({ builtin: 'memory', name: '../x' })).toBe('OperationFailed');
    expect(await create({ builtin: 'memory', name: '' })).toBe('OperationFailed');
    expect(await create({ builtin: 'memory', contract: 'urn:other' })).toBe('OperationFailed');
    expect(await create({})).toBe('MessageNotSupported');
    expect(await create({ builtin: 'memory', module: './counter.ts' })).toBe('MessageNotSupported');
    const partner = { name: 'a', uri: 'dos:///b' };
    expect(await create({ builtin: 'memory', partners: [partner, partner] })).toBe('OperationFailed');
    expect(await create({ builtin: 'memory', partners: [{ name: 'a', uri: 'b' }] })).toBe('OperationFailed');
    // A state of somebody else's contract.
    const state = compose(Counter.state as never, Counter.uri, { count: 1 }).element;
    expect(await create({ builtin: 'memory', name: 'bad', state })).toBe('OperationFailed');
    expect(home.snapshot().services.find(({ name }) => name === 'bad')?.state).toBe('failed');
    // Without a manifest there is no folder.
    expect(await create({ module: './counter.ts' })).toBe('PermissionDenied');
  });
});

test('a module below the folder of the manifest becomes a service with its partners', async () => {
  const runtime = await startRuntime({ source: SOURCE });
  const proxy = constructorOf(runtime);
  const first = await proxy.create({ module: './counter.ts', partners: [] });
  expect(first.name).toMatch(/^counter\//);
  const partners = [{ name: 'other', uri: first.uri }];
  const state = compose(Counter.state as never, Counter.uri, { count: 7 }).element;
  const second = await proxy.create({ module: 'counter.ts', name: 'second', partners, state });
  const counter = runtime.proxy(Counter, second.uri);
  expect(await counter.$state()).toMatchObject({ count: 7 });
  await counter.addToPartner({ count: 3 });
  expect(await runtime.proxy(Counter, first.uri).$state()).toMatchObject({ count: 3 });
});

test('no path and no link leads out of the folder, and whether something is there is not told', async () => {
  const folder = newFolder();
  const inside = join(folder, 'inside');
  mkdirSync(inside);
  writeFileSync(join(folder, 'outside.mjs'), 'throw new Error("It was imported.");\n');
  symlinkSync(join(folder, 'outside.mjs'), join(inside, 'link.mjs'));
  symlinkSync(folder, join(inside, 'way'));
  const runtime = await startRuntime({ source: join(inside, 'manifest.xml') });
  const proxy = constructorOf(runtime);
  const create = (module: string) => subcode(proxy.create({ module, partners: [] }));
  expect(await create('../outside.mjs')).toBe('PermissionDenied');
  expect(await create('../not-there.mjs')).toBe('PermissionDenied');
  expect(await create(join(folder, 'outside.mjs'))).toBe('PermissionDenied');
  expect(await create('../inside-too/x.mjs')).toBe('PermissionDenied');
  expect(await create('x/../../outside.mjs')).toBe('PermissionDenied');
  expect(await create('.')).toBe('PermissionDenied');
  expect(await create('node:fs')).toBe('UnknownEntry');
  expect(await create('data:text/javascript,1')).toBe('UnknownEntry');
  expect(await create('link.mjs')).toBe('UnknownEntry');
  expect(await create('way/outside.mjs')).toBe('UnknownEntry');
  expect(await create('way')).toBe('UnknownEntry');
  expect(await create('not-there.mjs')).toBe('UnknownEntry');
});

test('what a module throws is told to the console and not to whoever asked', async () => {
  const folder = newFolder();
  writeFileSync(join(folder, 'broken.mjs'), 'throw new Error("secret of mine");\n');
  writeFileSync(join(folder, 'nothing.mjs'), 'export const nothing = 1;\n');
  const runtime = await startRuntime({ source: join(folder, 'manifest.xml') });
  const proxy = constructorOf(runtime);
  const why = async (module: string): Promise<string> => {
    const error: unknown = await proxy.create({ module, name: 'x', partners: [] }).catch((e: unknown) => e);
    return (error as { fault: { reason: string } }).fault.reason;
  };
  expect(await why('broken.mjs')).not.toMatch(/secret|constructor-/);
  expect(await why('nothing.mjs')).toMatch(/nothing\.mjs does not export/);
  expect(await why('nothing.mjs')).not.toContain(folder);
});

const Maker = contract('urn:splitplane:test:maker:1', {
  operations: { ready: Submit(body('Ready', {}), body('IsReady', { made: integer() })) },
});

test('a service that creates another while it starts does not wait for itself', async () => {
  const runtime = await startRuntime();
  class MakerService extends Service<typeof Maker> {
    readonly contract = Maker;
    made = 0;
    readonly handlers: Handlers<typeof Maker> = { ready: () => ({ made: this.made }) };
    override async start(): Promise<void> {
      await this.proxy(Constructor, 'dos:///constructor').create({ builtin: 'memory', partners: [] });
      this.made++;
    }
  }
  const uri = await runtime.add(new MakerService(), { name: 'maker' });
  expect(await runtime.proxy(Maker, uri).ready()).toEqual({ made: 1 });
});

test('a service that nobody waits for any more when it has started is ended again', async () => {
  const folder = newFolder();
  const entry = new URL('../../../../lib/runtime/index.ts', import.meta.url).href;
  writeFileSync(
    join(folder, 'slow.ts'),
    `import { contract, Service } from ${JSON.stringify(entry)};
export default class extends Service {
  contract = contract('urn:splitplane:test:slow:1', {});
  handlers = {};
  start() { return new Promise((resolve) => { globalThis.letSlowStart = resolve; }); }
}
`,
  );
  const runtime = await startRuntime({ source: join(folder, 'manifest.xml') });
  const abort = new AbortController();
  const creating = constructorOf(runtime).create(
    { module: 'slow.ts', name: 'slow', partners: [] },
    { signal: abort.signal },
  );
  const world = globalThis as { letSlowStart?: () => void };
  await until(() => world.letSlowStart !== undefined);
  abort.abort();
  await expect(creating).rejects.toMatchObject({ code: 'ABORTED' });
  world.letSlowStart?.();
  await until(() => runtime.snapshot().services.every(({ name }) => name !== 'slow'));
});
