// Proves Fast Infoset: what is written reads back as the same infoset, with indices of every size, by the shared vocabulary or
// without; the header is read without the body; bytes fit or are refused; what other implementations write is read.

import { describe, expect, test } from 'vitest';
import { requestActionOf, responseActionOf, VERBS } from '../../lib/runtime/verbs.js';
import { FastInfosetSerializer, fastInfosetSerializer } from '../../lib/serializer/fastinfoset.js';
import { Names, NAMES_CHARACTERS_MAX, NAMES_MAX, Table } from '../../lib/serializer/fastinfoset-names.js';
import { VOCABULARY } from '../../lib/serializer/fastinfoset-vocabulary.js';
import { xmlSerializer } from '../../lib/serializer/xml.js';
import { Envelope } from '../../lib/soap/envelope.js';
import { MessageRefusedError } from '../../lib/soap/fault.js';
import { element, XmlElement } from '../../lib/soap/infoset.js';
import { SOAP } from '../../lib/soap/namespaces.js';
import { include, type Reference } from '../../lib/soap/references.js';
import { SHAPES } from '../support/envelopes.js';
import {
  ACTION,
  bytes,
  chunk,
  elementWith,
  END,
  octets,
  soap,
  string,
  withBody,
} from '../support/fastinfoset.js';
import { element as spelled } from '../support/fastinfoset.js';
import { infoset } from './serializer-infoset.js';

const NS = 'urn:example:a';
const reference: Reference = { cid: 'a', tag: 'A'.repeat(43), lengthBytes: 4096, access: 'read' };
const withCode = (code: string): Error => expect.objectContaining({ code }) as Error;
const act = (body: XmlElement | readonly XmlElement[]): Envelope => Envelope.of({ action: 'urn:act', body });

function carried(envelope: Envelope): Envelope {
  return fastInfosetSerializer.decodeHeader(fastInfosetSerializer.encode(envelope));
}

describe('what is written reads back the same', () => {
  test.each(SHAPES)('%s', (_name, envelope) => {
    // Three times: an element that comes again is not written anew.
    for (let round = 0; round < 3; round++) {
      const read = carried(envelope);
      expect(read.blocks.map(infoset)).toEqual(envelope.blocks.map(infoset));
      expect(read.body.map(infoset)).toEqual(envelope.body.map(infoset));
      const { to, action, messageId, relatesTo, references } = envelope;
      expect(read).toMatchObject({ to, action, messageId, relatesTo, references });
    }
  });

  test('the usual header is recognised, and takes a fraction of the bytes of text', () => {
    const envelope = Envelope.of({
      to: 'tcp://10.0.0.2:7411/files',
      action: 'urn:act',
      relatesTo: 'urn:uuid:1',
      references: [reference],
      body: element(NS, 'Put', include('a')),
    });
    expect(carried(envelope).isPlain).toBe(true);
    const { length } = fastInfosetSerializer.encode(envelope);
    expect(length).toBeLessThan(xmlSerializer.encode(envelope).length / 2);
  });

  test('the same elements by two serializers in turn, and by text between', () => {
    const other = new FastInfosetSerializer();
    const body = [element(NS, 'X', 'text'), element(NS, 'Y', element(NS, 'X'))];
    for (let round = 0; round < 4; round++) {
      for (const serializer of [fastInfosetSerializer, other, xmlSerializer]) {
        expect(serializer.decodeHeader(serializer.encode(act(body))).body.map(infoset)).toEqual(
          body.map(infoset),
        );
      }
    }
  });

  test('a document after one that could not be written', () => {
    const bad = element(NS, 'Outer', [element(NS, 'New'), element(NS, 'a b')]);
    const good = element(NS, 'Outer', [element(NS, 'New'), element(NS, 'Other')]);
    for (let round = 0; round < 3; round++) {
      expect(() => fastInfosetSerializer.encode(act(bad))).toThrow(withCode('INVALID_ARGUMENT'));
      expect(carried(act(good)).body.map(infoset)).toEqual([infoset(good)]);
    }
  });

  test('more names than are remembered, in one document and in many', () => {
    const serializer = new FastInfosetSerializer();
    const rows = Array.from({ length: 2000 }, (_, at) => element(`urn:${at % 10}`, `n${at}`));
    for (const body of [rows, ...rows.slice(0, 1500).map((row) => [row]), rows]) {
      const read = serializer.decodeHeader(serializer.encode(act(body)));
      expect(read.body.length).toBe(body.length);
      expect(read.body.at(-1)?.localName).toBe(body.at(-1)?.localName);
    }
  });
});

