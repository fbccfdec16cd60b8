// The contract of messages that are not handled: refused, denied, or withdrawn before anybody took them. Their buffers go back, who
// waits for an answer hears why there is none, and what was not handled may come again.
import { describe, expect, test } from 'vitest';
import { failure, until } from '../support/events.js';
import { envelope, filled, makePair, mandatory, take, untilIdle, valueOf } from '../support/managers.js';
import { TRANSPORTS } from '../support/transports.js';

const ID = 'urn:uuid:11111111-2222-4333-8444-555555555555';

describe.each(TRANSPORTS)('over $name', (transport) => {
  // Goal: a message that is canceled before anybody has it was not handled, and its sender may send it again.
  test('what was withdrawn may come again, once', async () => {
    const { server, outgoing } = await makePair(transport);
    const message = envelope('again', { messageId: ID });
    const abort = new AbortController();
    const asked = failure(outgoing.request(message, { signal: abort.signal }));
    await until(() => outgoing.facts.messagesUnacknowledged === 0);
    abort.abort();
    expect((await asked).code).toBe('ABORTED');
    await outgoing.send(message);
    await outgoing.send(message);
    await outgoing.send(envelope('next'));
    expect(valueOf(await take(server))).toBe('again');
    expect(valueOf(await take(server))).toBe('next');
  });

  test('what was denied may come again', async () => {
    let open = false;
    const { server, outgoing } = await makePair(transport, {
      server: { authorize: ({ direction }) => direction === 'send' || open },
    });
    const message = envelope('later', { messageId: ID });
    const answer = await outgoing.request(message);
    expect(answer.fault?.subcodes.map(({ localName }) => localName)).toEqual(['PermissionDenied']);
    open = true;
    await outgoing.send(message);
    expect(valueOf(await take(server))).toBe('later');
  });

  // Goal: whoever refuses a message after reading its header gives the buffers back.
  test('a refused message releases its buffers', async () => {
    const { server, client, outgoing } = await makePair(transport);
    const buffer = filled(client, 50_000);
    const sent = await outgoing.send(envelope('', { headers: [mandatory()] }), { buffers: [buffer] });
    await sent.released;
    expect(buffer.holders).toBe(0);
    buffer.release({ ifBusy: 'throw' });
    (await take(client)).release();
    await untilIdle(client, server);
  });

  // Goal: a request whose answer is not let in ends, and says so. Method: the asker permits nothing to come in.
  test('an answer that is denied ends its request', async () => {
    const { server, outgoing } = await makePair(transport, {
      client: { authorize: ({ direction }) => direction === 'send' },
    });
    const asked = failure(outgoing.request(envelope()));
    const message = await take(server);
    await message.reply({ action: 'urn:t:answer' });
    message.release();
    expect((await asked).code).toBe('PERMISSION_DENIED');
    expect(outgoing.facts.inbox.refused).toBe(1);
  });

  test('an answer that is refused ends its request', async () => {
    const { server, outgoing } = await makePair(transport);
    const asked = failure(outgoing.request(envelope()));
    const message = await take(server);
    await message.reply({ action: 'urn:t:answer', headers: [mandatory()] });
    message.release();
    expect((await asked).code).toBe('MESSAGE_INVALID');
  });
});
