// Proves that the queue keeps its order and gives its slots back, and that what is remembered of peers is bounded and
// forgets the oldest first.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Fifo } from '../../../lib/network/fifo.js';
import { SEEN_MESSAGES_MIN, SEEN_PEERS_MAX, SeenMessages } from '../../../lib/network/seen.js';

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

describe('SeenMessages', () => {
  test('knows a message of a peer again, and not of another', () => {
    const seen = new SeenMessages();
    expect(seen.isNew('a', 'm')).toBe(true);
    expect(seen.isNew('a', 'm')).toBe(false);
    expect(seen.isNew('b', 'm')).toBe(true);
    expect(seen.isNew('a', 'n')).toBe(true);
  });

  test('remembers at least as many messages as promised, and forgets the oldest in the end', () => {
    const seen = new SeenMessages();
    for (let i = 0; i < 2 * SEEN_MESSAGES_MIN - 1; i++) expect(seen.isNew('a', `m${i}`)).toBe(true);
    expect(seen.isNew('a', 'm0')).toBe(false);
    expect(seen.isNew('a', 'one more')).toBe(true);
    expect(seen.isNew('a', `m${SEEN_MESSAGES_MIN}`)).toBe(false);
    expect(seen.isNew('a', 'm0')).toBe(true);
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
