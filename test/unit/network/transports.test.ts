// Proves that the list of transports is checked, that an address gets the transports it asks for and no others, with a
// sentence where that leaves none, and that several transports listen on one port or say why not. The transports are made
// up: real ones are test/conformance's affair.
import { describe, expect, test } from 'vitest';
import type { TransportFacts } from '../../../lib/dataplane/native.js';
import { SplitplaneError, type ErrorCode } from '../../../lib/errors.js';
import { parseAddress } from '../../../lib/network/address.js';
import { openListeners } from '../../../lib/network/listening.js';
import { checkTransports, transportsFor } from '../../../lib/network/transports.js';
import { code, failure } from '../../support/events.js';

const KNOWN = ['light', 'rdma', 'tcp'];

function facts(unavailable: Record<string, string> = {}): TransportFacts[] {
  return KNOWN.map((name) => {
    const reason = unavailable[name];
    return reason === undefined
      ? { name, available: true, facts: [] }
      : { name, available: false, reason, facts: [] };
  });
}

describe('checkTransports', () => {
  test('takes any order of some of them', () => {
    for (const names of [['tcp'], ['tcp', 'light'], KNOWN])
      expect(checkTransports(names, KNOWN)).toEqual(names);
  });

  test.each([[[]], [['quic']], [['tcp', 'tcp']], [['TCP']], [['']]])('refuses %j', async (names) => {
    const refused = await failure(() => checkTransports(names, KNOWN));
    expect(refused.code).toBe('INVALID_ARGUMENT');
    expect(refused.message).toContain('light, rdma, tcp');
  });
});

