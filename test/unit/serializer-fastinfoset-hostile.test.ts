// What a peer may send as Fast Infoset and must not: each document is refused with a code, and with a fault to answer the peer
// with; each limit is accepted, and one more is not. What is refused is checked, and that it is refused for the reason it was made for.

import { describe, expect, test } from 'vitest';
import { FastInfosetSerializer, fastInfosetSerializer } from '../../lib/serializer/fastinfoset.js';
import { VOCABULARY_URI } from '../../lib/serializer/fastinfoset-vocabulary.js';
import { XML_LIMITS } from '../../lib/serializer/xml-limits.js';
import { Envelope } from '../../lib/soap/envelope.js';
import { MessageRefusedError } from '../../lib/soap/fault.js';
import { element as infosetElement } from '../../lib/soap/infoset.js';
import { REFERENCES, SOAP, SOAP_11, WSA, XML, XMLNS } from '../../lib/soap/namespaces.js';
import {
  ACTION,
  attribute,
  BODY,
  bytes,
  chunk,
  declaring,
  declaringWith,
  element,
  elementWith,
  END,
  HEADER,
  MAGIC,
  octets,
  soap,
  start,
  string,
  withBody,
} from '../support/fastinfoset.js';

const {
  depthMax,
  elementsMax,
  attributesMax,
  declarationsMax,
  nameLengthMax,
  namespaceLengthMax,
  referencesMax,
  envelopeBytesMax,
} = XML_LIMITS;
const EXTERNAL = `\x20\x10\x00${string(VOCABULARY_URI)}`;
const TAG = 'A'.repeat(43);

const many = (count: number, make: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => make(index)).join('');

/** Why a document is refused, its body included. */
function refusal(document: Uint8Array, serializer = fastInfosetSerializer): MessageRefusedError {
  try {
    void serializer.decodeHeader(document).body;
  } catch (error) {
    if (error instanceof MessageRefusedError) return error;
    throw error;
  }
  throw new Error('It was accepted.');
}

function bodyOf(document: Uint8Array, serializer = fastInfosetSerializer): string {
  return serializer
    .decodeHeader(document)
    .body.map((child) => child.text())
    .join('|');
}

test('what these tests put together is a message', () => {
  expect(bodyOf(withBody(element('x', chunk('text'))))).toBe('text');
});

