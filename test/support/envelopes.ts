// Envelopes to try encodings with: any that can be written, generated, and one of each shape that this project sends.
import fc from 'fast-check';
import { Envelope } from '../../lib/soap/envelope.js';
import { SoapFault } from '../../lib/soap/fault.js';
import { attribute, element, XmlElement, type XmlAttribute, type XmlNode } from '../../lib/soap/infoset.js';
import { DSSP, NamespaceScope, ORIGIN, SOAP, WSA, XML } from '../../lib/soap/namespaces.js';
import { include, type Reference } from '../../lib/soap/references.js';

const isChar = (text: string): boolean =>
  /^[\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u.test(text);
const markup = fc.constantFrom(
  ...['&', '<', '>', '"', "'", '\t', '\n', '\r', ']]>', '&#10;', '<!--', '\u0085', '\u2028', ' '],
);
export const text = fc
  .array(fc.oneof(markup, fc.string({ unit: 'grapheme', maxLength: 6 }), fc.string({ maxLength: 6 })), {
    maxLength: 5,
  })
  .map((parts) => parts.join(''))
  .filter(isChar);
const namespace = fc.constantFrom('', 'urn:a', 'urn:b', 'urn:a&b"<', SOAP, WSA);
const prefix = fc.constantFrom('', 'a', 'b', 's', 'wsa', 'n1', 'xml', 'xmlns');
const localName = fc.constantFrom(
  ...['A', 'B', 'Body', 'Header', 'Include', 'a-b.c_1', 'sch\u00f6n', '\u{10000}x', '_'],
);
const attributes: fc.Arbitrary<readonly XmlAttribute[]> = fc.uniqueArray(
  fc.record({ namespace, localName, value: text, prefix }),
  { maxLength: 4, selector: (one) => `{${one.namespace}}${one.localName}` },
);
const scope = fc.option(
  fc
    .dictionary(
      fc.constantFrom('', 'a', 'b', 's', 'q', '\u00e9'),
      fc.constantFrom('urn:a', 'urn:b', 'urn:c', SOAP),
      { maxKeys: 3 },
    )
    .map((declarations) => NamespaceScope.of(declarations)),
  { nil: undefined },
);

/** Any element. */
export const { tree } = fc.letrec<{ tree: XmlElement; children: readonly XmlNode[] }>((tie) => ({
  children: fc.array(fc.oneof({ depthSize: 'small' }, text, tie('tree')), { maxLength: 4 }),
  tree: fc
    .tuple(namespace, localName, tie('children'), attributes, prefix, scope)
    .map((parts) => new XmlElement(...parts)),
}));
const block = tree.filter((one) => one.namespace !== WSA);
const uri = fc.oneof(
  fc.webUrl(),
  text.map((value) => `urn:x${value}y`),
);
const reference: fc.Arbitrary<Reference> = fc.record({
  cid: fc.stringMatching(/^[A-Za-z0-9._@-]{1,20}$/),
  tag: fc.option(fc.constant(`${'Az09-_'.repeat(7)}A`), { nil: undefined }),
  lengthBytes: fc.maxSafeNat(),
  access: fc.constantFrom('read', 'write', 'atomic'),
});

/** Any envelope. */
export const envelope = fc
  .record({
    action: uri,
    to: uri,
    relatesTo: fc.option(uri, { nil: undefined }),
    replyTo: fc.option(uri, { nil: undefined }),
    headers: fc.array(block, { maxLength: 2 }),
    references: fc.uniqueArray(reference, { maxLength: 3, selector: ({ cid }) => cid }),
    body: fc.array(tree, { maxLength: 3 }),
  })
  .map((init) =>
    Envelope.of({ ...init, body: [...init.body, ...init.references.map(({ cid }) => include(cid))] }),
  );

const NS = 'urn:example:shapes';
const TAG = 'A'.repeat(43);
const act = (body: readonly XmlElement[], rest: object = {}): Envelope =>
  Envelope.of({ action: 'urn:act', messageId: 'urn:uuid:1', to: 'dos://localhost/x', body, ...rest });
const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

function nested(depth: number): XmlElement {
  return many(depth, (index) => index).reduce<XmlElement>(
    (inner, index) => element(NS, `Level${index}`, ['before', inner, 'after']),
    element(NS, 'Core'),
  );
}

/** Each shape by its name; the same at every call, because message ids are given. */
export const SHAPES: readonly (readonly [name: string, envelope: Envelope])[] = [
  ['nothing in the body', act([])],
  ['anonymous, a verb of DSSP', Envelope.of({ action: `${DSSP}:GetRequest`, messageId: 'urn:uuid:1' })],
  ['an answer', act([element(NS, 'Value', 'x'.repeat(64))], { relatesTo: 'urn:uuid:0' })],
  ['one reference', act([include('a')], { references: [ref('a', TAG)] })],
  ['an inline buffer', act([include('a')], { references: [ref('a', undefined)] })],
  [
    '300 references',
    act(
      many(300, (index) => include(`buffer-${index}`)),
      { references: many(300, (index) => ref(`buffer-${index}`, TAG)) },
    ),
  ],
  [
    'a fault of ours',
    Envelope.fault(SoapFault.dssp('PermissionDenied', 'No.', [element(NS, 'More', 'why')])),
  ],
  [
    'a fault with foreign subcodes',
    act([
      new SoapFault({
        code: 'Receiver',
        subcodes: [{ namespace: 'urn:q', localName: 'Odd' }],
        reason: 'Schade \u00e4\u00f6\u00fc',
      }).toElement(),
    ]),
  ],
  [
    'endpoint references and foreign blocks',
    act([], {
      replyTo: { address: 'urn:r', referenceParameters: [element(NS, 'Key', '7')] },
      faultTo: 'urn:f',
      headers: [
        element(ORIGIN, 'Origin', [], { attributes: { principal: 'p', judged: 'true' } }),
        element(NS, 'Trace', [], { attributes: { id: '1' }, qualifiedAttributes: mandatory() }),
      ],
    }),
  ],
  [
    'namespaces and prefixes of all kinds',
    act([
      element(NS, 'A', [element('', 'B', element(NS, 'C')), element('urn:other', 'D', [], { prefix: 'd' })]),
      element(NS, 'E', 'q:name', { namespaces: { q: 'urn:q' }, prefix: 'e' }),
      element('urn:other', 'D', element('urn:other', 'D', [], { prefix: 'd' }), { prefix: 'd' }),
      element(NS, 'F', [], { qualifiedAttributes: [attribute('lang', 'de', XML, 'xml')] }),
    ]),
  ],
  [
    'the same names again and again',
    act(
      many(50, (index) =>
        element(NS, 'Row', element(NS, 'Cell', `${index % 3}`), { attributes: { n: 'one' } }),
      ),
    ),
  ],
  [
    'more names than fit one octet',
    act([
      element(
        NS,
        'All',
        many(3000, (index) => element('', `n${index}`)),
      ),
    ]),
  ],
  ['more attributes than usual', act([element(NS, 'X', [], { attributes: pairs(60) })])],
  ['mixed content', act([element(NS, 'P', ['a', element(NS, 'B', 'b'), 'c', '', 'd'])])],
  ['depth', act([nested(40)])],
  ['big text', act([element(NS, 'X', 'b\u0069g '.repeat(20_000))])],
  ['big text that is not ASCII', act([element(NS, 'X', 'gro\u00df \u{1f600} '.repeat(5000))])],
  ['a long value', act([element(NS, 'X', [], { attributes: { a: 'v'.repeat(10_000) } })])],
  ...[1, 2, 3, 8, 9, 63, 64, 65, 258, 259, 264, 265, 320, 321].map(
    (length) =>
      [
        `${length} characters everywhere`,
        act(
          [
            element(`u:${'n'.repeat(length)}`, 'X', 't'.repeat(length), {
              attributes: { a: 'v'.repeat(length) },
            }),
          ],
          {
            to: `t${'o'.repeat(length - 1)}`,
            headers: [element(NS, 'N'.repeat(Math.min(length, 250)))],
          },
        ),
      ] as const,
  ),
];

function ref(cid: string, tag: string | undefined): Reference {
  return { cid, tag, lengthBytes: 4096, access: 'read' };
}

function mandatory(): XmlAttribute[] {
  return [attribute('mustUnderstand', 'false', SOAP, 's')];
}

function pairs(count: number): Record<string, string> {
  return Object.fromEntries(many(count, (index) => [`a${index}`, index % 2 === 0 ? '' : `${index}`]));
}