describe('transportsFor', () => {
  const forAddress = (text: string, allowed: readonly string[], known = facts()): readonly string[] =>
    transportsFor(parseAddress(text), text.replace(/^\w+:\/\//, ''), allowed, known);

  test('no scheme: all that are allowed, in their order, also those to be passed over', () => {
    expect(forAddress('host:1', KNOWN)).toEqual(KNOWN);
    expect(forAddress('dos://host:1/x', ['tcp', 'rdma'])).toEqual(['tcp', 'rdma']);
    expect(forAddress('host:1', KNOWN, facts({ rdma: 'no device' }))).toEqual(KNOWN);
  });

  test('a scheme: that one', () => {
    expect(forAddress('rdma://host:1', KNOWN)).toEqual(['rdma']);
  });

  test('a unix socket: all that can use one', () => {
    expect(forAddress('unix:/x', KNOWN)).toEqual(['light', 'tcp']);
  });

  test('an address of another host: not over shared memory', () => {
    const known = [
      ...facts(),
      ...facts()
        .map((one) => ({ ...one, name: 'shm' }))
        .slice(0, 1),
    ];
    const allowed = ['shm', ...KNOWN];
    expect(forAddress('192.0.2.1:1', allowed, known)).toEqual(KNOWN);
    expect(forAddress('127.0.0.1:1', allowed, known)).toEqual(allowed);
    expect(forAddress('shm://192.0.2.1:1', allowed, known)).toEqual(['shm']);
  });

  test.each([
    ['quic://host:1', KNOWN, 'this build has light, rdma, tcp'],
    ['rdma://host:1', KNOWN, 'no device'],
    ['tcp://host:1', ['rdma', 'light'], 'the option transports allows rdma, light only'],
    ['unix:/x', ['rdma', 'light'], 'The transport light cannot be used: it is dark.'],
    ['host:1', ['rdma'], 'The transport rdma cannot be used: no device.'],
    ['host:1', ['rdma', 'light'], 'rdma: no device; light: it is dark'],
  ])('%s out of %j: none is left, and the sentence says why', async (address, allowed, sentence) => {
    const known = facts({ rdma: 'no device', light: 'it is dark' });
    const refused = await failure(() => forAddress(address, allowed, known));
    expect(refused.code).toBe('TRANSPORT_UNAVAILABLE');
    expect(refused.message).toContain(sentence);
  });
});

/** Transports that listen in a table. `refuse` may fail a call. */
class Doors {
  readonly open = new Map<number, string>();
  readonly asked: string[] = [];
  transports = facts();
  #last = 0;

  constructor(
    readonly refuse: (transport: string, port: number) => ErrorCode | undefined = () => undefined,
  ) {}

  listen(transport: string, address: string): number {
    this.asked.push(`${transport} ${address}`);
    const picked = address.replace(/:0$/, `:${40_000 + this.#last}`);
    const refusal = this.refuse(transport, Number(picked.slice(picked.lastIndexOf(':') + 1)));
    this.#last++;
    if (refusal !== undefined)
      throw new SplitplaneError(refusal, `${transport} does not listen at ${picked}.`);
    this.open.set(this.#last, picked);
    return this.#last;
  }
  listenerAddress(listener: number): string {
    return this.open.get(listener) as string;
  }
  closeListener(listener: number): void {
    this.open.delete(listener);
  }
}

const OPTIONS = { connectionsMax: 1, trustedPeers: false };

describe('openListeners', () => {
  test('all on the port that TCP picked', () => {
    const doors = new Doors();
    const opened = openListeners(doors, 'auto', KNOWN, '[::1]:0', OPTIONS);
    expect(doors.asked).toEqual(['tcp [::1]:0', 'light [::1]:40000', 'rdma [::1]:40000']);
    expect(opened.address).toBe('[::1]:40000');
    expect(opened.addresses).toEqual(['light://[::1]:40000', 'rdma://[::1]:40000', 'tcp://[::1]:40000']);
    expect(opened.passedOver).toEqual([]);
    expect([...doors.open.keys()]).toEqual([...opened.listeners]);
  });

  test('what cannot listen here is left out and told', () => {
    const doors = new Doors((transport) => (transport === 'rdma' ? 'TRANSPORT_UNAVAILABLE' : undefined));
    doors.transports = facts({ light: 'it is dark' });
    const { addresses, passedOver } = openListeners(doors, 'auto', KNOWN, '127.0.0.1:7350', OPTIONS);
    expect(addresses).toEqual(['tcp://127.0.0.1:7350']);
    expect(passedOver).toEqual([
      { transport: 'light', code: 'TRANSPORT_UNAVAILABLE', reason: 'it is dark' },
      {
        transport: 'rdma',
        code: 'TRANSPORT_UNAVAILABLE',
        reason: 'rdma does not listen at 127.0.0.1:7350.',
      },
    ]);
    expect(doors.asked).toHaveLength(2);
  });

  test('none is an error that names each reason', async () => {
    const doors = new Doors(() => 'TRANSPORT_UNAVAILABLE');
    doors.transports = facts({ light: 'it is dark' });
    const refused = await failure(() => openListeners(doors, 'auto', KNOWN, '127.0.0.1:1', OPTIONS));
    expect(refused.code).toBe('TRANSPORT_UNAVAILABLE');
    for (const reason of ['it is dark', 'rdma does not', 'tcp does not'])
      expect(refused.message).toContain(reason);
  });

  test('one that was asked for by name is not replaced', async () => {
    const doors = new Doors(() => 'TRANSPORT_UNAVAILABLE');
    const refused = await failure(() => openListeners(doors, 'rdma', ['rdma'], '127.0.0.1:1', OPTIONS));
    expect(refused.message).toBe('rdma does not listen at 127.0.0.1:1.');
  });

  test('a port that somebody else has over one transport is an error, and nothing is left open', async () => {
    for (const refusal of ['ADDRESS_IN_USE', 'SYSTEM'] as const) {
      const doors = new Doors((transport) => (transport === 'rdma' ? refusal : undefined));
      expect(await code(() => openListeners(doors, 'auto', KNOWN, '127.0.0.1:1', OPTIONS))).toBe(refusal);
      expect(doors.open.size).toBe(0);
      expect(doors.asked).toHaveLength(3);
    }
  });

  test('when any port will do, another one is picked, but not for ever', async () => {
    const doors = new Doors((transport, port) =>
      transport === 'rdma' && port < 40_006 ? 'ADDRESS_IN_USE' : undefined,
    );
    const { addresses } = openListeners(doors, 'auto', ['rdma', 'tcp'], '127.0.0.1:0', OPTIONS);
    expect(new Set(addresses.map((address) => new URL(address).port)).size).toBe(1);
    expect(doors.open.size).toBe(2);
    const full = new Doors((transport) => (transport === 'rdma' ? 'ADDRESS_IN_USE' : undefined));
    expect(await code(() => openListeners(full, 'auto', ['rdma', 'tcp'], '127.0.0.1:0', OPTIONS))).toBe(
      'ADDRESS_IN_USE',
    );
    expect(full.open.size).toBe(0);
  });
});
