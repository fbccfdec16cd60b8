// Services in threads and in processes: neither they nor their callers can tell. The same operations are asked of a probe beside its
// callers, in a thread and in a process; by the program, by a service of each kind, and by another runtime over TCP.
import { describe, expect, test } from 'vitest';
import { bytesOf, digestOf, HOSTS, Probe, probeAt, startHosting, type Hosting } from '../support/hosts.js';

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
});
