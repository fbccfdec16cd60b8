// Services in threads and in processes: neither they nor their callers can tell. The same operations are asked of a probe beside its
// callers, in a thread and in a process; by the program, by a service of each kind, and by another runtime over TCP.
import { describe, expect, test } from 'vitest';
import type * as library from '../../lib/runtime/index.js';
import type { ServiceSnapshot } from '../../lib/runtime/index.js';
import { until } from '../support/events.js';
import { subcode } from '../support/runtimes.js';
import {
  bytesOf,
  digestOf,
  element,
  Envelope,
  HOSTS,
  lend,
  policyFile,
  Probe,
  probeAt,
  startHosting,
  type Hosting,
} from '../support/hosts.js';

const LISTENING = { listen: ['tcp://127.0.0.1:0'], allowInsecure: false };
const DIALING = { listen: [], allowInsecure: false };
const LARGE = 8 << 20;

function filled(runtime: Hosting, length: number, seed: number) {
  const buffer = runtime.allocate(length);
  buffer.bytes.set(bytesOf(length, seed));
  return buffer;
}

describe.each(HOSTS)('a service with host="%s"', (host) => {
  test.each([
    ['without a network binding', undefined],
    ['that listens', LISTENING],
  ])('answers a runtime %s, with buffers both ways', async (_name, network) => {
    const home = await startHosting({ network, services: [probeAt(host)] });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    expect(await probe.who()).toMatchObject({
      from: 'program',
      connection: false,
      uri: `${home.prefix}probe`,
    });
    const kept = await probe.keep({ seed: 1, bytes: filled(home, LARGE, 1) });
    expect(kept).toMatchObject(digestOf(bytesOf(LARGE, 1)));
    const shown = await probe.show({ length: LARGE, seed: 2 });
    const bytes = await shown.bytes.resolve();
    expect(bytes.bytes.equals(bytesOf(LARGE, 2))).toBe(true);
    bytes.release();
    shown[Symbol.dispose]();
  });

  test('answers another runtime, with buffers both ways', async () => {
    const home = await startHosting({ network: LISTENING, services: [probeAt(host)] });
    const away = await startHosting({ network: DIALING });
    const probe = away.proxy(Probe, `${home.prefix}probe`);
    expect(await probe.who()).toMatchObject({ from: 'local', uri: `${home.prefix}probe` });
    const kept = await probe.keep({ seed: 1, bytes: filled(away, LARGE, 1) });
    expect(kept).toMatchObject(digestOf(bytesOf(LARGE, 1)));
    const shown = await probe.show({ length: LARGE, seed: 2 });
    const bytes = await shown.bytes.resolve();
    expect(bytes.bytes.equals(bytesOf(LARGE, 2))).toBe(true);
    bytes.release();
    shown[Symbol.dispose]();
  });

  test.each(HOSTS)('asks one with host="%s", with buffers both ways', async (other) => {
    const entries = [probeAt(host), probeAt(other, { name: 'other' })];
    const home = await startHosting({ services: entries });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    const forwarded = await probe.forward({ uri: `${home.prefix}other`, bytes: filled(home, LARGE, 3) });
    expect(forwarded).toMatchObject(digestOf(bytesOf(LARGE, 3)));
    const fetched = await probe.fetch({ uri: `${home.prefix}other`, length: LARGE });
    expect(fetched).toMatchObject(digestOf(bytesOf(LARGE, 5)));
  });

  test('has its state, its partners and its log; its faults say what they say anywhere', async () => {
    const state = element('urn:splitplane:test:probe', 'ProbeState', [
      element('urn:splitplane:test:probe', 'note', 'from <the> manifest'),
    ]);
    const entries = [
      probeAt(host, { state, partners: { friend: 'other' } }),
      probeAt('here', { name: 'other' }),
    ];
    const home = await startHosting({ services: entries });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    expect(await probe.$state()).toMatchObject({ note: 'from <the> manifest' });
    expect(await probe.partner()).toMatchObject({ from: 'service:probe', uri: `${home.prefix}other` });
    await probe.say({ text: 'a line' });
    await until(() => home.lines.some(({ source, text }) => source === 'probe' && text === 'a line'));
    await expect(probe.refuse({ reason: 'It is there.' })).rejects.toMatchObject({
      code: 'FAULT',
      fault: { reason: 'It is there.', subcodes: [{ localName: 'DuplicateEntry' }] },
    });
    expect(await subcode(probe.fail())).toBe('OperationFailed');
    const unknown = home.proxy(Probe, `${home.prefix}nobody`);
    expect(await subcode(unknown.who())).toBe('UnknownEntry');
    expect(await subcode(probe.fetch({ uri: `${home.prefix}nobody`, length: 8 }))).toBe('OperationFailed');
    const snapshot = (): ServiceSnapshot | undefined =>
      home.snapshot().services.find(({ name }) => name === 'probe');
    expect(snapshot()).toMatchObject({ host, state: 'running', contract: Probe.uri });
    await until(() => snapshot()?.port.faults === 3 && snapshot()?.port.delivered === 6);
  });

  test('lends and is lent buffers, to be read and to be written', async () => {
    const home = await startHosting({ services: [probeAt(host)] });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    const target = home.allocate(LARGE);
    await probe.fillIn({ seed: 9, target: lend(target, 'write') });
    expect(target.bytes.equals(bytesOf(LARGE, 9))).toBe(true);
    target.release();
    const borrowed = await probe.borrow({ length: LARGE, seed: 4 });
    const bytes = await borrowed.bytes.resolve();
    expect(bytes.bytes.equals(bytesOf(LARGE, 4))).toBe(true);
    bytes.release();
    borrowed[Symbol.dispose]();
    await until(async () => (await probe.returned()).count === 1);
    await until(() => (home.snapshot().memory?.buffers ?? 0) === 0);
  });

  test('sees that nobody waits any more: canceled, and too late', async () => {
    const home = await startHosting({ services: [probeAt(host)] });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    const stop = new AbortController();
    const waiting = probe.wait({}, { signal: stop.signal });
    await until(async () => (await probe.waits()).now === 1);
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    await until(async () => (await probe.waits()).gaveUp === 1);
    expect(await subcode(probe.wait({}, { timeoutMs: 50 }))).toBe('ResponseTimeout');
    await until(async () => (await probe.waits()).gaveUp === 2);
  });

  test.each(HOSTS)('tells one with host="%s", the program and another runtime', async (other) => {
    const entries = [probeAt(host), probeAt(other, { name: 'other' })];
    const home = await startHosting({ network: LISTENING, services: entries });
    const away = await startHosting({ network: DIALING });
    const uri = `${home.prefix}probe`;
    const probe = home.proxy(Probe, uri);
    const watcher = home.proxy(Probe, `${home.prefix}other`);
    const told: string[] = [];
    const subscribed = [];
    await watcher.watch({ uri });
    for (const [name, runtime] of Object.entries({ home, away })) {
      const handler = async ({
        body,
      }: {
        body: { number: number; bytes?: library.Attached | undefined };
      }) => {
        const bytes = await body.bytes?.resolve();
        told.push(`${name} ${body.number} ${bytes?.bytes.equals(bytesOf(bytes.length, body.number))}`);
        bytes?.release();
      };
      subscribed.push(await runtime.subscribe(Probe, uri, { told: handler }));
    }
    await probe.tell({ count: 2, bytes: true });
    await until(() => told.length === 4);
    expect(told.toSorted()).toEqual(['away 1 true', 'away 2 true', 'home 1 true', 'home 2 true']);
    const sums = [1, 2].map((seed) => digestOf(bytesOf(1 << 20, seed)).sha256);
    await until(async () => (await watcher.seen()).told.length === 2);
    const seen = sums.map((sha256, index) => `${index + 1} from service:probe ${sha256}`);
    expect((await watcher.seen()).told).toEqual(seen);
    // What was lent to three of them returns once.
    await until(async () => (await probe.returned()).count === 2);
    for (const each of subscribed) {
      expect(await each.unsubscribe()).toMatchObject({ published: 2, delivered: 2, dropped: 0, failed: 0 });
    }
  });

  test('asks another runtime, with buffers both ways, and is told by it', async () => {
    const home = await startHosting({ network: DIALING, services: [probeAt(host)] });
    const away = await startHosting({ network: LISTENING, services: [probeAt('here')] });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    const uri = `${away.prefix}probe`;
    const forwarded = await probe.forward({ uri, bytes: filled(home, LARGE, 3) });
    expect(forwarded).toMatchObject(digestOf(bytesOf(LARGE, 3)));
    const fetched = await probe.fetch({ uri, length: LARGE });
    expect(fetched).toMatchObject(digestOf(bytesOf(LARGE, 5)));
    await probe.watch({ uri });
    await away.proxy(Probe, uri).tell({ count: 1, bytes: false });
    await until(async () => (await probe.seen()).told.length === 1);
    expect((await probe.seen()).told).toEqual(['1 from local']);
  });

  // Goal: a policy holds wherever the service lives, for who really asks. Method: a peer that may ask but not Get, which is therefore
  // not given buffers, and which claims to be somebody else in the header by which a runtime tells its processes whom a message is from.
  test('is asked by who may ask it, and gives its buffers to who may Get it', async () => {
    const policy = policyFile(`<policy xmlns="urn:splitplane:policy:1">
      <role name="all"><member principal="program"/><member principal="service:*"/></role>
      <allow roles="all" verbs="*" path="/*"/>
      <allow roles="all" register="*"/>
      <role name="peers"><member principal="local"/></role>
      <allow roles="peers" verbs="Submit Query" path="/probe"/>
    </policy>`);
    const security = { off: false, policy } as const;
    const home = await startHosting({ security, network: LISTENING, services: [probeAt(host)] });
    const away = await startHosting({ network: DIALING });
    const uri = `${home.prefix}probe`;
    const probe = away.proxy(Probe, uri);
    expect(await probe.who()).toMatchObject({ from: 'local' });
    expect(await subcode(probe.keep({ seed: 1, bytes: filled(away, 8, 1) }))).toBe('PermissionDenied');
    expect(await subcode(probe.show({ length: LARGE, seed: 1 }))).toBe('PermissionDenied');
    expect(await home.proxy(Probe, uri).show({ length: 8, seed: 1 })).toMatchObject({ seed: 1 });
    const attributes = { principal: 'program', judged: 'true' };
    const asProgram = (action: string, name: string) =>
      Envelope.of({
        to: uri,
        action: `http://schemas.microsoft.com/xw/2004/10/dssp.html:${action}`,
        headers: [element('urn:splitplane:origin:1', 'Origin', [], { attributes })],
        body: element(Probe.uri, name),
      });
    const who = await away.client.send(asProgram('SubmitRequest', 'Who'), []);
    expect(who.envelope.body[0]?.child(Probe.uri, 'from')?.text()).toBe('local');
    const state = await away.client.send(asProgram('GetRequest', 'Get'), []);
    expect(state.envelope.fault?.subcodes.at(-1)?.localName).toBe('PermissionDenied');
  });

  test('forgets a subscriber whose runtime is gone', async () => {
    const home = await startHosting({ network: LISTENING, services: [probeAt(host)] });
    const away = await startHosting({ network: DIALING });
    await away.subscribe(Probe, `${home.prefix}probe`, { told: () => undefined });
    const count = (): number | undefined =>
      home.snapshot().services.find(({ name }) => name === 'probe')?.subscribers;
    await until(() => count() === 1);
    for (const connection of away.network?.connections ?? []) await connection.close();
    await until(() => count() === 0);
  });

  test('can be replaced, dropped and loaded again', async () => {
    const home = await startHosting({ services: [probeAt(host)] });
    const uri = `${home.prefix}probe`;
    const probe = home.proxy(Probe, uri);
    await home.replace('probe');
    expect(await probe.who()).toMatchObject({ uri });
    await probe.$drop();
    expect(await subcode(probe.who())).toBe('UnknownEntry');
    expect(await home.load(probeAt(host))).toBe(uri);
    expect(await probe.who()).toMatchObject({ uri });
    await home.unload('probe');
    expect(await subcode(probe.who())).toBe('UnknownEntry');
    expect(home.lines.filter(({ text }) => text === 'stopped')).toHaveLength(3);
  });
});
