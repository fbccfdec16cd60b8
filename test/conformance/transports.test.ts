// The contract of choosing a transport: an address without a scheme uses the best that works and says why no better one, a
// scheme uses that one or fails, and options deny and order them. Holds whatever this host has.
import { describe, expect, test } from 'vitest';
import { NetworkManager, type PassedOver, type TransportFacts } from '../../lib/index.js';
import { code, failure } from '../support/events.js';
import { connectTo, echo, envelope, makeManager, valueOf } from '../support/managers.js';
import { RDMA_ADDRESS } from '../support/transports.js';

const { transports: TRANSPORTS, unavailable: UNAVAILABLE } = ((): {
  transports: readonly TransportFacts[];
  unavailable: readonly TransportFacts[];
} => {
  const manager = new NetworkManager();
  const { transports } = manager;
  manager.destroy();
  return { transports, unavailable: transports.filter(({ available }) => !available) };
})();
const NAMES = TRANSPORTS.map(({ name }) => name);
/** An address of this host at which every transport that works here can be reached. */
const HOST = RDMA_ADDRESS ?? '127.0.0.1';

/** Each has a sentence, and the same one as `info` where the transport does not work on this host at all. */
function checkReasons(passedOver: readonly PassedOver[]): void {
  for (const { transport, code: why, reason } of passedOver) {
    expect(reason.length).toBeGreaterThan(10);
    const facts = UNAVAILABLE.find(({ name }) => name === transport);
    if (facts === undefined) continue;
    expect(why).toBe('TRANSPORT_UNAVAILABLE');
    expect(reason).toBe(facts.reason);
  }
}

describe('an address without a scheme', () => {
  // Goal: one port for all transports that work here, each of them told, and every other with its reason.
  test('listens over all that work', async () => {
    const server = makeManager();
    const { address, addresses, passedOver } = await server.listen(`${HOST}:0`);
    const { port } = new URL(`tcp://${address}`);
    expect(address).toBe(`${HOST}:${port}`);
    expect(addresses).toContain(`tcp://${HOST}:${port}`);
    for (const each of addresses) expect(each.endsWith(`://${HOST}:${port}`)).toBe(true);
    const told = [
      ...addresses.map((each) => each.split(':')[0]),
      ...passedOver.map(({ transport }) => transport),
    ];
    expect(told.sort()).toEqual([...NAMES].sort());
    checkReasons(passedOver);
  });

  // Goal: the best that reaches the peer carries the connection, and the facts account for every better one.
  test('connects over the best', async () => {
    const server = makeManager();
    const client = makeManager();
    const { address, addresses } = await server.listen(`${HOST}:0`);
    const [outgoing, incoming] = await connectTo(server, client, address);
    const { transport, passedOver, failedOver } = outgoing.facts;
    expect(addresses).toContain(`${transport}://${address}`);
    expect([...passedOver.map((each) => each.transport), transport]).toEqual(
      NAMES.slice(0, NAMES.indexOf(transport) + 1),
    );
    checkReasons(passedOver);
    expect(failedOver).toBe(0);
    expect(incoming.facts).toMatchObject({ transport, passedOver: [] });
    void echo(server);
    const reply = await outgoing.request(envelope('over whatever it is'));
    expect(valueOf(reply)).toBe('over whatever it is');
    reply.release();
  });

  // Goal: closing stops every transport, and the port is free again for all of them.
  test('stops listening over all of them', async () => {
    const server = makeManager();
    const client = makeManager();
    const first = await server.listen(`${HOST}:0`);
    first.close();
    for (const each of first.addresses)
      expect(await code(client.connect(each)), each).toBe('CONNECTION_REFUSED');
    expect((await makeManager().listen(first.address)).addresses).toEqual(first.addresses);
  });
});

// Goal: what was asked for by name is used or refused, by both sides, and never replaced.
test('a scheme has no other transport used', async () => {
  const server = makeManager();
  const client = makeManager();
  const { address, addresses, passedOver } = await server.listen('tcp://127.0.0.1:0');
  expect([addresses, passedOver]).toEqual([[address], []]);
  const [outgoing] = await connectTo(server, client, address);
  expect(outgoing.facts).toMatchObject({ transport: 'tcp', passedOver: [] });
  for (const { name, reason = '' } of UNAVAILABLE) {
    for (const refused of [
      await failure(client.connect(address.replace('tcp:', `${name}:`))),
      await failure(server.listen(`${name}://127.0.0.1:0`)),
    ]) {
      expect(refused.code).toBe('TRANSPORT_UNAVAILABLE');
      expect(refused.message).toContain(reason);
    }
  }
  expect(client.connections).toHaveLength(1);
});

describe('the option transports', () => {
  // Goal: what it leaves out is not used, not even by name.
  test('denies', async () => {
    const server = makeManager({ transports: ['tcp'] });
    const { address, addresses, passedOver } = await server.listen(`${HOST}:0`);
    expect([addresses, passedOver]).toEqual([[`tcp://${address}`], []]);
    const [outgoing] = await connectTo(server, makeManager({ transports: ['tcp'] }), address);
    expect(outgoing.facts).toMatchObject({ transport: 'tcp', passedOver: [] });
    for (const name of NAMES.filter((each) => each !== 'tcp')) {
      const refused = await failure(server.listen(`${name}://127.0.0.1:0`));
      expect(refused.code).toBe('TRANSPORT_UNAVAILABLE');
      expect(refused.message).toContain('the option transports allows tcp only');
    }
  });

  // Goal: it also orders; a transport behind the one that works is not tried and needs no excuse.
  test('orders, for a manager and for one connection', async () => {
    const server = makeManager();
    const { address } = await server.listen(`${HOST}:0`);
    const others = NAMES.filter((name) => name !== 'tcp');
    const tcpFirst = makeManager({ transports: ['tcp', ...others] });
    const [ordered] = await connectTo(server, tcpFirst, address);
    expect(ordered.facts).toMatchObject({ transport: 'tcp', passedOver: [] });
    const [narrowed] = await connectTo(server, makeManager(), address, { transports: ['tcp'] });
    expect(narrowed.facts).toMatchObject({ transport: 'tcp', passedOver: [] });
  });

  // Goal: mistakes are found before anything is opened.
  test('is checked', async () => {
    for (const transports of [[], ['quic'], ['tcp', 'tcp']]) {
      expect(await code(() => makeManager({ transports }))).toBe('INVALID_ARGUMENT');
      expect(await code(makeManager().connect('127.0.0.1:1', { transports }))).toBe('INVALID_ARGUMENT');
    }
    const [other] = NAMES.filter((name) => name !== 'tcp');
    if (other === undefined) return;
    const narrow = makeManager({ transports: ['tcp'] });
    const refused = await failure(narrow.connect('127.0.0.1:1', { transports: [other] }));
    expect(refused.code).toBe('INVALID_ARGUMENT');
    expect(refused.message).toContain(other);
  });

  // Goal: a list without any that works is refused with every reason.
  test('says when none of it works', async () => {
    const transports = UNAVAILABLE.map(({ name }) => name);
    if (transports.length === 0) return;
    const manager = makeManager({ transports });
    for (const refused of [
      await failure(manager.listen('127.0.0.1:0')),
      await failure(manager.connect('127.0.0.1:1')),
    ]) {
      expect(refused.code).toBe('TRANSPORT_UNAVAILABLE');
      for (const { reason = '' } of UNAVAILABLE) expect(refused.message).toContain(reason);
    }
  });
});
