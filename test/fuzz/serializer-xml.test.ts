// Properties of text XML over generated input, for a bounded number of runs: any infoset reads back the same; any bytes
// end as a message or as a refusal with a code; the fast way of reading a header agrees with the parser.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Envelope } from '../../lib/soap/envelope.js';
import { MessageRefusedError } from '../../lib/soap/fault.js';
import { SOAP, WSA } from '../../lib/soap/namespaces.js';
import { XmlElement } from '../../lib/soap/infoset.js';
import { include } from '../../lib/soap/references.js';
import { xmlSerializer } from '../../lib/serializer/xml.js';
import { envelope, tree } from '../support/envelopes.js';
import { infoset, type PlainInfoset } from '../unit/serializer-infoset.js';

const RUNS = 400;

interface Comparable {
  readonly header: readonly PlainInfoset[];
  readonly body: readonly PlainInfoset[];
}

function comparable(message: Envelope): Comparable {
  return { header: message.blocks.map(infoset), body: message.body.map(infoset) };
}

/** What a document is taken for: its infoset, or the code and fault it is refused with. */
function outcome(bytes: Uint8Array): Comparable | string {
  try {
    return comparable(xmlSerializer.decodeHeader(bytes));
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
        const once = xmlSerializer.decodeHeader(xmlSerializer.encode(message));
        expect(comparable(once)).toEqual(expected);
        expect(comparable(xmlSerializer.decodeHeader(xmlSerializer.encode(once)))).toEqual(expected);
      }),
      { numRuns: RUNS },
    );
  });

  test('keeps the meaning of every prefix that was in scope', () => {
    fc.assert(
      fc.property(tree, (element) => {
        const [read] = xmlSerializer.decodeHeader(
          xmlSerializer.encode(Envelope.of({ action: 'urn:a', body: element })),
        ).body;
        // An element of no namespace cannot have a default one in scope, whatever its scope says.
        const names = ['a', 'b', 's', 'q', '\u00e9', ...(element.namespace === '' ? [] : [''])];
        for (const name of names) {
          const meant = element.scope?.resolve(name);
          if (meant !== undefined) expect(read?.scope?.resolve(name)).toBe(meant);
        }
      }),
      { numRuns: RUNS },
    );
  });
});

describe('bytes that nobody wrote', () => {
  const base = fc.constantFrom(
    xmlSerializer.encode(Envelope.of({ action: 'urn:a', to: 'urn:b', messageId: 'urn:c' })),
    xmlSerializer.encode(
      Envelope.of({
        action: 'urn:a',
        messageId: 'urn:c',
        relatesTo: 'urn:d',
        references: [{ cid: 'x', tag: 'A'.repeat(43), lengthBytes: 7, access: 'read' }],
        body: [include('x'), new XmlElement('urn:x', 'Y', ['text \u00e4'])],
      }),
    ),
    Buffer.from(
      `<?xml version="1.0"?><e:Envelope xmlns:e="${SOAP}" xmlns="${WSA}"><e:Header><!-- c --><Action>urn:a</Action>` +
        `<x xmlns=""><![CDATA[<e:Body>]]></x></e:Header><e:Body b='>'><y/>&amp;</e:Body></e:Envelope>`,
    ),
  );
  const snippet = fc.constantFrom(
    ...[
      '<',
      '>',
      '/',
      '&',
      '"',
      "'",
      '<!--',
      '-->',
      '<![CDATA[',
      ']]>',
      '<!DOCTYPE',
      '<?x?>',
      'Body',
      '<s:Body>',
      '</s:Body>',
    ],
    ...[
      'xmlns=""',
      'xmlns:s="urn:x"',
      ' ',
      '\0',
      '&#0;',
      '\ud7ff',
      '</s:Header>',
      '<wsa:To>urn:q</wsa:To>',
      '=',
      ':',
    ],
  );
  const edit = fc.record({
    at: fc.nat(),
    remove: fc.integer({ min: 0, max: 12 }),
    insert: fc.oneof(
      snippet.map((value) => Buffer.from(value)),
      fc.uint8Array({ maxLength: 4 }).map((value) => Buffer.from(value)),
    ),
  });
  const mutated = fc.tuple(base, fc.array(edit, { minLength: 1, maxLength: 4 })).map(([bytes, edits]) =>
    edits.reduce((all, { at, remove, insert }) => {
      const from = at % (all.length + 1);
      return Buffer.concat([all.subarray(0, from), insert, all.subarray(from + remove)]);
    }, bytes),
  );

  test('end as a message or as a refusal, never as anything else', () => {
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), (bytes) => {
        expect(outcome(bytes)).toBeDefined();
      }),
      { numRuns: RUNS * 10 },
    );
  });

  test('a message cut off anywhere is refused', () => {
    fc.assert(
      fc.property(base, fc.nat(), (bytes, at) => {
        expect(typeof outcome(bytes.subarray(0, at % bytes.length))).toBe('string');
      }),
      { numRuns: RUNS },
    );
  });

  test('read the same by pattern and by parser', () => {
    // An XML declaration changes nothing but that the header is not in our own form any more.
    const declaration = Buffer.from('<?xml version="1.0"?>');
    fc.assert(
      fc.property(mutated, (bytes) => {
        fc.pre(bytes.toString('latin1', 0, 4) === '<s:E');
        expect(outcome(bytes)).toEqual(outcome(Buffer.concat([declaration, bytes])));
      }),
      { numRuns: RUNS * 10 },
    );
  });
});
