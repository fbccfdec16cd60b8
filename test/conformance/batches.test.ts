// The contract of small messages that travel together: whole, in order, once; sent in any form and cut as frames need it;
// credits, cancellation and authorization as for messages; and views that stay what they are.
import fc from 'fast-check';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import {
  BATCH_ACTION,
  type Authorization,
  type Batch,
  type NetworkManager,
  type PackedMessages,
} from '../../lib/index.js';
import { code, turns, until, watchPromise } from '../support/events.js';
import { connectTo, envelope, fill, makePair, take, valueOf } from '../support/managers.js';
import { TRANSPORTS } from '../support/transports.js';

/** The next batch of a manager, or of a connection. */
async function takeBatch({ batches }: Pick<NetworkManager, 'batches'>): Promise<Batch> {
  const { value, done } = await batches[Symbol.asyncIterator]().next();
  if (done === true) throw new Error('There are no more batches.');
  return value;
}

/** Batches, one after the other, until there are so many messages; the messages by themselves. */
async function takeMessages(from: Pick<NetworkManager, 'batches'>, count: number): Promise<Buffer[]> {
  const messages: Buffer[] = [];
  while (messages.length < count) {
    for (const message of await takeBatch(from)) messages.push(Buffer.from(message));
  }
  return messages;
}

function texts(batch: Batch): string[] {
  return [...batch].map((message) => Buffer.from(message).toString());
}

function packed(messages: readonly Uint8Array[]): PackedMessages {
  return { bytes: Buffer.concat(messages), lengths: Uint16Array.from(messages, ({ length }) => length) };
}

/** `count` messages of 0 to `longest` bytes that are all different. */
function various(count: number, longest: number): Uint8Array[] {
  const bytes = new Uint8Array(longest + count);
  fill(bytes, count);
  return Array.from({ length: count }, (_, index) => {
    const length = (index * 7919) % (longest + 1);
    return bytes.slice(index, index + length);
  });
}

