// The row "XML" of the faults this project must survive: each hostile document is refused with a code, and with a fault to
// answer the peer with. What is refused is checked, and that it is refused for the reason it was made for.

import { describe, expect, test } from 'vitest';
import { Envelope } from '../../lib/soap/envelope.js';
import { MessageRefusedError } from '../../lib/soap/fault.js';
import { SOAP, SOAP_11, WSA, XML, XMLNS } from '../../lib/soap/namespaces.js';
import { XML_LIMITS } from '../../lib/serializer/xml-limits.js';
import { XmlSerializer, xmlSerializer } from '../../lib/serializer/xml.js';

const OPEN = `<e:Envelope xmlns:e="${SOAP}" xmlns:a="${WSA}">`;
const HEADER = '<e:Header><a:Action>urn:act</a:Action></e:Header>';
const CLOSE = '</e:Envelope>';
const withBody = (body: string): string => `${OPEN}${HEADER}<e:Body>${body}</e:Body>${CLOSE}`;
const withHeader = (blocks: string): string =>
  `${OPEN}<e:Header><a:Action>urn:act</a:Action>${blocks}</e:Header><e:Body/>${CLOSE}`;
const many = (count: number, item: (index: number) => string): string =>
  Array.from({ length: count }, (_, i) => item(i)).join('');
const TAG = 'A'.repeat(43);
const REFERENCES = 'urn:splitplane:references:1';
const referenced = (inside: string): string =>
  withHeader(`<r:References xmlns:r="${REFERENCES}">${inside}</r:References>`);

/** Reads header and body, and answers the refusal. */
function refusal(document: string | Uint8Array, serializer = xmlSerializer): MessageRefusedError {
  try {
    const bytes = typeof document === 'string' ? Buffer.from(document) : document;
    expect(serializer.decodeHeader(bytes).body).toBeDefined();
  } catch (error) {
    if (error instanceof MessageRefusedError) return error;
    throw error;
  }
  throw new Error('the document was accepted');
}

test('what is not hostile is accepted, so that the refusals below mean something', () => {
  for (const document of [withBody('<X/>'), withHeader(''), referenced('')]) {
    expect(xmlSerializer.decodeHeader(Buffer.from(document)).body).toBeDefined();
  }
});

describe('document type declarations and processing instructions', () => {
  const bomb = `<!DOCTYPE x [<!ENTITY a "${'a'.repeat(50)}">${many(20, (i) => `<!ENTITY a${i} "&a${i - 1};&a${i - 1};">`)}]>`;
  test.each([
    ['an empty DTD', `<!DOCTYPE x>${withBody('')}`],
    ['an external DTD', `<!DOCTYPE x SYSTEM "file:///etc/passwd">${withBody('')}`],
    ['an entity bomb', `${bomb}${withBody('&a19;')}`],
    ['an external entity', `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>${withBody('&f;')}`],
  ])('%s is refused as such', (_what, document) => {
    expect(refusal(document).message).toMatch(/document type declaration/);
  });

  test.each([
    ['before the envelope', `<?x y?>${withBody('')}`],
    ['in the header', withHeader('<?x y?>')],
    ['in the body', withBody('<?x y?>')],
    ['after the envelope', `${withBody('')}<?x y?>`],
  ])('a processing instruction %s is refused as such', (_where, document) => {
    expect(refusal(document).message).toMatch(/processing instruction/);
  });

  test('an undeclared entity is refused', () => {
    expect(refusal(withBody('<X>&nbsp;</X>')).message).toMatch(/undefined entity/);
  });
});

