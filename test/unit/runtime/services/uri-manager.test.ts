// Proves the URI manager's service: names in pages, what a URI stands for in each of its spellings, and the end of a registration.
import { describe, expect, test } from 'vitest';
import { contract, Service, UriNames, type Runtime } from '../../../../lib/runtime/index.js';
import { OWN_NAMES } from '../../../../lib/runtime/services/own.js';
import { NAMES_PAGE_MAX } from '../../../../lib/runtime/services/uri-manager.js';
import { nodePrefix } from '../../../../lib/runtime/uri.js';
import { PLACES, subcode } from '../../../support/runtimes.js';

const Silent = contract('urn:splitplane:test:silent:1', {});
class SilentService extends Service<typeof Silent> {
  readonly contract = Silent;
  readonly handlers = {};
}

const namesOf = (home: Runtime, from = home) => from.proxy(UriNames, `${home.prefix}uri-manager`);

describe.each(PLACES)('asked from the $name', (place) => {
  test('names are listed in the order in which they were registered, without the ports of subscriptions', async () => {
    const { home, away } = await place.start();
    await home.add(new SilentService(), { name: 'z' });
    const uri = await home.add(new SilentService(), { name: 'cameras/a' });
    const { names, next } = await namesOf(home, away).query();
    expect(names.map(({ name }) => name)).toEqual([...OWN_NAMES, 'z', 'cameras/a']);
    expect(next).toBeUndefined();
    expect({ ...names.at(-1) }).toEqual({
      uri,
      name: 'cameras/a',
      contract: Silent.uri,
      principal: 'service:cameras/a',
      elsewhere: false,
    });
    expect((await namesOf(home, away).query({ prefix: 'cameras/' })).names).toHaveLength(1);
  });

  test('pages come together to everything, also when what they end with goes', async () => {
    const { home, away } = await place.start();
    const expected: string[] = [];
    for (let at = 0; at < 2 * NAMES_PAGE_MAX; at++) {
      expected.push(`many/${at}`);
      await home.add(new SilentService(), { name: expected.at(-1) });
    }
    const proxy = namesOf(home, away);
    const first = await proxy.query({ prefix: 'many/' });
    await home.unload(first.names.at(-1)?.name ?? '');
    const found = first.names.map(({ name }) => name);
    for (let next = first.next; next !== undefined;) {
      const page = await proxy.query({ prefix: 'many/', after: next });
      found.push(...page.names.map(({ name }) => name));
      next = page.next;
    }
    expect(found).toEqual(expected);
  });

  test('a URI stands for the same service however it spells the runtime', async () => {
    const { home, away } = await place.start();
    const uri = await home.add(new SilentService(), { name: 'camera' });
    const proxy = namesOf(home, away);
    const spellings = [uri, 'dos:///camera'];
    if (home.network !== undefined) spellings.push(`${nodePrefix(home.network.nodeId)}camera`);
    for (const spelling of spellings) {
      expect(await proxy.resolve({ uri: spelling })).toMatchObject({ uri, contract: Silent.uri });
    }
    for (const stranger of ['dos://elsewhere:1/camera', 'dos:///camera2', 'camera', 'http://x/camera', '']) {
      expect(await subcode(proxy.resolve({ uri: stranger }))).toBe('UnknownEntry');
    }
  });

  test('removing a name ends its service; those of the runtime stay', async () => {
    const { home, away } = await place.start();
    const uri = await home.add(new SilentService(), { name: 'camera' });
    const proxy = namesOf(home, away);
    await proxy.remove({ name: 'camera' });
    expect(await subcode(away.proxy(Silent, uri).$lookup())).toBe('UnknownEntry');
    expect(await subcode(proxy.remove({ name: 'camera' }))).toBe('UnknownEntry');
    expect(await subcode(proxy.remove({ name: 'uri-manager' }))).toBe('OperationFailed');
    await home.add(new SilentService(), { name: 'camera' });
  });
});
