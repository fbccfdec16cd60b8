// Proves what messages that are passed on may set aside here: so much for one peer and so much for all, whatever lengths are claimed,
// until it is given back. Method: senders and receivers that exist in the test only, so that nothing has these lengths.
import { expect, test } from 'vitest';
import { Envelope } from '../../../lib/index.js';
import type { Attached, Lent, ResolvedBuffer } from '../../../lib/runtime/attached.js';
import type { Answer, Delivery, Gift, Outgoing } from '../../../lib/runtime/delivery.js';
import { Relays } from '../../../lib/runtime/relays.js';
import type { SoapFault } from '../../../lib/soap/fault.js';
import { turns } from '../../support/events.js';

const GIB = 2 ** 30;
const TAG = 'A'.repeat(43);

/** A message with one buffer. */
function claiming(lengthBytes: number): Pick<Answer, 'envelope' | 'attached'> {
  const references = [{ cid: 'x', tag: TAG, lengthBytes, access: 'read' as const }];
  const envelope = Envelope.of({ to: 'dos://127.0.0.1:1/s', action: 'urn:x', references });
  const resolved = { length: lengthBytes, release: () => undefined } as ResolvedBuffer;
  const resolve = (): Promise<ResolvedBuffer> => Promise.resolve(resolved);
  return { envelope, attached: [{ length: lengthBytes, access: 'read', resolve } as unknown as Attached] };
}

function place() {
  const refused: (string | undefined)[] = [];
  /** What was passed on to the service and not given back. */
  const passed: Gift[] = [];
  /** What came back for the asker. */
  const answered: Gift[] = [];
  let lengthOfAnswer = 0;
  const relays = new Relays(({ gifts }: Outgoing) => {
    passed.push(...gifts);
    const back = lengthOfAnswer === 0 ? { ...claiming(0), attached: [] } : claiming(lengthOfAnswer);
    return Promise.resolve({ ...back, release: () => undefined });
  });
  return {
    refused,
    passed,
    answered,
    answerWith: (length: number) => {
      lengthOfAnswer = length;
    },
    /** A peer's message arrives, and is passed on, answered or refused. */
    arrive: async (node: string, length: number): Promise<void> => {
      const message: Partial<Delivery> = {
        ...claiming(length),
        node,
        principal: 'local',
        signal: new AbortController().signal,
        answer: (_envelope, gifts) => void answered.push(...gifts),
        refuse: (fault: SoapFault) => void refused.push(fault.subcodes[0]?.localName),
        release: () => undefined,
      };
      relays.relay(message as Delivery, 'the service', '/s');
      await turns();
    },
  };
}

function giveBack(gifts: Gift[]): void {
  for (const { giving } of gifts.splice(0)) (giving as Lent).returned?.();
}

test('lengths that one peer claims are refused beyond its share, and let in again when it was given back', async () => {
  const { arrive, passed, refused } = place();
  await arrive('liar', 3 * GIB);
  await arrive('liar', 3 * GIB);
  await arrive('liar', 5 * GIB);
  expect(refused).toEqual(['InsufficientResources', 'InsufficientResources']);
  expect(passed).toHaveLength(1);
  await arrive('liar', GIB);
  await arrive('other', 3 * GIB);
  expect(passed).toHaveLength(3);
  giveBack(passed);
  await arrive('liar', 3 * GIB);
  expect(passed).toHaveLength(1);
  expect(refused).toHaveLength(2);
});

test('all peers together leave room for the services of the runtime', async () => {
  const { arrive, passed, refused } = place();
  for (const node of ['a', 'b', 'c', 'd']) await arrive(node, 3 * GIB);
  expect(passed).toHaveLength(2);
  expect(refused).toEqual(['InsufficientResources', 'InsufficientResources']);
});

test('what services answer counts for who asked', async () => {
  const { arrive, answerWith, answered, refused } = place();
  answerWith(3 * GIB);
  await arrive('asker', 1);
  await arrive('asker', 1);
  expect(answered).toHaveLength(1);
  expect(refused).toEqual(['InsufficientResources']);
  giveBack(answered);
  await arrive('asker', 1);
  expect(answered).toHaveLength(1);
});
