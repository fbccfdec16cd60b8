// Proves that options are completed with their documented defaults and that every number outside its range is refused by
// its name, before an engine is made of it.
import { describe, expect, test } from 'vitest';
import { completeOptions, type NetworkManagerOptions } from '../../../lib/network/options.js';
import { makeManager } from '../../support/managers.js';
import { code, failure } from '../../support/events.js';

test('defaults', () => {
  expect(completeOptions({})).toMatchObject({
    poll: 'event',
    inlineBytesMax: 4096,
    memoryBytesMax: 16 * 2 ** 30,
    messageBytesMax: 1 << 20,
    windowMessages: 1024,
    windowBytes: 8 << 20,
    tagsMax: 1_000_000,
    connectionsMax: 10_000,
    keepaliveMs: 5000,
    peerTimeoutMs: 15_000,
    connectTimeoutMs: 10_000,
    resumeMs: 30_000,
  });
  expect(completeOptions({}).identity).toContain(`/${process.pid}`);
});

test('defaults follow what they depend on', () => {
  expect(completeOptions({ messageBytesMax: 32 << 20 }).windowBytes).toBe(32 << 20);
  expect(completeOptions({ messageBytesMax: 4096 }).inlineBytesMax).toBeLessThanOrEqual(2048);
  expect(completeOptions({ peerTimeoutMs: 100 }).keepaliveMs).toBeLessThanOrEqual(100);
});

describe('out of range', () => {
  const wrong: NetworkManagerOptions[] = [
    { inlineBytesMax: -1 },
    { inlineBytesMax: 1 << 20 },
    { memoryBytesMax: 0 },
    { memoryBytesMax: Infinity },
    { messageBytesMax: 4095 },
    { messageBytesMax: (64 << 20) + 1 },
    { windowMessages: 0 },
    { windowMessages: 1.5 },
    { windowBytes: 1000 },
    { tagsMax: 0 },
    { connectionsMax: NaN },
    { keepaliveMs: 0 },
    { keepaliveMs: 20_000 },
    { peerTimeoutMs: 0 },
    { connectTimeoutMs: -5 },
    { resumeMs: 2 ** 32 },
  ];
  test.each(wrong.map((options) => [Object.keys(options)[0] as string, options] as const))(
    '%s',
    async (name, options) => {
      const refused = await failure(() => makeManager(options));
      expect(refused.code).toBe('INVALID_ARGUMENT');
      expect(refused.message).toContain(name);
    },
  );

  // These are checked for the peer's sake: it would refuse the hello.
  test.each([
    ['identity', { identity: 'x'.repeat(256) }],
    ['identity in bytes', { identity: 'ä'.repeat(128) }],
    ['credentials', { credentials: new Uint8Array(4097) }],
    ['no encoding', { serializers: [] }],
    ['poll', { poll: 'sometimes' as 'event' }],
  ] satisfies [string, NetworkManagerOptions][])('%s', async (_, options) => {
    expect(await code(() => makeManager(options))).toBe('INVALID_ARGUMENT');
  });
});
