// Proves that references survive being a header block, and that no malformed, doubled or dangling one is accepted from a
// peer or sent to one.

import { describe, expect, test } from 'vitest';
import { MessageRefusedError } from '../../lib/soap/fault.js';
import { attribute, element, XmlElement } from '../../lib/soap/infoset.js';
import { REFERENCES, XOP } from '../../lib/soap/namespaces.js';
import {
  checkIncludes,
  checkReferences,
  include,
  includedCid,
  readReferences,
  referencesBlock,
  type Reference,
} from '../../lib/soap/references.js';

const TAG = 'A'.repeat(43);
const good: Reference = { cid: 'buffer-0', tag: TAG, lengthBytes: 65536, access: 'read' };

describe('the header block', () => {
  test('reads back as the same references, with and without a tag', () => {
    const references: Reference[] = [
      good,
      { cid: 'b@example.org', tag: undefined, lengthBytes: 0, access: 'read' },
      { cid: 'c', tag: TAG, lengthBytes: Number.MAX_SAFE_INTEGER, access: 'write' },
      { cid: 'd', tag: TAG, lengthBytes: 8, access: 'atomic' },
    ];
    expect(readReferences(referencesBlock(references))).toEqual(references);
  });

  const valid = { cid: 'a', tag: TAG, length: '1', access: 'read' };
  test.each([
    ['no cid', { ...valid, cid: '' }],
    ['a cid that needs escaping', { ...valid, cid: 'a b' }],
    ['a cid that is too long', { ...valid, cid: 'a'.repeat(129) }],
    ['a short tag', { ...valid, tag: 'A'.repeat(42) }],
    ['a tag in plain base64', { ...valid, tag: `+${'A'.repeat(42)}` }],
    ['a tag in a second spelling', { ...valid, tag: `${'A'.repeat(42)}B` }],
    ['a negative length', { ...valid, length: '-1' }],
    ['a length with a leading zero', { ...valid, length: '01' }],
    ['a fractional length', { ...valid, length: '1.5' }],
    ['a length in exponents', { ...valid, length: '1e3' }],
    ['a length of 2^53', { ...valid, length: '9007199254740992' }],
    ['a length of 2^64 - 1', { ...valid, length: '18446744073709551615' }],
    ['two accesses', { ...valid, access: 'read write' }],
  ])('refuses %s', (_what, attributes) => {
    const block = element(REFERENCES, 'References', element(REFERENCES, 'Reference', [], { attributes }));
    expect(() => readReferences(block)).toThrow(MessageRefusedError);
  });

  test.each(['cid', 'length', 'access'] as const)('refuses a reference without %s', (missing) => {
    const attributes = Object.fromEntries(Object.entries(valid).filter(([name]) => name !== missing));
    const block = element(REFERENCES, 'References', element(REFERENCES, 'Reference', [], { attributes }));
    expect(() => readReferences(block)).toThrow(MessageRefusedError);
  });

  test('refuses text, other elements, and one cid twice; white space is nothing', () => {
    const reference = element(REFERENCES, 'Reference', [], { attributes: valid });
    const block = (...children: (XmlElement | string)[]) => element(REFERENCES, 'References', children);
    expect(readReferences(block('\n ', reference, ' '))).toHaveLength(1);
    expect(() => readReferences(block('text'))).toThrow(MessageRefusedError);
    expect(() => readReferences(block(element('urn:x', 'Reference')))).toThrow(MessageRefusedError);
    expect(() => readReferences(block(reference, reference))).toThrow(/twice/);
  });

  test('an attribute in a namespace does not pass for one without', () => {
    const forged = new XmlElement(
      REFERENCES,
      'Reference',
      [],
      Object.entries(valid).map(([name, value]) => attribute(name, value, 'urn:x')),
    );
    expect(() => readReferences(element(REFERENCES, 'References', forged))).toThrow(MessageRefusedError);
  });
});

test.each<[string, Reference[]]>([
  ['a cid with a space', [{ ...good, cid: 'a b' }]],
  ['a tag that is none', [{ ...good, tag: 'x' }]],
  ['a negative length', [{ ...good, lengthBytes: -1 }]],
  ['a length beyond safe integers', [{ ...good, lengthBytes: 2 ** 53 }]],
  ['an access that is none', [{ ...good, access: 'all' as 'read' }]],
  ['one cid twice', [good, good]],
])('our own references are checked before they are sent: %s', (_what, references) => {
  expect(() => checkReferences(references)).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error,
  );
});

describe('xop:Include', () => {
  test('points at a cid, or at nothing known', () => {
    expect(includedCid(include('buffer-0'))).toBe('buffer-0');
    expect(includedCid(element(XOP, 'Include', [], { attributes: { href: 'http://x/' } }))).toBeUndefined();
    expect(() => include('not a cid')).toThrow(/cid/);
  });

  test('must name a buffer that the header lists, at any depth', () => {
    const nested = (cid: string) => [element('urn:x', 'A', [element('urn:x', 'B', include(cid))])];
    checkIncludes(nested('buffer-0'), [good]);
    expect(() => checkIncludes(nested('buffer-1'), [good])).toThrow(MessageRefusedError);
    expect(() => checkIncludes([element(XOP, 'Include')], [good])).toThrow(MessageRefusedError);
  });
});