describe('limits', () => {
  const deep = (count: number): string => many(count, () => start('x')) + END.repeat(count);
  const plainAttributes = (count: number): string => many(count, (at) => attribute(`a${at}`));
  const attributes = (count: number): string => elementWith('x', plainAttributes(count));
  const reference = (at: number): string =>
    start('Reference', REFERENCES, 'r').replace('\x3f', '\x7f') +
    `${attribute('cid', `c${at}`)}${attribute('length', '1')}${attribute('access', 'read')}${END}${END}`;
  const references = (count: number): Buffer =>
    soap(
      ACTION +
        declaring({ r: REFERENCES }, start('References', REFERENCES, 'r')) +
        many(count, reference) +
        END,
    );
  const padded = (size: number): Buffer => {
    const around = withBody(element('x', chunk('y'.repeat(1000)))).length - 1000;
    return withBody(element('x', chunk('y'.repeat(size - around))));
  };
  const named = (length: number): Buffer => withBody(element('n'.repeat(length)));
  const within = (length: number): Buffer => {
    const namespace = 'n'.repeat(length);
    return withBody(declaring({ p: namespace }, start('x', namespace, 'p')) + END);
  };

  test.each([
    ['depth', withBody(deep(depthMax - 2)), withBody(deep(depthMax - 1))],
    [
      'elements',
      withBody(many(elementsMax - 4, () => element('x'))),
      withBody(many(elementsMax - 3, () => element('x'))),
    ],
    ['attributes', withBody(attributes(attributesMax)), withBody(attributes(attributesMax + 1))],
    [
      'attributes in the header',
      soap(ACTION + attributes(attributesMax)),
      soap(ACTION + attributes(attributesMax + 1)),
    ],
    [
      'attributes and declarations together',
      withBody(declaringWith({ p: 'urn:p' }, start('x'), plainAttributes(attributesMax - 1))),
      withBody(declaringWith({ p: 'urn:p' }, start('x'), plainAttributes(attributesMax))),
    ],
    ['the length of a name', named(nameLengthMax), named(nameLengthMax + 1)],
    ['the length of a namespace name', within(namespaceLengthMax), within(namespaceLengthMax + 1)],
    ['references', references(referencesMax), references(referencesMax + 1)],
    ['bytes', padded(envelopeBytesMax), padded(envelopeBytesMax + 1)],
  ])('%s: the limit is accepted, one more is refused', (_what, most, tooMany) => {
    expect(fastInfosetSerializer.decodeHeader(most).body).toBeDefined();
    const error = refusal(tooMany);
    expect(error.code).toBe('LIMIT_EXCEEDED');
    expect(error.fault.code).toBe('Sender');
  });

  test('namespace declarations in scope', () => {
    const roomy = new FastInfosetSerializer({ depthMax: 1000 });
    const nested = (count: number): Buffer =>
      withBody(many(count, (at) => declaring({ [`p${at}`]: 'urn:p' }, start('x'))) + END.repeat(count));
    // The envelope's own two count too.
    expect(roomy.decodeHeader(nested(declarationsMax - 2)).body).toBeDefined();
    expect(refusal(nested(declarationsMax - 1), roomy).code).toBe('LIMIT_EXCEEDED');
  });

  test('references in our own form', () => {
    const own = (count: number): Uint8Array =>
      fastInfosetSerializer.encode(
        Envelope.of({
          action: 'urn:a',
          references: Array.from({ length: count }, (_, at) => ({
            cid: `c${at}`,
            tag: TAG,
            lengthBytes: 1,
            access: 'read' as const,
          })),
        }),
      );
    const roomy = new FastInfosetSerializer({ envelopeBytesMax: 1 << 20 });
    expect(roomy.decodeHeader(own(referencesMax)).references).toHaveLength(referencesMax);
    expect(refusal(own(referencesMax + 1), roomy).code).toBe('LIMIT_EXCEEDED');
  });

  // Goal: a few octets that stand for many characters do not become more of them than a document of text could hold.
  const size = octets(0, 0, 0x27, 0);
  test.each([
    ['text', element('x', `\x93${size}${'y'.repeat(0x2700 + 259)}${'\xa0'.repeat(1000)}`)],
    [
      'values',
      elementWith('x', `\x78${string('a')}\x4c${size}${'y'.repeat(0x2700 + 265)}`) +
        many(100, (at) => elementWith('x', `\x78${string(`b${at}`)}\x80`)),
    ],
    ['text by an algorithm', element('x', `\x8c\x17${size}${'\0'.repeat(0x2700 + 259)}`)],
    // The envelope, its header, the action and the body come before it among the local names.
    ['names', element('n'.repeat(250)) + many(1500, () => `\x3c\x84${END}`)],
    [
      'namespaces',
      declaring({ '': 'n'.repeat(300) }, `${start('x', 'n'.repeat(300))}${END}`) +
        many(1000, () => `\x38\xcd\x87${END}\x3d\x87${string('x')}${END}`),
    ],
  ])('characters: %s', (_what, body) => {
    const { code, message } = refusal(withBody(body));
    expect([code, message]).toEqual(['LIMIT_EXCEEDED', expect.stringContaining('more characters')]);
  });

  test('a limit can be set', () => {
    const strict = new FastInfosetSerializer({ elementsMax: 5 });
    expect(refusal(withBody(element('x') + element('x')), strict).code).toBe('LIMIT_EXCEEDED');
    expect(refusal(withBody(''), new FastInfosetSerializer({ envelopeBytesMax: 100 })).code).toBe(
      'LIMIT_EXCEEDED',
    );
  });
});

