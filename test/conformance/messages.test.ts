// The contract of messages: accepted once and in order, answered, carried inline or by reference,
// dropped when they come again, released. What bounds and ends them is flow.test.ts's affair, what is behind a reference
// buffers.test.ts's.
import { describe, expect, test } from 'vitest';
import {
  element,
  Envelope,
  include,
  SoapFault,
  XmlSerializer,
  type Message,
  type RegisteredBuffer,
} from '../../lib/index.js';
import { code, turns, until, watchPromise } from '../support/events.js';
import {
  connectTo,
  echo,
  envelope,
  filled,
  makeManager,
  makePair,
  mandatory,
  take,
  untilIdle,
  valueOf,
} from '../support/managers.js';
import { repetitions, TRANSPORTS } from '../support/transports.js';

describe.each(TRANSPORTS)('$name', (transport) => {
  // Goal: what is sent is what arrives: addressing, header blocks, body with attributes and text of every kind.
  test('an envelope arrives as it was sent', async () => {
    const { server, outgoing, incoming } = await makePair(transport);
    const sent = Envelope.of({
      action: 'urn:test:act',
      to: 'dos://somewhere/service',
      replyTo: 'dos://elsewhere:1/answers',
      faultTo: { address: 'dos://elsewhere:1/faults', referenceParameters: [element('urn:t', 'Id', '7')] },
      headers: [element('urn:t', 'Block', 'äöü <&> ]]> 😀', { attributes: { a: '"\'<\n\t' } })],
      body: [element('urn:t', 'One', [element('urn:u', 'Two', ' spaced '), 'text']), element('', 'Three')],
    });
    const accepted = await outgoing.send(sent);
    expect(accepted.messageId).toBe(sent.messageId);
    const message = await take(server);
    expect(message.connection).toBe(incoming);
    const got = message.envelope;
    expect([got.action, got.to, got.messageId]).toEqual([sent.action, sent.to, sent.messageId]);
    expect(got.replyTo?.address).toBe('dos://elsewhere:1/answers');
    expect(got.faultTo?.referenceParameters[0]?.text()).toBe('7');
    expect(got.headers[0]?.text()).toBe('äöü <&> ]]> 😀');
    expect(got.headers[0]?.attribute('a')).toBe('"\'<\n\t');
    expect(got.body[0]?.child('urn:u', 'Two')?.text()).toBe(' spaced ');
    expect(got.body[1]?.localName).toBe('Three');
    expect(message.deadlineAt).toBe(Infinity);
    expect(message.fault).toBeUndefined();
    message.release();
  });

  // Goal: answers find their requests whatever order they come in, in both directions at once.
  test('requests get their own answers', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport);
    const answering = [server, client].map(async (manager) => {
      const kept: Message[] = [];
      for (let i = 0; i < 20; i++) kept.push(await take(manager));
      for (const message of kept.reverse()) {
        await message.reply({ action: 'urn:test:answer', body: element('', 'R', `re ${valueOf(message)}`) });
        message.release();
      }
    });
    const asked = [outgoing, incoming].flatMap((connection) =>
      Array.from({ length: 20 }, async (_, index) => {
        const answer = await connection.request(envelope(index));
        expect(valueOf(answer)).toBe(`re ${index}`);
        answer.release();
      }),
    );
    await Promise.all([...asked, ...answering]);
  });

  // Goal: an answer has one asker: an id that waits for its answer cannot ask again, and can once it was answered.
  test('one request of an id at a time', async () => {
    const { server, outgoing } = await makePair(transport);
    const request = envelope('?');
    const first = outgoing.request(request);
    expect(await code(outgoing.request(request))).toBe('INVALID_ARGUMENT');
    const message = await take(server);
    await message.reply({ action: 'urn:re' });
    expect((await first).envelope.relatesTo).toBe(request.messageId);
    expect(await code(outgoing.request(request, { deadlineMs: 20 }))).toBe('DEADLINE_EXCEEDED');
  });

  // Goal: the library may be called from where it calls: a tag revoked, memory released, messages sent from an event.
  test('calls from inside of events', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport, {
      server: {
        authorize: ({ direction }) => {
          if (direction === 'receive') {
            const buffer = server.allocate(100);
            const exposure = incoming.share(buffer);
            sent.push(incoming.send(envelope('from inside')));
            exposure.revoke();
            buffer.release();
            ended.push(exposure.ended);
          }
          return true;
        },
      },
    });
    const ended: Promise<unknown>[] = [];
    const sent: Promise<unknown>[] = [];
    await Promise.all(Array.from({ length: 100 }, (_, index) => outgoing.send(envelope(index))));
    for (let i = 0; i < 100; i++) {
      (await take(server)).release();
      expect(valueOf(await take(client))).toBe('from inside');
    }
    expect(await Promise.all(ended)).toEqual(Array(100).fill('TAG_REVOKED'));
    expect(await Promise.all(sent)).toHaveLength(100);
    await untilIdle(server, client);
  });

  // Goal: a SOAP fault is an answer with everything in it, and no error of this side.
  test('a fault is a value', async () => {
    const { server, outgoing } = await makePair(transport);
    const asked = outgoing.request(envelope());
    const message = await take(server);
    await message.replyFault(
      SoapFault.dssp('UnknownEntry', 'There is no such entry.', [element('urn:t', 'D')]),
    );
    const answer = await asked;
    expect(answer.fault).toBeInstanceOf(SoapFault);
    expect(answer.fault?.code).toBe('Sender');
    expect(answer.fault?.subcodes[0]?.localName).toBe('UnknownEntry');
    expect(answer.fault?.reason).toBe('There is no such entry.');
    expect(answer.fault?.detail[0]?.localName).toBe('D');
  });

  // Goal: messages arrive in the order of their send() calls, far beyond the credits, with and without buffers.
  test('messages keep their order', async () => {
    const total = repetitions(5000);
    const { server, client, outgoing } = await makePair(transport, { server: { windowMessages: 100 } });
    const small = filled(client, 64);
    const sends = Array.from({ length: total }, (_, index) =>
      outgoing.send(envelope(index), index % 3 === 0 ? { buffers: [small] } : {}),
    );
    let expected = 0;
    for await (const message of server.messages) {
      expect(Number(valueOf(message))).toBe(expected++);
      message.release();
      if (expected === total) break;
    }
    await Promise.all(sends);
  });

  // Goal: the threshold decides between the frame and a tag, to the byte, and asking for a tag's rights forces a tag.
  test('small buffers come inline, larger ones by reference', async () => {
    const { server, client, outgoing } = await makePair(transport, { client: { inlineBytesMax: 1000 } });
    const buffer = filled(client, 1001, 3);
    await outgoing.send(envelope('', { body: element('urn:t', 'A', include('mine')) }), {
      buffers: [
        { buffer: buffer.slice(0, 1000), cid: 'mine' },
        buffer,
        { buffer: buffer.slice(0, 8), uses: 2 },
        { buffer: [buffer.slice(0, 500), buffer.slice(1, 500)] },
      ],
    });
    const message = await take(server);
    const [inline, byReference, asked, gathered] = message.buffers;
    expect(message.buffer('mine')).toBe(inline);
    expect(message.buffer('buffer-1')).toBe(byReference);
    expect(inline?.tag).toBeUndefined();
    expect(inline?.inline?.equals(buffer.bytes.subarray(0, 1000))).toBe(true);
    expect(byReference?.inline).toBeUndefined();
    expect(byReference?.tag).toMatch(/^[\w-]{43}$/);
    expect(asked?.tag).toMatch(/^[\w-]{43}$/);
    expect(gathered?.inline?.subarray(500).equals(buffer.bytes.subarray(1, 501))).toBe(true);
    const copy = (await inline?.resolve({ range: { offset: 990 } })) as RegisteredBuffer;
    expect(copy.bytes.equals(buffer.bytes.subarray(990, 1000))).toBe(true);
    copy.release();
    const into = new Uint8Array(5);
    await inline?.resolve({ into, range: { offset: 1, length: 5 } });
    expect(Buffer.from(into).equals(buffer.bytes.subarray(1, 6))).toBe(true);
    expect(await code(inline?.write(into) as Promise<void>)).toBe('UNSUPPORTED');
    message.release();
    buffer.release();
    await untilIdle(client, server);
  });

  // Goal: an envelope of exactly the limit arrives, one byte more is refused here, and the connection lives on.
  test('envelopes up to the limit, whatever frames they take', async () => {
    const limit = 1 << 20;
    const serializers = [new XmlSerializer({ envelopeBytesMax: limit })];
    const options = { serializers, messageBytesMax: limit };
    const { server, outgoing } = await makePair(transport, { server: options, client: options });
    const base = serializers[0]?.encode(envelope('x', { messageId: 'urn:x:1' })).length ?? 0;
    const text = 'x'.repeat(limit - base + 1);
    for (const id of ['urn:x:2', 'urn:x:3']) {
      const sending = outgoing.send(envelope(text, { messageId: id }));
      const message = await take(server);
      expect(valueOf(message)).toBe(text);
      await sending;
    }
    expect(await code(outgoing.send(envelope(`${text}x`, { messageId: 'urn:x:4' })))).toBe('LIMIT_EXCEEDED');
    const sending = outgoing.send(envelope('after'));
    expect(valueOf(await take(server))).toBe('after');
    await sending;
  });

  // Goal: the smaller of both sides' limits holds, whoever has it, and the sender is told at once.
  test('a message larger than the peer accepts is refused before it is sent', async () => {
    const { server, outgoing } = await makePair(transport, { server: { messageBytesMax: 8192 } });
    expect(await code(outgoing.send(envelope('x'.repeat(20_000))))).toBe('LIMIT_EXCEEDED');
    const sending = outgoing.send(envelope('after'));
    expect(valueOf(await take(server))).toBe('after');
    await sending;
  });

  // Goal: as many references as a message may have, each standing for its own bytes; one more is refused by name.
  test('1,024 references, and not one more', async () => {
    const { server, client, outgoing } = await makePair(transport, { client: { inlineBytesMax: 0 } });
    const buffer = filled(client, 1024 * 64, 11);
    const slices = Array.from({ length: 1024 }, (_, index) => buffer.slice(index * 64, 64));
    const sending = outgoing.send(envelope(), { buffers: slices });
    const message = await take(server);
    expect(message.buffers).toHaveLength(1024);
    const target = server.allocate(1024 * 64);
    await Promise.all(
      message.buffers.map((remote, index) => remote.resolve({ into: target.slice(index * 64, 64) })),
    );
    expect(target.bytes.equals(buffer.bytes)).toBe(true);
    message.release();
    const sent = await sending;
    await sent.released;
    expect(await code(outgoing.send(envelope(), { buffers: [...slices, buffer] }))).toBe('LIMIT_EXCEEDED');
    expect(client.stats.exposures).toBe(0);
    target.release();
    buffer.release();
    await untilIdle(client, server);
  });

  // Goal: inline attachments are counted and bounded in the same way.
  test('1,024 inline buffers, and not one more', async () => {
    const { server, client, outgoing } = await makePair(transport);
    const buffer = filled(client, 1024, 12);
    const slices = Array.from({ length: 1024 }, (_, index) => buffer.slice(index, 1));
    const sending = outgoing.send(envelope(), { buffers: slices });
    const message = await take(server);
    expect(Buffer.concat(message.buffers.map(({ inline }) => inline as Buffer)).equals(buffer.bytes)).toBe(
      true,
    );
    message.release();
    await sending;
    expect(await code(outgoing.send(envelope(), { buffers: [...slices, buffer] }))).toBe('LIMIT_EXCEEDED');
    buffer.release();
  });

  // Goal: a message sent again has one effect; ids are a peer's own, so another peer's equal id is another message.
  test('a message that is sent again is dropped by its MessageID', async () => {
    const { server, client, outgoing, incoming, address } = await makePair(transport);
    const buffer = filled(client, 100_000);
    const message = envelope('once');
    const first = await outgoing.send(message, { buffers: [buffer] });
    const again = await outgoing.send(message, { buffers: [buffer] });
    expect(again.messageId).toBe(first.messageId);
    // The dropped one's buffers are given back without anybody taking it.
    await again.released;
    const other = makeManager();
    const [otherOutgoing] = await connectTo(server, other, address);
    await otherOutgoing.send(message);
    await outgoing.send(envelope('last'));
    const got = [await take(server), await take(server), await take(server)];
    expect(got.map(valueOf)).toEqual(['once', 'once', 'last']);
    expect(got[0]?.connection).toBe(incoming);
    expect(got[1]?.connection).not.toBe(incoming);
    expect(incoming.facts.inbox.repeated).toBe(1);
    expect(incoming.facts.inbox.received).toBe(3);
    for (const each of got) each.release();
    await first.released;
    buffer.release();
    await untilIdle(client, server);
  });

  // Goal: the receiver decides when the sender may reuse its memory, and after that the tag is worth nothing.
  test('release() gives the sender its buffers back', async () => {
    const { server, client, outgoing } = await makePair(transport);
    const buffer = filled(client, 50_000);
    const sent = await outgoing.send(envelope(), { buffers: [buffer, buffer.slice(0, 40_000)] });
    const released = watchPromise(sent.released);
    const message = await take(server);
    await turns();
    expect(released.settled).toBe(false);
    expect(buffer.holders).toBe(2);
    message.release();
    message.release();
    await sent.released;
    expect(buffer.holders).toBe(0);
    expect(await code(message.buffers[0]?.resolve() as Promise<unknown>)).toBe('TAG_UNKNOWN');
    buffer.release({ ifBusy: 'throw' });
    await untilIdle(client, server);
  });

  // Goal: leaving a loop keeps what it did not take for the next, and several takers share one queue.
  test('loops share one queue and lose nothing', async () => {
    const { server, outgoing } = await makePair(transport);
    for (let i = 0; i < 9; i++) await outgoing.send(envelope(i));
    const got: string[] = [];
    for (let loop = 0; loop < 3; loop++) {
      for await (const message of server.messages) {
        got.push(valueOf(message));
        message.release();
        if (got.length % 3 === 0) break;
      }
    }
    expect(got).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8']);
    const waiting = [take(server), take(server)];
    await outgoing.send(envelope('a'));
    await outgoing.send(envelope('b'));
    expect((await Promise.all(waiting)).map(valueOf)).toEqual(['a', 'b']);
    const ended = server.messages[Symbol.asyncIterator]().next();
    await server.close();
    expect((await ended).done).toBe(true);
    expect((await server.messages[Symbol.asyncIterator]().next()).done).toBe(true);
  });

  // Goal: a mandatory header block that nobody here knows is answered with the fault that SOAP prescribes.
  test('a mandatory block that is not understood is answered with a fault', async () => {
    const { server, outgoing } = await makePair(transport);
    const answer = await outgoing.request(envelope('', { headers: [mandatory()] }));
    expect(answer.fault?.code).toBe('MustUnderstand');
    await outgoing.send(envelope('next'));
    expect(valueOf(await take(server))).toBe('next');
  });

  // Goal: requests with buffers leave no tag, no memory and nothing unacknowledged.
  test('nothing is left after many requests', async () => {
    const { server, client, outgoing } = await makePair(transport);
    void echo(server);
    const buffer = filled(client, 20_000);
    for (let i = 0; i < repetitions(20); i++) {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, index) => outgoing.request(envelope(index), { buffers: [buffer] })),
      );
      for (const answer of answers) answer.release();
    }
    buffer.release();
    await untilIdle(client, server);
    expect(client.stats.tags.live).toBe(0);
    await until(() => outgoing.facts.messagesUnacknowledged === 0);
  });
});