describe('limits', () => {
  const {
    attributesMax,
    declarationsMax,
    depthMax,
    elementsMax,
    envelopeBytesMax,
    nameLengthMax,
    namespaceLengthMax,
    referencesMax,
  } = XML_LIMITS;
  const reference = (i: number): string => `<r:Reference cid="b${i}" tag="${TAG}" length="1" access="read"/>`;
  const deep = (levels: number): string => many(levels, () => '<x>') + many(levels, () => '</x>');
  const flat = (count: number): string => many(count, () => '<x/>');
  const attributes = (count: number): string => `<x ${many(count, (i) => `a${i}="" `)}/>`;
  const declarations = (count: number): string =>
    many(count, (i) => `<x xmlns:p${i}="urn:p">`) + many(count, () => '</x>');
  const own = (count: number): string =>
    xmlSerializer
      .encode(Envelope.of({ action: 'urn:act' }))
      .toString()
      .replace(
        '</s:Header>',
        `<sp:References>${many(count, reference).replaceAll('r:', 'sp:')}</sp:References></s:Header>`,
      );
  const padded = (sizeBytes: number): string =>
    withBody('x').replace('x<', `<x>${'y'.repeat(sizeBytes - withBody('<x></x>').length)}</x><`);

  test.each([
    ['depth', withBody(deep(depthMax - 2)), withBody(deep(depthMax - 1))],
    ['elements', withBody(flat(elementsMax - 4)), withBody(flat(elementsMax - 3))],
    [
      'attributes of an element',
      withBody(attributes(attributesMax)),
      withBody(attributes(attributesMax + 1)),
    ],
    [
      'attributes in the header',
      withHeader(attributes(attributesMax)),
      withHeader(attributes(attributesMax + 1)),
    ],
    [
      'the length of a name',
      withBody(`<${'n'.repeat(nameLengthMax)}/>`),
      withBody(`<${'n'.repeat(nameLengthMax + 1)}/>`),
    ],
    [
      'the length of a namespace name',
      withBody(`<x xmlns="${'n'.repeat(namespaceLengthMax)}"/>`),
      withBody(`<x xmlns="${'n'.repeat(namespaceLengthMax + 1)}"/>`),
    ],
    [
      'references',
      referenced(many(referencesMax, reference)),
      referenced(many(referencesMax + 1, reference)),
    ],
    ['references in our own form', own(referencesMax), own(referencesMax + 1)],
    ['bytes', padded(envelopeBytesMax), padded(envelopeBytesMax + 1)],
  ])('%s: the limit is accepted, one more is refused', (_what, most, tooMany) => {
    expect(xmlSerializer.decodeHeader(Buffer.from(most)).body).toBeDefined();
    const error = refusal(tooMany);
    expect(error.code).toBe('LIMIT_EXCEEDED');
    expect(error.fault.code).toBe('Sender');
  });

  test('namespace declarations in scope', () => {
    const roomy = new XmlSerializer({ depthMax: 1000 });
    // The envelope's own two count too.
    expect(roomy.decodeHeader(Buffer.from(withBody(declarations(declarationsMax - 2)))).body).toBeDefined();
    expect(refusal(withBody(declarations(declarationsMax - 1)), roomy).code).toBe('LIMIT_EXCEEDED');
  });

  test.each([
    ['depth 20,000', withBody(deep(20_000))],
    ['20,000 attributes', withBody(attributes(20_000))],
    [
      '20,000 attributes on the envelope',
      withBody('').replace('<e:Envelope', `<e:Envelope ${many(20_000, (i) => `a${i}="" `)}`),
    ],
    ['a name of 100,000 letters', withBody(`<${'n'.repeat(100_000)}/>`)],
  ])('%s', (_what, document) => {
    expect(refusal(document).code).toBe('LIMIT_EXCEEDED');
  });

  test('a limit can be set', () => {
    const strict = new XmlSerializer({ elementsMax: 5 });
    expect(refusal(withBody(flat(2)), strict).code).toBe('LIMIT_EXCEEDED');
    expect(refusal(withBody(flat(100)), new XmlSerializer({ envelopeBytesMax: 100 })).code).toBe(
      'LIMIT_EXCEEDED',
    );
  });
});

describe('what is not a SOAP 1.2 envelope is a VersionMismatch fault', () => {
  test.each([
    ['SOAP 1.1', withBody('').replaceAll(SOAP, SOAP_11)],
    ['another namespace', withBody('').replaceAll(SOAP, 'urn:x')],
    ['no namespace', '<Envelope><Body/></Envelope>'],
    ['another element', `<e:Body xmlns:e="${SOAP}"/>`],
  ])('%s', (_what, document) => {
    const { fault } = refusal(document);
    expect(fault.code).toBe('VersionMismatch');
    expect(fault.headers[0]?.localName).toBe('Upgrade');
  });
});