describe('indices of entries that no table has', () => {
  test.each([
    ['an element', '\x1f\xf0'],
    ['an element of two octets', '\x20\x00\xf0'],
    ['an element of three octets', '\x28\x00\x00\xf0'],
    ['an element of four octets', '\x30\x00\x00\x00\xf0'],
    ['a local name', '\x3c\xbf\xf0'],
    ['a prefix', `\x3f\xbf\x80${string('x')}\xf0`],
    ['a namespace', `\x3d\xbf${string('x')}\xf0`],
    ['a local name of two octets', '\x3c\xc0\x00\xf0'],
    ['a local name of three octets', '\x3c\xe0\x00\x00\xf0'],
    ['an attribute', `\x7c${string('x')}\x00\x00v\xf0\xf0`],
    ['a value', `\x7c${string('x')}\x78${string('a')}\x80\xf0\xf0`],
    ['text', element('x', '\xa0')],
    ['text of two octets', element('x', '\xb0\x00')],
    ['text of three octets', element('x', '\xb4\x00\x00')],
    ['text of four octets', element('x', '\xb8\x00\x00\x00')],
    ['the content of a comment', '\xe2\x80'],
    ['a declared prefix', `\x38\xcf\xbf\x80${END}${element('x')}`],
    ['a declared namespace', `\x38\xcd\xbf${END}${element('x')}`],
  ])('%s', (_what, body) => {
    const { code, message } = refusal(withBody(body));
    expect(code).toBe('MESSAGE_INVALID');
    expect(message).toMatch(/entry of a vocabulary table/);
  });

  test('name surrogates of an initial vocabulary', () => {
    // One element name surrogate, whose local name has the index 5.
    expect(refusal(soap(ACTION, '', '\x20\x00\x02\x00\x00\x04')).message).toMatch(
      /entry of a vocabulary table/,
    );
  });
});

describe('lengths that lie', () => {
  test.each([
    ['text, by one', element('x', '\x82\x20abc')],
    ['text, by 2^32', element('x', '\x83\xff\xff\xff\xffabc')],
    ['a value, by 2^32', `\x7c${string('x')}\x78${string('a')}\x0c\xff\xff\xff\xff`],
    ['a name, by 2^32', '\x3c\x60\xff\xff\xff\xff'],
    ['an algorithm, by 2^32', element('x', '\x8c\x07\xff\xff\xff\xff')],
  ])('%s', (_what, body) => {
    expect(refusal(withBody(body)).message).toMatch(/length in it is wrong|ends in the middle/);
  });

  test('a table of 2^20 entries, and nothing in it', () => {
    expect(refusal(bytes(`${MAGIC}\x20\x00\x80\x8f\xff\xff`)).message).toMatch(/length in it is wrong/);
  });

  test('additional data of 2^20 items, and nothing in it', () => {
    expect(refusal(bytes(`${MAGIC}\x40\x8f\xff\xff`)).message).toMatch(/length in it is wrong/);
  });
});

describe('octets that mean nothing', () => {
  test.each([
    ['a name length', '\x3c\x41\x00'],
    ['a name index', '\x3c\xf0'],
    ['an element index', '\x31\x00\x00\x00\xf0'],
    ['a text index', element('x', '\xb9\x00\x00\x00')],
    ['a value length', `\x7c${string('x')}\x78${string('a')}\x09abc`],
    ['an attribute name', `\x7c${string('x')}\x7c${string('a')}\x00v`],
    ['no attributes', `\x7c${string('x')}${END}${END}`],
    ['the end of attributes', `\x7c${string('x')}\xf1`],
    ['a declaration', `\x38\xc8${END}${element('x')}`],
    ['the padding of a name behind declarations', `\x38\xcd${string('urn:x')}${END}\x7d`],
    ['an item', '\xe0'],
    ['the end of a list', '\xf3'],
  ])('%s', (_what, body) => {
    expect(refusal(withBody(body)).message).toMatch(/mean nothing in Fast Infoset/);
  });

  test.each([
    ['a reserved bit of the document', `${MAGIC}\x80`],
    ['a reserved bit of the vocabulary', `${MAGIC}\x20\x20\x00`],
    ['a standalone that is no boolean', `${MAGIC}\x02\x02`],
    ['a number of items', `${MAGIC}\x40\x90\x00\x00`],
    ['a name surrogate', `${MAGIC}\x20\x00\x02\x00\x04`],
    ['an entry of a table', `${MAGIC}\x20\x00\x10\x00\x80`],
  ])('%s', (_what, document) => {
    expect(refusal(bytes(document)).message).toMatch(/mean nothing in Fast Infoset/);
  });
});

