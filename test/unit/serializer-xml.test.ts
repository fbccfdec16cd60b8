// Proves text XML: what is written reads back as the same infoset, the header is read without the body, bytes fit or are
// refused, and people can read it.

import { describe, expect, test } from 'vitest';
import { Envelope } from '../../lib/soap/envelope.js';
import { MessageRefusedError, SoapFault } from '../../lib/soap/fault.js';
import { attribute, element, XmlElement } from '../../lib/soap/infoset.js';
import { SOAP, WSA, XML } from '../../lib/soap/namespaces.js';
import { include, type Reference } from '../../lib/soap/references.js';
import { XmlSerializer, xmlSerializer } from '../../lib/serializer/xml.js';
import { infoset } from './serializer-infoset.js';

const TAG = 'A'.repeat(43);
const NS = 'urn:example:a';
const reference: Reference = { cid: 'a', tag: TAG, lengthBytes: 4096, access: 'read' };
const withCode = (code: string): Error => expect.objectContaining({ code }) as Error;
const act = (body: XmlElement | readonly XmlElement[], headers: readonly XmlElement[] = []) =>
  Envelope.of({ action: 'urn:act', body, headers });

/** The message after it was bytes. */
function carried(envelope: Envelope): Envelope {
  return xmlSerializer.decodeHeader(xmlSerializer.encode(envelope));
}

function expectSameBody(...body: XmlElement[]): void {
  expect(carried(act(body)).body.map(infoset)).toEqual(body.map(infoset));
}

/** A document as another SOAP stack may write it. */
function foreign(header: string, body: string): Buffer {
  return Buffer.from(
    `<?xml version="1.0" encoding="utf-8"?>\n<env:Envelope xmlns:env="${SOAP}" xmlns:a="${WSA}">\n` +
      `  <env:Header><a:Action>urn:act</a:Action>${header}</env:Header>\n  <env:Body>${body}</env:Body>\n</env:Envelope>\n`,
  );
}

