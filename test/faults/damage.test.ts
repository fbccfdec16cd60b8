// Damaged, truncated and lying bytes on the wire: a typed error, never delivered, nothing allocated for what was only claimed,
// and everybody else served on.
import { describe, expect, test } from 'vitest';
import { SplitplaneError, type NetworkManager, type NetworkManagerOptions } from '../../lib/index.js';
import { until } from '../support/events.js';
import {
  echo,
  envelope,
  filled,
  makeManager,
  makePair,
  take,
  untilIdle,
  valueOf,
  type Pair,
} from '../support/managers.js';
import { Proxy, type Direction } from '../support/proxy.js';
import { TCP } from '../support/transports.js';
import {
  batchFrame,
  FRAME,
  frameRecord,
  hello,
  KIND,
  messageFrame,
  record,
  seal,
  WirePeer,
  withTrailer,
} from '../support/wire.js';
import { tolerated } from '../support/resident.js';

const SLOW = 120_000;
const NO_RESUMING: NetworkManagerOptions = { resumeMs: 0, connectTimeoutMs: 2000 };

async function proxied(options: NetworkManagerOptions): Promise<Pair & { proxy: Proxy }> {
  let proxy: Proxy | undefined;
  const pair = await makePair(TCP, {
    server: options,
    client: options,
    through: async (address) => {
      proxy = await Proxy.before(address);
      return proxy.address;
    },
  });
  return { ...pair, proxy: proxy as Proxy };
}

/** Ends all managers of a pair: hundreds of pairs must not live until the end of a test. */
function end({ server, client }: Pair): void {
  server.destroy();
  client.destroy();
}

/** Runs to its end, whatever it is; nothing but a SplitplaneError may come of it. */
async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    expect(error, String((error as Error).stack)).toBeInstanceOf(SplitplaneError);
    return (error as SplitplaneError).code;
  }
}

describe('a bit flipped', () => {
  /** Flips one bit of link `link` at `position` from now on. */
  function flip(proxy: Proxy, link: number, direction: Direction, position: number): { done: boolean } {
    const flipped = { done: false };
    let seen = 0;
    proxy.tamper = (bytes, where) => {
      if (where.link !== link || where.direction !== direction || flipped.done) return bytes;
      const at = position - seen;
      seen += bytes.length;
      if (at < 0 || at >= bytes.length) return bytes;
      flipped.done = true;
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] as number) ^ (1 << (position % 8));
      return damaged;
    };
    return flipped;
  }

  // Goal: in a record's head, tag, payload or trailer on the data socket: the transfer fails by name, or is driven again and
  // right; and every single flip was noticed.
  test('in a data stream', { timeout: SLOW }, async () => {
    const size = 300_000;
    const up = [...Array.from({ length: 64 }, (_, index) => index)];
    const down = [
      0,
      1,
      2,
      3,
      5,
      9,
      17,
      25,
      31,
      32,
      33,
      100,
      4096,
      65_535,
      150_000,
      size + 31,
      size + 32,
      size + 36,
      size + 39,
    ];
    for (const [direction, positions] of [
      ['up', up],
      ['down', down],
    ] as const) {
      for (const position of positions) {
        const pair = await proxied({ resumeMs: 5000 });
        const { proxy, server, incoming, outgoing } = pair;
        const source = filled(server, size, position + 1);
        let noticed = 0;
        for (const connection of [incoming, outgoing]) connection.on('interrupted', () => noticed++);
        const flipped = flip(proxy, 1, direction, position);
        const copy = outgoing.remote(incoming.share(source)).resolve();
        const ended = await outcome(copy);
        expect(flipped.done, `${direction} ${position}`).toBe(true);
        if (ended === 'ok') {
          expect((await copy).bytes.equals(source.bytes)).toBe(true);
          expect(noticed, `${direction} ${position}`).toBeGreaterThan(0);
        } else {
          expect(['CHECKSUM_MISMATCH', 'PROTOCOL_VIOLATION', 'CONNECTION_LOST', 'SESSION_EXPIRED']).toContain(
            ended,
          );
        }
        end(pair);
      }
    }
  });

  // Goal: in a control stream: the message is not delivered as anything else than what it was.
  test('in a control stream', { timeout: SLOW }, async () => {
    const positions = [
      ...Array.from({ length: 32 }, (_, index) => index),
      ...Array.from({ length: 60 }, (_, index) => 32 + index * 9),
    ];
    for (const position of positions) {
      const pair = await proxied({ resumeMs: 5000 });
      const { proxy, server, incoming, outgoing } = pair;
      let noticed = 0;
      for (const connection of [incoming, outgoing]) connection.on('interrupted', () => noticed++);
      const flipped = flip(proxy, 0, 'up', position);
      const text = 'what was said, and nothing else: '.padEnd(600, '.');
      const ended = await outcome(outgoing.send(envelope(text)));
      if (ended === 'ok') {
        const message = await take(server);
        expect(valueOf(message)).toBe(text);
        if (flipped.done) expect(noticed, String(position)).toBeGreaterThan(0);
      } else {
        expect(['CHECKSUM_MISMATCH', 'PROTOCOL_VIOLATION', 'CONNECTION_LOST', 'SESSION_EXPIRED']).toContain(
          ended,
        );
      }
      end(pair);
    }
  });

  // Goal: the same while connecting: a connection that works, or a typed error.
  test('in a handshake', { timeout: SLOW }, async () => {
    const server = makeManager(NO_RESUMING);
    void echo(server);
    const { address } = await server.listen(TCP.listenAddress());
    for (const direction of ['up', 'down'] as const) {
      for (let position = 0; position < 330; position += 3) {
        const proxy = await Proxy.before(address);
        flip(proxy, 0, direction, position);
        const client = makeManager({ ...NO_RESUMING, connectTimeoutMs: 500 });
        await outcome(
          client.connect(proxy.address).then(async (connection) => {
            const answer = await connection.request(envelope('right'), { deadlineMs: 500 });
            expect(valueOf(answer)).toBe('right');
          }),
        );
        client.destroy();
        await proxy.close();
      }
    }
    const healthy = await makeManager().connect(address);
    expect(valueOf(await healthy.request(envelope('still here')))).toBe('still here');
  });
});