describe('alphabets, algorithms and vocabularies', () => {
  const value = (spelled: string): string => `\x7c${string('x')}\x78${string('a')}${spelled}${END}${END}`;

  test.each([
    ['the reserved alphabet 3', element('x', '\x88\x08\x00')],
    ['an alphabet of the document', element('x', '\x88\x40\x00')],
    ['the reserved algorithm 11', element('x', '\x8c\x28\x00')],
    ['an algorithm of the document', element('x', '\x8c\x7c\x00')],
    ['the algorithm 256', element('x', '\x8f\xfc\x00')],
    ['a reserved alphabet in a value', value('\x20\x20\x00')],
    ['a reserved algorithm in a value', value('\x30\xa0\x00')],
  ])('%s is not supported, and the fault says so', (_what, body) => {
    const { code, fault } = refusal(withBody(body));
    expect(code).toBe('ENCODING_UNSUPPORTED');
    expect(fault.reason).toMatch(/Send such text as UTF-8/);
  });

  test.each([
    ['half an int', element('x', '\x8c\x0d\x00\x00')],
    ['half a UUID', element('x', '\x8c\x22\x05\x00\x00\x00\x00\x00\x00\x00\x00')],
    ['booleans with nothing in them', element('x', '\x8c\x14\x70')],
    ['booleans with more padding than an octet', element('x', '\x8c\x15\x80\x00')],
    ['an alphabet with a character that it lacks', element('x', '\x88\x01\xf0\x00')],
    ['an alphabet that ends before its end', element('x', '\x88\x01\x1f\x00')],
  ])('%s is malformed', (_what, body) => {
    expect(refusal(withBody(body)).message).toMatch(/malformed/);
  });

  test('another external vocabulary', () => {
    const { code, message } = refusal(soap(ACTION, '', `\x20\x10\x00${string(`urn:${'x'.repeat(200)}`)}`));
    expect(code).toBe('ENCODING_UNSUPPORTED');
    expect(message).toContain(VOCABULARY_URI);
    expect(message.length).toBeLessThan(300);
  });
});

describe('what is not a SOAP 1.2 envelope is a VersionMismatch fault', () => {
  const around = (startOfElement: string): Buffer => bytes(`${MAGIC}\x00${startOfElement}${END}${END}`);
  test.each([
    ['SOAP 1.1', around(declaring({ e: SOAP_11 }, start('Envelope', SOAP_11, 'e')))],
    ['no namespace', around(start('Envelope'))],
    ['another element', around(declaring({ e: SOAP }, start('Body', SOAP, 'e')))],
  ])('%s', (_what, document) => {
    const { fault } = refusal(document);
    expect(fault.code).toBe('VersionMismatch');
    expect(fault.headers[0]?.localName).toBe('Upgrade');
  });
});