// Goal: what peers send is passed on by relays, and must not stay in memory because it was.
describe('names that a writer remembers', () => {
  test.each([
    ['too many', Array.from({ length: NAMES_MAX + 1 }, (_, at) => `n${at}`)],
    ['too long', Array.from({ length: 3 }, (_, at) => `${at}`.repeat(NAMES_CHARACTERS_MAX / 2))],
  ])('are forgotten when they are %s, but for those of the vocabulary', (_what, strings) => {
    const names = new Names();
    const [first = ''] = strings;
    const entry = names.string(Table.Namespace, first);
    names.trim();
    expect(names.string(Table.Namespace, first)).toBe(entry);
    for (const text of strings) names.string(Table.Namespace, text);
    names.trim();
    expect(names.generation).toBe(1);
    expect(names.string(Table.Namespace, first)).not.toBe(entry);
    expect(names.string(Table.Namespace, SOAP).document).toBe(Infinity);
  });
});

describe('the shared vocabulary', () => {
  test('has every verb and answer that the runtime knows', () => {
    for (const verb of VERBS) {
      expect(VOCABULARY.chunks).toContain(requestActionOf(verb));
      expect(VOCABULARY.chunks).toContain(responseActionOf(verb));
    }
  });

  test('has no entry twice, and names of entries that it has', () => {
    const { elements, attributes, ...strings } = VOCABULARY;
    for (const table of Object.values(strings)) expect(new Set(table).size).toBe(table.length);
    for (const table of [elements, attributes]) {
      expect(new Set(table.map((name) => JSON.stringify(name))).size).toBe(table.length);
      for (const { prefix, namespace, localName } of table) {
        expect(['', ...VOCABULARY.prefixes]).toContain(prefix);
        expect(['', ...VOCABULARY.namespaces]).toContain(namespace);
        expect(VOCABULARY.localNames).toContain(localName);
      }
    }
  });

  test.each(VOCABULARY.chunks.filter((text) => !/\s/.test(text)))('as wsa:Action: %s', (action) => {
    const bytes = fastInfosetSerializer.encode(Envelope.of({ action, to: 'urn:x' }));
    expect(bytes.includes(action)).toBe(false);
    expect(fastInfosetSerializer.decodeHeader(bytes).action).toBe(action);
  });
});

describe('what cannot be written is refused with a code', () => {
  test.each([
    ['a NUL in text', element(NS, 'X', 'a\0b')],
    ['a control character in a value', element(NS, 'X', [], { attributes: { a: '\u0008' } })],
    ['a lone surrogate', element(NS, 'X', '\ud800')],
    ['U+FFFF in a namespace', element('urn:\uffff', 'X')],
    ['a name with a space', element(NS, 'a b')],
    ['a name with a colon', element(NS, 'a:b')],
    ['an empty name', element(NS, '')],
    ['an attribute called xmlns', element(NS, 'X', [], { attributes: { xmlns: 'urn:evil' } })],
    ['a prefix that is no name', element(NS, 'X', [], { prefix: 'a b' })],
    ['a declaration of xmlns', element(NS, 'X', [], { namespaces: { xmlns: NS } })],
    ['a prefix for no namespace', element(NS, 'X', [], { namespaces: { p: '' } })],
    ['an element in the namespace of xmlns', element('http://www.w3.org/2000/xmlns/', 'X')],
  ])('%s', (_what, body) => {
    expect(() => fastInfosetSerializer.encode(act(body))).toThrow(withCode('INVALID_ARGUMENT'));
  });

  test.each(['action', 'to', 'messageId', 'relatesTo'])('a control character in %s', (property) => {
    const envelope = Envelope.of({ action: 'urn:a', [property]: 'urn:\u0001x' });
    expect(() => fastInfosetSerializer.encode(envelope)).toThrow(withCode('INVALID_ARGUMENT'));
  });

  test('an infoset deeper than any peer accepts, without exhausting the stack', () => {
    let deep = element(NS, 'X');
    for (let depth = 0; depth < 100_000; depth++) deep = new XmlElement(NS, 'X', [deep]);
    expect(() => fastInfosetSerializer.encode(act(deep))).toThrow(withCode('LIMIT_EXCEEDED'));
  });

  test('more bytes than any peer accepts', () => {
    const small = new FastInfosetSerializer({ envelopeBytesMax: 1000 });
    expect(() => small.encode(act(element(NS, 'X', 'x'.repeat(1000))))).toThrow(withCode('LIMIT_EXCEEDED'));
  });
});

