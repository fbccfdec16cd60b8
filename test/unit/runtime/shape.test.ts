// Properties of shapes: what is written is read back equal, directly and through text XML; what somebody has changed on the way is
// refused or still what it was read as; and no element, however hostile, makes reading throw anything but a fault.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Envelope } from '../../../lib/soap/envelope.js';
import { XmlElement, type XmlNode } from '../../../lib/soap/infoset.js';
import { XmlSerializer } from '../../../lib/serializer/xml.js';
import { isText } from '../../../lib/serializer/xml-text.js';
import { Fault } from '../../../lib/runtime/fault.js';
import {
  body,
  boolean,
  bytes,
  choice,
  integer,
  list,
  number,
  optional,
  record,
  text,
  xml,
  type Sink,
} from '../../../lib/runtime/shape.js';
import { infoset } from '../serializer-infoset.js';

const NAMESPACE = 'urn:splitplane:test:shape';
const Shape = body('Shape', {
  words: text(),
  whole: integer(),
  few: integer(-3, 3),
  ratio: number(),
  yes: boolean(),
  data: bytes(),
  colour: choice('red', 'light green', ''),
  maybe: optional(text()),
  deep: record({ inner: optional(record({ numbers: list(number()) })), words: list(text()) }),
  any: xml(),
});

const words = fc.string({ unit: 'binary', maxLength: 20 }).filter(isText);
const wholes = fc.maxSafeInteger().map((value) => value + 0);
const any = fc.constantFrom(
  new XmlElement('urn:other', 'Any', ['text ', new XmlElement('', 'plain')]),
  new XmlElement(NAMESPACE, 'Shape'),
);
const value = fc.record(
  {
    words,
    whole: wholes,
    few: fc.integer({ min: -3, max: 3 }),
    ratio: fc.double(),
    yes: fc.boolean(),
    data: fc.uint8Array({ maxLength: 40 }),
    colour: fc.constantFrom<'red' | 'light green' | ''>('red', 'light green', ''),
    maybe: words,
    deep: fc.record(
      { inner: fc.record({ numbers: fc.array(fc.double(), { maxLength: 5 }) }), words: fc.array(words) },
      { requiredKeys: ['words'] },
    ),
    any,
  },
  { requiredKeys: ['words', 'whole', 'few', 'ratio', 'yes', 'data', 'colour', 'deep', 'any'] },
);

const NO_BUFFERS: Sink = { attach: () => expect.fail('There is no buffer in this shape.') };
const write = (of: unknown): XmlElement => Shape.encode(NAMESPACE, of as never, NO_BUFFERS);
const read = (element: XmlElement) => Shape.decode(element, () => undefined);

/** Comparable: bytes and elements as plain data. */
function plain(of: { readonly data: Uint8Array; readonly any: XmlElement }) {
  return { ...of, data: [...of.data], any: infoset(of.any) };
}

const serializer = new XmlSerializer();
function throughText(element: XmlElement): XmlElement {
  const sent = serializer.encode(Envelope.of({ action: 'urn:x', body: element }));
  return serializer.decodeHeader(sent).body[0] as XmlElement;
}

describe('what is written', () => {
  test('is read back equal', () => {
    fc.assert(
      fc.property(value, (sent) => {
        const element = write(sent);
        expect(plain(read(element))).toEqual(plain(sent));
        expect(plain(read(throughText(element)))).toEqual(plain(sent));
      }),
    );
  });

  test('is in the shape’s namespace and order, whatever the order of its properties', () => {
    fc.assert(
      fc.property(value, (sent) => {
        const turned = Object.fromEntries(Object.entries(sent).reverse());
        expect(infoset(write(turned))).toEqual(infoset(write(sent)));
      }),
    );
  });

  test('is refused where it is not of the shape', () => {
    const wrong = fc.oneof(
      fc.record({
        key: fc.constantFrom('whole', 'few', 'yes', 'data', 'words', 'deep', 'any'),
        to: fc.constant(null),
      }),
      fc.record({ key: fc.constantFrom('whole', 'few'), to: fc.constantFrom(0.5, NaN, 2 ** 60, '1') }),
      fc.record({ key: fc.constantFrom('words', 'maybe'), to: fc.constantFrom('\u0000', '\ud800', 5, {}) }),
      fc.record({ key: fc.constant('stranger'), to: fc.constant(1) }),
    );
    fc.assert(
      fc.property(value, wrong, (sent, { key, to }) => {
        expect(() => write({ ...sent, [key]: to })).toThrow(
          expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
        );
      }),
    );
  });
});

/** What could happen to an element on its way. */
type Change = (element: XmlElement) => XmlElement;
const withChildren = (element: XmlElement, children: readonly XmlNode[]): XmlElement =>
  new XmlElement(element.namespace, element.localName, children, element.attributes);
const change: fc.Arbitrary<Change> = fc
  .record({ at: fc.nat(12), how: fc.constantFrom('drop', 'twice', 'rename', 'move', 'text', 'empty'), words })
  .map(({ at, how, words: inside }) => (element) => {
    const children = [...element.children];
    const index = children.length === 0 ? 0 : at % children.length;
    const child = children[index];
    if (!(child instanceof XmlElement)) return withChildren(element, [inside]);
    switch (how) {
      case 'drop':
        children.splice(index, 1);
        break;
      case 'twice':
        children.push(child);
        break;
      case 'rename':
        children[index] = new XmlElement(child.namespace, `${child.localName}x`, child.children);
        break;
      case 'move':
        children[index] = new XmlElement('urn:other', child.localName, child.children);
        break;
      case 'text':
        children[index] = withChildren(child, [inside]);
        break;
      default:
        children[index] = withChildren(child, []);
    }
    return withChildren(element, children);
  });

describe('what is read', () => {
  test('was changed on the way: it is refused, or writing it again gives what it was read as', () => {
    fc.assert(
      fc.property(value, fc.array(change, { minLength: 1, maxLength: 3 }), (sent, changes) => {
        const changed = changes.reduce((element, make) => make(element), write(sent));
        let got: ReturnType<typeof read>;
        try {
          got = read(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
          expect((error as Fault).fault.subcodes[0]?.localName).toBe('MessageNotSupported');
          return;
        }
        expect(plain(read(write(got)))).toEqual(plain(got));
      }),
      { numRuns: 1000 },
    );
  });

  test('is hostile: nothing is thrown but faults, and no prototype is touched', () => {
    const names = fc.constantFrom(
      'Shape',
      'words',
      'data',
      'deep',
      'inner',
      'any',
      '__proto__',
      'constructor',
      'x',
    );
    const { tree } = fc.letrec<{ tree: XmlElement; node: XmlNode }>((tie) => ({
      node: fc.oneof({ depthSize: 'small' }, fc.string({ unit: 'binary' }), tie('tree')),
      tree: fc
        .tuple(fc.constantFrom(NAMESPACE, '', 'urn:other'), names, fc.array(tie('node'), { maxLength: 6 }))
        .map(([namespace, localName, children]) => new XmlElement(namespace, localName, children)),
    }));
    fc.assert(
      fc.property(tree, (element) => {
        try {
          read(element);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
        }
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  test('holds elements inside what is base64: refused', () => {
    const { children } = write(fc.sample(value, { numRuns: 1, seed: 1 })[0]);
    const tampered = children.map((child) =>
      child instanceof XmlElement && child.localName === 'data'
        ? withChildren(child, ['AAAA', new XmlElement('', 'x')])
        : child,
    );
    expect(() => read(new XmlElement(NAMESPACE, 'Shape', tampered))).toThrow(Fault);
  });
});
