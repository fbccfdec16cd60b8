// Proves that every form of address that people write is read as what it means, that anything else is refused with the
// forms shown, and that what stays on this host is told from what does not.
import { describe, expect, test } from 'vitest';
import {
  DEFAULT_PORT,
  formatAddress,
  isLocal,
  literalAddress,
  parseAddress,
} from '../../../lib/network/address.js';
import { code, failure } from '../../support/events.js';

describe('parseAddress', () => {
  test.each([
    ['10.0.0.1:80', 'auto', '10.0.0.1', 80],
    ['host.example', 'auto', 'host.example', DEFAULT_PORT],
    ['host.example:0', 'auto', 'host.example', 0],
    ['[::1]:65535', 'auto', '::1', 65_535],
    ['[fe80::1%eth0]:1', 'auto', 'fe80::1%eth0', 1],
    ['[::ffff:10.0.0.1]', 'auto', '::ffff:10.0.0.1', DEFAULT_PORT],
    ['tcp://localhost:7', 'tcp', 'localhost', 7],
    ['rdma://[::1]:7', 'rdma', '::1', 7],
    ['dos://host:9/a/service?x', 'auto', 'host', 9],
    ['dos://host/service', 'auto', 'host', DEFAULT_PORT],
  ])('%s', (text, transport, host, port) => {
    expect(parseAddress(text)).toEqual({ transport, host, port, path: undefined });
  });

  test('a unix socket’s path may have anything but NUL in it, up to what the system holds', async () => {
    expect(parseAddress('unix:/run/a b:1.sock').path).toBe('/run/a b:1.sock');
    expect(parseAddress(`unix:${'x'.repeat(107)}`).path).toHaveLength(107);
    expect(await code(() => parseAddress(`unix:${'x'.repeat(108)}`))).toBe('ADDRESS_INVALID');
    expect(await code(() => parseAddress(`unix:${'ä'.repeat(54)}`))).toBe('ADDRESS_INVALID');
    expect(await code(() => parseAddress('unix:/a\0b'))).toBe('ADDRESS_INVALID');
  });

  test.each([
    '',
    ':80',
    'host:',
    'host:-1',
    'host:65536',
    'host:123456',
    'host:8x',
    '[::1',
    '::1',
    '::1:80',
    '[]:80',
    '[host]:80',
    'TCP://host:1',
    'tcp:host:1',
    'tcp:///x',
    'a b:1',
    ' host:1',
    'unix:',
  ])('refuses %j and shows the forms', async (text) => {
    const refused = await failure(() => parseAddress(text));
    expect(refused.code).toBe('ADDRESS_INVALID');
    expect(refused.message).toContain('unix:/PATH');
  });
});

describe('literalAddress', () => {
  test.each([
    ['127.0.0.1:80', '127.0.0.1:80'],
    ['[::1]:80', '[::1]:80'],
    ['[fe80::1%lo]:80', '[fe80::1%lo]:80'],
    ['unix:/x', 'unix:/x'],
  ])('%s', async (text, literal) => {
    expect(await literalAddress(parseAddress(text))).toBe(literal);
  });

  test('looks names up', async () => {
    expect(await literalAddress(parseAddress('localhost:5'))).toMatch(/^(127\.0\.0\.1|\[::1\]):5$/);
    const refused = await failure(literalAddress(parseAddress('nobody.invalid:5')));
    expect(refused.code).toBe('ADDRESS_INVALID');
    expect(refused.message).toContain('nobody.invalid');
    expect(refused.cause).toBeInstanceOf(Error);
  });
});

test('isLocal', () => {
  for (const literal of ['127.0.0.1:1', '127.8.9.1:1', '[::1]:1', '[::ffff:127.0.0.1]:1', 'unix:/x']) {
    expect(isLocal(literal), literal).toBe(true);
  }
  for (const literal of [
    '0.0.0.0:1',
    '[::]:1',
    '10.0.0.127:1',
    '1.127.0.1:1',
    '[::1:1]:1',
    '[fe80::1%lo]:1',
  ]) {
    expect(isLocal(literal), literal).toBe(false);
  }
});

test('formatAddress gives what connect takes', () => {
  expect(formatAddress('tcp', '[::1]:5')).toBe('tcp://[::1]:5');
  expect(formatAddress('tcp', 'unix:/x')).toBe('unix:/x');
  expect(parseAddress(formatAddress('tcp', '127.0.0.1:5'))).toMatchObject({ transport: 'tcp', port: 5 });
});
