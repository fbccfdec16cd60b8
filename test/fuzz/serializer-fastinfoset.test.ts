// Properties of Fast Infoset over generated input, for a bounded number of runs: it holds what text XML holds; any octets end as a
// message or as a refusal with a code; the fast ways of reading agree with the general one.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FastInfosetSerializer, fastInfosetSerializer } from '../../lib/serializer/fastinfoset.js';
import { xmlSerializer } from '../../lib/serializer/xml.js';
import { Envelope } from '../../lib/soap/envelope.js';
import { MessageRefusedError } from '../../lib/soap/fault.js';
import { envelope, SHAPES, tree } from '../support/envelopes.js';
import { infoset, type PlainInfoset } from '../unit/serializer-infoset.js';

const RUNS = 400;
/** Changes nothing but that the header is not in our own form any more. X.891, section 12.3. */
const DECLARATION = Buffer.from("<?xml encoding='finf'?>");

interface Comparable {
  readonly header: readonly PlainInfoset[];
  readonly body: readonly PlainInfoset[];
}

function comparable(message: Envelope): Comparable {
  return { header: message.blocks.map(infoset), body: message.body.map(infoset) };
}

/** What a document is taken for: its infoset, or the code and fault it is refused with. */
function outcome(bytes: Uint8Array, serializer = fastInfosetSerializer): Comparable | string {
  try {
    return comparable(serializer.decodeHeader(bytes));
  } catch (error) {
    if (error instanceof MessageRefusedError) return `${error.code} ${error.message}`;
    throw error;
  }
}

describe('what is written', () => {
  test('reads back the same, and again after forwarding', () => {
    fc.assert(
      fc.property(envelope, (message) => {
        const expected = comparable(message);
        const once = fastInfosetSerializer.decodeHeader(fastInfosetSerializer.encode(message));
        expect(comparable(once)).toEqual(expected);
        expect(comparable(fastInfosetSerializer.decodeHeader(fastInfosetSerializer.encode(once)))).toEqual(
          expected,
        );
      }),
      { numRuns: RUNS },
    );
  });

  test('reads back the same when elements are written again and again, in any company', () => {
    fc.assert(
      fc.property(fc.array(tree, { minLength: 1, maxLength: 3 }), (elements) => {
        const orders = [
          elements,
          [...elements].reverse(),
          elements.slice(0, 1),
          elements,
          [...elements, ...elements],
        ];
        for (const body of orders) {
          const bytes = fastInfosetSerializer.encode(Envelope.of({ action: 'urn:a', body }));
          expect(fastInfosetSerializer.decodeHeader(bytes).body.map(infoset)).toEqual(body.map(infoset));
        }
      }),
      { numRuns: RUNS },
    );
  });

  test('is the same infoset as text XML, in by one and out by the other', () => {
    fc.assert(
      fc.property(envelope, (message) => {
        const expected = comparable(message);
        const fromText = xmlSerializer.decodeHeader(xmlSerializer.encode(message));
        const read = fastInfosetSerializer.decodeHeader(fastInfosetSerializer.encode(fromText));
        expect(comparable(read)).toEqual(expected);
        expect(comparable(xmlSerializer.decodeHeader(xmlSerializer.encode(read)))).toEqual(expected);
      }),
      { numRuns: RUNS },
    );
  });

  test('keeps the meaning of every prefix that was in scope', () => {
    fc.assert(
      fc.property(tree, (element) => {
        const bytes = fastInfosetSerializer.encode(Envelope.of({ action: 'urn:a', body: element }));
        const [read] = fastInfosetSerializer.decodeHeader(bytes).body;
        // An element of no namespace cannot have a default one in scope, whatever its scope says.
        for (const name of ['a', 'b', 's', 'q', '\u00e9', ...(element.namespace === '' ? [] : [''])]) {
          const meant = element.scope?.resolve(name);
          if (meant !== undefined) expect(read?.scope?.resolve(name)).toBe(meant);
        }
      }),
      { numRuns: RUNS },
    );
  });
});

describe('octets that nobody wrote', () => {
  const small = SHAPES.map(([, message]) => fastInfosetSerializer.encode(message)).filter(
    ({ length }) => length < 2000,
  );
  const base = fc.constantFrom(...small);
  const flip = fc.record({ at: fc.nat(), bit: fc.integer({ min: 0, max: 7 }) });
  const flipped = fc.tuple(base, fc.array(flip, { minLength: 1, maxLength: 3 })).map(([bytes, flips]) => {
    const changed = Buffer.from(bytes);
    for (const { at, bit } of flips) {
      const place = at % changed.length;
      changed.writeUInt8(changed.readUInt8(place) ^ (1 << bit), place);
    }
    return changed;
  });
  const edit = fc.record({
    at: fc.nat(),
    remove: fc.integer({ min: 0, max: 12 }),
    insert: fc.oneof(
      fc
        .constantFrom('\xf0', '\xff', '\x38', '\xcf', '\xcd', '\x82', '\xa0', '\xe2', '\x7c', '\x8c\x05')
        .map((octets) => Buffer.from(octets, 'latin1')),
      fc.uint8Array({ maxLength: 4 }).map((value) => Buffer.from(value)),
    ),
  });
  const edited = fc.tuple(base, fc.array(edit, { minLength: 1, maxLength: 4 })).map(([bytes, edits]) =>
    edits.reduce((all, { at, remove, insert }) => {
      const from = at % (all.length + 1);
      return Buffer.concat([all.subarray(0, from), insert, all.subarray(from + remove)]);
    }, bytes),
  );

  test('end as a message or as a refusal, never as anything else', () => {
    fc.assert(
      fc.property(fc.oneof(flipped, edited, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        expect(outcome(bytes)).toBeDefined();
      }),
      { numRuns: RUNS * 20 },
    );
  });

  test('a message cut off at any octet is refused', () => {
    for (const bytes of small) {
      for (let length = 0; length < bytes.length; length++) {
        expect(typeof outcome(bytes.subarray(0, length))).toBe('string');
      }
    }
  });

  test('read the same by offsets, by what was read before, and in general', () => {
    fc.assert(
      fc.property(fc.oneof(flipped, edited), (bytes) => {
        const general = outcome(Buffer.concat([DECLARATION, bytes]), new FastInfosetSerializer());
        expect(outcome(bytes)).toEqual(general);
        expect(outcome(bytes)).toEqual(general);
      }),
      { numRuns: RUNS * 20 },
    );
  });
});
