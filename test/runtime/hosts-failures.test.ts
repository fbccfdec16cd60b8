// Services in threads and processes that end as they should not: whoever waits is answered, the others go on, the snapshot says why,
// and nothing is left of them.
import { mkdtempSync, readdirSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Envelope } from '../../lib/index.js';
import type { ServiceSnapshot } from '../../lib/runtime/index.js';
import { requestActionOf } from '../../lib/runtime/verbs.js';
import { XmlSerializer } from '../../lib/serializer/xml.js';
import { until } from '../support/events.js';
import { element, Probe, probeAt, startHosting, type Hosting } from '../support/hosts.js';
import { Child, compiledFile } from '../support/processes.js';
import { makeManager } from '../support/managers.js';
import { subcode } from '../support/runtimes.js';

const LISTENING = { listen: ['tcp://127.0.0.1:0'], allowInsecure: false };

function stateOf(runtime: Hosting, name = 'probe'): ServiceSnapshot | undefined {
  return runtime.snapshot().services.find((one) => one.name === name);
}

function noted(note: string) {
  return element(Probe.uri, 'ProbeState', [element(Probe.uri, 'note', note)]);
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe.each(['thread', 'process'] as const)('a service with host="%s"', (host) => {
  test.each([
    ['exits', 'exit', 'code 3'],
    ['throws where nobody catches it', 'throw', 'Nobody caught this.'],
    ['leaves a rejection unhandled', 'reject', 'Nobody caught this.'],
    ...(host === 'process' ? [['is killed', 'kill', 'SIGKILL']] : []),
  ])('that %s has failed, and nobody else has', async (_what, how, problem) => {
    // With a binding the snapshot looks at connections, too, that are about to end.
    const entries = [probeAt(host), probeAt(host, { name: 'other' })];
    const home = await startHosting({ network: LISTENING, services: entries });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    const other = home.proxy(Probe, `${home.prefix}other`);
    await other.watch({ uri: `${home.prefix}probe` });
    await probe.watch({ uri: `${home.prefix}other` });
    const waiting = subcode(probe.wait());
    await until(async () => (await probe.waits()).now === 1);
    await probe.end({ how }).catch(() => undefined);
    expect(await waiting).toBe('OperationFailed');
    await until(() => stateOf(home)?.state === 'failed');
    expect(stateOf(home)?.problem).toContain(problem);
    expect(await subcode(probe.who())).toBe('UnknownEntry');
    expect(await other.who()).toMatchObject({ from: 'program' });
    await until(() => stateOf(home, 'other')?.subscribers === 0);
    // Its name is free.
    await home.load(probeAt(host));
    expect(await probe.who()).toMatchObject({ from: 'program' });
  });

  test.each([
    ['throws', 'throw', 'It was told not to start.'],
    ['exits', 'exit', 'code 7'],
  ])('that %s when it starts is reported, and leaves nothing behind', async (_what, note, problem) => {
    const entries = [probeAt(host, { state: noted(note) }), probeAt(host, { name: 'other' })];
    const home = await startHosting({ services: entries });
    expect(stateOf(home)).toMatchObject({ state: 'failed', host });
    expect(stateOf(home)?.problem).toContain(problem);
    expect(stateOf(home, 'other')?.state).toBe('running');
    expect(await subcode(home.proxy(Probe, `${home.prefix}probe`).who())).toBe('UnknownEntry');
  });

  test.each(['unloaded', 'closed with its runtime'])('that is %s while it is replaced', async (how) => {
    const home = await startHosting({ services: [probeAt(host, { state: noted('never starts again') })] });
    const replacing = home.replace('probe').catch((error: unknown) => (error as { code: string }).code);
    await until(() => home.lines.some(({ text }) => text === 'replacing'));
    await (how === 'unloaded' ? home.unload('probe') : home.close());
    expect(await replacing).toBe('CLOSED');
  });

  test('whose module is not there is reported', async () => {
    const home = await startHosting({ services: [probeAt(host, { module: 'file:///nothing/here.mjs' })] });
    expect(stateOf(home)?.state).toBe('failed');
    expect(stateOf(home)?.problem).toMatch(/^There is no module here\.mjs\./);
  });

  test('that hangs is late for those who ask, and ended by force', { timeout: 60_000 }, async () => {
    const home = await startHosting({ network: LISTENING, services: [probeAt(host)] });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    const { pid } = await probe.pid();
    expect(await subcode(probe.end({ how: 'loop' }, { timeoutMs: 300 }))).toBe('ResponseTimeout');
    expect(await subcode(probe.who({}, { timeoutMs: 50 }))).toBe('ResponseTimeout');
    await home.unload('probe');
    if (host === 'process') expect(runs(pid)).toBe(false);
    expect(await subcode(probe.who())).toBe('UnknownEntry');
  });
});

/** Says that its buffers are longer than they are. */
class Boasting extends XmlSerializer {
  override encodeInto(message: Envelope, target: Buffer, offset: number): number {
    const text = this.encode(message).toString().replace('length="5000"', 'length="5000000000"');
    return target.write(text, offset);
  }
}

// Goal: a length that only the sender vouches for is not believed, and ends neither the service nor its runtime.
test('a buffer that is said to have 5 GB is refused to its sender, and everything goes on', async () => {
  const home = await startHosting({ network: LISTENING, services: [probeAt('thread')] });
  const uri = `${home.prefix}probe`;
  const liar = makeManager({ serializers: [new Boasting()] });
  const connection = await liar.connect(home.listening[0]?.address ?? '');
  const source = liar.allocate(5000);
  const message = Envelope.of({ to: uri, action: requestActionOf('Lookup') });
  const answer = await connection.request(message, { buffers: [source] });
  expect(answer.fault?.subcodes[0]?.localName).toBe('InsufficientResources');
  answer.release();
  source.release();
  expect(await home.proxy(Probe, uri).who()).toMatchObject({ from: 'program' });
  await until(() => home.snapshot().memory?.buffers === 0);
});

// Goal: who ends a group of processes ends the runtime, which ends its services in good order. Method: the process of a service gets its
// share of that alone.
test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  'a process leaves it to its runtime to act on %s',
  async (signal) => {
    const home = await startHosting({ services: [probeAt('process')] });
    const probe = home.proxy(Probe, `${home.prefix}probe`);
    const { pid } = await probe.pid();
    process.kill(pid, signal);
    expect(await probe.pid()).toEqual({ pid });
    await home.unload('probe');
    expect(home.lines.filter(({ text }) => text === 'stopped')).toHaveLength(1);
    expect(runs(pid)).toBe(false);
  },
);

