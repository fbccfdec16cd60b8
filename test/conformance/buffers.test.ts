// The contract of remote memory: resolving a peer's bytes whole, in part, into memory of any kind; writing into a peer's
// memory; atomics; files; each verified byte for byte. Who may do it is tags.test.ts's affair.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { RemoteBuffer } from '../../lib/index.js';
import { type BufferSlices, type RegisteredBuffer } from '../../lib/index.js';
import { code, until } from '../support/events.js';
import {
  connectTo,
  envelope,
  fill,
  filled,
  makeManager,
  makePair,
  take,
  untilIdle,
  type Pair,
} from '../support/managers.js';
import { TRANSPORTS } from '../support/transports.js';

const KIB = 1024;
const MIB = 1024 * KIB;

const folder = mkdtempSync(join(tmpdir(), 'splitplane-buffers-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** What the client has, as the server sees it: readable as often as one likes. */
function offer({ outgoing, incoming }: Pair, buffer: BufferSlices): RemoteBuffer {
  return incoming.remote(outgoing.share(buffer));
}

describe.each(TRANSPORTS)('$name', (transport) => {
  // Goal: every byte right at every size at which something changes: one byte, around the parts and frames a transport
  // uses, odd, and many parts; with the checksum and without it.
  test.each([1, 4095, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB + 1, MIB, MIB + 3, 64 * MIB])(
    'resolves and writes %i bytes',
    async (length) => {
      const pair = await makePair(transport);
      const { client, server, outgoing, incoming } = pair;
      const source = filled(client, length, length);
      const remote = offer(pair, source);
      for (const checksum of [true, false]) {
        const copy = await remote.resolve({ checksum });
        expect(copy.length).toBe(length);
        expect(copy.bytes.equals(source.bytes)).toBe(true);
        copy.release();
      }
      const target = client.allocate(length);
      const writable = incoming.remote(outgoing.share(target, { access: 'write' }));
      for (const checksum of [true, false]) {
        target.bytes.fill(0);
        const from = filled(server, length, length + (checksum ? 1 : 2));
        await writable.write(from, { checksum });
        expect(target.bytes.equals(from.bytes)).toBe(true);
        from.release();
      }
      source.release();
      target.release();
      await outgoing.close();
      await untilIdle(client, server);
    },
  );

  // Goal: a range is exactly that range, wherever it begins and ends, and nothing beside the target is touched.
  test('resolves and writes ranges', async () => {
    const pair = await makePair(transport);
    const { client, server, outgoing, incoming } = pair;
    const length = 3 * MIB + 17;
    const source = filled(client, length, 21);
    const remote = offer(pair, source);
    const target = server.allocate(length + 16);
    const writable = incoming.remote(outgoing.share(source, { access: 'write' }));
    for (const [offset, size] of [
      [0, 1],
      [length - 1, 1],
      [1, length - 2],
      [MIB - 1, 2],
      [64 * KIB - 5, MIB + 11],
    ] as const) {
      target.bytes.fill(0xaa);
      await remote.resolve({ range: { offset, length: size }, into: target.slice(7, size) });
      expect(target.bytes.subarray(7, 7 + size).equals(source.bytes.subarray(offset, offset + size))).toBe(
        true,
      );
      expect([target.bytes[6], target.bytes[7 + size]]).toEqual([0xaa, 0xaa]);

      const before = Buffer.from(source.bytes);
      const from = filled(server, size, offset + 3);
      await writable.write(from, { offset });
      from.bytes.copy(before, offset);
      expect(source.bytes.equals(before)).toBe(true);
      from.release();
    }
    const rest = await remote.resolve({ range: { offset: length - 100 } });
    expect(rest.bytes.equals(source.bytes.subarray(length - 100))).toBe(true);
    rest.release();
  });

  // Goal: lists of slices on both sides are one range of bytes, whatever their borders.
  test('gathers and scatters', async () => {
    const pair = await makePair(transport);
    const { client, server, outgoing, incoming } = pair;
    const source = filled(client, MIB, 31);
    const pieces = [
      source.slice(500_000, 100_001),
      source.slice(0, 1),
      source.slice(10, 65_536),
      source.slice(900_000, 7),
    ];
    const whole = Buffer.concat(
      pieces.map(({ offset, length }) => source.bytes.subarray(offset, offset + length)),
    );
    const remote = offer(pair, pieces);
    expect(remote.length).toBe(whole.length);
    const target = server.allocate(MIB);
    target.bytes.fill(0);
    const into = [
      target.slice(3, 7),
      target.slice(1000, 150_000),
      target.slice(300_000, whole.length - 150_007),
    ];
    await remote.resolve({ into });
    const got = Buffer.concat(
      into.map(({ offset, length }) => target.bytes.subarray(offset, offset + length)),
    );
    expect(got.equals(whole)).toBe(true);
    expect([target.bytes[2], target.bytes[10], target.bytes[999], target.bytes[151_000]]).toEqual([
      0, 0, 0, 0,
    ]);

    const part = await remote.resolve({ range: { offset: 100_000, length: 20_000 } });
    expect(part.bytes.equals(whole.subarray(100_000, 120_000))).toBe(true);

    const writable = incoming.remote(outgoing.share(pieces, { access: 'write' }));
    const from = filled(server, whole.length, 32);
    await writable.write([from.slice(0, 1000), from.slice(1000, whole.length - 1000)]);
    const written = Buffer.concat(
      pieces.map(({ offset, length }) => source.bytes.subarray(offset, offset + length)),
    );
    expect(written.equals(from.bytes)).toBe(true);
  });

  // Goal: memory the user has is filled in place, also when it is part of an ArrayBuffer.
  test('resolves into a Uint8Array and writes from one', async () => {
    const pair = await makePair(transport);
    const { client, server, outgoing, incoming } = pair;
    const source = filled(client, MIB + 3, 41);
    const remote = offer(pair, source);
    const own = new Uint8Array(MIB + 1003);
    await remote.resolve({ into: own.subarray(500, 500 + MIB + 3) });
    expect(source.bytes.equals(own.subarray(500, 500 + MIB + 3))).toBe(true);
    expect([own[499], own[500 + MIB + 3]]).toEqual([0, 0]);
    const target = client.allocate(1000);
    await incoming.remote(outgoing.share(target, { access: 'write' })).write(own.subarray(600, 1600));
    expect(target.bytes.equals(own.subarray(600, 1600))).toBe(true);
    expect(server.stats.memory.buffers).toBe(0);
  });

  // Goal: what does not fit together is refused before anything moves.
  test('refuses ranges and targets that do not fit', async () => {
    const pair = await makePair(transport);
    const { client, server, outgoing, incoming } = pair;
    const source = filled(client, 1000, 51);
    const remote = offer(pair, source);
    const target = server.allocate(1000);
    for (const range of [
      { offset: 1000 },
      { offset: 0, length: 0 },
      { offset: 500, length: 501 },
      { offset: -1 },
      { offset: 1.5 },
    ]) {
      expect(await code(remote.resolve({ range }))).toBe('INVALID_ARGUMENT');
    }
    expect(await code(remote.resolve({ into: target.slice(0, 999) }))).toBe('INVALID_ARGUMENT');
    const writable = incoming.remote(outgoing.share(source, { access: 'write' }));
    expect(await code(writable.write(target, { offset: 1 }))).toBe('INVALID_ARGUMENT');
    const atomic = incoming.remote(outgoing.share(source.slice(0, 8), { access: 'atomic' }));
    expect(await code(atomic.fetchAndAdd(1, 1n))).toBe('INVALID_ARGUMENT');
    target.release();
    expect(await code(remote.resolve({ into: target }))).toBe('REGION_RELEASED');
    expect(server.stats.operations).toBe(0);
    expect(server.stats.memory.buffers).toBe(0);
  });

  // Goal: a file goes out as it lies on the disk, whole, in part, and beside memory in one list.
  test('sends files', async () => {
    const pair = await makePair(transport);
    const { client, server } = pair;
    const content = Buffer.alloc(5 * MIB + 123);
    fill(content, 61);
    const path = join(folder, `file-${transport.name}`);
    writeFileSync(path, content);
    const whole = await client.registerFile(path);
    const part = await client.registerFile(path, { offset: 4097, length: MIB + 1 });
    const memory = filled(client, 1000, 62);
    for (const checksum of [true, false]) {
      const copy = await offer(pair, whole).resolve({ checksum });
      expect(copy.bytes.equals(content)).toBe(true);
      copy.release();
    }
    const list = await offer(pair, [memory, part, whole.slice(5 * MIB, 100)]).resolve();
    const expected = [
      memory.bytes,
      content.subarray(4097, 4098 + MIB),
      content.subarray(5 * MIB, 5 * MIB + 100),
    ];
    expect(list.bytes.equals(Buffer.concat(expected))).toBe(true);
    list.release();
    const range = await offer(pair, part).resolve({ range: { offset: MIB - 1, length: 2 } });
    expect(range.bytes.equals(content.subarray(4096 + MIB, 4098 + MIB))).toBe(true);
    range.release();
    // Small files are never inline: they have no bytes in memory.
    const small = await client.registerFile(path, { length: 10 });
    await pair.outgoing.send(envelope(), { buffers: [small] });
    const message = await take(server);
    expect(message.buffers[0]?.inline).toBeUndefined();
    const ten = (await message.buffers[0]?.resolve()) as RegisteredBuffer;
    expect(ten.bytes.equals(content.subarray(0, 10))).toBe(true);
    ten.release();
    message.release();
  });

  // Goal: a peer can write a file's bytes straight from the file.
  test('writes from a file', async () => {
    const { client, server, outgoing, incoming } = await makePair(transport);
    const content = Buffer.alloc(2 * MIB + 5);
    fill(content, 63);
    const path = join(folder, `from-${transport.name}`);
    writeFileSync(path, content);
    const target = server.allocate(content.length);
    const writable = outgoing.remote(incoming.share(target, { access: 'write' }));
    const source = await client.registerFile(path);
    for (const checksum of [true, false]) {
      target.bytes.fill(0);
      await writable.write(source, { checksum });
      expect(target.bytes.equals(content)).toBe(true);
    }
  });

  // Goal: many transfers of many sizes at once, both ways, do not mix. Method: more than a transport has in flight.
  test('200 transfers at once, both ways', async () => {
    const pair = await makePair(transport, { connect: { dataChannels: 2 } });
    const { client, server, outgoing, incoming } = pair;
    const sources = Array.from({ length: 100 }, (_, index) =>
      filled(client, 1 + ((index * 7919) % 300_000), index + 1),
    );
    const targets = sources.map(({ length }) => client.allocate(length));
    const reads = sources.map(async (source) => {
      const copy = await incoming.remote(outgoing.share(source)).resolve();
      expect(copy.bytes.equals(source.bytes)).toBe(true);
      copy.release();
    });
    const writes = targets.map(async (target, index) => {
      const from = filled(server, target.length, index + 1000);
      await incoming.remote(outgoing.share(target, { access: 'write' })).write(from);
      expect(target.bytes.equals(from.bytes)).toBe(true);
      from.release();
    });
    await Promise.all([...reads, ...writes]);
    for (const buffer of [...sources, ...targets]) buffer.release();
    await outgoing.close();
    await untilIdle(client, server);
  });

  // Goal: a transfer that is aborted ends once, with nothing allocated, and the connection works on.
  test('aborting a transfer leaves nothing', async () => {
    const pair = await makePair(transport);
    const { client, server } = pair;
    const source = filled(client, 64 * MIB, 71);
    const remote = offer(pair, source);
    const into = server.allocate(64 * MIB);
    const received = (): number => server.stats.transports[transport.transport]?.bytesReceived ?? 0;
    for (let round = 0; round < 5; round++) {
      const abort = new AbortController();
      const transfer = remote.resolve({ into, signal: abort.signal });
      if (round > 0) await until(() => received() > round * MIB);
      abort.abort('enough');
      expect(await code(transfer)).toBe('ABORTED');
      expect(into.holders).toBe(0);
    }
    expect(await code(remote.resolve({ into, deadlineMs: 1 }))).toBe('DEADLINE_EXCEEDED');
    expect(into.holders).toBe(0);
    into.release();
    const copy = await remote.resolve({ range: { offset: MIB, length: 1000 } });
    expect(copy.bytes.equals(source.bytes.subarray(MIB, MIB + 1000))).toBe(true);
    copy.release();
  });

  // Goal: the owner hears of writes that asked for it, after the last byte is in place, and of no others.
  test('write with notification', async () => {
    const { client, server, outgoing, incoming } = await makePair(transport);
    const target = client.allocate(MIB);
    target.bytes.fill(0);
    const exposure = outgoing.share(target, { access: 'write' });
    const remote = incoming.remote(exposure);
    const from = filled(server, MIB, 81);
    const notifications = exposure.notifications();
    const first = notifications.next();
    await remote.write(from.slice(0, 1000));
    await remote.write(from, { notify: true });
    expect(await first).toEqual({ value: 1, done: false });
    expect(target.bytes.equals(from.bytes)).toBe(true);
    await Promise.all(Array.from({ length: 10 }, () => remote.write(from.slice(0, 10), { notify: true })));
    let told = 1;
    while (told < 11) told = (await notifications.next()).value as number;
    expect(told).toBe(11);
    const last = notifications.next();
    exposure.revoke();
    expect((await last).done).toBe(true);
    expect(await exposure.ended).toBe('TAG_REVOKED');
  });

  // Goal: compare-and-swap and fetch-and-add do what they say to the word, also where it wraps around.
  test('atomics', async () => {
    const { client, outgoing, incoming } = await makePair(transport);
    const words = client.allocate(64);
    words.bytes.fill(0);
    words.bytes.writeBigUInt64LE(5n, 16);
    const remote = incoming.remote(outgoing.share(words, { access: 'atomic' }));
    expect(await remote.fetchAndAdd(16, 3n)).toBe(5n);
    expect(words.bytes.readBigUInt64LE(16)).toBe(8n);
    expect(await remote.compareAndSwap(16, 7n, 99n)).toBe(8n);
    expect(words.bytes.readBigUInt64LE(16)).toBe(8n);
    expect(await remote.compareAndSwap(16, 8n, 2n ** 64n - 1n)).toBe(8n);
    expect(await remote.fetchAndAdd(16, 2n)).toBe(2n ** 64n - 1n);
    expect(words.bytes.readBigUInt64LE(16)).toBe(1n);
    expect(await remote.fetchAndAdd(16, -2n)).toBe(1n);
    expect(words.bytes.readBigUInt64LE(16)).toBe(2n ** 64n - 1n);
    expect([words.bytes.readBigUInt64LE(8), words.bytes.readBigUInt64LE(24)]).toEqual([0n, 0n]);
    expect(await code(remote.fetchAndAdd(4, 1n))).toBe('TAG_BOUNDS');
    expect(words.bytes.readBigUInt64LE(0)).toBe(0n);
  });

  // Goal: no increment is lost between two connections that add at the same time.
  test('concurrent increments from two connections', async () => {
    const { server, client, outgoing, incoming, address } = await makePair(transport);
    const [second, secondIncoming] = await connectTo(server, client, address);
    const word = server.allocate(8);
    word.bytes.fill(0);
    const remotes = [
      outgoing.remote(incoming.share(word, { access: 'atomic' })),
      second.remote(secondIncoming.share(word, { access: 'atomic' })),
    ];
    const found = await Promise.all(
      Array.from({ length: 2000 }, (_, index) => (remotes[index % 2] as RemoteBuffer).fetchAndAdd(0, 1n)),
    );
    expect(word.bytes.readBigUInt64LE(0)).toBe(2000n);
    expect(new Set(found).size).toBe(2000);
  });

  // Goal: bulk bytes are not copied in user space, on either side, in either direction, nor when files are sent, where the
  // transport sends them in place. What is copied all the same is told by the counter.
  test('bulk bytes are not copied', async () => {
    const pair = await makePair(transport);
    const { client, server, outgoing, incoming } = pair;
    const counters = (): number[] =>
      [client, server].map(({ stats }) => stats.transports[transport.transport]?.bytesCopied ?? -1);
    // Through the ring of shared memory each side copies once; what a thread of this process writes, only the receiver. (What is
    // looked at where it is has tests of its own.)
    const inRing = transport.transport === 'shm' ? 1 : 0;
    const moved = [64 * MIB * inRing, 32 * MIB * inRing];
    const source = filled(client, 32 * MIB, 91);
    const path = join(folder, `copies-${transport.name}`);
    writeFileSync(path, source.bytes);
    const onDisk = await client.registerFile(path);
    const target = server.allocate(32 * MIB);
    await offer(pair, source).resolve({ into: target });
    await incoming.remote(outgoing.share(source, { access: 'write' })).write(target);
    expect(counters()).toEqual(moved);
    await offer(pair, onDisk).resolve({ into: target, checksum: false });
    const file = [transport.sendsFilesInPlace ? 0 : 32 * MIB, 32 * MIB * inRing];
    expect(counters()).toEqual(moved.map((bytes, side) => bytes + (file[side] ?? 0)));
    expect(server.stats.transports[transport.transport]?.bytesReceived).toBe(64 * MIB);
    expect(server.stats.transports[transport.transport]?.bytesSent).toBe(32 * MIB);
  });

  // Goal: a program that does nothing but read keeps its sockets and timers going, also where reads need no network. Method: the
  // turns of the loop are counted meanwhile.
  test('reading without end leaves the loop its turns', async () => {
    const pair = await makePair(transport);
    const { client, server, outgoing, incoming } = pair;
    const remote = incoming.remote(outgoing.share(filled(client, 4096), { uses: Infinity }));
    const into = server.allocate(64);
    // The first goes by the network, and what is lent is known when it is back.
    await remote.resolve({ into, range: { offset: 0, length: 64 } });
    let turns = 0;
    let reading = true;
    setImmediate(function turned() {
      turns++;
      if (reading) setImmediate(turned);
    });
    for (let i = 0; i < 5000; i++) await remote.resolve({ into, range: { offset: 0, length: 64 } });
    for (let i = 0; i < 5000; i++) (await remote.resolve({ range: { offset: 0, length: 64 } })).release();
    reading = false;
    expect(turns).toBeGreaterThan(10);
    into.release();
  });

  // Goal: several data channels carry one connection's transfers, each of which stays whole.
  test('several data channels', async () => {
    const server = makeManager();
    const client = makeManager();
    const { address } = await server.listen(transport.listenAddress());
    const [outgoing, incoming] = await connectTo(server, client, address, { dataChannels: 4 });
    const sources = Array.from({ length: 8 }, (_, index) => filled(client, 8 * MIB + index, index + 100));
    await Promise.all(
      sources.map(async (source) => {
        const copy = await incoming.remote(outgoing.share(source)).resolve();
        expect(copy.bytes.equals(source.bytes)).toBe(true);
        copy.release();
      }),
    );
    expect(await code(client.connect(address, { dataChannels: 0 }))).toBe('INVALID_ARGUMENT');
    expect(await code(client.connect(address, { dataChannels: 17 }))).toBe('INVALID_ARGUMENT');
  });
});