// Goal: wherever a stream ends, both sides come to an end of their own, typed, with nothing delivered in part. Method: every
// byte of a handshake, and then every few bytes of a message and a transfer, in both directions.
test('a frame cut at any byte', { timeout: SLOW }, async () => {
  const server = makeManager(NO_RESUMING);
  const { address } = await server.listen(TCP.listenAddress());
  const source = filled(server, 5000, 7);
  const exposure = server.expose(source, { access: 'read', uses: Infinity, audience: { bearer: true } });
  const received: string[] = [];
  const reading = (async () => {
    for await (const message of server.messages) {
      received.push(valueOf(message));
      message.release();
    }
  })();
  const readingBatches = (async () => {
    for await (const batch of server.batches) {
      received.push(...[...batch].map((message) => Buffer.from(message).toString()));
    }
  })();
  const text = 'whole '.repeat(50);
  const endings = { ok: 0, failed: 0 };
  for (const link of [0, 1]) {
    for (const direction of ['up', 'down'] as const) {
      for (let length = 0; length < 900; length += length < 100 ? 1 : 17) {
        const proxy = await Proxy.before(address);
        proxy.tamper = (bytes, where) =>
          where.link === link && where.direction === direction && where.at + bytes.length > length
            ? undefined
            : bytes;
        const client = makeManager(NO_RESUMING);
        const ended = await outcome(
          client.connect(proxy.address).then(async (connection) => {
            const copy = await connection.remote(exposure).resolve();
            expect(copy.bytes.equals(source.bytes)).toBe(true);
            copy.release();
            await connection.sendBatch([text, text].map((each) => Buffer.from(each)));
            await connection.send(envelope(text));
          }),
        );
        endings[ended === 'ok' ? 'ok' : 'failed']++;
        await until(() => client.stats.operations === 0 && client.stats.memory.buffers === 0);
        client.destroy();
        await proxy.close();
      }
    }
  }
  // Some streams are shorter than where they were to be cut.
  expect(endings.ok).toBeGreaterThan(0);
  expect(endings.failed).toBeGreaterThan(200);
  expect(received.every((value) => value === text)).toBe(true);
  await until(() => server.connections.length === 0);
  exposure.revoke();
  source.release();
  await untilIdle(server);
  server.destroy();
  await Promise.all([reading, readingBatches]);
});