// Goal: work that leaves no time for the connection is not taken for an end. Method: longer than a peer may be silent, so that the runtime
// lets the link go; afterwards both find each other again, and the answer arrives.
test('a service that is busy for long answers late', { timeout: 120_000 }, async () => {
  const home = await startHosting({
    services: [probeAt('thread', { name: 'thread' }), probeAt('process', { name: 'process' })],
  });
  const busy = ['thread', 'process'].map(async (name) => {
    const probe = home.proxy(Probe, `${home.prefix}${name}`);
    await probe.block({ ms: 20_000 }, { timeoutMs: 100_000 });
    expect(await probe.who()).toMatchObject({ from: 'program' });
  });
  await Promise.all(busy);
});

// Goal: nothing is left of a runtime that is killed, not even of a service that never lets its thread go. Method: a runtime with a thread
// and a process in a process of its own, which is killed.
test.each([false, true])('a runtime that is killed leaves nothing, busy: %s', async (busy) => {
  const folder = mkdtempSync(join(tmpdir(), 'splitplane-test-'));
  const module = pathToFileURL(compiledFile('test/runtime/services/probe')).href;
  const child = new Child('hosting-runtime', { argument: { busy, module, folder } });
  const pid = await child.told<number>('pid');
  expect(runs(pid)).toBe(true);
  child.signal('SIGKILL');
  await child.exited;
  await until(() => !runs(pid));
  expect(readdirSync(folder)).toEqual([]);
  rmdirSync(folder);
});
