// The contract of registered memory: what allocate, register and registerFile give, what release() does while somebody
// holds the memory, and that much of it can come and go without the process growing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { code, failure, until } from '../support/events.js';
import { envelope, fill, filled, makeManager, makePair, take, untilIdle } from '../support/managers.js';
import { repetitions, TCP, TRANSPORTS } from '../support/transports.js';
import { tolerated } from '../support/resident.js';

const folder = mkdtempSync(join(tmpdir(), 'splitplane-memory-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

describe('without a connection', () => {
  // Goal: a buffer is exactly as long as asked, apart from every other, and a view on one shared slab.
  test('buffers of every size are apart from each other', () => {
    const manager = makeManager();
    const sizes = [1, 7, 255, 256, 257, 4095, 4096, 65_536, 65_537, 1 << 20, (1 << 20) + 3, 80 << 20];
    const buffers = sizes.map((size, index) => {
      const buffer = manager.allocate(size);
      expect(buffer.length).toBe(size);
      expect(buffer.bytes.length).toBe(size);
      expect(buffer.inMemory).toBe(true);
      buffer.bytes.fill(index + 1);
      return buffer;
    });
    buffers.forEach(({ bytes }, index) => {
      expect([bytes[0], bytes[bytes.length >> 1], bytes[bytes.length - 1]]).toEqual(Array(3).fill(index + 1));
    });
    expect(manager.stats.memory.buffers).toBe(sizes.length);
    expect(manager.stats.memory.bufferBytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
    for (const buffer of buffers) buffer.release();
    expect(manager.stats.memory.buffers).toBe(0);
    expect(manager.stats.memory.bufferBytes).toBe(0);
  });

  // Goal: a wrong length, an unusable range and a limit that is reached are refused, and nothing is left allocated.
  test('what cannot be allocated, sliced or registered is refused by name', async () => {
    const manager = makeManager({ memoryBytesMax: 1 << 20 });
    for (const length of [0, -1, 1.5, NaN, Infinity]) {
      expect(await code(() => manager.allocate(length))).toBe('INVALID_ARGUMENT');
    }
    const refused = await failure(() => manager.allocate((1 << 20) + 1));
    expect(refused.code).toBe('OUT_OF_MEMORY');
    expect(refused.message).toContain(String(1 << 20));
    expect(await code(() => manager.allocate(2 ** 32))).toBe('OUT_OF_MEMORY');
    expect(await code(() => manager.register(new Uint8Array(0)))).toBe('INVALID_ARGUMENT');

    const buffer = manager.allocate(100);
    for (const [offset, length] of [
      [0, 101],
      [100, 1],
      [-1, 5],
      [0.5, 1],
    ] as const) {
      expect(await code(() => buffer.slice(offset, length))).toBe('INVALID_ARGUMENT');
    }
    expect(buffer.slice(90)).toEqual({ buffer, offset: 90, length: 10 });
    buffer.release();
    expect(manager.stats.memory.buffers).toBe(0);
    manager.allocate(1 << 20).release();
  });

  // Goal: after release() the buffer is dead, and a second release does nothing to who has the memory next.
  test('a released buffer cannot be used, and releasing twice is harmless', async () => {
    const manager = makeManager();
    const first = manager.allocate(1000);
    first.release();
    expect(first.released).toBe(true);
    expect(await code(() => first.bytes)).toBe('REGION_RELEASED');
    expect(await code(() => first.handleIn({} as never))).toBe('REGION_RELEASED');
    const second = manager.allocate(1000);
    first.release();
    expect(second.bytes.length).toBe(1000);
    expect(manager.stats.memory.buffers).toBe(1);
    {
      using third = manager.allocate(10);
      expect(third.length).toBe(10);
    }
    expect(manager.stats.memory.buffers).toBe(1);
  });

  // Goal: memory that the caller brings is the same memory, not a copy of it.
  test('registered bytes are the caller’s own', () => {
    const manager = makeManager();
    const own = Buffer.alloc(5000);
    const view = own.subarray(100, 1100);
    const buffer = manager.register(view);
    buffer.bytes.fill(7);
    expect(buffer.length).toBe(1000);
    expect([own[99], own[100], own[1099], own[1100]]).toEqual([0, 7, 7, 0]);
    buffer.release();
    expect(own[100]).toBe(7);
  });

  // Goal: files are held by what they are, and anything else than a regular file with bytes in the range is refused.
  test('a file can be registered whole or in part, and nothing else', async () => {
    const manager = makeManager();
    const path = file('plain', Buffer.alloc(10_000, 1));
    const whole = await manager.registerFile(path);
    expect(whole.length).toBe(10_000);
    expect(whole.inMemory).toBe(false);
    expect(await code(() => whole.bytes)).toBe('UNSUPPORTED');
    const part = await manager.registerFile(path, { offset: 9000, length: 1000 });
    expect(part.length).toBe(1000);
    expect(await code(manager.registerFile(path, { offset: 9001, length: 1000 }))).toBe('INVALID_ARGUMENT');
    expect(await code(manager.registerFile(path, { offset: -1, length: 10 }))).toBe('INVALID_ARGUMENT');
    expect(await code(manager.registerFile(file('empty', '')))).toBe('INVALID_ARGUMENT');
    expect(await code(manager.registerFile(folder))).toBe('INVALID_ARGUMENT');
    const missing = await failure(manager.registerFile(join(folder, 'missing')));
    expect(missing.code).toBe('SYSTEM');
    expect((missing.cause as NodeJS.ErrnoException).code).toBe('ENOENT');
    whole.release();
    part.release();
    expect(manager.stats.memory.buffers).toBe(0);
  });

  // Goal: user code that detaches registered memory gets a typed error, and the next allocation works.
  test('detached memory is noticed', async () => {
    const manager = makeManager();
    const own = new Uint8Array(4096);
    const registered = manager.register(own);
    structuredClone(own.buffer, { transfer: [own.buffer] });
    expect(await code(() => registered.bytes)).toBe('REGION_DETACHED');
    registered.release();
    const again = manager.allocate(4096);
    again.bytes.fill(3);
    expect(again.bytes[4095]).toBe(3);
    again.release();
  });

  // Goal: many allocations and releases do not make the process larger. Method: sizes of several classes, with some
  // buffers alive at any time, after a warm-up that lets every class have its slabs.
  test('the process stays as large as it was over many allocations', () => {
    const manager = makeManager();
    const sizes = [64, 1000, 4096, 20_000, 65_536, 300_000];
    const alive: { release(): void }[] = [];
    const count = repetitions(200_000);
    const churn = (times: number): void => {
      for (let i = 0; i < times; i++) {
        alive.push(manager.allocate(sizes[i % sizes.length] as number));
        if (alive.length > 64) alive.shift()?.release();
      }
    };
    churn(20_000);
    const before = process.memoryUsage.rss();
    const slabsBefore = manager.stats.memory.slabBytes;
    churn(count);
    const grown = process.memoryUsage.rss() - before;
    expect(manager.stats.memory.slabBytes).toBe(slabsBefore);
    expect(grown).toBeLessThan(tolerated(64));
    expect(manager.stats.memory.allocations).toBeGreaterThanOrEqual(20_000 + count);
    for (const buffer of alive) buffer.release();
    expect(manager.stats.memory.buffers).toBe(0);
  });

  // Goal: after the manager is gone its memory says so instead of crashing.
  test('memory of a closed manager is refused', async () => {
    const manager = makeManager();
    const buffer = filled(manager, 1000);
    const { bytes } = buffer;
    manager.destroy();
    expect(await code(() => manager.allocate(10))).toBe('CLOSED');
    expect(await code(() => manager.register(new Uint8Array(10)))).toBe('CLOSED');
    expect(await code(() => manager.stats)).toBe('CLOSED');
    // A view that somebody still has stays readable: the mapping lives as long as the ArrayBuffer.
    expect(bytes.length).toBe(1000);
    expect(bytes[0]).toBeTypeOf('number');
  });
});

describe.each(TRANSPORTS)('$name', (transport) => {
  // Goal: memory that a tag holds is not reused. Method: release with `throw` refuses, release with `wait` lets go and the
  // bytes that the peer then reads are still those that were there.
  test('releasing what a tag holds throws or waits, as asked', async () => {
    const { client, server, outgoing } = await makePair(transport);
    const source = filled(client, 100_000, 5);
    const expected = Buffer.from(source.bytes);
    const { released } = await outgoing.send(envelope(), { buffers: [source] });
    expect(source.holders).toBe(1);
    expect(await code(() => source.release({ ifBusy: 'throw' }))).toBe('REGION_BUSY');
    expect(source.released).toBe(false);
    source.release();
    // Memory of the same class that is handed out now must be other memory.
    const others = Array.from({ length: 16 }, () => client.allocate(100_000));
    for (const other of others) other.bytes.fill(0xee);
    const message = await take(server);
    const copy = await message.buffers[0]?.resolve();
    expect(copy?.bytes.equals(expected)).toBe(true);
    copy?.release();
    for (const other of others) other.release();
    expect(client.stats.memory.buffers).toBe(1);
    message.release();
    await released;
    await untilIdle(client, server);
  });

  // Goal: a buffer of another manager is refused: here its number stands for other memory, of which the peer would get bytes
  // that nobody meant to send, or which a transfer would overwrite.
  test('memory of another manager is neither sent nor resolved into', async () => {
    const { client, server, outgoing } = await makePair(transport);
    const own = filled(client, 100_000, 5);
    const strange = filled(makeManager(), 100_000, 6);
    const failed = await failure(outgoing.send(envelope(), { buffers: [strange] }));
    expect(failed.code).toBe('INVALID_ARGUMENT');
    expect(failed.message).toMatch(/another network manager/);
    await outgoing.send(envelope(), { buffers: [own] });
    const message = await take(server);
    expect(await code(() => message.buffers[0]?.resolve({ into: strange }))).toBe('INVALID_ARGUMENT');
    for (const each of [own, strange, message]) each.release();
    await untilIdle(client, server);
  });

  // Goal: the memory that a transfer fills is held too, and an aborted transfer lets go of it.
  test('releasing the target of a transfer throws while it runs', async () => {
    const { client, server, outgoing } = await makePair(transport);
    const source = filled(client, 32 << 20);
    await outgoing.send(envelope(), { buffers: [source] });
    const message = await take(server);
    const target = server.allocate(source.length);
    const abort = new AbortController();
    const transfer = message.buffers[0]?.resolve({
      into: target,
      signal: abort.signal,
    }) as Promise<undefined>;
    expect(target.holders).toBe(1);
    expect(await code(() => target.release({ ifBusy: 'throw' }))).toBe('REGION_BUSY');
    abort.abort();
    expect(await code(transfer)).toBe('ABORTED');
    await until(() => target.holders === 0);
    target.release({ ifBusy: 'throw' });
    message.release();
    await until(() => source.holders === 0);
    source.release({ ifBusy: 'throw' });
    await untilIdle(client, server);
  });

  // Goal: memory is given back after transfers of every kind, so that a long run stays flat. Method: the same traffic many
  // times; slabs after it are those before it.
  test('transfers leave no memory behind', async () => {
    const { client, server, outgoing } = await makePair(transport);
    const round = async (): Promise<void> => {
      const source = client.allocate(300_000);
      const { released } = await outgoing.send(envelope(), { buffers: [source, source.slice(0, 10)] });
      source.release();
      const message = await take(server);
      const copies = await Promise.all(message.buffers.map((buffer) => buffer.resolve()));
      for (const copy of copies) copy.release();
      message.release();
      await released;
    };
    for (let i = 0; i < 20; i++) await round();
    const before = [client, server].map(({ stats }) => stats.memory.slabBytes);
    for (let i = 0; i < 100; i++) await round();
    await untilIdle(client, server);
    expect([client, server].map(({ stats }) => stats.memory.slabBytes)).toEqual(before);
    expect(client.stats.tags.live).toBe(0);
  });
});

// Goal: bytes the user brings are registered for the time of a transfer only. Transport-independent bookkeeping.
test('resolving into a Uint8Array registers it for the while', async () => {
  const { client, server, outgoing } = await makePair(TCP);
  const source = filled(client, 100_000, 9);
  await outgoing.send(envelope(), { buffers: [source] });
  const message = await take(server);
  const own = new Uint8Array(100_000);
  await message.buffers[0]?.resolve({ into: own });
  expect(server.stats.memory.buffers).toBe(0);
  const expected = new Uint8Array(100_000);
  fill(expected, 9);
  expect(Buffer.compare(own, expected)).toBe(0);
  message.release();
  source.release();
  await untilIdle(client, server);
});
