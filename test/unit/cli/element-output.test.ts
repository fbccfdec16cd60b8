// Elements as people and programs read them: what colours add and what they leave alone, and how XML becomes JSON.
import { stripVTControlCharacters } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { coloured, contentOf, printElement } from '../../../lib/cli/runtime/element-output.js';
import { xmlSerializer } from '../../../lib/serializer/xml.js';
import { attribute, element, type XmlElement } from '../../../lib/soap/infoset.js';
import { include } from '../../../lib/soap/references.js';

const NS = 'urn:example:one';

function one(name: string, ...content: (XmlElement | string)[]): XmlElement {
  return element(NS, name, content);
}

afterEach(() => {
  vi.restoreAllMocks();
});

test('colours add escapes and change nothing else, whatever values and text hold', () => {
  const odd = element(NS, 'a', [one('b', '1 < 2 & "x=\'y\'" > <z>'), one('c')], {
    attributes: { title: 'a > b="c" / <d>' },
  });
  const text = xmlSerializer.prettyElement(odd);
  const colourful = coloured(text);
  expect(stripVTControlCharacters(colourful)).toBe(text);
  expect(colourful).toContain('\u001b[36ma\u001b[39m');
  expect(colourful).toContain('\u001b[33mtitle\u001b[39m');
});

test('what a terminal would take for commands is printed as references', () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  printElement(one('a', 'x\u009b2Jy\u007f'));
  expect(write.mock.calls).toEqual([[`<a xmlns="${NS}">x&#x9b;2Jy&#x7f;</a>\n`]]);
});

describe('JSON', () => {
  const json = (what: XmlElement): unknown => JSON.parse(JSON.stringify(contentOf(what)));

  test('text is text, elements are properties, several of a name a list, a buffer says which', () => {
    const value = one(
      'a',
      one('n', '1'),
      one('l', 'x'),
      one('l', 'y'),
      one('p', include('pixels')),
      one('e'),
    );
    expect(json(value)).toEqual({ n: '1', l: ['x', 'y'], p: { buffer: 'pixels' }, e: '' });
  });

  test('attributes, text between elements, and other namespaces have a form of their own', () => {
    const value = element(NS, 'a', ['before ', element('urn:two', 'b', 'x')], {
      attributes: { k: 'v' },
      qualifiedAttributes: [attribute('q', 'w', 'urn:two', 't')],
    });
    expect(json(value)).toEqual({
      '@k': 'v',
      '@{urn:two}q': 'w',
      '{urn:two}b': 'x',
      '#text': 'before ',
    });
  });

  test('an element may be called as properties of objects are', () => {
    const value = one('a', one('__proto__', one('x', '1')), one('constructor', '2'));
    expect(JSON.stringify(contentOf(value))).toBe('{"__proto__":{"x":"1"},"constructor":"2"}');
  });
});