describe("SOAP's structure", () => {
  test.each([
    ['no body', `${OPEN}${HEADER}${CLOSE}`],
    ['an empty envelope', `${OPEN}${CLOSE}`],
    ['two headers', `${OPEN}${HEADER}${HEADER}<e:Body/>${CLOSE}`],
    ['two bodies', `${OPEN}${HEADER}<e:Body/><e:Body/>${CLOSE}`],
    ['a header after the body', `${OPEN}${HEADER}<e:Body/><e:Header/>${CLOSE}`],
    ['another element in the envelope', `${OPEN}${HEADER}<x/><e:Body/>${CLOSE}`],
    ['a body of another namespace', `${OPEN}${HEADER}<a:Body/>${CLOSE}`],
    ['text in the envelope', `${OPEN}text${HEADER}<e:Body/>${CLOSE}`],
    ['text in the header', withHeader('text')],
    ['text in the body', withBody('text')],
    ['CDATA in the body', withBody('<![CDATA[text]]>')],
    ['text after the body', `${OPEN}${HEADER}<e:Body/>text${CLOSE}`],
    ['an element after the envelope', `${withBody('')}<x/>`],
    ['text after the envelope', `${withBody('')}x`],
    ['a second document', withBody('') + withBody('')],
    ['a NUL after the envelope', `${withBody('')}\0`],
    ['a body closed twice', withBody('</e:Body><e:Body>')],
    ['nothing', ''],
    ['white space', ' \n'],
    ['not XML', 'GET / HTTP/1.1\r\n\r\n'],
    ['a body cut off', withBody('<X/>').slice(0, -3)],
    ['a header cut off', `${OPEN}<e:Header><a:Act`],
  ])('%s is refused', (_what, document) => {
    expect(refusal(document).code).toBe('MESSAGE_INVALID');
  });

  test('the same in our own form', () => {
    const document = xmlSerializer.encode(Envelope.of({ action: 'urn:act' })).toString();
    for (const tail of ['x', '<x/>', document, '\0', '<?x y?>'])
      expect(refusal(document + tail).code).toBe('MESSAGE_INVALID');
    for (const inside of ['</s:Body><s:Body>', 'text', '</s:Body></s:Envelope>', '<!DOCTYPE x>']) {
      expect(refusal(document.replace('</s:Body>', `${inside}</s:Body>`)).code).toBe('MESSAGE_INVALID');
    }
  });
});

describe('characters and encodings', () => {
  test.each([
    ['a stray continuation byte', Buffer.concat([Buffer.from(withBody('')), Buffer.from([0x80])])],
    ['an overlong slash', Buffer.concat([Buffer.from(withBody('')), Buffer.from([0xc0, 0xaf])])],
    ['a surrogate in UTF-8', Buffer.concat([Buffer.from(withBody('')), Buffer.from([0xed, 0xa0, 0x80])])],
    [
      'a sequence cut off',
      Buffer.from(withBody('\u20ac')).subarray(0, -CLOSE.length - '</e:Body>'.length - 1),
    ],
    ['UTF-16', Buffer.from(`\ufeff${withBody('')}`, 'utf16le')],
    ['Latin-1', Buffer.from(withBody('<x>\u00e4</x>'), 'latin1')],
  ])('%s is refused', (_what, bytes) => {
    expect(refusal(bytes).code).toBe('MESSAGE_INVALID');
  });

  test.each([
    ['ISO-8859-1', '<?xml version="1.0" encoding="ISO-8859-1"?>'],
    ['UTF-16', '<?xml version="1.0" encoding="UTF-16"?>'],
    ['XML 1.1', '<?xml version="1.1"?>'],
    ['XML 1.1 spaced out', `<?xml \n version = '1.1' ?>`],
    ['no version', '<?xml encoding="UTF-8"?>'],
    ['two declarations', '<?xml version="1.0"?><?xml version="1.0"?>'],
    ['a declaration that is not first', ' <?xml version="1.0"?>'],
  ])('a declaration of %s is refused', (_what, declaration) => {
    expect(refusal(declaration + withBody('')).code).toBe('MESSAGE_INVALID');
  });

  test.each([
    ['a control character', '<x>\u0001</x>'],
    ['a reference to NUL', '<x>&#0;</x>'],
    ['a reference to a surrogate', '<x>&#xD800;</x>'],
    ['U+FFFE', '<x>\ufffe</x>'],
    ['"]]>" in text', '<x>]]></x>'],
    ['"<" in a value', '<x a="<"/>'],
    ['"--" in a comment', '<!-- -- -->'],
  ])('%s is refused', (_what, body) => {
    expect(refusal(withBody(body)).code).toBe('MESSAGE_INVALID');
  });
});