describe("SOAP's structure", () => {
  const inside = (content: string, end = `${END}${END}`): Buffer =>
    bytes(`${MAGIC}\x00${declaring({ e: SOAP, a: WSA }, start('Envelope', SOAP, 'e'))}${content}${end}`);
  const header = `${HEADER}${ACTION}${END}`;
  const body = `${BODY}${END}`;
  test.each([
    ['nothing', bytes('')],
    ['not Fast Infoset', bytes('<s:Envelope/>')],
    ['another version', bytes('\xe0\x00\x00\x02\x00')],
    ['no element', bytes(`${MAGIC}\x00${END}`)],
    ['text in the place of the element', bytes(`${MAGIC}\x00${chunk('text')}${END}`)],
    ['an empty envelope', inside('')],
    ['no body', inside(header)],
    ['two headers', inside(header + header + body)],
    ['two bodies', inside(header + body + body)],
    ['a header behind the body', inside(header + body + header)],
    ['another element in the envelope', inside(header + element('x') + body)],
    ['a body of another namespace', inside(`${header}${start('Body', WSA, 'a')}${END}`)],
    ['text in the envelope', inside(chunk('text') + header + body)],
    ['text in the header', soap(ACTION + chunk('text'))],
    ['text in the body', withBody(chunk('text'))],
    ['text behind the body', inside(header + body + chunk('text'))],
    ['an element behind the envelope', inside(header + body, `${END}${element('x')}${END}`)],
    ['something behind the document', inside(header + body, `${END}${END}x`)],
    ['no end of the document', inside(header + body, END)],
    ['no action', soap('')],
  ])('%s is refused', (_what, document) => {
    expect(refusal(document).code).toBe('MESSAGE_INVALID');
  });

  test('the same in our own form', () => {
    const own = fastInfosetSerializer.encode(
      Envelope.of({ action: 'urn:act', body: infosetElement('', 'x', 'y') }),
    );
    for (const tail of ['x', '\xf0', own.toString('latin1')]) {
      expect(refusal(Buffer.concat([own, bytes(tail)])).message).toMatch(/goes on behind/);
    }
    expect(refusal(own.subarray(0, -1)).message).toMatch(/ends in the middle/);
  });

  test.each([
    ['a processing instruction', `\xe1${string('x')}\xff`, /processing instruction/],
    ['a document type declaration', '\xc4\xf0', /document type declaration/],
    ['a reference to an entity', `\xc8${string('x')}`, /entity/],
  ])('%s is refused', (_what, item, why) => {
    expect(refusal(withBody(element('x', item))).message).toMatch(why);
    expect(refusal(soap(ACTION + item)).message).toMatch(why);
  });

  test.each([
    ['notations', '\x10', /document type declaration/],
    ['unparsed entities', '\x08', /document type declaration/],
    ['XML 1.1', '\x01\x021.1', /XML 1\.0/],
  ])('a document with %s is refused', (_what, before, why) => {
    expect(refusal(soap(ACTION, '', before)).message).toMatch(why);
  });

  test('a document that declares itself XML 1.1 is refused', () => {
    const declared = Buffer.concat([bytes("<?xml version='1.1' encoding='finf'?>"), withBody('')]);
    expect(refusal(declared).message).toMatch(/XML 1\.0/);
  });
});

describe('characters', () => {
  test.each([
    ['a stray continuation octet', '\x80\x80'],
    ['an overlong slash', '\x81\xc0\xaf'],
    ['a surrogate in UTF-8', '\x82\x00\xed\xa0\x80'],
    ['half a UTF-16 unit', '\x84a'],
    ['a lone surrogate in UTF-16', '\x85\xd8\x00'],
    ['a control character', '\x80\x01'],
    ['NUL', '\x80\x00'],
    ['U+FFFE', '\x82\x00\xef\xbf\xbe'],
    ['a control character in UTF-16', '\x85\x00\x01'],
    ['a control character in CDATA', '\x8c\x24\x01'],
  ])('%s is refused', (_what, spelled) => {
    expect(refusal(withBody(element('x', spelled))).code).toBe('MESSAGE_INVALID');
  });
});