describe('what is written reads back the same', () => {
  test('the usual header, written by template and recognised by pattern', () => {
    const envelope = Envelope.of({
      to: 'tcp://10.0.0.2:7411/files',
      action: 'urn:act',
      relatesTo: 'urn:uuid:1',
      references: [reference, { cid: 'b', tag: undefined, lengthBytes: 3, access: 'read' }],
      body: element(NS, 'Put', include('a')),
    });
    const read = carried(envelope);
    const { to, action, messageId, relatesTo, references } = envelope;
    expect(read).toMatchObject({ to, action, messageId, relatesTo, references });
    expect(read.isPlain).toBe(true);
    expect(read.body.map(infoset)).toEqual(envelope.body.map(infoset));
    expect(xmlSerializer.encode(read)).toEqual(xmlSerializer.encode(envelope));
  });

  test('the usual header reads the same through the parser', () => {
    const bytes = xmlSerializer.encode(act(element(NS, 'X')).withReferences([reference]));
    const plain = xmlSerializer.decodeHeader(bytes);
    const parsed = xmlSerializer.decodeHeader(Buffer.concat([Buffer.from('<?xml version="1.0"?>'), bytes]));
    expect(parsed.isPlain).toBe(false);
    expect(parsed.blocks.map(infoset)).toEqual(plain.blocks.map(infoset));
    expect(parsed.body.map(infoset)).toEqual(plain.body.map(infoset));
  });

  test('endpoint references and other header blocks', () => {
    const envelope = Envelope.of({
      action: 'urn:act',
      replyTo: { address: 'urn:a', referenceParameters: [element(NS, 'Key', '7')] },
      faultTo: 'urn:b',
      headers: [element(NS, 'Trace', 'x', { attributes: { id: '1' } })],
    });
    expect(carried(envelope).blocks.map(infoset)).toEqual(envelope.blocks.map(infoset));
  });

  test('addresses that need escaping', () => {
    const envelope = Envelope.of({ action: 'urn:a?b&c<d>"e"\u00e4', to: 'urn:\u{1f600}' });
    expect(carried(envelope)).toMatchObject({ action: envelope.action, to: envelope.to });
  });

  test('every kind of white space and markup in text and values', () => {
    const nasty = ' \t\r\n\r a&b<c>d]]>e"f\'g\u00e4\u20ac\u{1f600}\u0085\u2028 ';
    expectSameBody(element(NS, 'X', nasty, { attributes: { a: nasty } }));
  });

  test('namespaces: shared, nested, undeclared, shadowed, none', () => {
    expectSameBody(
      new XmlElement(NS, 'A', [
        new XmlElement('urn:b', 'B', [new XmlElement('', 'C')]),
        new XmlElement(NS, 'D'),
      ]),
      new XmlElement(NS, 'A', [new XmlElement('urn:b', 'B', [], [], 'p')], [], 'p'),
      new XmlElement('', 'E', [new XmlElement(NS, 'F', [new XmlElement('', 'G')])]),
      new XmlElement(
        SOAP,
        'H',
        [new XmlElement('urn:b', 'I', [new XmlElement(SOAP, 'J')], [], 's')],
        [],
        'wsa',
      ),
    );
  });

  test('attributes in namespaces, whatever prefix they ask for', () => {
    expectSameBody(
      new XmlElement(
        NS,
        'A',
        [],
        [attribute('x', '1'), attribute('x', '2', NS), attribute('x', '3', 'urn:b', 'n1')],
      ),
      new XmlElement(
        'urn:b',
        'A',
        [],
        [attribute('x', '1', NS, 'p'), attribute('y', '2', 'urn:c', 'p')],
        'p',
      ),
      new XmlElement(
        NS,
        'A',
        [],
        [attribute('lang', 'en', XML, 'xml'), attribute('x', '1', NS, 'xml')],
        'xmlns',
      ),
    );
  });

  test('prefixes that text uses, through forwarding', () => {
    const value = element(NS, 'Value', 'q:Name', { namespaces: { q: 'urn:q', wsa: 'urn:not-wsa' } });
    const inner = new XmlElement(NS, 'Inner', ['wsa:X'], [], '', value.scope);
    const once = carried(act(element(NS, 'Outer', [value, inner])));
    const twice = carried(act(once.body));
    for (const envelope of [once, twice]) {
      const [outer] = envelope.body;
      const read = outer?.child(NS, 'Value');
      expect(read?.resolveQName(read.text())).toEqual({ namespace: 'urn:q', localName: 'Name' });
      expect(outer?.child(NS, 'Inner')?.resolveQName('wsa:X')?.namespace).toBe('urn:not-wsa');
    }
  });

  test('prefixes that a foreign envelope declares at the top, through forwarding of one block', () => {
    const read = xmlSerializer.decodeHeader(foreign('', '<X xmlns:q="urn:q">env:Name</X>'));
    const [x] = carried(act(read.body)).body;
    expect(x?.resolveQName(x.text())).toEqual({ namespace: SOAP, localName: 'Name' });
  });

  test('a fault with nested subcodes', () => {
    const fault = new SoapFault({
      code: 'Receiver',
      subcodes: [{ namespace: NS, localName: 'Own' }],
      reason: 'Why & how <now>.',
      detail: [element(NS, 'More')],
    });
    const read = carried(Envelope.fault(fault)).fault;
    expect(read).toMatchObject({ code: 'Receiver', subcodes: fault.subcodes, reason: fault.reason });
  });

  test('an element that is sent again and again', () => {
    const constant = element(NS, 'Constant', 'text \u00e4');
    for (let round = 0; round < 4; round++) expectSameBody(constant, element(NS, 'Fresh', String(round)));
  });

  test('an empty body', () => {
    expect(carried(act([])).body).toEqual([]);
  });
});

