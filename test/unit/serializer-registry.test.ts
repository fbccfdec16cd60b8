// Proves how encodings are registered and how two sides agree on one.

import { describe, expect, test } from 'vitest';
import { ENCODINGS_MAX, SerializerRegistry, type Serializer } from '../../lib/serializer/registry.js';
import { xmlSerializer } from '../../lib/serializer/xml.js';

function named(name: string): Serializer {
  return {
    name,
    contentType: 'application/octet-stream',
    encode: (envelope) => xmlSerializer.encode(envelope),
    encodeInto: (envelope, target, offset) => xmlSerializer.encodeInto(envelope, target, offset),
    decodeHeader: (bytes) => xmlSerializer.decodeHeader(bytes),
  };
}

const withCode = (code: string): Error => expect.objectContaining({ code }) as Error;

describe('SerializerRegistry', () => {
  test('keeps the order of preference, what is added comes last', () => {
    const registry = new SerializerRegistry([named('fastinfoset'), xmlSerializer]);
    registry.add(named('x-mine'));
    expect(registry.names).toEqual(['fastinfoset', 'xml', 'x-mine']);
    expect(registry.get('xml')).toBe(xmlSerializer);
  });

  test('says what there is when asked for what there is not', () => {
    const registry = new SerializerRegistry([xmlSerializer]);
    expect(() => registry.get('cbor')).toThrow(withCode('ENCODING_UNSUPPORTED'));
    expect(() => registry.get('cbor')).toThrow(/here xml, there "cbor"/);
  });

  test.each(['', 'XML', '1x', 'a b', 'a'.repeat(33)])('refuses the name %j', (name) => {
    expect(() => new SerializerRegistry([named(name)])).toThrow(withCode('INVALID_ARGUMENT'));
  });

  test('refuses a name twice, and more encodings than a handshake holds', () => {
    const registry = new SerializerRegistry([xmlSerializer]);
    expect(() => registry.add(named('xml'))).toThrow(withCode('INVALID_ARGUMENT'));
    for (let index = 1; index < ENCODINGS_MAX; index++) registry.add(named(`x${index}`));
    expect(() => registry.add(named('one-too-many'))).toThrow(withCode('LIMIT_EXCEEDED'));
  });
});
