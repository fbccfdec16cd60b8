// Proves that the queue keeps its order and gives its slots back, that a set of UUIDs is a set, that cancellations are looked for
// together, and that what is remembered of peers is bounded and forgets the oldest first.
import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Fifo } from '../../../lib/network/fifo.js';
import type { Connection } from '../../../lib/network/connection.js';
import { Withdrawals } from '../../../lib/network/withdrawals.js';
import { UuidSet } from '../../../lib/network/uuid-set.js';
import { SEEN_MESSAGES_MIN, SEEN_PEERS_MAX, SeenMessages } from '../../../lib/network/seen.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('Fifo', () => {
  // Method: any sequence of operations does to a Fifo what it does to an array.
  test('is an array whose shift is cheap', () => {
    const operation = fc.oneof(
      { weight: 4, arbitrary: fc.record({ push: fc.integer({ min: 0, max: 9 }) }) },
      { weight: 4, arbitrary: fc.record({ shift: fc.integer({ min: 1, max: 700 }) }) },
      { weight: 1, arbitrary: fc.record({ many: fc.integer({ min: 1, max: 1500 }) }) },
      { weight: 1, arbitrary: fc.record({ remove: fc.integer({ min: 0, max: 9 }) }) },
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        for (const step of operations) {
          if ('push' in step) {
            fifo.push(step.push);
            model.push(step.push);
          } else if ('many' in step) {
            for (let i = 0; i < step.many; i++) {
              fifo.push(i % 10);
              model.push(i % 10);
            }
          } else if ('shift' in step) {
            for (let i = 0; i < step.shift; i++) expect(fifo.shift()).toBe(model.shift());
          } else {
            const at = model.indexOf(step.remove);
            expect(fifo.remove((item) => item === step.remove)).toBe(
              at < 0 ? undefined : model.splice(at, 1)[0],
            );
          }
          expect(fifo.length).toBe(model.length);
          expect(fifo.peek()).toBe(model[0]);
        }
        for (const item of model) expect(fifo.shift()).toBe(item);
        expect(fifo.shift()).toBeUndefined();
      }),
      { numRuns: 200 },
    );
  });
});

describe('UuidSet', () => {
  const SIZE = 1000;
  const urn = (uuid: string): string => `urn:uuid:${uuid}`;

  // Method: ids that differ in one digit, so that whatever the set does not look at would show; against a set of strings.
  test('is a set of strings, for ids in their usual form', () => {
    const set = new UuidSet(SIZE);
    const model = new Set<string>();
    const base = randomUUID();
    for (let at = 0; at < base.length; at++) {
      for (const digit of '0123456789abcdef') {
        const id = base[at] === '-' ? urn(randomUUID()) : urn(base.slice(0, at) + digit + base.slice(at + 1));
        expect(UuidSet.read(id)).toBe(true);
        expect(set.has()).toBe(model.has(id));
        if (!model.has(id)) set.add();
        model.add(id);
        expect(set.size).toBe(model.size);
      }
    }
    for (const id of model) expect(UuidSet.read(id) && set.has()).toBe(true);
    set.clear();
    for (const id of model) expect(UuidSet.read(id) && set.has()).toBe(false);
  });

  test('takes nothing that another text could stand for as well', () => {
    const uuid = '0123abcd-4567-4ef0-89ab-0123456789ab';
    expect(UuidSet.read(urn(uuid))).toBe(true);
    const others = [
      uuid,
      urn(uuid.toUpperCase()),
      urn(uuid.replaceAll('-', '0')),
      urn(uuid.replace('a', 'g')),
      urn(uuid.replace('a', '\u0130')),
      urn(uuid.replace('a', '\u0661')),
      urn(`${uuid.slice(1)}-`),
      urn(`${uuid}0`),
      `URN:UUID:${uuid}`,
      urn('00000000-0000-0000-0000-000000000000'),
    ];
    for (const id of others) expect(UuidSet.read(id)).toBe(false);
  });

  test('refuses more than it was made for', () => {
    const set = new UuidSet(1);
    UuidSet.read(urn(randomUUID()));
    set.add();
    UuidSet.read(urn(randomUUID()));
    expect(() => {
      set.add();
    }).toThrow(RangeError);
  });
});