describe('what cannot be written is refused with a code', () => {
  test.each([
    ['a NUL in text', element(NS, 'X', 'a\0b')],
    ['a control character in a value', element(NS, 'X', [], { attributes: { a: '\u0008' } })],
    ['a lone surrogate', element(NS, 'X', '\ud800')],
    ['U+FFFF', element(NS, 'X', '\uffff')],
    ['a name with a space', element(NS, 'a b')],
    ['a name that would forge markup', element(NS, 'a/><evil')],
    ['a name with a colon', element(NS, 'a:b')],
    ['an empty name', element(NS, '')],
    ['an attribute called xmlns', element(NS, 'X', [], { attributes: { xmlns: 'urn:evil' } })],
    ['an attribute name that would forge markup', element(NS, 'X', [], { attributes: { 'a="" b': '' } })],
    ['a prefix that is no name', element(NS, 'X', [], { prefix: 'a b' })],
    ['a declaration of xmlns', element(NS, 'X', [], { namespaces: { xmlns: NS } })],
    ['a prefix for no namespace', element(NS, 'X', [], { namespaces: { p: '' } })],
    ['an element in the namespace of xmlns', element('http://www.w3.org/2000/xmlns/', 'X')],
  ])('%s', (_what, body) => {
    expect(() => xmlSerializer.encode(act(body))).toThrow(withCode('INVALID_ARGUMENT'));
  });

  test('an infoset deeper than any peer accepts, without exhausting the stack', () => {
    let deep = element(NS, 'X');
    for (let depth = 0; depth < 100_000; depth++) deep = new XmlElement(NS, 'X', [deep]);
    expect(() => xmlSerializer.encode(act(deep))).toThrow(withCode('LIMIT_EXCEEDED'));
    expect(() => xmlSerializer.pretty(act(deep))).toThrow(withCode('LIMIT_EXCEEDED'));
  });

  test('more bytes than any peer accepts', () => {
    const small = new XmlSerializer({ envelopeBytesMax: 1000 });
    expect(() => small.encode(act(element(NS, 'X', 'x'.repeat(1000))))).toThrow(withCode('LIMIT_EXCEEDED'));
  });
});

describe('encodeInto', () => {
  test.each(['ascii', 'sch\u00f6n \u{1f600}'])('writes at the offset what encode returns: %s', (text) => {
    const envelope = act(element(NS, 'X', text));
    const bytes = xmlSerializer.encode(envelope);
    const target = Buffer.alloc(bytes.length + 16, 0xee);
    expect(xmlSerializer.encodeInto(envelope, target, 8)).toBe(bytes.length);
    expect(target.subarray(8, 8 + bytes.length)).toEqual(bytes);
    expect(target.subarray(8 + bytes.length)).toEqual(Buffer.alloc(8, 0xee));
  });

  test.each(['ascii', '\u00f6'])('refuses what does not fit by one byte: %s', (text) => {
    const envelope = act(element(NS, 'X', text));
    const { length } = xmlSerializer.encode(envelope);
    expect(xmlSerializer.encodeInto(envelope, Buffer.alloc(length), 0)).toBe(length);
    for (const [target, offset] of [
      [Buffer.alloc(length - 1), 0],
      [Buffer.alloc(length), 1],
      [Buffer.alloc(length), -1],
    ] as const) {
      expect(() => xmlSerializer.encodeInto(envelope, target, offset)).toThrow(withCode('LIMIT_EXCEEDED'));
    }
  });
});

