// What waits for room: messages beyond the queue of the engine, for a peer that takes them later or never. Independent of the
// transport.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { SplitplaneError } from '../../lib/index.js';
import { code, failure, until } from '../support/events.js';
import { envelope, makePair, mandatory } from '../support/managers.js';
import { TCP } from '../support/transports.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

// Goal: what was sent before close() is accepted, also what had no room yet. Method: more than the queue of the engine holds.
test('close() sends what waits for room', async () => {
  const total = 8000;
  const { server, outgoing } = await makePair(TCP);
  const failures: SplitplaneError[] = [];
  for (let i = 0; i < total; i++) {
    outgoing.send(envelope(i)).catch((error: unknown) => failures.push(error as SplitplaneError));
  }
  expect(outgoing.writableNeedDrain).toBe(true);
  const closing = outgoing.close();
  expect(await code(outgoing.send(envelope('late')))).toBe('CLOSED');
  let received = 0;
  for await (const message of server.messages) {
    message.release();
    if (++received === total) break;
  }
  await closing;
  expect(failures).toEqual([]);
});

// Goal: close() does not wait for messages whose connection ends meanwhile.
test('a connection is destroyed while it closes', async () => {
  const { outgoing } = await makePair(TCP, { server: { windowMessages: 1 } });
  const sends = Array.from({ length: 8000 }, (_, i) => outgoing.send(envelope(i)));
  const last = failure(sends.at(-1) as Promise<unknown>);
  const ended = Promise.allSettled(sends);
  const closing = outgoing.close();
  outgoing.destroy();
  await closing;
  await ended;
  expect((await last).code).toBe('CLOSED');
});

// Goal: faults need no credit of whoever is told, so a peer that takes none must not make them pile up.
test('a peer that takes no answers is not answered for ever', async () => {
  const { outgoing, incoming } = await makePair(TCP, { client: { windowMessages: 1 } });
  const refused = 12_000;
  const message = envelope('', { headers: [mandatory()] });
  for (let i = 0; i < refused; i += 500) {
    await Promise.all(Array.from({ length: 500 }, () => outgoing.send(message)));
  }
  await until(() => incoming.facts.inbox.refused + incoming.facts.inbox.repeated === refused);
  expect(incoming.facts.messagesWaiting).toBeLessThanOrEqual(1025);
});

// Goal: what was canceled is not kept for a peer that takes nothing. Method: whoever holds an entry holds why it ended.
test('canceled messages leave no memory behind', async () => {
  const total = 4000;
  const { outgoing } = await makePair(TCP, { server: { windowMessages: 1 } });
  const reasons = await Promise.all(
    Array.from({ length: total }, async (_, index) => {
      const abort = new AbortController();
      const asked = failure(outgoing.request(envelope(index), { signal: abort.signal }));
      abort.abort();
      return new WeakRef(await asked);
    }),
  );
  const held = (): number => reasons.filter((reason) => reason.deref() !== undefined).length;
  await until(() => {
    collectGarbage();
    return held() < total / 2;
  });
  expect(outgoing.facts.messagesWaiting).toBe(0);
});
