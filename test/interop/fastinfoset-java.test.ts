// Fast Infoset against an implementation that nobody of this project wrote, Debian's libfastinfoset-java: it reads what is written
// here, what it writes is read here, and both take each document of a corpus for the same infoset. One process does it all.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fastInfosetSerializer } from '../../lib/serializer/fastinfoset.js';
import { VOCABULARY, VOCABULARY_URI } from '../../lib/serializer/fastinfoset-vocabulary.js';
import { xmlSerializer } from '../../lib/serializer/xml.js';
import type { Envelope } from '../../lib/soap/envelope.js';
import type { XmlElement } from '../../lib/soap/infoset.js';
import { envelope, SHAPES } from '../support/envelopes.js';

const JAR = '/usr/share/java/FastInfoset.jar';
const PEER = fileURLToPath(new URL('FastInfosetPeer.java', import.meta.url));
const GENERATED = 300;
const WAYS = ['plain', 'vocabulary', 'utf16', 'indexed'] as const;

/** Java's parsers know names as XML 1.0 defined them before its fifth edition. */
const isForJava = (message: Envelope): boolean => !xmlSerializer.encode(message).includes('\u{10000}x');
const generated = fc.sample(envelope, { numRuns: GENERATED, seed: 891 }).filter(isForJava);
const corpus = [...SHAPES.map(([, message]) => message), ...generated];
/** What to try, and which of the corpus it is. */
const cases: readonly (readonly [name: string, from: number, to: number])[] = [
  ...SHAPES.map(([name], at) => [name, at, at + 1] as const),
  [`${generated.length} generated`, SHAPES.length, corpus.length],
];

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fastinfoset-'));
  writeFileSync(file('vocabulary.txt'), vocabularyLines().join('\n'));
  corpus.forEach((message, at) => {
    writeFileSync(file(`${at}.fi`), fastInfosetSerializer.encode(message));
    writeFileSync(file(`${at}.xml`), xmlSerializer.encode(message));
  });
  const { status, stderr, error } = spawnSync('java', ['-cp', JAR, PEER, folder], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`The peer failed:\n${stderr}`, { cause: error });
}, 300_000);

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** The tables as the peer reads them; the built-in entries are in its tables already. */
function vocabularyLines(): string[] {
  const { prefixes, namespaces, localNames, attributeValues, chunks, elements, attributes } = VOCABULARY;
  const strings = (table: string, entries: readonly string[]): string[] =>
    entries.map((entry) => `${table}\t${entry}`);
  const names = (table: string, entries: typeof elements): string[] =>
    entries.map(({ prefix, namespace, localName }) => [table, prefix, namespace, localName].join('\t'));
  return [
    VOCABULARY_URI,
    ...strings('prefix', prefixes.slice(1)),
    ...strings('namespace', namespaces.slice(1)),
    ...strings('localName', localNames),
    ...strings('value', attributeValues),
    ...strings('chunk', chunks),
    ...names('element', elements),
    ...names('attribute', attributes),
  ];
}

/** What the peer tells of a document, told by this side. */
function tell(message: Envelope): string {
  const lines: string[] = [];
  const line = (mark: string, what: string): void => {
    const escaped = what.replace(
      /[^!-[\]-~]/g,
      (unit) => `\\${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    lines.push(mark + escaped);
  };
  const sorted = (all: readonly string[]): string[] => [...all].sort((a, b) => (a < b ? -1 : 1));
  const tellElement = (one: XmlElement): void => {
    line('(', `{${one.namespace}}${one.localName}`);
    const declared = new Map<string, string>();
    for (let at = one.scope; at !== undefined; at = at.parent) {
      if (!declared.has(at.prefix)) declared.set(at.prefix, at.namespace);
    }
    const inScope = [...declared].filter(([, namespace]) => namespace !== '');
    inScope
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .forEach(([prefix, namespace]) => line('n', `${prefix}=${namespace}`));
    sorted(one.attributes.map((each) => `{${each.namespace}}${each.localName}=${each.value}`)).forEach(
      (each) => line('a', each),
    );
    for (const child of one.children) {
      if (typeof child === 'string') line('t', child);
      else tellElement(child);
    }
    line(')', '');
  };
  line('#', 'Header');
  message.blocks.forEach(tellElement);
  line('#', 'Body');
  message.body.forEach(tellElement);
  return `${lines.join('\n')}\n`;
}

function decode(bytes: Uint8Array): string {
  return tell(fastInfosetSerializer.decodeHeader(bytes));
}

/** A header that is read without the general parser becomes infoset only when somebody asks, and then has no scopes. */
function expectSame(one: string, other: string): void {
  const bodyOf = (told: string): string => told.slice(told.indexOf('#Body'));
  const withoutScopes = (told: string): string => told.replace(/^n.*\n/gm, '');
  expect(other).toContain('#Body');
  expect(bodyOf(one)).toBe(bodyOf(other));
  expect(withoutScopes(one)).toBe(withoutScopes(other));
}

describe('libfastinfoset-java', () => {
  test.each(cases)('reads what is written here: %s', (_name, from, to) => {
    for (let at = from; at < to; at++) {
      expectSame(decode(readFileSync(file(`${at}.fi`))), readFileSync(file(`${at}.fi.txt`), 'utf8'));
    }
  });

  describe.each(WAYS)('writes what is read here (%s)', (way) => {
    test.each(cases)('%s', (_name, from, to) => {
      for (let at = from; at < to; at++) {
        const made = decode(readFileSync(file(`${at}.xml.${way}.made`)));
        expectSame(made, tell(xmlSerializer.decodeHeader(readFileSync(file(`${at}.xml`)))));
      }
    });
  });

  test('writes every built-in algorithm and alphabet, read here as the same characters', () => {
    const ours = decode(readFileSync(file('algorithms.made')));
    expect(ours).toBe(readFileSync(file('algorithms.txt'), 'utf8'));
    expect(ours.split('\n').filter((line) => line.startsWith('t'))).toHaveLength(15);
  });
});