describe('Withdrawals', () => {
  const [one, other] = [{}, {}] as Connection[] as [Connection, Connection];

  // Method: the sweep asks of everything that it might find.
  test('are swept once a turn, for all that came in it', async () => {
    const sweeps: boolean[][] = [];
    const withdrawals = new Withdrawals((isCanceled) => {
      sweeps.push([isCanceled(one, 1), isCanceled(one, 2), isCanceled(other, 1), isCanceled(other, 2)]);
    });
    withdrawals.add(one, 1);
    withdrawals.add(other, 2);
    expect(sweeps).toEqual([]);
    await Promise.resolve();
    withdrawals.add(one, 2);
    withdrawals.settle();
    await Promise.resolve();
    expect(sweeps).toEqual([
      [true, false, false, true],
      [false, true, false, false],
    ]);
  });
});

describe('SeenMessages', () => {
  test('knows a message of a peer again, and not of another', () => {
    const seen = new SeenMessages();
    expect(seen.isNew('a', 'm')).toBe(true);
    expect(seen.isNew('a', 'm')).toBe(false);
    expect(seen.isNew('b', 'm')).toBe(true);
    expect(seen.isNew('a', 'n')).toBe(true);
  });

  // Both kinds of ids, and a mixture of them.
  test.each([
    { name: 'texts', id: (i: number) => `m${i}` },
    {
      name: 'UUIDs',
      id: (i: number) => `urn:uuid:${String(i).padStart(8, '0')}-4567-4ef0-89ab-0123456789ab`,
    },
    {
      name: 'both',
      id: (i: number) =>
        i % 2 === 0 ? `m${i}` : `urn:uuid:${String(i).padStart(8, '0')}-4567-4ef0-89ab-0123456789ab`,
    },
  ])('remembers at least as many $name as promised, and forgets the oldest in the end', ({ id }) => {
    const seen = new SeenMessages();
    for (let i = 0; i < 2 * SEEN_MESSAGES_MIN - 1; i++) expect(seen.isNew('a', id(i))).toBe(true);
    expect(seen.isNew('a', id(0))).toBe(false);
    expect(seen.isNew('a', id(2 * SEEN_MESSAGES_MIN))).toBe(true);
    expect(seen.isNew('a', id(SEEN_MESSAGES_MIN))).toBe(false);
    expect(seen.isNew('a', id(0))).toBe(true);
  });

  // Method: long ids, which are kept as digests, differ in their last character alone.
  test.each(['m', 'x'.repeat(200_000)])(
    'takes a message that was returned once more, and only that',
    (id) => {
      const seen = new SeenMessages();
      seen.return('a', `${id}1`);
      for (const text of [`${id}1`, `${id}2`]) expect(seen.isNew('a', text)).toBe(true);
      seen.return('a', `${id}1`);
      expect(seen.isNew('a', `${id}2`)).toBe(false);
      expect(seen.isNew('a', `${id}1`)).toBe(true);
      expect(seen.isNew('a', `${id}1`)).toBe(false);
    },
  );

  // A peer chooses its ids, and may choose them as long as an envelope.
  test('holds no memory for how long an id is', () => {
    const seen = new SeenMessages();
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 500; i++) seen.isNew('a', `${i}`.padEnd(200_000, `${i}`));
    collectGarbage();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(10e6);
    expect(seen.isNew('a', '7'.repeat(200_000))).toBe(false);
  });

  // A peer that is in use must not be forgotten because others came: its resends would have a second effect.
  test('forgets the peer that has been silent longest first', () => {
    const seen = new SeenMessages();
    for (let i = 0; i < SEEN_PEERS_MAX; i++) seen.isNew(`p${i}`, 'm');
    expect(seen.isNew('p0', 'm')).toBe(false);
    seen.isNew('new', 'm');
    expect(seen.isNew('p0', 'm')).toBe(false);
    expect(seen.isNew('p1', 'm')).toBe(true);
  });
});