describe.each(TRANSPORTS)('$name', (transport) => {
  test('what a batch is to its receiver', async () => {
    const { server, outgoing, incoming } = await makePair(transport);
    const sent = ['first', '', 'third'].map((text) => Buffer.from(text));
    await outgoing.sendBatch(sent);
    const batch = await takeBatch(server);
    expect(batch.connection).toBe(incoming);
    expect(batch.length).toBe(3);
    expect([...batch.lengths]).toEqual([5, 0, 5]);
    expect(batch.bytes.toString()).toBe('firstthird');
    expect(texts(batch)).toEqual(['first', '', 'third']);
    expect([0, 1, 2, -1, -3, 1.9].map((index) => Buffer.from(batch.at(index) ?? 'none').toString())).toEqual([
      'first',
      '',
      'third',
      'third',
      'first',
      '',
    ]);
    expect([3, -4, NaN].map((index) => batch.at(index)?.length)).toEqual([undefined, undefined, 5]);
    expect([0, 1, 2].map((index) => batch.offsetOf(index))).toEqual([0, 5, 5]);
    for (const nowhere of [3, -1, 0.5]) expect(() => batch.offsetOf(nowhere)).toThrow(RangeError);
  });

  // Goal: whatever is sent, in whichever form, arrives message by message as it was. Method: any lists of any lengths, with both
  // forms at once, through a receiver that takes little at a time.
  test('every size and form arrives whole and in order', async () => {
    const { server, outgoing } = await makePair(transport, {
      server: { messageBytesMax: 5000, windowBytes: 20_000, windowMessages: 8 },
    });
    const message = fc.uint8Array({ maxLength: 300, size: 'max' });
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 200, size: 'max' }), async (messages) => {
        const sending = [outgoing.sendBatch(messages), outgoing.sendBatch(packed(messages))];
        const got = await takeMessages(server, 2 * messages.length);
        expect(got).toHaveLength(2 * messages.length);
        [...messages, ...messages].forEach((bytes, index) => {
          expect(got[index]?.equals(bytes)).toBe(true);
        });
        await Promise.all(sending);
      }),
      { numRuns: 20 },
    );
    const alike = new Uint8Array(64 * 1000);
    fill(alike);
    const sent = outgoing.sendBatch({ bytes: alike, lengths: 64 });
    const got = await takeMessages(server, 1000);
    await sent;
    expect(got.every(({ length }) => length === 64)).toBe(true);
    expect(Buffer.concat(got).equals(alike)).toBe(true);
  });

  // Goal: what exceeds one batch on the wire comes as several, cut between messages, the longest that there may be among them.
  test('many messages, and the longest', async () => {
    const { server, outgoing } = await makePair(transport);
    const longest = [new Uint8Array(65_535), new Uint8Array(1), new Uint8Array(65_535)];
    longest.forEach((bytes, index) => {
      fill(bytes, index + 1);
    });
    const sent = [...various(20_000, 90), ...longest];
    const sending = outgoing.sendBatch(sent);
    const batches: Batch[] = [];
    for await (const batch of server.batches) {
      batches.push(batch);
      if (batches.reduce((sum, { length }) => sum + length, 0) === sent.length) break;
    }
    await sending;
    expect(batches.length).toBeGreaterThan(5);
    const got = batches.flatMap((batch) => [...batch]);
    expect(got.every((bytes, index) => Buffer.compare(bytes, sent[index] as Uint8Array) === 0)).toBe(true);
    // What came may be passed on as it is.
    await Promise.all(batches.map((batch) => outgoing.sendBatch(batch)));
    const again = await takeMessages(server, sent.length);
    expect(again.every((bytes, index) => bytes.equals(sent[index] as Uint8Array))).toBe(true);
    await outgoing.sendBatch(Array.from({ length: 70_000 }, () => new Uint8Array(0)));
    expect(await takeMessages(server, 70_000)).toHaveLength(70_000);
  });

  test('in order with messages, and beside them', async () => {
    const { server, outgoing } = await makePair(transport);
    const sends: Promise<unknown>[] = [];
    for (let index = 0; index < 100; index++) {
      sends.push(outgoing.send(envelope(index)), outgoing.sendBatch([Buffer.from(String(index))]));
    }
    await Promise.all(sends);
    for (let index = 0; index < 100; index++) {
      const message = await take(server);
      expect(valueOf(message)).toBe(String(index));
      message.release();
      expect(texts(await takeBatch(server))).toEqual([String(index)]);
    }
    const { facts } = outgoing;
    expect(facts.messagesSent).toBe(200);
    expect(facts.messagesUnacknowledged).toBe(0);
  });

  // Goal: the bytes of a batch are its own. Method: kept while much more arrives into memory that is released and used again, of
  // which nothing must show in them.
  test('a batch stays what it is for as long as it is kept', async () => {
    const { server, outgoing } = await makePair(transport);
    const first = Array.from({ length: 500 }, (_, index) => Buffer.alloc(64, index));
    await outgoing.sendBatch(first);
    const kept = await takeBatch(server);
    const views = [...kept];
    const other = { bytes: new Uint8Array(1 << 20).fill(0xee), lengths: 64 };
    for (let round = 0; round < 12; round++) {
      const sending = outgoing.sendBatch(other);
      for (let left = other.bytes.length / 64; left > 0;) {
        using batch = await takeBatch(server);
        expect(batch.bytes.every((byte) => byte === 0xee)).toBe(true);
        left -= batch.length;
      }
      await sending;
    }
    expect(views.every((bytes, index) => Buffer.compare(bytes, first[index] as Buffer) === 0)).toBe(true);
    expect(kept.bytes.equals(Buffer.concat(first))).toBe(true);
  });

  test('what was released cannot be looked at, and its memory is used again', async () => {
    const { server, outgoing } = await makePair(transport);
    const large = { bytes: Buffer.alloc(64 * 900, 1), lengths: 64 };
    const memories = new Set<ArrayBufferLike>();
    for (let round = 0; round < 20; round++) {
      await outgoing.sendBatch(round % 2 === 0 ? large : [Buffer.from('small')]);
      const batch = await takeBatch(server);
      if (batch.length > 1) memories.add(batch.bytes.buffer);
      batch.release();
      batch.release();
      expect(batch.length).toBe(round % 2 === 0 ? 900 : 1);
      for (const look of [() => batch.bytes, () => batch.lengths, () => batch.at(0), () => [...batch]]) {
        expect(await code(look)).toBe('REGION_RELEASED');
      }
      expect(await code(() => outgoing.sendBatch(batch))).toBe('REGION_RELEASED');
    }
    expect(memories.size).toBe(1);
  });

  // Goal: who does not take batches stops their sender at the window; in messages and in bytes.
  test('credits stop the sender, and nothing is lost', async () => {
    const { server, outgoing } = await makePair(transport, { server: { windowMessages: 4 } });
    const sends = Array.from({ length: 40 }, (_, index) =>
      watchPromise(outgoing.sendBatch([Buffer.from(String(index)), Buffer.from('.')])),
    );
    await until(() => sends[3]?.settled === true);
    await turns();
    expect(sends.filter(({ settled }) => settled)).toHaveLength(4);
    for (let index = 0; index < 40; index++)
      expect(texts(await takeBatch(server))).toEqual([`${index}`, '.']);
    await until(() => sends.every(({ settled }) => settled));
    expect(sends.every(({ error }) => error === undefined)).toBe(true);
  });

  test('the window counts bytes', async () => {
    const { server, outgoing } = await makePair(transport, {
      server: { messageBytesMax: 10_000, windowBytes: 25_000 },
    });
    // Each as long as a frame may be.
    const send = () => watchPromise(outgoing.sendBatch({ bytes: new Uint8Array(9_998), lengths: 9_998 }));
    const sends = Array.from({ length: 5 }, send);
    await until(() => sends[1]?.settled === true);
    await turns();
    expect(sends.filter(({ settled }) => settled)).toHaveLength(2);
    await takeMessages(server, 5);
    await until(() => sends.every(({ settled }) => settled));
  });

  // Goal: back-pressure reaches the sender. Method: more than the engine's queue holds, through the smallest window.
  test('a slow reader is waited for', async () => {
    const { server, outgoing } = await makePair(transport, { server: { windowMessages: 1 } });
    const chunk = various(20, 60_000);
    const rounds = 60;
    let drains = 0;
    const sends: Promise<void>[] = [];
    const sending = (async () => {
      for (let round = 0; round < rounds; round++) {
        sends.push(outgoing.sendBatch(chunk));
        if (!outgoing.writableNeedDrain) continue;
        drains++;
        await once(outgoing, 'drain');
      }
    })();
    const got = await takeMessages(server, rounds * chunk.length);
    await sending;
    await Promise.all(sends);
    expect(drains).toBeGreaterThan(0);
    expect(got.every((bytes, index) => bytes.equals(chunk[index % chunk.length] as Uint8Array))).toBe(true);
  });

  test('canceling: what waits is withdrawn, what was accepted stays', async () => {
    const { server, outgoing } = await makePair(transport, { server: { windowMessages: 1 } });
    await outgoing.sendBatch([Buffer.from('accepted')]);
    const abort = new AbortController();
    // Several on the wire, of which none has credit.
    const canceled = outgoing.sendBatch(various(5000, 100), { signal: abort.signal });
    const late = outgoing.sendBatch([Buffer.from('late')], { deadlineMs: 1 });
    const last = outgoing.sendBatch([Buffer.from('last')]);
    abort.abort(new Error('no longer wanted'));
    expect(await code(canceled)).toBe('ABORTED');
    expect(await code(late)).toBe('DEADLINE_EXCEEDED');
    expect(await code(outgoing.sendBatch([], { signal: abort.signal }))).toBe('ABORTED');
    expect(texts(await takeBatch(server))).toEqual(['accepted']);
    await last;
    expect(texts(await takeBatch(server))).toEqual(['last']);
  });

  test('an empty list is sent at once, and is nothing', async () => {
    const { server, outgoing } = await makePair(transport);
    await outgoing.sendBatch([]);
    await outgoing.sendBatch({ bytes: new Uint8Array(0), lengths: 8 });
    await outgoing.sendBatch([Buffer.from('next')]);
    expect(texts(await takeBatch(server))).toEqual(['next']);
  });

  test('mistakes are found before anything is sent', async () => {
    const { server, outgoing } = await makePair(transport, { server: { messageBytesMax: 4096 } });
    const ten = new Uint8Array(10);
    const wrong: PackedMessages[] = [
      { bytes: ten, lengths: 3 },
      { bytes: ten, lengths: 0 },
      { bytes: ten, lengths: -5 },
      { bytes: ten, lengths: NaN },
      { bytes: ten, lengths: Uint16Array.of(5, 4) },
      { bytes: ten, lengths: Uint16Array.of(5, 6) },
      { bytes: ten, lengths: [10] as unknown as Uint16Array },
      { bytes: 'text' as unknown as Uint8Array, lengths: 1 },
    ];
    for (const what of wrong) expect(await code(outgoing.sendBatch(what))).toBe('INVALID_ARGUMENT');
    expect(await code(outgoing.sendBatch([ten, 'text' as unknown as Uint8Array]))).toBe('INVALID_ARGUMENT');
    // Two bytes of what the peer takes say how long the message is.
    const longest = new Uint8Array(4094);
    expect(await code(outgoing.sendBatch([ten, new Uint8Array(4095)]))).toBe('LIMIT_EXCEEDED');
    expect(await code(outgoing.sendBatch({ bytes: new Uint8Array(8192), lengths: 4096 }))).toBe(
      'LIMIT_EXCEEDED',
    );
    await outgoing.sendBatch([longest]);
    expect((await takeBatch(server)).lengths[0]).toBe(4094);
    expect(outgoing.facts.messagesSent).toBe(1);
    await outgoing.close();
    expect(await code(outgoing.sendBatch([ten]))).toBe('CLOSED');
  });

  // Goal: nothing but what the caller named leaves this process. Method: the caller changes it while it waits for room.
  test('bytes that go away while they wait', async () => {
    const { server, outgoing } = await makePair(transport, { server: { windowMessages: 1 } });
    const longest = 1 << 14;
    // More than the engine's queue holds.
    const buffer = new ArrayBuffer(24 << 20);
    const gone = code(outgoing.sendBatch({ bytes: new Uint8Array(buffer), lengths: longest }));
    const lengths = Uint16Array.of(8, 8);
    const changed = code(outgoing.sendBatch({ bytes: new Uint8Array(16).fill(1), lengths }));
    const last = outgoing.sendBatch([Buffer.from('last')]);
    structuredClone(buffer, { transfer: [buffer] });
    lengths[1] = 4000;
    for await (const batch of server.batches) {
      if (batch.bytes.toString() === 'last') break;
      expect(batch.lengths.every((length) => length === longest)).toBe(true);
      expect(batch.bytes.every((byte) => byte === 0)).toBe(true);
    }
    await last;
    expect([await gone, await changed]).toEqual(['INVALID_ARGUMENT', 'INVALID_ARGUMENT']);
  });

  // Goal: authorize judges a batch as a whole, in both directions; what is refused there is told with a fault and costs no credit.
  test('authorize', async () => {
    const asked: Authorization[] = [];
    const { server, client, outgoing, incoming } = await makePair(transport, {
      server: {
        windowMessages: 2,
        authenticate: ({ identity }) => identity,
        authorize: (access) => {
          asked.push(access);
          if (access.direction === 'send') return access.action !== BATCH_ACTION;
          return access.bytes < 100;
        },
      },
      client: {
        identity: 'asker',
        authorize: ({ action, direction, bytes }) =>
          Promise.resolve(direction === 'receive' || action !== BATCH_ACTION || bytes < 1000),
      },
    });
    expect(await code(outgoing.sendBatch(various(100, 100)))).toBe('PERMISSION_DENIED');
    expect(await code(incoming.sendBatch([Buffer.from('no')]))).toBe('PERMISSION_DENIED');
    asked.length = 0;
    for (let round = 0; round < 5; round++) {
      await outgoing.sendBatch([Buffer.alloc(60), Buffer.alloc(60)]);
      const { fault } = await take(client);
      expect(fault?.subcodes[0]?.localName).toBe('PermissionDenied');
    }
    await outgoing.sendBatch([Buffer.from('few'), Buffer.from('bytes')]);
    expect(texts(await takeBatch(server))).toEqual(['few', 'bytes']);
    const to = 'http://www.w3.org/2005/08/addressing/anonymous';
    const judged = { principal: 'asker', action: BATCH_ACTION, to, direction: 'receive' };
    expect(asked.filter(({ action }) => action === BATCH_ACTION)).toEqual([
      ...Array.from({ length: 5 }, () => ({ ...judged, bytes: 120 })),
      { ...judged, bytes: 8 },
    ]);
    expect(incoming.facts.inbox.refused).toBe(5);
  });

  test("a connection's own batches are nobody else's", async () => {
    const pair = await makePair(transport);
    const { server, client, outgoing, incoming } = pair;
    const [other] = await connectTo(server, client, pair.address);
    for (let index = 0; index < 3; index++) {
      await outgoing.sendBatch([Buffer.from(`mine ${index}`)]);
      await other.sendBatch([Buffer.from(`other ${index}`)]);
    }
    const { batches } = incoming;
    expect(incoming.batches).toBe(batches);
    await outgoing.sendBatch([Buffer.from('mine 3')]);
    for (let index = 0; index < 3; index++) {
      expect(texts(await takeBatch(server))).toEqual([`other ${index}`]);
      expect(texts(await takeBatch(incoming))).toEqual([`mine ${index}`]);
    }
    await outgoing.close();
    // What is left, then the end.
    const left: string[] = [];
    for await (const batch of batches) left.push(...texts(batch));
    expect(left).toEqual(['mine 3']);
    expect(await other.batches[Symbol.asyncIterator]().return?.()).toEqual({ value: undefined, done: true });
  });

  test('iterations end with the manager, and what waits fails with the connection', async () => {
    const { server, outgoing } = await makePair(transport, { server: { windowMessages: 1 } });
    const reading = (async () => {
      const seen: string[] = [];
      for await (const batch of server.batches) seen.push(...texts(batch));
      return seen;
    })();
    await outgoing.sendBatch([Buffer.from('seen')]);
    await server.close();
    expect(await reading).toEqual(['seen']);
    const again = await makePair(transport, { server: { windowMessages: 1 } });
    await again.outgoing.sendBatch([Buffer.from('accepted')]);
    const waiting = code(again.outgoing.sendBatch(various(5000, 100)));
    again.incoming.destroy();
    expect(await waiting).toBe('CLOSED');
    const left = again.incoming.batches[Symbol.asyncIterator]();
    expect(texts((await left.next()).value as Batch)).toEqual(['accepted']);
    expect(await left.next()).toEqual({ value: undefined, done: true });
  });
});
