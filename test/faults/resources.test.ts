// Resources that run out or are taken away: descriptors, memory, quotas, buffers that are detached and files that are cut
// while they are being sent.
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Connection } from '../../lib/index.js';
import { code, failure, until } from '../support/events.js';
import { envelope, filled, makeManager, makePair, take, untilIdle, valueOf } from '../support/managers.js';
import { Child } from '../support/processes.js';
import { TRANSPORTS } from '../support/transports.js';

const MIB = 1 << 20;
const folder = mkdtempSync(join(tmpdir(), 'splitplane-faults-'));
afterAll(() => rmSync(folder, { recursive: true }));

// Goal: without descriptors nobody new gets in, who is in stays in, and when some are free again so is the way in.
test('out of file descriptors', { timeout: 120_000 }, async () => {
  const child = new Child('peer', {
    argument: { listen: 'tcp://127.0.0.1:0' },
    prefix: ['sh', '-c', 'ulimit -n 64 && exec "$@"', 'sh'],
  });
  const address = await child.told<string>('listening');
  const manager = makeManager({ connectTimeoutMs: 500 });
  const open: Connection[] = [];
  let refused: string | undefined;
  while (refused === undefined && open.length < 64) {
    try {
      open.push(await manager.connect(address));
    } catch (error) {
      refused = (error as { code: string }).code;
    }
  }
  expect(refused).toMatch(/^(CONNECT_TIMEOUT|CONNECTION_LOST|CONNECTION_REFUSED|LIMIT_EXCEEDED)$/);
  expect(open.length).toBeGreaterThan(5);
  const echoed = await Promise.all(
    open.map((connection, index) => connection.request(envelope(index, { action: 'urn:echo' }))),
  );
  expect(echoed.map(valueOf)).toEqual(open.map((_, index) => String(index)));
  await Promise.all(open.splice(0, 5).map((connection) => connection.close()));
  let again: Connection | undefined;
  await until(async () => {
    again = await manager.connect(address).catch(() => undefined);
    return again !== undefined;
  });
  const answer = await again?.request(envelope('back', { action: 'urn:echo' }));
  expect(answer === undefined ? '' : valueOf(answer)).toBe('back');
});

describe.each(TRANSPORTS)('$name', (transport) => {
  // Goal: what would exceed the memory that was granted is refused before anything is allocated or asked for.
  test('out of memory, quota reached', async () => {
    const { server, client, outgoing } = await makePair(transport, { server: { memoryBytesMax: 4 * MIB } });
    const buffer = filled(client, 8 * MIB);
    // In two slices, because what is one can be looked at over shared memory and takes none here.
    const slices = [buffer.slice(0, MIB), buffer.slice(MIB)];
    await outgoing.send(envelope(), { buffers: [{ buffer: slices, uses: 8 }] });
    const message = await take(server);
    const refused = await failure(message.buffers[0]?.resolve() as Promise<unknown>);
    expect(refused.code).toBe('OUT_OF_MEMORY');
    expect(refused.message).toContain(String(4 * MIB));
    expect(server.stats.transports[transport.transport]?.bytesReceived).toBe(0);
    const part = await message.buffers[0]?.resolve({ range: { offset: 0, length: 2 * MIB } });
    expect(part?.bytes.equals(buffer.bytes.subarray(0, 2 * MIB))).toBe(true);
    part?.release();
    // Memory the caller has costs none of it.
    const own = new Uint8Array(8 * MIB);
    await message.buffers[0]?.resolve({ into: own });
    expect(buffer.bytes.equals(own)).toBe(true);
    message.release();
    buffer.release();
    await untilIdle(server, client);
  });

  // Goal: memory that user code takes away in the middle of a transfer ends it by name, on whichever side, without a crash and
  // without a byte of it delivered as right.
  test('a buffer is freed or detached in flight', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport);
    const size = 64 * MIB;
    const received = (): number => server.stats.transports[transport.transport]?.bytesReceived ?? 0;

    const source = new Uint8Array(size);
    const registered = client.register(source);
    const pulling = failure(incoming.remote(outgoing.share(registered)).resolve());
    await until(() => received() > MIB);
    structuredClone(source.buffer, { transfer: [source.buffer] });
    expect((await pulling).code).toBe('REGION_DETACHED');
    expect(server.stats.memory.buffers).toBe(0);
    registered.release();

    const at = received();
    const target = new Uint8Array(size);
    const whole = filled(client, size);
    const filling = failure(incoming.remote(outgoing.share(whole)).resolve({ into: target }));
    await until(() => received() > at + MIB);
    structuredClone(target.buffer, { transfer: [target.buffer] });
    expect((await filling).code).toBe('REGION_DETACHED');

    // Freed: the transfer keeps it until it has ended.
    const expected = Buffer.from(whole.bytes);
    const remote = incoming.remote(outgoing.share(whole, { uses: 1 }));
    const moving = remote.resolve();
    whole.release();
    const copy = await moving;
    expect(copy.bytes.equals(expected)).toBe(true);
    copy.release();
    await outgoing.send(envelope('alive'));
    expect(valueOf(await take(server))).toBe('alive');
    await outgoing.close();
    await untilIdle(server, client);
  });

  // Goal: a file that is cut while or before it is sent is told from one that was sent; one that grew is sent as it was.
  test.each([true, false])(
    'a file is cut while it is sent: FILE_CHANGED (checksum: %s)',
    async (checksum) => {
      const { server, client, outgoing, incoming } = await makePair(transport);
      const path = join(folder, `cut-${transport.name}-${checksum}`);
      const size = 64 * MIB;
      writeFileSync(path, Buffer.alloc(size, 5));
      const file = await client.registerFile(path);
      const remote = incoming.remote(outgoing.share(file));
      const moving = failure(remote.resolve({ checksum }));
      await until(() => (server.stats.transports[transport.transport]?.bytesReceived ?? 0) > MIB);
      truncateSync(path, 2 * MIB);
      expect((await moving).code).toBe('FILE_CHANGED');
      expect(await code(remote.resolve({ checksum }))).toBe('FILE_CHANGED');
      expect(server.stats.memory.buffers).toBe(0);
      file.release();

      writeFileSync(path, Buffer.alloc(MIB, 6));
      const small = await client.registerFile(path);
      appendFileSync(path, Buffer.alloc(MIB, 7));
      const copy = await incoming.remote(outgoing.share(small)).resolve({ checksum });
      expect(copy.bytes.equals(Buffer.alloc(MIB, 6))).toBe(true);
      copy.release();
      small.release();
      await outgoing.close();
      await untilIdle(server, client);
    },
  );

  // Goal: the limit of tags is its owner's, and a message that does not get all of its tags gets none.
  test('out of tags', async () => {
    const { client, outgoing } = await makePair(transport, { client: { tagsMax: 3 } });
    const buffer = filled(client, 50_000);
    const slices = [0, 1, 2, 3].map((index) => buffer.slice(index * 10_000, 10_000));
    expect(await code(outgoing.send(envelope(), { buffers: slices }))).toBe('LIMIT_EXCEEDED');
    await until(() => client.stats.exposures === 0);
    expect(client.stats.tags.live).toBe(0);
    await outgoing.send(envelope(), { buffers: slices.slice(1) });
    expect(client.stats.tags.live).toBe(3);
  });
});