describe('encodeInto', () => {
  test.each(['ascii', 'sch\u00f6n \u{1f600}'])('writes at the offset what encode returns: %s', (text) => {
    const envelope = act(element(NS, 'X', text));
    const encoded = fastInfosetSerializer.encode(envelope);
    const target = Buffer.alloc(encoded.length + 16, 0xee);
    expect(fastInfosetSerializer.encodeInto(envelope, target, 8)).toBe(encoded.length);
    expect(target.subarray(8, 8 + encoded.length)).toEqual(encoded);
    expect(target.subarray(8 + encoded.length)).toEqual(Buffer.alloc(8, 0xee));
  });

  test('refuses what does not fit by one byte', () => {
    const envelope = act(element(NS, 'X', 'x'));
    const { length } = fastInfosetSerializer.encode(envelope);
    expect(fastInfosetSerializer.encodeInto(envelope, Buffer.alloc(length), 0)).toBe(length);
    for (const [size, offset] of [
      [length - 1, 0],
      [length, 1],
      [length, -1],
    ] as const) {
      const target = Buffer.alloc(size);
      expect(() => fastInfosetSerializer.encodeInto(envelope, target, offset)).toThrow(
        withCode('LIMIT_EXCEEDED'),
      );
    }
  });
});

describe('the header is read without the body', () => {
  test.each([
    ['in our own form', fastInfosetSerializer.encode(act(element(NS, 'X', 'text')))],
    ['in another form', withBody(spelled('X', chunk('text')))],
  ])('%s, and a malformed body shows when it is read, again and again', (_form, document) => {
    const read = fastInfosetSerializer.decodeHeader(document.subarray(0, -4));
    expect(read.action).toBe('urn:act');
    expect(() => read.body).toThrow(withCode('MESSAGE_INVALID'));
    expect(() => read.body).toThrow(MessageRefusedError);
  });

  test('messages whose bodies are read later, in another order, do not disturb each other', () => {
    const documents = ['A', 'B', 'C'].flatMap((name) => [
      withBody(spelled(name)),
      fastInfosetSerializer.encode(act(element('', name))),
    ]);
    const read = documents.map((document) => fastInfosetSerializer.decodeHeader(document));
    expect(read.reverse().map(({ body }) => body[0]?.localName)).toEqual(['C', 'C', 'B', 'B', 'A', 'A']);
  });

  test('bodies that begin alike and go on differently, by names of the first', () => {
    const bodies = [0, 1, 2].map((count) =>
      element(
        NS,
        'X',
        Array.from({ length: count }, () => element(NS, 'X', element(NS, 'Y'))),
      ),
    );
    for (const body of [...bodies, ...bodies])
      expect(carried(act(body)).body.map(infoset)).toEqual([infoset(body)]);
  });

  test('the bytes may be overwritten before the body is read', () => {
    const document = fastInfosetSerializer.encode(act(element(NS, 'X', 'kept')));
    const read = fastInfosetSerializer.decodeHeader(document);
    document.fill(0);
    expect(read.body[0]?.text()).toBe('kept');
  });
});