describe('names and namespaces', () => {
  test.each([
    ['a name with a space', element('a b')],
    ['a name with a colon', element('a:b')],
    ['a name that begins with a digit', element('1')],
    ['a prefix that is no name', declaring({ 'a b': 'urn:x' }, element('x'))],
    ['a prefix without a namespace', `${start('x', '', 'e')}${END}`],
    ['a prefix that is not declared', `${start('x', 'urn:q', 'q')}${END}`],
    ['a prefix that is declared for something else', `${start('x', 'urn:q', 'e')}${END}`],
    ['a namespace that is not declared', `${start('x', 'urn:q')}${END}`],
    ['no namespace where a default one is declared', declaring({ '': 'urn:q' }, element('x'))],
    [
      'a prefix out of its scope',
      `${declaring({ q: 'urn:q' }, element('x'))}${start('y', 'urn:q', 'q')}${END}`,
    ],
    [
      'an attribute in a default namespace',
      declaringWith({ '': 'urn:q' }, start('x', 'urn:q'), attribute('a', 'v', 'urn:q')),
    ],
    ['an attribute of a prefix that is not declared', elementWith('x', attribute('a', 'v', 'urn:q', 'q'))],
    ['an attribute called xmlns', elementWith('x', attribute('xmlns'))],
    ['one attribute twice', elementWith('x', attribute('a') + attribute('a'))],
    [
      'one attribute under two prefixes',
      declaringWith(
        { p: 'urn:p', q: 'urn:p' },
        start('x'),
        attribute('a', 'v', 'urn:p', 'p') + attribute('a', 'v', 'urn:p', 'q'),
      ),
    ],
    [
      'a prefix declared twice',
      `\x38\xcf${string('p')}${string('urn:p')}\xcf${string('p')}${string('urn:q')}${END}${element('x')}`,
    ],
    ['a prefix taken back', `\x38\xce${string('p')}${END}${element('x')}`],
    ['xmlns declared', declaring({ xmlns: XMLNS }, element('x'))],
    ['xml spelled out', declaring({ xml: XML }, element('x'))],
    ['another prefix for xml', declaring({ p: XML }, element('x'))],
    ['another prefix for xmlns', declaring({ p: XMLNS }, element('x'))],
  ])('%s is refused', (_what, body) => {
    expect(refusal(withBody(body)).code).toBe('MESSAGE_INVALID');
  });

  test('names that JavaScript objects have anyway are names like others', () => {
    const document = withBody(
      elementWith('__proto__', attribute('constructor') + attribute('__proto__', 'w'), element('toString')),
    );
    const [x] = fastInfosetSerializer.decodeHeader(document).body;
    expect(x?.attribute('__proto__')).toBe('w');
    expect(x?.attribute('constructor')).toBe('v');
    expect(x?.child('', 'toString')).toBeDefined();
  });
});

describe('headers', () => {
  test('a duplicate MessageID is the fault that WS-Addressing prescribes', () => {
    const id = `${start('MessageID', WSA, 'a')}${chunk('urn:id')}${END}`;
    expect(refusal(soap(ACTION + id + id)).fault.hasSubcode(WSA, 'InvalidCardinality')).toBe(true);
  });

  test('the same in our own form', () => {
    const own = fastInfosetSerializer
      .encode(Envelope.of({ action: 'urn:act', messageId: 'urn:id' }))
      .toString('latin1');
    const id = `\xf0\x05${chunk('urn:id')}`;
    expect(own).toContain(id);
    const twice = bytes(own.replace(id, id + id));
    expect(refusal(twice).fault.hasSubcode(WSA, 'InvalidCardinality')).toBe(true);
  });

  test.each([
    ['one cid twice', 'a', '1', TAG, 'a'],
    ['a length that lies, up to 2^64-1', 'b', '18446744073709551615', TAG, 'c'],
    ['a tag cut short', 'b', '1', TAG.slice(1), 'c'],
  ])('references: %s', (_what, cid, length, tag, other) => {
    // By the shared vocabulary, as this side writes it but for what is wrong.
    const value = (text: string): string =>
      text.length <= 8 ? octets(text.length - 1) + text : octets(8, text.length - 9) + text;
    const one = (name: string): string =>
      `\x4e\x00${value(name)}\x01${value(tag)}\x02${value(length)}\x03\x80\xff`;
    const own = fastInfosetSerializer
      .encode(Envelope.of({ action: 'urn:act', messageId: 'urn:id' }))
      .toString('latin1');
    const document = own.replace('\xff\x02', `\xf0\x0d${one(cid)}${one(other)}\xff\x02`);
    expect(document.length).toBeGreaterThan(own.length);
    expect(refusal(bytes(document)).message).toMatch(/sp:References block is invalid/);
  });
});

test('the shared vocabulary may be named without being used', () => {
  expect(bodyOf(soap(ACTION, element('x', '\xa1'), EXTERNAL))).toBe(
    'http://www.w3.org/2005/08/addressing/none',
  );
});