describe('the header is read without the body', () => {
  const decoys = [
    ['a comment', '<!-- <env:Body> -->'],
    ['a comment with a quote', `<!-- <env:Body a=" -->`],
    ['a CDATA section', '<h:T xmlns:h="urn:h"><![CDATA[<env:Body>]]></h:T>'],
    ['an attribute', `<h:T xmlns:h="urn:h" a="&lt;env:Body>" b='Body>'/>`],
    ['an element of that name in a block', '<h:T xmlns:h="urn:h"><h:Body>x</h:Body><env:Body/></h:T>'],
    ['text', '<h:T xmlns:h="urn:h">:Body > Body/></h:T>'],
  ] as const;

  test.each(decoys)('and %s does not pass for it', (_what, decoy) => {
    const read = xmlSerializer.decodeHeader(foreign(decoy, '<X/><unclosed>'));
    expect(read.action).toBe('urn:act');
    expect(() => read.body).toThrow(MessageRefusedError);
    const whole = xmlSerializer.decodeHeader(foreign(decoy, '<X/>'));
    expect(whole.body.map((child) => child.localName)).toEqual(['X']);
  });

  test.each([`<env:Body id='a>b' x="'>">`, '<env:Body\n>', '<env:Body xmlns:env2="urn:x" >'])(
    'a body start tag may look like %s',
    (tag) => {
      const text = foreign('', '<X/>').toString().replace('<env:Body>', tag);
      const broken = xmlSerializer.decodeHeader(Buffer.from(text.replace('<X/>', '<X>')));
      expect(broken.action).toBe('urn:act');
      expect(() => broken.body).toThrow(withCode('MESSAGE_INVALID'));
      expect(xmlSerializer.decodeHeader(Buffer.from(text)).body).toHaveLength(1);
    },
  );

  test('a body in our own form that is malformed shows when it is read, again and again', () => {
    const bytes = xmlSerializer.encode(act(element(NS, 'X', 'text')));
    const broken = Buffer.from(bytes.toString().replace('</s:Body>', '<</s:Body>'));
    const read = xmlSerializer.decodeHeader(broken);
    expect(read.action).toBe('urn:act');
    expect(() => read.body).toThrow(withCode('MESSAGE_INVALID'));
    expect(() => read.body).toThrow(withCode('MESSAGE_INVALID'));
  });

  test('messages whose bodies are read later, in another order, do not disturb each other', () => {
    const documents = ['A', 'B', 'C'].flatMap((name) => [
      foreign('', `<${name}/>`),
      xmlSerializer.encode(act(element('', name))),
    ]);
    const read = documents.map((bytes) => xmlSerializer.decodeHeader(bytes));
    expect(read.reverse().map(({ body }) => body[0]?.localName)).toEqual(['C', 'C', 'B', 'B', 'A', 'A']);
  });

  test('the bytes may be overwritten before the body is read', () => {
    const bytes = xmlSerializer.encode(act(element(NS, 'X', 'kept')));
    const read = xmlSerializer.decodeHeader(bytes);
    bytes.fill(0);
    expect(read.body[0]?.text()).toBe('kept');
  });

  test('a message after a refused one is read as ever', () => {
    for (const bytes of [foreign('', '<X>'), foreign('<', '')]) {
      expect(() => xmlSerializer.decodeHeader(bytes).body).toThrow(MessageRefusedError);
      expect(xmlSerializer.decodeHeader(foreign('', '<X/>')).body).toHaveLength(1);
    }
  });
});

describe('what other stacks write', () => {
  test('a byte order mark, an XML declaration, CDATA, comments, white space, single quotes', () => {
    const document = foreign('', `<x:A xmlns:x='urn:x' b='"'>1<!-- 2 --><![CDATA[<3>]]>&#52;&amp;\r\n</x:A>`);
    const read = xmlSerializer.decodeHeader(Buffer.concat([Buffer.from('\ufeff'), document]));
    expect(read.body[0]?.children).toEqual(['1<3>4&\n']);
    expect(read.body[0]?.attribute('b')).toBe('"');
  });

  test('bytes that are a plain Uint8Array, or a part of a larger one', () => {
    const document = foreign('', '<A/>');
    const larger = new Uint8Array(document.length + 10);
    larger.set(document, 5);
    expect(xmlSerializer.decodeHeader(larger.subarray(5, 5 + document.length)).body).toHaveLength(1);
  });

  test('no header at all lacks an action', () => {
    const document = `<s:Envelope xmlns:s="${SOAP}"><s:Body/></s:Envelope>`;
    expect(() => xmlSerializer.decodeHeader(Buffer.from(document))).toThrow(/no wsa:Action/);
  });
});

test('pretty shows the envelope with a line for each element, and reads back as the same message', () => {
  const envelope = Envelope.of({
    action: 'urn:act',
    messageId: 'urn:uuid:1',
    references: [reference],
    body: element(NS, 'Put', [element(NS, 'Name', ' a  b ', { prefix: 'f' }), include('a')], { prefix: 'f' }),
  });
  const text = xmlSerializer.pretty(envelope);
  expect(text).toContain('\n    <wsa:Action>urn:act</wsa:Action>\n');
  expect(text).toContain(
    '\n      <f:Name> a  b </f:Name>\n      <xop:Include href="cid:a"/>\n    </f:Put>\n',
  );
  const read = xmlSerializer.decodeHeader(Buffer.from(text));
  expect(read).toMatchObject({ action: 'urn:act', references: [reference] });
  expect(read.body[0]?.child(NS, 'Name')?.text()).toBe(' a  b ');
});
