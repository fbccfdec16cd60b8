// Proves the directory: what runs and what failed is listed, filtered and in pages that come together to everything, also while
// services come and go; one service is told whole; subscribers learn what comes, fails and goes.
import { describe, expect, test } from 'vitest';
import { contract, Directory, Service, type Runtime } from '../../../../lib/runtime/index.js';
import {
  DIRECTORY_PAGE_MAX,
  DIRECTORY_SCAN_MAX,
  DirectoryService,
} from '../../../../lib/runtime/services/directory.js';
import { firstNot } from '../../../../lib/runtime/services/page.js';
import type { ServiceSnapshot } from '../../../../lib/runtime/snapshot.js';
import { code, until } from '../../../support/events.js';
import { PLACES, startRuntime, subcode } from '../../../support/runtimes.js';

const Silent = contract('urn:splitplane:test:silent:1', {});
const Other = contract('urn:splitplane:test:other:1', {});

class SilentService extends Service<typeof Silent> {
  readonly contract = Silent;
  readonly handlers = {};
}
class OtherService extends Service<typeof Other> {
  readonly contract = Other;
  readonly handlers = {};
}

const OWN = ['console', 'directory', 'node'];
const directoryOf = (home: Runtime, from = home) => from.proxy(Directory, `${home.prefix}directory`);

/** A module that there is not. */
const BROKEN = {
  name: 'broken',
  module: 'file:///nowhere/there-is-none.js',
  host: 'here',
  partners: {},
} as const;

describe.each(PLACES)('asked from the $name', (place) => {
  test('what runs and what failed is listed by name, and can be picked by contract, prefix and state', async () => {
    const { home, away } = await place.start();
    await home.add(new SilentService(), { name: 'cameras/front' });
    await home.add(new SilentService(), { name: 'cameras/back' });
    await home.add(new OtherService(), { name: 'zoo' });
    await home.load(BROKEN).catch(() => undefined);
    const proxy = directoryOf(home, away);
    const names = async (query?: Parameters<typeof proxy.query>[0]) =>
      (await proxy.query(query)).services.map(({ name }) => name);
    const all = await names();
    expect(all).toEqual([...all].sort());
    expect(all).toEqual(expect.arrayContaining([...OWN, 'broken', 'cameras/back', 'cameras/front', 'zoo']));
    expect(await names({ contract: Silent.uri })).toEqual(['cameras/back', 'cameras/front']);
    expect(await names({ prefix: 'cameras/f' })).toEqual(['cameras/front']);
    expect(await names({ prefix: 'cameras/g' })).toEqual([]);
    expect(await names({ state: 'failed' })).toEqual(['broken']);
    expect(await names({ state: 'running', prefix: 'b' })).toEqual([]);
    expect(await names({ prefix: 'cameras/', after: 'cameras/back' })).toEqual(['cameras/front']);
    expect(await names({ prefix: 'z', after: 'a' })).toEqual(['zoo']);
  });

  test('one service is told with its partners and its queue, and with what is wrong with it', async () => {
    const { home, away } = await place.start();
    const partners = { store: 'dos:///files', constructor: 'dos:///elsewhere' };
    const uri = await home.add(new SilentService(), { name: 'camera', partners });
    await home.load(BROKEN).catch(() => undefined);
    const proxy = directoryOf(home, away);
    expect({ ...(await proxy.get({ name: 'camera' })) }).toEqual({
      uri,
      name: 'camera',
      contract: Silent.uri,
      state: 'running',
      host: 'here',
      subscribers: 0,
      partners: [
        { name: 'store', uri: 'dos:///files' },
        { name: 'constructor', uri: 'dos:///elsewhere' },
      ],
      port: { depth: 0, depthMax: 1024, delivered: 0, refused: 0, faults: 0, running: 0 },
    });
    const broken = await proxy.get({ name: 'broken' });
    expect(broken.state).toBe('failed');
    expect(broken.problem).toMatch(/there-is-none/);
    expect(await subcode(proxy.get({ name: 'camera2' }))).toBe('UnknownEntry');
  });

  test('pages come together to everything', async () => {
    const { home, away } = await place.start();
    const expected: string[] = [];
    for (let at = 0; at < 2 * DIRECTORY_PAGE_MAX + 1; at++) {
      expected.push(`many/${String(at).padStart(4, '0')}`);
      await home.add(new SilentService(), { name: expected.at(-1) });
    }
    const proxy = directoryOf(home, away);
    const found: string[] = [];
    let after: string | undefined;
    do {
      const page = await proxy.query({ prefix: 'many/', after });
      found.push(...page.services.map(({ name }) => name));
      after = page.next;
    } while (after !== undefined);
    expect(found).toEqual(expected);
  });

  test('subscribers are told what starts, what fails and what ends, and may ask for some of it', async () => {
    const { home, away } = await place.start();
    const uri = `${home.prefix}directory`;
    const told: string[] = [];
    const ends: string[] = [];
    const all = await away.subscribe(Directory, uri, {
      started: ({ body }) => void told.push(`${body.name} ${body.state}`),
      failed: ({ body }) => void told.push(`${body.name} ${body.state}`),
      stopped: ({ body }) => void told.push(`${body.name} ${body.state}`),
    });
    const some = await away.subscribe(Directory, uri, {
      stopped: ({ body }) => void ends.push(body.name),
    });
    await home.add(new SilentService(), { name: 'camera' });
    await home.load(BROKEN).catch(() => undefined);
    await home.unload('camera');
    await until(() => told.length === 3 && ends.length === 1);
    expect(told).toEqual(['camera running', 'broken failed', 'camera stopped']);
    expect(ends).toEqual(['camera']);
    await all.unsubscribe();
    await some.unsubscribe();
  });
});

