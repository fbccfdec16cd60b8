// Faults of links, made by a proxy between two managers: cut, reset, cut again and again at any byte, stopped without a word,
// answered by a stranger. What holds for all of them: every message arrives exactly once and in order, every transfer
// ends exactly once, right or with a typed error.
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { NetworkManagerOptions, RemoteBuffer, SplitplaneError } from '../../lib/index.js';
import { code, failure, until } from '../support/events.js';
import {
  echo,
  envelope,
  filled,
  makeManager,
  makePair,
  take,
  untilIdle,
  valueOf,
  type Pair,
} from '../support/managers.js';
import { Proxy } from '../support/proxy.js';
import { TCP } from '../support/transports.js';

const NO_RESUMING: NetworkManagerOptions = { resumeMs: 0 };
const LOST = ['CONNECTION_LOST', 'SESSION_EXPIRED'];

async function proxied(options: NetworkManagerOptions = {}): Promise<Pair & { proxy: Proxy }> {
  let proxy: Proxy | undefined;
  const pair = await makePair(TCP, {
    server: options,
    client: options,
    through: async (address) => {
      proxy = await Proxy.before(address);
      return proxy.address;
    },
  });
  return { ...pair, proxy: proxy as Proxy };
}

describe('RST', () => {
  // Goal: without resuming, a reset is an error at once, for everything outstanding, on both sides.
  test('an error at once', async () => {
    const { proxy, server, client, outgoing, incoming } = await proxied(NO_RESUMING);
    const buffer = filled(client, 64 << 20);
    await outgoing.send(envelope(), { buffers: [buffer] });
    const message = await take(server);
    const transfer = failure(message.buffers[0]?.resolve() as Promise<unknown>);
    const asked = failure(outgoing.request(envelope('?')));
    await until(() => (server.stats.transports.tcp?.bytesReceived ?? 0) > 1 << 20);
    proxy.cut(true);
    expect(LOST).toContain((await transfer).code);
    expect(LOST).toContain((await asked).code);
    expect(LOST).toContain((await outgoing.closed).code);
    expect(LOST).toContain((await incoming.closed).code);
    message.release();
    buffer.release();
    await untilIdle(server, client);
  });

  // Goal: with resuming, messages and transfers are driven again over the next link. An atomic is not driven again: either it
  // was not sent before and is applied once, or nobody knows, and that is told.
  test('the session goes on over the next link', async () => {
    const { proxy, server, client, outgoing, incoming } = await proxied();
    const buffer = filled(client, 32 << 20);
    const word = filled(client, 8);
    await outgoing.send(envelope('before'), { buffers: [buffer] });
    const message = await take(server);
    const transfer = message.buffers[0]?.resolve() as Promise<{ bytes: Buffer; release(): void }>;
    await until(() => (server.stats.transports.tcp?.bytesReceived ?? 0) > 1 << 20);
    const events: string[] = [];
    for (const [name, connection] of [
      ['client', outgoing],
      ['server', incoming],
    ] as const) {
      connection.on('interrupted', () => events.push(`${name} interrupted`));
      connection.on('resumed', () => events.push(`${name} resumed`));
    }
    proxy.refusing = true;
    proxy.cut(true);
    await until(() => outgoing.state === 'interrupted' && incoming.state === 'interrupted');
    const sends = [1, 2, 3].map((index) => outgoing.send(envelope(index)));
    word.bytes.writeBigUInt64LE(41n);
    const atomic = incoming
      .remote(outgoing.share(word, { access: 'atomic' }))
      .fetchAndAdd(0, 1n)
      .catch((error: unknown) => (error as SplitplaneError).code);
    proxy.refusing = false;
    const copy = await transfer;
    expect(copy.bytes.equals(buffer.bytes)).toBe(true);
    await Promise.all(sends);
    expect([await take(server), await take(server), await take(server)].map(valueOf)).toEqual([
      '1',
      '2',
      '3',
    ]);
    expect(['CONNECTION_LOST', 41n]).toContain(await atomic);
    if ((await atomic) === 41n) expect(word.bytes.readBigUInt64LE()).toBe(42n);
    expect(events.sort()).toEqual([
      'client interrupted',
      'client resumed',
      'server interrupted',
      'server resumed',
    ]);
    expect([outgoing.state, incoming.state]).toEqual(['open', 'open']);
    expect(outgoing.facts.resumed).toBe(1);
  });
});

