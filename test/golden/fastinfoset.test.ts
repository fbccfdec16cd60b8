// Fast Infoset, octet for octet: what is written is what docs/FASTINFOSET.md shows, what the document shows is what is read, and its
// tables are those of the code. Document and code cannot drift apart.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fastInfosetSerializer } from '../../lib/serializer/fastinfoset.js';
import {
  VOCABULARY,
  VOCABULARY_URI,
  type VocabularyName,
} from '../../lib/serializer/fastinfoset-vocabulary.js';
import { DSSP } from '../../lib/soap/namespaces.js';
import { Envelope } from '../../lib/soap/envelope.js';
import { element } from '../../lib/soap/infoset.js';
import { include } from '../../lib/soap/references.js';
import { infoset } from '../unit/serializer-infoset.js';

const DOCUMENT = readFileSync(new URL('../../docs/FASTINFOSET.md', import.meta.url), 'utf8');
const NS = 'urn:example';

const MESSAGES: Readonly<Record<string, Envelope>> = {
  request: Envelope.of({
    to: 'dos://127.0.0.1:7300/album',
    action: `${DSSP}:GetRequest`,
    messageId: 'urn:uuid:7d444840-9dc0-11d1-b245-5ffdce74fad2',
  }),
  put: Envelope.of({
    action: 'urn:example:put',
    messageId: 'urn:id:1',
    relatesTo: 'urn:id:0',
    references: [
      { cid: 'a', tag: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8', lengthBytes: 4096, access: 'read' },
    ],
    body: element(NS, 'Put', [include('a'), element(NS, 'Put', 'gr\u00f6\u00dfer')]),
  }),
};

/** The octets of a block, without what follows a # on a line. */
function block(name: string): string {
  const [, lines = ''] = new RegExp(`\`\`\`hex ${name}\\n([^\`]*)\`\`\``).exec(DOCUMENT) ?? [];
  return lines.replace(/#.*$/gm, '').replace(/\s/g, '');
}

/** The rows of the table under a heading, without the index that begins each. */
function rows(heading: string): string[][] {
  const [, section = ''] = new RegExp(`### ${heading}\\n([^#]*)`).exec(`${DOCUMENT}#`) ?? [];
  const cells = section
    .split('\n')
    .filter((line) => /^\| *\d/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  expect(cells.map(([index]) => Number(index))).toEqual(cells.map((_, at) => at + 1));
  return cells.map((row) => row.slice(1));
}

describe('the documents', () => {
  test.each(Object.keys(MESSAGES))('%s is written as shown, and what is shown is read as it', (name) => {
    const message = MESSAGES[name] as Envelope;
    const shown = block(name);
    expect(fastInfosetSerializer.encode(message).toString('hex')).toBe(shown);
    const read = fastInfosetSerializer.decodeHeader(Buffer.from(shown, 'hex'));
    expect(read.blocks.map(infoset)).toEqual(message.blocks.map(infoset));
    expect(read.body.map(infoset)).toEqual(message.body.map(infoset));
  });

  test('are all of the document’s blocks', () => {
    expect(DOCUMENT.match(/```hex /g)).toHaveLength(Object.keys(MESSAGES).length);
  });
});

describe('the vocabulary', () => {
  test.each([
    ['Prefixes', VOCABULARY.prefixes],
    ['Namespace names', VOCABULARY.namespaces],
    ['Local names', VOCABULARY.localNames],
    ['Attribute values', VOCABULARY.attributeValues],
    ['Content character chunks', VOCABULARY.chunks],
  ])('%s', (heading, entries) => {
    expect(rows(heading)).toEqual(entries.map((entry) => [`\`${entry}\``]));
  });

  test.each([
    ['Element name surrogates', VOCABULARY.elements],
    ['Attribute name surrogates', VOCABULARY.attributes],
  ])('%s', (heading, names) => {
    const { prefixes, namespaces, localNames } = VOCABULARY;
    const index = (table: readonly string[], entry: string): string =>
      entry === '' ? '' : String(table.indexOf(entry) + 1);
    const row = ({ prefix, namespace, localName }: VocabularyName): string[] => [
      index(prefixes, prefix),
      index(namespaces, namespace),
      `${index(localNames, localName)} \`${prefix === '' ? '' : `${prefix}:`}${localName}\``,
    ];
    expect(rows(heading)).toEqual(names.map(row));
  });

  test('its URI', () => {
    expect(DOCUMENT).toContain(`\`${VOCABULARY_URI}\``);
  });
});