describe('a length that lies, up to 2^64-1', () => {
  const TAG = Buffer.alloc(32, 7);
  const HUGE = 2n ** 64n - 1n;

  async function listening(): Promise<{
    server: NetworkManager;
    address: string;
    healthy: () => Promise<void>;
  }> {
    const server = makeManager({ connectTimeoutMs: 2000 });
    void echo(server);
    const { address } = await server.listen(TCP.listenAddress());
    const client = makeManager();
    const connection = await client.connect(address);
    const healthy = async (): Promise<void> => {
      expect(valueOf(await connection.request(envelope('ok')))).toBe('ok');
    };
    return { server, address, healthy };
  }

  // Goal: from somebody who has not even joined, nothing that is claimed is believed, and others are served on.
  test('before joining', { timeout: SLOW }, async () => {
    const { server, address, healthy } = await listening();
    const rss = process.memoryUsage.rss();
    const claims = [
      ...[HUGE, 2n ** 63n, 2n ** 32n, 1n << 20n].map((length) =>
        record({ kind: KIND.frame, flags: 1, length }),
      ),
      ...Object.values(KIND).map((kind) => record({ kind, length: HUGE, offset: HUGE, operation: HUGE })),
      record({ kind: 0 }),
      record({ kind: 255, length: HUGE }),
      Buffer.alloc(80, 0xff),
      Buffer.alloc(80),
      Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.padEnd(80)),
    ];
    for (const claim of claims) {
      const peer = await WirePeer.connect(address);
      peer.control.write(claim.length < 80 ? Buffer.concat([claim, Buffer.alloc(80 - claim.length)]) : claim);
      await peer.ended;
      peer.end();
    }
    await healthy();
    expect(server.connections).toHaveLength(1);
    expect(process.memoryUsage.rss() - rss).toBeLessThan(tolerated(64));
  });

  // Goal: the same from a peer that joined and did not greet: no operation is served before it is known who asks.
  test('before the greeting', { timeout: SLOW }, async () => {
    const { server, address, healthy } = await listening();
    for (const claim of [
      record({ kind: KIND.frame, flags: 1, length: HUGE }),
      record({ kind: KIND.frame, flags: 1, length: 300_000n }),
      record({ kind: KIND.frame, length: 0n }),
      frameRecord(seal(Buffer.alloc(16))),
      frameRecord(messageFrame(Buffer.from('<x/>'))),
      frameRecord(Buffer.from('short')),
    ]) {
      const peer = await WirePeer.join(address);
      peer.control.write(claim);
      await peer.ended;
    }
    for (const kind of [KIND.read, KIND.write, KIND.atomic]) {
      const peer = await WirePeer.join(address);
      const extension = kind === KIND.atomic ? Buffer.concat([TAG, Buffer.alloc(24, 1)]) : TAG;
      peer.data.write(record({ kind, operation: 1n, length: 8n, extension }));
      await peer.ended;
    }
    const lyingHello = hello();
    lyingHello.writeUInt16LE(0xffff, 90);
    const peer = await WirePeer.join(address);
    peer.control.write(frameRecord(seal(lyingHello)));
    await peer.ended;
    await healthy();
    expect(server.connections).toHaveLength(1);
  });

  // Goal: a peer that was let in and then lies is cut off by name, and only it.
  test('in messages of a session', { timeout: SLOW }, async () => {
    const { server, address, healthy } = await listening();
    const xml = Buffer.from('<x/>');
    const row = Buffer.alloc(8);
    row.writeUInt8(1, 0);
    row.writeUInt32LE(0xffff_ffff, 4);
    const lies = [
      messageFrame(xml, { total: 0xffff_ffff }),
      messageFrame(xml, { total: 2 }),
      messageFrame(xml, { offset: 0xffff_fff0 }),
      messageFrame(xml, { envelopeBytes: 0xffff_ffff }),
      messageFrame(xml, { envelopeBytes: 2 }),
      messageFrame(xml, { attachments: 0xffff }),
      messageFrame(Buffer.concat([row, xml]), { attachments: 1, envelopeBytes: 4 }),
      messageFrame(xml, { sequence: 5n }),
      messageFrame(xml, { sequence: HUGE }),
      messageFrame(xml, { message: 0n }),
      batchFrame(['ab', 'c'], { total: 0xffff_ffff }),
      batchFrame(['ab', 'c'], { total: 2 }),
      batchFrame(['ab', 'c'], { offset: 0xffff_fff0 }),
      batchFrame(['ab', 'c'], { count: 0 }),
      batchFrame(['ab', 'c'], { count: 3 }),
      batchFrame(['ab', 'c'], { count: 0xffff_ffff }),
      batchFrame(['ab', 'c'], { lengths: [2, 2] }),
      batchFrame(['ab', 'c'], { lengths: [0xffff, 0xffff] }),
      batchFrame(['ab', 'c'], { lengths: [3, 0xffff] }),
      batchFrame(['ab', 'c'], { sequence: 5n }),
      batchFrame(['ab', 'c'], { message: 0n }),
      seal(Buffer.concat([Buffer.from([FRAME.batch]), Buffer.alloc(20)])),
      seal(Buffer.concat([Buffer.from([FRAME.ack]), Buffer.alloc(15), Buffer.alloc(16, 0xff)])),
      seal(Buffer.concat([Buffer.from([FRAME.message]), Buffer.alloc(20)])),
      seal(Buffer.concat([Buffer.from([99]), Buffer.alloc(20)])),
    ];
    for (const lie of lies) {
      const peer = await WirePeer.open(address);
      await until(() => server.connections.length === 2 && server.connections[1]?.state === 'open');
      const refused = server.connections[1]?.closed;
      peer.control.write(frameRecord(lie));
      await peer.ended;
      peer.end();
      server.connections[1]?.destroy();
      await refused;
    }
    await healthy();
    server.destroy();
    for await (const batch of server.batches) expect.fail(`${batch.length} messages were made of it.`);
  });

  // Goal: the longest message there is, with all the grants that the protocol has room for and the payload does not count,
  // is taken like any other.
  test('the longest content of a message', { timeout: SLOW }, async () => {
    const messageBytesMax = 8 << 20;
    const server = makeManager({ messageBytesMax });
    const { address } = await server.listen(TCP.listenAddress());
    const attachments = 1024;
    const grantBytes = 256;
    const rows = Buffer.alloc(attachments * 8);
    for (let i = 0; i < attachments; i++) rows.writeUInt32LE(grantBytes, i * 8 + 4);
    const content = Buffer.concat([rows, Buffer.alloc(attachments * grantBytes + messageBytesMax, ' ')]);
    const peer = await WirePeer.open(address);
    const partBytes = 200_000;
    for (let offset = 0; offset < content.length; offset += partBytes) {
      const fields = { total: content.length, offset, envelopeBytes: messageBytesMax, attachments };
      peer.control.write(frameRecord(messageFrame(content.subarray(offset, offset + partBytes), fields)));
    }
    let acknowledged = 0n;
    while (acknowledged === 0n) acknowledged = (await peer.takeFrame(FRAME.ack)).readBigUInt64LE(8);
    expect(acknowledged).toBe(1n);
  });

  // Goal: operations outside what a tag stands for, on tags that are none, and data that nobody asked for.
  test('in operations of a session', { timeout: SLOW }, async () => {
    const { server, address, healthy } = await listening();
    const buffer = filled(server, 4096);
    const exposure = server.expose(buffer, { access: 'read', uses: Infinity, audience: { bearer: true } });
    const tag = Buffer.from(exposure.tag, 'base64url');
    const writable = filled(server, 4096);
    const before = Buffer.from(writable.bytes);
    const writing = server.expose(writable, { access: 'write', uses: Infinity, audience: { bearer: true } });
    const writeTag = Buffer.from(writing.tag, 'base64url');
    const lies = [
      record({ kind: KIND.read, flags: 1, operation: 1n, length: HUGE, extension: tag }),
      record({ kind: KIND.read, flags: 1, operation: 1n, length: 1n, offset: HUGE, extension: tag }),
      record({ kind: KIND.read, flags: 1, operation: 1n, length: 4097n, extension: tag }),
      record({ kind: KIND.read, flags: 1, operation: 1n, length: 8n, extension: TAG }),
      record({ kind: KIND.write, flags: 1, operation: 1n, length: HUGE, extension: writeTag }),
      record({ kind: KIND.write, flags: 1, operation: 1n, length: 4096n, offset: 1n, extension: writeTag }),
      // More than was announced, for an operation that is none, before anything was announced.
      Buffer.concat([
        record({ kind: KIND.write, flags: 1, operation: 1n, length: 8n, extension: writeTag }),
        record({ kind: KIND.writeData, flags: 1, operation: 1n, length: 4096n }),
        withTrailer(Buffer.alloc(4096, 1)),
      ]),
      Buffer.concat([
        record({ kind: KIND.data, flags: 1, operation: 9n, length: 4096n }),
        withTrailer(Buffer.alloc(4096, 1)),
      ]),
      record({ kind: KIND.writeData, flags: 1, operation: 1n, length: HUGE }),
      record({ kind: KIND.data, flags: 1, operation: 1n, length: HUGE }),
    ];
    for (const lie of lies) {
      const peer = await WirePeer.open(address);
      await until(() => server.connections.length === 2 && server.connections[1]?.state === 'open');
      const connection = server.connections[1];
      const refusedBefore = server.stats.transports.tcp?.operationsRefused ?? 0;
      peer.data.write(lie);
      // Refused with an answer, or the peer is cut off.
      await until(
        () =>
          connection?.state !== 'open' ||
          (server.stats.transports.tcp?.operationsRefused ?? 0) > refusedBefore,
      );
      peer.end();
      connection?.destroy();
      await connection?.closed;
    }
    expect(writable.bytes.equals(before)).toBe(true);
    expect(server.stats.transports.tcp?.bytesSent).toBe(0);
    await healthy();
  });
});