describe('what others write', () => {
  test('bytes that are a plain Uint8Array, or a part of a larger one', () => {
    const document = withBody(spelled('x'));
    const larger = new Uint8Array(document.length + 10);
    larger.set(document, 5);
    expect(fastInfosetSerializer.decodeHeader(larger.subarray(5, 5 + document.length)).body).toHaveLength(1);
  });

  test.each([
    [
      'an XML declaration',
      Buffer.concat([bytes("<?xml version='1.0' encoding='finf' standalone='no'?>"), withBody('')]),
    ],
    ['additional data', soap(ACTION, '', `\x40\x00${string('urn:x')}${string('data')}`)],
    ['the encoding of a text document', soap(ACTION, '', `\x04${string('UTF-8')}`)],
    ['standalone', soap(ACTION, '', '\x02\x01')],
    ['a version', soap(ACTION, '', `\x01\x021.0`)],
    ['comments', soap(`\xe2\x00c${ACTION}\xe2\xff`, `\xe2\x40c${spelled('x', '\xe2\x80')}`)],
    ['blanks between blocks', soap(` ${ACTION} `.replaceAll(' ', chunk(' \n')), chunk('\t'))],
  ])('%s', (_what, document) => {
    expect(fastInfosetSerializer.decodeHeader(document).action).toBe('urn:act');
    expect(fastInfosetSerializer.decodeHeader(document).body).toBeDefined();
  });

  test('an initial vocabulary of its own, with every table', () => {
    const strings = (...entries: string[]): string =>
      octets(entries.length - 1) + entries.map(string).join('');
    const tables = [
      `\x1f\xff${string('urn:splitplane:vocabulary:1')}`,
      ...[strings('ab'), strings('urn:algorithm'), strings('p'), strings('urn:p'), strings('Local')],
      ...[strings('other'), strings('urn:other'), '\x00\x01vv', '\x01\x01cc\x01dd', '\x00\x01oo'],
    ];
    const surrogate = (index: number): string => octets(index - 1);
    const at = (table: readonly unknown[]): string => surrogate(table.length + 1);
    const { prefixes, namespaces, localNames, elements, attributes, chunks, attributeValues } = VOCABULARY;
    const qualified = `\x03${at(prefixes)}${at(namespaces)}${at(localNames)}`;
    const before = `\x20${tables.join('')}\x00${qualified}\x00\x00${at(localNames)}`;
    const name = octets(0x60, elements.length - 32);
    const value = octets(attributes.length, 0x80 + attributeValues.length);
    const text = `${octets(0xb0, chunks.length - 16)}${octets(0xb0, chunks.length - 15)}`;
    const declared = `\x78\xcf${octets(0x80 + prefixes.length, 0x80 + namespaces.length)}${END}${octets(0x20, elements.length - 32)}`;
    // All fit one octet but those of elements and text.
    expect(Math.max(localNames.length, attributes.length, attributeValues.length)).toBeLessThan(64);
    expect(name.length).toBe(2);
    const document = soap(ACTION, `${declared}${value}${END}${text}${END}`, before);
    const [x] = fastInfosetSerializer.decodeHeader(document).body;
    expect(x).toMatchObject({ namespace: 'urn:p', localName: 'Local', prefix: 'p', children: ['ccdd'] });
    expect(x?.attribute('Local')).toBe('vv');
  });

  test.each([
    ['UTF-16', '\x86\x01\x00a\x20\xac', 'a\u20ac'],
    ['UTF-16 in pairs', '\x86\x01\xd8\x3d\xde\x00', '\u{1f600}'],
    ['numeric', '\x88\x01\x12\xa3', '12-3'],
    ['numeric of odd length', '\x88\x01\x12\x3f', '123'],
    ['date and time', '\x88\x05\x12\xb3', '12:3'],
    ['hexadecimal', '\x8c\x01\x0a\xff', '0AFF'],
    ['base64', '\x8c\x05ab', 'YWI='],
    ['short', '\x8c\x09\xff\xfe', '-2'],
    ['int', '\x8c\x0e\x01\x00\x00\x00\x05', '5'],
    ['two shorts', '\x8c\x0a\x01\x00\x01\x00\x02', '1 2'],
    ['long', '\x8c\x12\x05\x80\x00\x00\x00\x00\x00\x00\x00', '-9223372036854775808'],
    ['boolean', '\x8c\x14\x0a', 'true false true false'],
    ['boolean with padding', '\x8c\x14\x38', 'true'],
    ['float', '\x8c\x1a\x01\x3d\xcc\xcc\xcd', '0.1'],
    ['float without end', '\x8c\x1a\x01\xff\x80\x00\x00', '-INF'],
    ['float that is none', '\x8c\x1a\x01\x7f\xc0\x00\x00', 'NaN'],
    ['double', '\x8c\x1e\x05\x3f\xf8\x00\x00\x00\x00\x00\x00', '1.5'],
    ['double below nothing', '\x8c\x1e\x05\x80\x00\x00\x00\x00\x00\x00\x00', '-0'],
    ['UUID', `\x8c\x22\x0d${octets(...Array(16).keys())}`, '00010203-0405-0607-0809-0a0b0c0d0e0f'],
    ['CDATA', '\x8c\x25<&', '<&'],
    ['text by index', '\x90a\xa0\x91bc\xa1', 'aabcbc'],
    ['text in pieces', '\x80a\x80b', 'ab'],
  ])('text: %s', (_what, content, text) => {
    const [x] = fastInfosetSerializer.decodeHeader(withBody(spelled('x', content))).body;
    expect(x?.children).toEqual([text]);
  });

  test.each([
    ['an index', '\x40v', '\x80', 'v'],
    ['nothing', '\x00v', '\xff', ''],
    ['UTF-16', '\x11\x00v', '\x13\x00a\x20\xac', 'a\u20ac'],
    ['an alphabet', '\x00v', '\x20\x11\x12\x34', '1234'],
    ['an algorithm', '\x00v', '\x30\x11ab', 'YWI='],
  ])('a value: %s', (_what, first, second, value) => {
    const attributes = `\x78${string('a')}${first}\x78${string('b')}${second}`;
    const [x] = fastInfosetSerializer.decodeHeader(withBody(elementWith('x', attributes))).body;
    expect(x?.attribute('b')).toBe(value);
  });
});
