// Proves the manifest loader: the services of a manifest that comes as a message run beside the others, what became of each is
// told, one that fails leaves the others alone, and a manifest with problems loads nothing.
import { describe, expect, test } from 'vitest';
import { ManifestLoader, Memory, type Runtime } from '../../../../lib/runtime/index.js';
import { INSERTED_SERVICES_MAX } from '../../../../lib/runtime/services/manifest-loader.js';
import { guestsOf, PLACES, servicePath, startRuntime, subcode } from '../../../support/runtimes.js';
import { Counter } from '../../../runtime/services/counter.js';

const manifest = (inside: string): string =>
  `<?xml version="1.0"?>\n<manifest xmlns="urn:splitplane:manifest:1" name="more">\n${inside}\n</manifest>\n`;
const loaderOf = (home: Runtime, from = home) => from.proxy(ManifestLoader, `${home.prefix}manifest-loader`);

describe.each(PLACES)('asked from the $name', (place) => {
  test('services are loaded with their state, and what fails is told beside what runs', async () => {
    const { home, away } = await place.start();
    const state = `<state><Memory xmlns="${Memory.uri}"><regions><name>a</name><length>3</length></regions></Memory></state>`;
    const answer = await loaderOf(home, away).load({
      text: manifest(`<service name="frames" builtin="memory">${state}</service>
        <service name="directory" builtin="memory"/>
        <service name="other" builtin="there-is-none"/>
        <service name="module" module="./counter.ts"/>
        <service name="last" builtin="memory"/>`),
    });
    expect(answer).toMatchObject({ name: 'more', unlisted: 0 });
    expect(answer.services.map(({ name, state: is, uri }) => [name, is, uri])).toEqual([
      ['frames', 'running', `${home.prefix}frames`],
      ['directory', 'failed', undefined],
      ['other', 'failed', undefined],
      ['module', 'failed', undefined],
      ['last', 'running', `${home.prefix}last`],
    ]);
    expect(answer.services[1]?.problem).toMatch(/taken/);
    expect(answer.services[2]?.problem).toMatch(/there-is-none/);
    // A runtime without a manifest has no folder to load modules from.
    expect(answer.services[3]?.problem).toMatch(/folder/);
    const { regions } = await away.proxy(Memory, `${home.prefix}frames`).query();
    expect(regions).toMatchObject([{ name: 'a', length: 3 }]);
    await home.unload('frames');
  });

  test('a manifest with problems loads nothing, and a check tells them all', async () => {
    const { home, away } = await place.start();
    const proxy = loaderOf(home, away);
    const text = manifest('<service name="a" builtin="memory"/>\n<service name="a"/>\n<stranger/>');
    expect(await subcode(proxy.load({ text }))).toBe('OperationFailed');
    expect(guestsOf(home)).toEqual([]);
    const { problems, unlisted } = await proxy.check({ text });
    expect(unlisted).toBe(0);
    expect(problems.length).toBeGreaterThan(2);
    expect(problems.map(({ line }) => line)).toEqual(expect.arrayContaining([4, 5]));
    for (const bad of ['', '<a/>', 'no XML at all', '<!DOCTYPE a><a/>']) {
      expect(await subcode(proxy.load({ text: bad }))).toBe('OperationFailed');
      expect((await proxy.check({ text: bad })).problems).toHaveLength(1);
    }
  });

  test('what a manifest says of the runtime itself is refused', async () => {
    const { home, away } = await place.start();
    const proxy = loaderOf(home, away);
    for (const inside of [
      '<security off="true"/>',
      '<security policy="other.xml"/>',
      '<security audit="audit.log"/>',
      '<network listen="tcp://127.0.0.1:0"/>',
      '<monitor listen="http://127.0.0.1:0"/>',
      Array.from(
        { length: INSERTED_SERVICES_MAX + 1 },
        (_, at) => `<service name="s${at}" builtin="memory"/>`,
      ).join(''),
    ]) {
      expect((await proxy.check({ text: manifest(inside) })).problems).toHaveLength(1);
      expect(await subcode(proxy.load({ text: manifest(inside) }))).toBe('OperationFailed');
    }
    expect((await proxy.check({ text: manifest('<service name="a" builtin="memory"/>') })).problems).toEqual(
      [],
    );
    expect(guestsOf(home)).toEqual([]);
  });

  test('as many services as one message may load are told of, as many as fit', async () => {
    const { home, away } = await place.start();
    const inside = Array.from(
      { length: INSERTED_SERVICES_MAX },
      (_, at) => `<service name="${'long/'.repeat(14)}${at}" builtin="memory"/>`,
    ).join('');
    const { services, unlisted } = await loaderOf(home, away).load({ text: manifest(inside) });
    expect(services.length + unlisted).toBe(INSERTED_SERVICES_MAX);
    expect(services.length).toBeGreaterThan(100);
    expect(guestsOf(home)).toHaveLength(INSERTED_SERVICES_MAX);
  });
});

test('modules are found from the folder of the manifest that the runtime was started with, and not above it', async () => {
  const runtime = await startRuntime({ source: servicePath('manifest.xml') });
  const { services } = await loaderOf(runtime).load({
    text: manifest(`<service name="a" module="./counter.ts"><partner name="other" service="b"/></service>
      <service name="b" module="./counter.ts"/>
      <service name="c" module="../steps.test.ts"/>
      <service name="d" module="/etc/passwd"/>`),
  });
  expect(services.map(({ state }) => state)).toEqual(['running', 'running', 'failed', 'failed']);
  await runtime.proxy(Counter, 'dos:///a').addToPartner({ count: 2 });
  expect(await runtime.proxy(Counter, 'dos:///b').$state()).toMatchObject({ count: 2 });
});
