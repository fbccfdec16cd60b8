// The contract of what bounds messages and what ends them: credits against a slow reader, limits of what waits, cancellation
// from either side, deadlines.
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { element, type SplitplaneError } from '../../lib/index.js';
import { code, failure, turns, until, watchPromise } from '../support/events.js';
import { echo, envelope, filled, makePair, take, untilIdle, valueOf } from '../support/managers.js';
import { TRANSPORTS } from '../support/transports.js';
import { tolerated } from '../support/resident.js';

describe.each(TRANSPORTS)('$name', (transport) => {
  // Goal: a reader that does not read stops the sender at the window, and nothing is lost when it reads again.
  test('credits stop the sender, messages wait in order', async () => {
    const { server, client, outgoing } = await makePair(transport, { server: { windowMessages: 4 } });
    const sends = Array.from({ length: 50 }, (_, index) => watchPromise(outgoing.send(envelope(index))));
    await until(() => sends[3]?.settled === true);
    // Something that needs no credit goes to the peer and back meanwhile.
    const shared = server.allocate(8);
    const exposure = server.expose(shared, { access: 'read', uses: Infinity, audience: { bearer: true } });
    const copy = await outgoing.remote(exposure).resolve();
    copy.release();
    exposure.revoke();
    expect(sends.filter(({ settled }) => settled)).toHaveLength(4);
    expect(outgoing.facts.messagesQueued + outgoing.facts.messagesWaiting).toBeGreaterThan(0);
    for (let index = 0; index < 50; index++) {
      const message = await take(server);
      expect(valueOf(message)).toBe(String(index));
      message.release();
    }
    await until(() => sends.every(({ settled }) => settled));
    expect(sends.every(({ error }) => error === undefined)).toBe(true);
    shared.release();
    await untilIdle(client, server);
  });

  // Goal: the window counts bytes too.
  test('credits count bytes', async () => {
    const { server, outgoing } = await makePair(transport, {
      server: { windowBytes: 64 * 1024, messageBytesMax: 64 * 1024 },
    });
    const text = 'y'.repeat(20_000);
    const sends = Array.from({ length: 20 }, () => watchPromise(outgoing.send(envelope(text))));
    await until(() => sends[2]?.settled === true);
    await turns();
    expect(sends.filter(({ settled }) => settled).length).toBe(3);
    for (let index = 0; index < 20; index++) (await take(server)).release();
    await until(() => sends.every(({ settled }) => settled));
  });

  // Goal: a sender that heeds back-pressure keeps its memory flat against a slow reader. Method: 15,000 messages of 4 KiB
  // through a window of 64; the reader takes one when the sender says that it must wait.
  test('a slow reader: credits stop the sender, memory stays flat', async () => {
    const { server, outgoing } = await makePair(transport, { server: { windowMessages: 64 } });
    const total = 15_000;
    let received = 0;
    const reading = (async () => {
      for await (const message of server.messages) {
        expect(Number(message.envelope.headers[0]?.text())).toBe(received);
        message.release();
        received++;
        if (received % 512 === 0) await turns(2);
        if (received === total) return;
      }
    })();
    const body = element('', 'Text', 'z'.repeat(4096));
    let drains = 0;
    let grownFrom = 0;
    let failures = 0;
    const refused = (): number => failures++;
    for (let index = 0; index < total; index++) {
      if (index === total / 4) grownFrom = process.memoryUsage.rss();
      outgoing.send(envelope('', { headers: [element('', 'N', String(index))], body })).catch(refused);
      if (outgoing.writableNeedDrain) {
        drains++;
        await once(outgoing, 'drain');
      }
    }
    await reading;
    await outgoing.close();
    expect([received, failures]).toEqual([total, 0]);
    expect(drains).toBeGreaterThan(2);
    expect(process.memoryUsage.rss() - grownFrom).toBeLessThan(tolerated(96));
  });

  // Goal: who ignores back-pressure is stopped by a named limit, not by the memory of the process.
  test('the queue of waiting messages is bounded', async () => {
    const { outgoing } = await makePair(transport, { server: { windowMessages: 1 } });
    const one = envelope('one');
    let refused: SplitplaneError | undefined;
    let posted = 0;
    while (refused === undefined && posted < 200_000) {
      outgoing.send(one).catch((error: unknown) => (refused = error as SplitplaneError));
      if (++posted % 1024 === 0) await turns(1);
    }
    expect(refused?.code).toBe('QUOTA_EXCEEDED');
    expect(refused?.message).toContain('65536');
    expect(outgoing.state).toBe('open');
  });

  // Goal: a message that is canceled before somebody took it is never taken, wherever it was.
  test('canceling withdraws a message that nobody has', async () => {
    const { server, client, outgoing } = await makePair(transport, { server: { windowMessages: 2 } });
    const buffer = filled(client, 50_000);
    const abort = new AbortController();
    const reason = new Error('no longer wanted');
    const sends = Array.from({ length: 6 }, (_, index) =>
      outgoing.send(envelope(index), {
        buffers: [buffer],
        ...(index === 1 || index === 4 ? { signal: abort.signal } : {}),
      }),
    );
    await sends[1];
    const canceled = failure(sends[4] as Promise<unknown>);
    abort.abort(reason);
    const error = await canceled;
    expect(error.code).toBe('ABORTED');
    expect(error.cause).toBe(reason);
    const taken: string[] = [];
    for (let i = 0; i < 4; i++) {
      const message = await take(server);
      taken.push(valueOf(message));
      message.release();
    }
    // The signal came after send() had settled for 1: that message was accepted, and stays.
    expect(taken).toEqual(['0', '1', '2', '3']);
    expect(valueOf(await take(server))).toBe('5');
    await sends[5];
    buffer.release();
  });

  // Goal: who handles a request sees that the asker gave up, and its answer goes nowhere.
  test('canceling a request aborts its message at the peer', async () => {
    const { server, client, outgoing } = await makePair(transport);
    const abort = new AbortController();
    const asked = failure(outgoing.request(envelope('long'), { signal: abort.signal }));
    const message = await take(server);
    expect(message.signal.aborted).toBe(false);
    const seen = once(message.signal, 'abort');
    abort.abort(new Error('changed my mind'));
    await seen;
    expect((message.signal.reason as SplitplaneError).code).toBe('ABORTED');
    const error = await asked;
    expect(error.code).toBe('ABORTED');
    expect((error.cause as Error).message).toBe('changed my mind');
    await message.reply({ action: 'urn:test:late' });
    await server.connections[0]?.send(envelope('next'));
    // The late answer is not in the queue of messages.
    expect(valueOf(await take(client))).toBe('next');
  });

  // Goal: answers that come too late do not use up the asker's credits. Method: more of them than the window has.
  test('late answers are dropped and cost no credit', async () => {
    const { server, outgoing } = await makePair(transport, { client: { windowMessages: 2 } });
    for (let i = 0; i < 10; i++) {
      const abort = new AbortController();
      const asked = code(outgoing.request(envelope(i), { signal: abort.signal }));
      const message = await take(server);
      abort.abort();
      expect(await asked).toBe('ABORTED');
      await message.reply({ action: 'urn:test:late' });
      message.release();
    }
    void echo(server);
    const answer = await outgoing.request(envelope('in time'));
    expect(valueOf(answer)).toBe('in time');
  });

  // Goal: an already aborted signal sends nothing.
  test('an aborted signal refuses at once', async () => {
    const { server, client, outgoing } = await makePair(transport);
    const buffer = filled(client, 50_000);
    const signal = AbortSignal.abort('before');
    expect(await code(outgoing.send(envelope('never'), { signal, buffers: [buffer] }))).toBe('ABORTED');
    expect(await code(outgoing.request(envelope('never'), { signal, buffers: [buffer] }))).toBe('ABORTED');
    await outgoing.send(envelope('next'));
    expect(valueOf(await take(server))).toBe('next');
    buffer.release({ ifBusy: 'throw' });
  });

  // Goal: a deadline beyond what timers can count is none, here and for the peer.
  test.each([Infinity, 2 ** 31, 2 ** 40])(
    'a deadline of %d ms does not end what waits',
    async (deadlineMs) => {
      const { server, outgoing } = await makePair(transport);
      const asked = outgoing.request(envelope('patient'), { deadlineMs });
      const message = await take(server);
      expect(message.deadlineAt).toBe(Infinity);
      await message.reply({ action: 'urn:t:answer' });
      message.release();
      expect((await asked).envelope.action).toBe('urn:t:answer');
    },
  );

  // Goal: a deadline ends a send that waits for credits and a request that waits for its answer, and the peer is told it.
  test('deadlines end what waits', async () => {
    const { server, client, outgoing } = await makePair(transport, { server: { windowMessages: 1 } });
    const buffer = filled(client, 50_000);
    await outgoing.send(envelope('fills the window'), { deadlineMs: 60_000 });
    const error = await failure(outgoing.send(envelope('waits'), { deadlineMs: 10, buffers: [buffer] }));
    expect(error.code).toBe('DEADLINE_EXCEEDED');
    await until(() => buffer.holders === 0);
    const first = await take(server);
    expect(first.deadlineAt).toBeGreaterThan(performance.now());
    expect(first.deadlineAt).toBeLessThan(performance.now() + 60_000);
    const asking = code(outgoing.request(envelope('unanswered'), { deadlineMs: 10 }));
    expect(await asking).toBe('DEADLINE_EXCEEDED');
    await outgoing.send(envelope('last'));
    let message = await take(server);
    // Whether the unanswered request came before it was canceled is a matter of time.
    if (valueOf(message) === 'unanswered') message = await take(server);
    expect(valueOf(message)).toBe('last');
    buffer.release({ ifBusy: 'throw' });
  });
});
