// Proves that the two lists of error codes are one list, and that the addon's CRC32C is that of the specification.
import { describe, expect, test } from 'vitest';
import { addon, codeFromIndex, crc32c, fromNative, indexOfCode } from '../../../lib/dataplane/native.js';
import { ERROR_CODES, SplitplaneError } from '../../../lib/errors.js';

describe('error codes', () => {
  // A status travels as its index in the native list, so the order is part of the wire protocol.
  test('the native list is the beginning of ours, in the same order', () => {
    const native = addon.errorCodes.filter((name) => name !== 'OK' && name !== 'NO_RESOURCE');
    expect(native).toEqual(ERROR_CODES.slice(0, native.length));
    expect(addon.errorCodes.slice(0, 2)).toEqual(['OK', 'NO_RESOURCE']);
    expect(new Set(ERROR_CODES).size).toBe(ERROR_CODES.length);
  });

  test('indexes and codes are each other’s inverse', () => {
    for (const code of addon.errorCodes.slice(2)) {
      expect(codeFromIndex(indexOfCode(code as (typeof ERROR_CODES)[number]))).toBe(code);
    }
    expect(codeFromIndex(9999)).toBe('SYSTEM');
    expect(addon.errorCodes[indexOfCode('MESSAGE_INVALID')]).toBe('SYSTEM');
  });

  test('what the addon throws becomes a SplitplaneError, and nothing else does', () => {
    const thrown = Object.assign(new Error('do this'), { code: 'TAG_BOUNDS' });
    const error = fromNative(thrown) as SplitplaneError;
    expect(error).toBeInstanceOf(SplitplaneError);
    expect([error.code, error.message, error.cause, error.name]).toEqual([
      'TAG_BOUNDS',
      'do this',
      thrown,
      'SplitplaneError',
    ]);
    const other = Object.assign(new Error('x'), { code: 'ENOENT' });
    expect(fromNative(other)).toBe(other);
    expect(fromNative(error)).toBe(error);
    expect(fromNative('text')).toBe('text');
  });
});

describe('crc32c', () => {
  test('RFC 3720, appendix B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd794e);
    expect(crc32c(new Uint8Array(0))).toBe(0);
  });

  test('continues where it stopped', () => {
    const bytes = Buffer.alloc(100_003, 'some text to sum up');
    const whole = crc32c(bytes);
    for (const at of [0, 1, 7, 8, 4096, 99_999, bytes.length]) {
      expect(crc32c(bytes.subarray(at), crc32c(bytes.subarray(0, at)))).toBe(whole);
    }
  });
});
