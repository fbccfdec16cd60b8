// Proves documents that people write: elements and attributes are found again where they stand, whatever precedes them, and
// what is no document is refused with its place and never by an exception.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readXmlDocument, XmlDocument, type XmlFlaw } from '../../lib/serializer/xml-document.js';

const LIMITS = {
  depthMax: 8,
  elementsMax: 20,
  attributesMax: 4,
  declarationsMax: 4,
  nameLengthMax: 16,
  namespaceLengthMax: 64,
};

function read(text: string): XmlDocument {
  const document = readXmlDocument(text, LIMITS);
  if (document instanceof XmlDocument) return document;
  throw new Error(`${document.line}:${document.column} ${document.predicate}`);
}

function flaw(text: string): XmlFlaw {
  const document = readXmlDocument(text, LIMITS);
  if (document instanceof XmlDocument) throw new Error('the document was accepted');
  return document;
}

/** Line and column of the first occurrence, found by counting and not by the means of the reader. */
function whereIs(text: string, what: string): { line: number; column: number } {
  const before = text
    .slice(0, text.indexOf(what))
    .replace(/^\uFEFF/, '')
    .replace(/\r\n|\r/g, '\n')
    .split('\n');
  return { line: before.length, column: (before.at(-1) ?? '').length + 1 };
}

describe('places', () => {
  test('of elements and attributes, with declarations and line breaks between them', () => {
    const text =
      '<a\n  xmlns="urn:a" one="1"\r\n\txmlns:b="urn:b"   two = "&lt;">\n <!-- < --> <b:c three=\'"\'/></a>';
    const document = read(text);
    const [child] = document.root.elements();
    expect(document.place(document.root)).toEqual({ line: 1, column: 1 });
    expect(document.root.attributes.map(({ localName }) => localName)).toEqual(['one', 'two']);
    expect(document.place(document.root, 0)).toEqual(whereIs(text, 'one'));
    expect(document.place(document.root, 1)).toEqual(whereIs(text, 'two'));
    expect(child && document.place(child)).toEqual(whereIs(text, '<b:c'));
    expect(child && document.place(child, 0)).toEqual(whereIs(text, 'three'));
  });

  const noise = fc
    .array(
      fc.constantFrom(
        '\n',
        '\r\n',
        '\r',
        ' ',
        '\t',
        '<!-- a=">" <b> -->',
        '<!--\u{1F600}é-->',
        '<?pi a="<"?>',
      ),
    )
    .map((parts) => parts.join(''));
  const space = fc
    .array(fc.constantFrom('\n', '\r\n', '\r', ' ', '\t'), { minLength: 1 })
    .map((s) => s.join(''));
  const value = fc.constantFrom('""', "''", '">"', "'/>'", '"\n"', '"é\u{1F600}"', '"&#10;"', '"=x"');

  test('whatever precedes them', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('', '\uFEFF'),
        noise,
        space,
        value,
        space,
        noise,
        (bom, n1, s1, v, s2, n2) => {
          const text = `${bom}${n1}<root${s1}before=${v}${s2}found=${v}>${n2}text<![CDATA[<found]]><inner${s1}here=${v}/></root>`;
          const document = read(text);
          const [inner] = document.root.elements();
          expect(document.place(document.root)).toEqual(whereIs(text, '<root'));
          expect(document.place(document.root, 1)).toEqual(whereIs(text, 'found='));
          expect(inner && document.place(inner)).toEqual(whereIs(text, '<inner'));
          expect(inner && document.place(inner, 0)).toEqual(whereIs(text, 'here='));
        },
      ),
    );
  });
});

describe('what is no document', () => {
  const many = (count: number, item: (i: number) => string): string =>
    Array.from({ length: count }, (_, i) => item(i)).join('');

  test.each([
    ['nothing', '', 1, 1, /root element|no element/],
    ['text', 'a', 1, 1, /text data outside of root/i],
    ['a tag that is not closed', '<a>\n<b>', 2, 3, /unclosed tag: b/],
    ['a wrong end tag', '<a>\n <b></a>', 2, 8, /unexpected close tag/],
    ['a document type', '\n<!DOCTYPE a><a/>', 2, 12, /document type/],
    [
      'an entity bomb',
      '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><a>&b;</a>',
      1,
      53,
      /document type/,
    ],
    ['an entity of nobody', '<a>&nbsp;</a>', 1, 9, /undefined entity/],
    ['an undeclared prefix', '<a>\n<b:c/></a>', 2, 6, /prefix that it does not declare/],
    ['another encoding', '<?xml version="1.0" encoding="latin1"?><a/>', 1, 1, /XML 1\.0 in UTF-8/],
    ['another version', '<?xml version="1.1"?><a/>', 1, 1, /XML 1\.0 in UTF-8/],
    ['one attribute twice', '<a b="" b=""/>', 1, 14, /duplicate attribute/],
    [
      'one attribute twice, by two prefixes',
      '<a xmlns:x="u" xmlns:y="u" x:b="" y:b=""/>',
      1,
      42,
      /two attributes/,
    ],
    ['a character that XML forbids', '<a>\n\u0001</a>', 2, 1, /disallowed character/],
    ['two roots', '<a/>\n<b/>', 2, 3, /one root/],
    ['depth', many(9, () => '<a>'), 1, 27, /nested deeper than 8/],
    ['breadth', `<a>${many(20, () => '<b/>')}</a>`, 1, 83, /more elements than 20/],
    ['attributes', `<a ${many(5, (i) => `a${i}="" `)}/>`, 1, 32, /more attributes than 4/],
    [
      'declarations',
      `<a ${many(4, (i) => `xmlns:a${i}="u" `)}><b xmlns="u"/></a>`,
      1,
      70,
      /more namespace decl/,
    ],
    ['a long name', `<${'a'.repeat(17)}/>`, 1, 20, /a longer name than 16/],
  ])('%s is refused, and said where', (_what, text, line, column, predicate) => {
    const refused = flaw(text);
    expect(refused.predicate).toMatch(predicate);
    expect({ line: refused.line, column: refused.column }).toEqual({ line, column });
  });

  test('a document cut off anywhere, or with any character in the wrong place, throws nothing', () => {
    const text = '<?xml version="1.0"?>\n<a xmlns:p="urn:p" b="&lt;"><!-- c --><p:d><![CDATA[e]]>f</p:d></a>';
    expect(readXmlDocument(text, LIMITS)).toBeInstanceOf(XmlDocument);
    const end = text.lastIndexOf('</a>') + '</a>'.length;
    for (let length = 0; length < end; length++) expect(flaw(text.slice(0, length)).line).toBeGreaterThan(0);
    fc.assert(
      fc.property(fc.nat(text.length), fc.string({ unit: 'binary', maxLength: 3 }), (at, inserted) => {
        const result = readXmlDocument(text.slice(0, at) + inserted + text.slice(at), LIMITS);
        if (!(result instanceof XmlDocument)) expect(result.predicate).not.toBe('');
      }),
    );
  });
});
