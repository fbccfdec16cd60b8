// The contract of connections: who is let in and as whom, what they may do, what is agreed on, and how connections and
// managers end.
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  connect,
  listen,
  SplitplaneError,
  XmlSerializer,
  type Authorization,
  type Connection,
  type Envelope,
  type Peer,
  type Serializer,
} from '../../lib/index.js';
import { code, failure, until, watchPromise } from '../support/events.js';
import {
  connectTo,
  echo,
  envelope,
  filled,
  makeManager,
  makePair,
  take,
  untilIdle,
  valueOf,
} from '../support/managers.js';
import { TRANSPORTS } from '../support/transports.js';

/** Text XML by another name. */
function encodingNamed(name: string): Serializer {
  const xml = new XmlSerializer();
  return {
    name,
    contentType: xml.contentType,
    encode: (message: Envelope) => xml.encode(message),
    encodeInto: (message: Envelope, target: Buffer, offset: number) =>
      xml.encodeInto(message, target, offset),
    decodeHeader: (bytes: Uint8Array) => xml.decodeHeader(bytes),
  };
}

describe.each(TRANSPORTS)('$name', (transport) => {
  // Goal: both sides know who the other is, by node and by name, and where it is.
  test('identity', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport, {
      server: { identity: 'server', credentials: Buffer.from('of server') },
      client: { identity: 'client', credentials: Buffer.from('of client') },
    });
    expect(server.nodeId).toMatch(/^[0-9a-f]{32}$/);
    expect(server.nodeId).not.toBe(client.nodeId);
    expect(outgoing.peer).toMatchObject({ nodeId: server.nodeId, identity: 'server', dialed: true });
    expect(incoming.peer).toMatchObject({ nodeId: client.nodeId, identity: 'client', dialed: false });
    expect(outgoing.peer.credentials.toString()).toBe('of server');
    expect(incoming.peer.credentials.toString()).toBe('of client');
    for (const connection of [outgoing, incoming]) {
      expect(connection.peer.transport).toBe(transport.transport);
      expect(connection.peer.localOnly).toBe(true);
      expect(connection.state).toBe('open');
      expect(connection.encoding).toBe('fastinfoset');
      expect(connection.facts.transport).toBe(transport.transport);
    }
    if (transport.name === 'unix') {
      expect(incoming.peer.uid).toBe(process.getuid?.());
      expect(incoming.principal).toBe(`uid:${process.getuid?.()}`);
    } else {
      expect(incoming.principal).toBe('local');
      expect(outgoing.facts.localAddress).toBe(incoming.facts.remoteAddress);
    }
    expect(server.connections).toEqual([incoming]);
    expect(client.connections).toEqual([outgoing]);
  });

  // Goal: who expects a certain node gets that node or nobody.
  test('expectedNodeId', async () => {
    const server = makeManager();
    const client = makeManager();
    const { address } = await server.listen(transport.listenAddress());
    const connection = await client.connect(address, { expectedNodeId: server.nodeId });
    expect(connection.state).toBe('open');
    const refused = await failure(client.connect(address, { expectedNodeId: 'ab'.repeat(16) }));
    expect(refused.code).toBe('IDENTITY_MISMATCH');
    expect(await code(client.connect(address, { expectedNodeId: 'nonsense' }))).toBe('INVALID_ARGUMENT');
    await until(() => server.connections.length === 1);
    expect(client.connections).toEqual([connection]);
  });

  // Goal: each side's authenticate decides, synchronously or not, and the principal is what it said.
  test('authenticate names the principal on both sides', async () => {
    const seen: Peer[] = [];
    const { outgoing, incoming } = await makePair(transport, {
      server: {
        authenticate: async (peer) => {
          seen.push(peer);
          await new Promise((resolve) => setImmediate(resolve));
          return `user of ${peer.identity}`;
        },
      },
      client: { identity: 'me', authenticate: () => 'the server' },
    });
    expect(incoming.principal).toBe('user of me');
    expect(outgoing.principal).toBe('the server');
    expect(outgoing.facts.principal).toBe('the server');
    expect(seen).toHaveLength(1);
  });

  // Goal: refusing, throwing and naming a code of one's own all refuse, the other side is told why, and both sides live on.
  test.each(['server', 'client'] as const)('authenticate refuses on the %s', async (side) => {
    const ways: Record<string, (peer: Peer) => Promise<string | undefined> | string | undefined> = {
      undefined: () => undefined,
      throws: () => {
        throw new Error('secret reason');
      },
      rejects: () => Promise.reject(new Error('secret reason')),
      typed: () => {
        throw new SplitplaneError('PERMISSION_DENIED', 'Not on Sundays, come back tomorrow.');
      },
    };
    for (const [name, authenticate] of Object.entries(ways)) {
      const server = makeManager(side === 'server' ? { authenticate } : {});
      const client = makeManager(side === 'client' ? { authenticate } : {});
      const { address } = await server.listen(transport.listenAddress());
      const told = once(server, 'refused') as Promise<[SplitplaneError, Peer]>;
      const refused = await failure(client.connect(address));
      expect(refused.code, name).toBe(name === 'typed' ? 'PERMISSION_DENIED' : 'AUTHENTICATION_FAILED');
      expect(refused.message).not.toContain('secret reason');
      if (name === 'typed') expect(refused.message).toContain('Not on Sundays');
      const [why, peer] = await told;
      expect(peer.nodeId).toBe(client.nodeId);
      expect(why.code).toBe(refused.code);
      expect([server.connections, client.connections]).toEqual([[], []]);
    }
  });

  // Goal: a decision that takes its time lets nothing through before it, and one that never comes ends with the deadline.
  test('authenticate that is slow', async () => {
    let decide!: (principal: string) => void;
    const server = makeManager({
      authenticate: () => new Promise<string>((resolve) => (decide = resolve)),
      connectTimeoutMs: 200,
    });
    const client = makeManager();
    const { address } = await server.listen(transport.listenAddress());
    const connecting = watchPromise(client.connect(address));
    await until(() => decide !== undefined);
    expect(connecting.settled).toBe(false);
    decide('slow one');
    await until(() => connecting.settled);
    expect(server.connections[0]?.principal).toBe('slow one');
    const never = makeManager({
      authenticate: () => new Promise<string>(() => undefined),
      connectTimeoutMs: 50,
    });
    const { address: nowhere } = await never.listen(transport.listenAddress());
    const refused = once(never, 'refused');
    expect(await code(client.connect(nowhere, { deadlineMs: 60_000 }))).toMatch(
      /^(CONNECT_TIMEOUT|CONNECTION_LOST|AUTHENTICATION_FAILED)$/,
    );
    await refused;
    expect(never.connections).toEqual([]);
  });

  // Goal: authorize is asked in both directions with all it needs, refusing is typed here and a fault there, and messages
  // keep their order while decisions are slow.
  test('authorize, per direction', async () => {
    const asked: Authorization[] = [];
    const { server, client, outgoing } = await makePair(transport, {
      server: {
        authenticate: (peer) => peer.identity,
        authorize: (access) => {
          asked.push(access);
          return access.action !== 'urn:forbidden';
        },
      },
      client: {
        identity: 'asker',
        authorize: ({ action }) => {
          if (action === 'urn:broken') throw new Error('broken');
          return action !== 'urn:unsendable';
        },
      },
    });
    const buffer = filled(client, 50_000);
    for (const action of ['urn:unsendable', 'urn:broken']) {
      expect(await code(outgoing.send(envelope('', { action }), { buffers: [buffer] }))).toBe(
        'PERMISSION_DENIED',
      );
    }
    expect(buffer.holders).toBe(0);
    const answer = await outgoing.request(envelope('', { action: 'urn:forbidden', to: 'dos://x/y' }), {
      buffers: [buffer],
    });
    expect(answer.fault?.subcodes[0]?.localName).toBe('PermissionDenied');
    expect(asked[0]).toEqual({
      principal: 'asker',
      action: 'urn:forbidden',
      to: 'dos://x/y',
      direction: 'receive',
      bytes: 50_000,
    });
    await until(() => buffer.holders === 0);
    await outgoing.send(envelope('allowed'));
    const message = await take(server);
    expect(valueOf(message)).toBe('allowed');
    expect(server.connections[0]?.facts.inbox.refused).toBe(1);
    await message.reply({ action: 'urn:re' });
    expect(asked.at(-1)?.direction).toBe('send');
    buffer.release();
  });

  test('authorize that is slow keeps the order', async () => {
    const waiting: (() => void)[] = [];
    const { server, outgoing, incoming } = await makePair(transport, {
      server: {
        authorize: ({ action }) =>
          action === 'urn:slow'
            ? new Promise<boolean>((resolve) => waiting.push(() => resolve(true)))
            : action === 'urn:rejects'
              ? Promise.reject(new Error('no'))
              : true,
      },
    });
    const actions = ['urn:a', 'urn:slow', 'urn:b', 'urn:rejects', 'urn:slow', 'urn:c'];
    await Promise.all(actions.map((action, index) => outgoing.send(envelope(index, { action }))));
    expect(valueOf(await take(server))).toBe('0');
    const next = watchPromise(take(server));
    await until(() => waiting.length > 0);
    expect(next.settled).toBe(false);
    waiting.shift()?.();
    await until(() => next.settled);
    expect(valueOf(next.value as NonNullable<typeof next.value>)).toBe('1');
    expect(valueOf(await take(server))).toBe('2');
    await until(() => waiting.length > 0);
    waiting.shift()?.();
    expect(valueOf(await take(server))).toBe('4');
    expect(valueOf(await take(server))).toBe('5');
    expect(incoming.facts.inbox.refused).toBe(1);
  });

  // Goal: the first encoding of the dialing side that both have is spoken; none in common is said to both.
  test('encodings', async () => {
    const [a, b, c] = [encodingNamed('a'), encodingNamed('b'), encodingNamed('c')];
    const { server, outgoing } = await makePair(transport, {
      server: { serializers: [c, b] },
      client: { serializers: [a, b, c] },
    });
    expect(outgoing.encoding).toBe('b');
    await outgoing.send(envelope('in b'));
    expect(valueOf(await take(server))).toBe('in b');
    const alone = makeManager({ serializers: [a] });
    const { address } = await server.listen(transport.listenAddress());
    const refused = await failure(alone.connect(address));
    expect(refused.code).toBe('ENCODING_UNSUPPORTED');
    expect(server.connections).toHaveLength(1);
  });

  // Goal: close() lets what was sent arrive and what moves finish; then both sides are closed, in good order.
  test('close drains', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport, {
      server: { windowMessages: 8 },
    });
    const buffer = filled(client, 8 << 20);
    const sends = Array.from({ length: 40 }, (_, index) => outgoing.send(envelope(index)));
    const remote = outgoing.remote(incoming.share(filled(server, 8 << 20, 3)));
    const transfer = remote.resolve();
    const closing = outgoing.close();
    for (let index = 0; index < 40; index++) expect(valueOf(await take(server))).toBe(String(index));
    await Promise.all(sends);
    const copy = await transfer;
    expect(copy.length).toBe(8 << 20);
    await closing;
    const [here, there] = await Promise.all([outgoing.closed, incoming.closed]);
    expect([here.code, there.code]).toEqual(['CLOSED', 'CLOSED']);
    expect([outgoing.state, incoming.state]).toEqual(['closed', 'closed']);
    expect(await code(outgoing.send(envelope(), { buffers: [buffer] }))).toBe('CLOSED');
    expect(await code(outgoing.request(envelope()))).toBe('CLOSED');
    expect(await code(() => outgoing.facts)).toBe('CLOSED');
    await outgoing.close();
    outgoing.destroy();
    expect(buffer.holders).toBe(0);
  });

  // Goal: destroy() ends everything outstanding at once on both sides, each exactly once, and frees what it held.
  test('destroy aborts', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport, {
      server: { windowMessages: 1 },
    });
    const buffer = filled(client, 64 << 20);
    const theirs = filled(server, 64 << 20);
    const mine = client.allocate(64 << 20);
    const into = server.allocate(64 << 20);
    const held = await outgoing.send(envelope('accepted'), { buffers: [buffer] });
    const outcomes = [
      outgoing.send(envelope('waits'), { buffers: [buffer] }),
      outgoing.request(envelope('unanswered')),
      outgoing.remote(incoming.share(theirs)).resolve({ into: mine }),
    ].map((promise) => failure(promise as Promise<unknown>));
    const reason = new SplitplaneError('ABORTED', 'This is why it ends.');
    const message = await take(server);
    const other = failure(message.buffers[0]?.resolve({ into }) as Promise<unknown>);
    outgoing.destroy(reason);
    for (const outcome of outcomes) expect((await outcome).code).toBe('ABORTED');
    expect((await outgoing.closed).message).toContain('This is why it ends.');
    await held.released;
    expect(['CLOSED', 'CONNECTION_LOST', 'SESSION_EXPIRED', 'TAG_REVOKED', 'ABORTED']).toContain(
      (await other).code,
    );
    await incoming.closed;
    message.release();
    for (const each of [buffer, theirs, mine, into]) each.release();
    await untilIdle(client, server);
  });

  // Goal: `await using` closes, and closing a manager with work outstanding closes its connections and frees its memory.
  test('asyncDispose and manager.close', async () => {
    const { server, client, outgoing, incoming, address } = await makePair(transport);
    await outgoing[Symbol.asyncDispose]();
    expect(outgoing.state).toBe('closed');
    await incoming.closed;
    const [second, secondIncoming] = await connectTo(server, client, address);
    const buffer = filled(client, 1 << 20);
    const sent = second.send(envelope(), { buffers: [buffer] });
    const message = await take(server);
    const transfer = message.buffers[0]?.resolve();
    await Promise.all([client.close(), transfer?.catch(() => undefined)]);
    await sent;
    expect((await secondIncoming.closed).code).toBe('CLOSED');
    await client.close();
    client.destroy();
    expect(await code(client.connect(address))).toBe('CLOSED');
    expect(await code(client.listen(transport.listenAddress()))).toBe('CLOSED');
    await server[Symbol.asyncDispose]();
    const late = makeManager();
    expect(await code(late.connect(address))).toBe('CONNECTION_REFUSED');
  });

  // Goal: a listener that is closed accepts nobody, and its connections live on.
  test('closing a listener', async () => {
    const server = makeManager();
    const client = makeManager();
    const listening = await server.listen(transport.listenAddress());
    const [outgoing] = await connectTo(server, client, listening.address);
    listening.close();
    listening.close();
    expect(await code(client.connect(listening.address))).toBe('CONNECTION_REFUSED');
    await outgoing.send(envelope('still'));
    expect(valueOf(await take(server))).toBe('still');
    const again = await server.listen(transport.listenAddress());
    expect(await client.connect(again.address)).toHaveProperty('state', 'open');
  });

  // Goal: an address is one manager's at a time.
  test('ADDRESS_IN_USE', async () => {
    const first = makeManager();
    const second = makeManager();
    const { address } = await first.listen(transport.listenAddress());
    const refused = await failure(second.listen(address));
    expect(refused.code).toBe('ADDRESS_IN_USE');
    first.destroy();
    const listening = await second.listen(address);
    expect(listening.address).toBe(address);
  });

  // Goal: connecting can be given up by signal and by deadline, whatever the other side does.
  test('a connect that is given up', async () => {
    const server = makeManager({ authenticate: () => new Promise<string>(() => undefined) });
    const client = makeManager();
    const { address } = await server.listen(transport.listenAddress());
    const abort = new AbortController();
    const connecting = failure(client.connect(address, { signal: abort.signal }));
    await until(() => server.connections.length === 1);
    abort.abort('enough');
    const aborted = await connecting;
    expect([aborted.code, aborted.cause]).toEqual(['ABORTED', 'enough']);
    expect(await code(client.connect(address, { signal: abort.signal }))).toBe('ABORTED');
    expect(await code(client.connect(address, { deadlineMs: 10 }))).toBe('DEADLINE_EXCEEDED');
    await until(() => server.connections.length === 0);
    expect(client.connections).toEqual([]);
  });

  // Goal: many connections at once, each with its own peer, all of them usable, all of them gone afterwards.
  test('200 connections at once', async () => {
    const server = makeManager();
    const client = makeManager();
    void echo(server);
    const { address } = await server.listen(transport.listenAddress());
    const connections = await Promise.all(Array.from({ length: 200 }, () => client.connect(address)));
    const answers = await Promise.all(
      connections.map((connection, index) => connection.request(envelope(index))),
    );
    expect(answers.map(valueOf)).toEqual(connections.map((_, index) => String(index)));
    expect(server.connections).toHaveLength(200);
    await Promise.all(connections.map((connection) => connection.close()));
    await until(() => server.connections.length === 0);
    expect(client.connections).toEqual([]);
    await untilIdle(server, client);
  });

  // Goal: the limit of connections is kept: one more is refused, and when one goes there is room again.
  test('connectionsMax', async () => {
    const server = makeManager({ connectionsMax: 3 });
    const client = makeManager({ connectTimeoutMs: 500 });
    const { address } = await server.listen(transport.listenAddress());
    const open: Connection[] = [];
    for (let i = 0; i < 3; i++) open.push(await client.connect(address));
    expect(await code(client.connect(address))).toMatch(
      /^(QUOTA_EXCEEDED|LIMIT_EXCEEDED|CONNECTION_REFUSED|CONNECTION_LOST|CONNECT_TIMEOUT)$/,
    );
    await open[0]?.close();
    await until(() => server.connections.length === 2);
    const again = await client.connect(address);
    expect(again.state).toBe('open');
    await open[1]?.send(envelope('alive'));
    expect(valueOf(await take(server))).toBe('alive');
  });

  // Goal: listen() and connect() of the package make and end managers of their own.
  test('listen and connect', async () => {
    // A device has no loopback address.
    const server = await listen(transport.listenAddress(), { allowInsecure: true });
    const connection = await connect(server.address, { allowInsecure: true });
    await connection.send(envelope('short form'));
    expect(valueOf(await take(server))).toBe('short form');
    await connection.close();
    expect(await code(() => connection.manager.allocate(1))).toBe('CLOSED');
    await server.close();
    expect(await code(connect(server.address, { allowInsecure: true }))).toBe('CONNECTION_REFUSED');
  });
});