// Goal: whatever byte a link breaks at, everything sent arrives exactly once and in order and every transfer is right.
// Method: requests both ways with buffers that are pulled, over a link that is cut 40 times after a random number of bytes.
test('links cut at random bytes: exactly once, in order', { timeout: 120_000 }, async () => {
  const { proxy, server, client, outgoing, incoming } = await proxied();
  const cuts = 40;
  const total = 400;
  let random = 12_345;
  const next = (below: number): number => {
    random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
    return (random >>> 8) % below;
  };
  let cutAfter = next(100_000);
  let done = 0;
  proxy.tamper = (bytes) => {
    if (done >= cuts || (cutAfter -= bytes.length) > 0) return bytes;
    done++;
    cutAfter = next(2) === 0 ? next(2000) : next(400_000);
    return undefined;
  };
  const answered: [number[], number[]] = [[], []];
  const receivers = [server, client].map(async (manager, side) => {
    for await (const message of manager.messages) {
      const [buffer] = message.buffers as [RemoteBuffer];
      const copy = await buffer.resolve();
      const expected = filled(manager, copy.length, copy.length);
      expect(copy.bytes.equals(expected.bytes)).toBe(true);
      expected.release();
      copy.release();
      answered[side]?.push(Number(valueOf(message)));
      void message.reply({ action: 'urn:re', body: message.envelope.body });
      message.release();
      if (answered[side]?.length === total) return;
    }
  });
  const senders = [
    [client, outgoing],
    [server, incoming],
  ] as const;
  await Promise.all(
    senders.flatMap(([manager, connection]) =>
      Array.from({ length: total }, async (_, index) => {
        const buffer = filled(manager, 1 + ((index * 997) % 50_000), 1 + ((index * 997) % 50_000));
        const answer = await connection.request(envelope(index), { buffers: [buffer] });
        expect(valueOf(answer)).toBe(String(index));
        answer.release();
        buffer.release();
      }),
    ),
  );
  await Promise.all(receivers);
  const inOrder = Array.from({ length: total }, (_, index) => index);
  expect(answered).toEqual([inOrder, inOrder]);
  expect(done).toBeGreaterThan(5);
  expect(outgoing.facts.resumed).toBeGreaterThan(0);
  await outgoing.close();
  await untilIdle(server, client);
});

// Goal: the same for batches, which carry no ids that a receiver could tell a repetition by. Method: numbered messages both ways,
// over a link that is cut again and again, also in the middle of what is one sendBatch() and several batches on the wire.
test('links cut at random bytes: every message of a batch exactly once, in order', async () => {
  const { proxy, server, client, outgoing, incoming } = await proxied();
  const total = 60_000;
  const together = 1500;
  let done = 0;
  let cutAfter = 50_000;
  proxy.tamper = (bytes) => {
    if (done >= 30 || (cutAfter -= bytes.length) > 0) return bytes;
    cutAfter = 1 + ((++done * 77_773) % 250_000);
    return undefined;
  };
  const numbered = (from: number): Uint8Array[] =>
    Array.from({ length: together }, (_, index) => {
      const message = Buffer.alloc(4 + ((from + index) % 60));
      message.writeUInt32LE(from + index);
      return message;
    });
  const sends: Promise<void>[] = [];
  for (let from = 0; from < total; from += together) {
    sends.push(outgoing.sendBatch(numbered(from)), incoming.sendBatch(numbered(from)));
  }
  const receiving = [server, client].map(async ({ batches }) => {
    let next = 0;
    for await (const batch of batches) {
      for (const message of batch) {
        expect(Buffer.from(message).readUInt32LE()).toBe(next);
        expect(message.length).toBe(4 + (next % 60));
        next++;
      }
      if (next === total) return;
    }
  });
  await Promise.all([...receiving, ...sends]);
  expect(done).toBeGreaterThan(5);
  expect(outgoing.facts.resumed).toBeGreaterThan(0);
});