test('a name that runs is not shown as failed because somebody else wanted it', async () => {
  const runtime = await startRuntime();
  await runtime.add(new SilentService(), { name: 'broken' });
  await runtime.load(BROKEN).catch(() => undefined);
  const { services } = await directoryOf(runtime).query({ prefix: 'broken' });
  expect(services.map(({ state }) => state)).toEqual(['running']);
  expect(runtime.snapshot().services.filter(({ name }) => name === 'broken')).toHaveLength(1);
});

test('services of the runtime end with it and not before', async () => {
  const runtime = await startRuntime();
  for (const name of OWN) {
    expect(await code(runtime.unload(name))).toBe('UNSUPPORTED');
    expect(await subcode(runtime.proxy(Silent, `${runtime.prefix}${name}`).$drop())).toBe('OperationFailed');
  }
  const { services } = await directoryOf(runtime).query();
  expect(services.map(({ state }) => state)).toEqual(services.map(() => 'running'));
});

test('a query looks at so many services and no more, and says where to go on', async () => {
  // The real one, over a list that only counts how often it is looked at.
  const runtime = await startRuntime();
  const names = Array.from({ length: DIRECTORY_SCAN_MAX + 5 }, (_, index) => String(index).padStart(6, '0'));
  const port = { depth: 0, depthMax: 1, delivered: 0, refused: 0, faults: 0, running: 0 };
  let looks = 0;
  const listed = {
    names,
    snapshotOf: (name: string): ServiceSnapshot => {
      looks++;
      const kind = name === names.at(-1) ? 'urn:wanted' : 'urn:other';
      return {
        uri: `dos:///${name}`,
        name,
        contract: kind,
        state: 'running',
        host: 'here',
        partners: {},
        port,
        subscribers: 0,
      };
    },
    watch: () => () => undefined,
  };
  const proxy = runtime.proxy(Directory, await runtime.add(new DirectoryService(listed), { name: 'long' }));
  const first = await proxy.query({ contract: 'urn:wanted' });
  expect(looks).toBe(DIRECTORY_SCAN_MAX);
  expect(first.services).toEqual([]);
  expect(first.next).toBe(names[DIRECTORY_SCAN_MAX - 1]);
  const second = await proxy.query({ contract: 'urn:wanted', after: first.next });
  expect(second.services.map(({ name }) => name)).toEqual([names.at(-1)]);
  expect(second.next).toBeUndefined();
});

test.each([
  ['a', false, 0],
  ['a', true, 1],
  ['b', false, 1],
  ['b', true, 1],
  ['c', true, 2],
  ['d', false, 2],
])('%s (beyond: %s) is found at %i', (text, beyond, at) => {
  expect(firstNot(['a', 'c'], text, beyond)).toBe(at);
});