describe('names and namespaces', () => {
  test.each([
    ['an unbound prefix on an element', '<q:x/>'],
    ['an unbound prefix on an attribute', '<x q:a=""/>'],
    ['a prefix out of its scope', '<x xmlns:q="urn:q"/><q:y/>'],
    ['two colons', '<a:b:c/>'],
    ['a colon first', '<:x/>'],
    ['a colon last', '<a:/>'],
    ['a local name that begins with a digit', '<a:1/>'],
    ['an attribute of two colons', '<x a:b:c=""/>'],
    ['one attribute twice', '<x a="" a=""/>'],
    ['one attribute under two prefixes', '<x xmlns:p="urn:p" xmlns:q="urn:p" p:a="" q:a=""/>'],
    ['a prefix declared twice', '<x xmlns:p="urn:p" xmlns:p="urn:q"/>'],
    ['a prefix undeclared', '<x xmlns:p=""/>'],
    ['the prefix xmlns declared', `<x xmlns:xmlns="${XMLNS}"/>`],
    ['another prefix for xmlns', `<x xmlns:p="${XMLNS}"/>`],
    ['xml for something else', '<x xmlns:xml="urn:x"/>'],
    ['another prefix for xml', `<x xmlns:p="${XML}"/>`],
    ['the namespace of xml by default', `<x xmlns="${XML}"/>`],
    ['a declared prefix of two colons', '<x xmlns:a:b="urn:x"/>'],
    ['a declaration without prefix', '<x xmlns:="urn:x"/>'],
    ['an element of prefix xmlns', '<xmlns:x/>'],
    ['a tag closed by another name', '<x></y>'],
    ['a tag closed by another prefix', '<p:x xmlns:p="urn:x" xmlns:q="urn:x"></q:x>'],
    ['a tag that is not closed', '<x>'],
    ['an attribute without value', '<x a/>'],
    ['an attribute without quotes', '<x a=1/>'],
    ['attributes without space between', '<x a=""b=""/>'],
  ])('%s is refused', (_what, body) => {
    expect(refusal(withBody(body)).code).toBe('MESSAGE_INVALID');
  });

  test('attributes of one name in different namespaces are different attributes', () => {
    const body = '<x xmlns:p="urn:p" xmlns:q="urn:q" p:a="1" q:a="2" a="3" p:b="4"/>';
    const [x] = xmlSerializer.decodeHeader(Buffer.from(withBody(body))).body;
    const values = ['urn:p', 'urn:q', ''].map((namespace) => x?.attribute('a', namespace));
    expect(values).toEqual(['1', '2', '3']);
  });

  test('names that JavaScript objects have anyway are names like others', () => {
    const body = '<__proto__ constructor="1" __proto__="2"><toString/></__proto__>';
    const [x] = xmlSerializer.decodeHeader(Buffer.from(withBody(body))).body;
    expect(x?.attribute('__proto__')).toBe('2');
    expect(x?.attribute('constructor')).toBe('1');
    expect(x?.child('', 'toString')).toBeDefined();
  });
});

describe('headers', () => {
  test.each(['MessageID', 'To', 'ReplyTo'])(
    'a duplicate %s is the fault that WS-Addressing prescribes',
    (name) => {
      const block = `<a:${name}><a:Address>urn:x</a:Address>urn:x</a:${name}>`;
      const { fault } = refusal(withHeader(block + block));
      expect(fault.hasSubcode(WSA, 'InvalidCardinality')).toBe(true);
    },
  );

  test('a duplicate MessageID in our own form is the same fault', () => {
    const document = xmlSerializer.encode(Envelope.of({ action: 'urn:act' })).toString();
    const [id = ''] = /<wsa:MessageID>.*<\/wsa:MessageID>/.exec(document) ?? [];
    expect(refusal(document.replace(id, id + id)).fault.hasSubcode(WSA, 'InvalidCardinality')).toBe(true);
  });

  test.each([
    ['one cid twice', '<r:Reference cid="a" length="1" access="read"/>'.repeat(2)],
    [
      'a length that lies, up to 2^64-1',
      '<r:Reference cid="a" length="18446744073709551615" access="read"/>',
    ],
    ['a tag cut short', `<r:Reference cid="a" tag="${TAG.slice(1)}" length="1" access="read"/>`],
  ])('references: %s', (_what, inside) => {
    expect(refusal(referenced(inside)).code).toBe('MESSAGE_INVALID');
    const own = xmlSerializer.encode(Envelope.of({ action: 'urn:act' })).toString();
    const block = `<sp:References>${inside.replaceAll('r:Ref', 'sp:Ref')}</sp:References>`;
    expect(refusal(own.replace('</s:Header>', `${block}</s:Header>`)).code).toBe('MESSAGE_INVALID');
  });

  test('an Include that points nowhere', () => {
    const body = '<x:Include xmlns:x="http://www.w3.org/2004/08/xop/include" href="cid:gone"/>';
    expect(refusal(withBody(body)).message).toMatch(/does not list/);
  });
});

test('a refusal does not repeat what the peer sent at length', () => {
  for (const body of [`</${'x'.repeat(200_000)}>`, `<x></${'y'.repeat(200_000)}>`]) {
    expect(refusal(withBody(body)).message.length).toBeLessThan(1000);
  }
});