// Goal: a link that is silent without having ended counts as lost after the time that was set, and comes back.
test('link drops both ways: silence is found, and the session comes back', async () => {
  const { proxy, server, outgoing, incoming } = await proxied({
    keepaliveMs: 50,
    peerTimeoutMs: 400,
    connectTimeoutMs: 400,
  });
  const lost = Promise.all([outgoing, incoming].map((connection) => once(connection, 'interrupted')));
  const back = Promise.all([outgoing, incoming].map((connection) => once(connection, 'resumed')));
  const before = [outgoing, incoming].map(({ state }) => state);
  proxy.stalled = true;
  const sending = outgoing.send(envelope('while it is silent'));
  const whys = (await lost) as [SplitplaneError][];
  for (const [why] of whys) expect(['PEER_UNRESPONSIVE', 'CONNECTION_LOST']).toContain(why.code);
  proxy.stalled = false;
  await back;
  await sending;
  expect(valueOf(await take(server))).toBe('while it is silent');
  expect(before).toEqual(['open', 'open']);
});

// Goal: a link that is quiet because nobody has anything to say is not lost. Method: several keepalives and more than the
// peer timeout pass, counted by the pings that pass the proxy.
test('an idle link is kept alive', async () => {
  const { proxy, outgoing, incoming } = await proxied({ keepaliveMs: 20, peerTimeoutMs: 200 });
  const from = { ...proxy.passed };
  const began = performance.now();
  await until(() => performance.now() - began > 500 && proxy.passed.up - from.up > 400);
  expect(proxy.passed.down).toBeGreaterThan(from.down);
  expect([outgoing.state, incoming.state]).toEqual(['open', 'open']);
  expect(outgoing.facts.resumed).toBe(0);
});

describe('a stranger answers on the peer’s old port', () => {
  // Goal: another process at the address is not the peer, and gets nothing of what was for the peer.
  test('identity does not match: nothing is sent', async () => {
    const { proxy, outgoing } = await proxied();
    const stranger = makeManager();
    const { address } = await stranger.listen(TCP.listenAddress());
    proxy.redirect(address);
    proxy.cut();
    await until(() => outgoing.state === 'interrupted');
    const sending = failure(outgoing.send(envelope('for the peer only')));
    const why = await outgoing.closed;
    expect(['IDENTITY_MISMATCH', 'SESSION_EXPIRED']).toContain(why.code);
    expect((await sending).code).toBe(why.code);
    await until(() => stranger.connections.length === 0);
    expect(stranger.stats.transports.tcp?.operationsServed).toBe(0);
    const client = makeManager();
    await client.connect(address).then((connection) => connection.send(envelope('first')));
    expect(valueOf(await take(stranger))).toBe('first');
  });
});

describe('reply lost, request sent again', () => {
  // Goal: on the next connection the same MessageID has no second effect.
  test('dropped by MessageID: one effect', async () => {
    const { proxy, server, client, outgoing } = await proxied(NO_RESUMING);
    let effects = 0;
    const request = envelope('transfer 5 coins');
    const asked = failure(outgoing.request(request));
    const message = await take(server);
    effects++;
    proxy.cut(true);
    expect(LOST).toContain((await asked).code);
    await until(() => server.connections.length === 0);
    // The answer has nowhere to go.
    expect(LOST).toContain(await code(message.reply({ action: 'urn:re' })));
    const again = await client.connect(proxy.address);
    const second = await again.send(request);
    expect(second.messageId).toBe(request.messageId);
    await again.send(envelope('something else'));
    expect(valueOf(await take(server))).toBe('something else');
    expect(effects).toBe(1);
    expect(server.connections[0]?.facts.inbox.repeated).toBe(1);
  });

  // Goal: when the session is resumed the sender need not even notice: one effect, one answer.
  test('resumed: one effect and the answer', async () => {
    const { proxy, server, outgoing } = await proxied();
    void echo(server);
    let passed = 0;
    // Cut when the answer is on its way back.
    proxy.tamper = (bytes, { direction }) => (direction === 'down' && ++passed === 1 ? undefined : bytes);
    const answer = await outgoing.request(envelope('once'));
    expect(valueOf(answer)).toBe('once');
    expect(outgoing.facts.resumed).toBe(1);
  });
});

// Goal: a peer that went and came back as another process (same address) is not the old session.
test('the listener is gone for good: the session ends by itself', async () => {
  const { proxy, server, outgoing } = await proxied({ resumeMs: 200 });
  server.destroy();
  proxy.refusing = true;
  proxy.cut();
  const why = await outgoing.closed;
  expect([...LOST, 'CONNECTION_REFUSED', 'CLOSED']).toContain(why.code);
});
