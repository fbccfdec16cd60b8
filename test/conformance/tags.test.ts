// The contract of tags: a capability works for whom, in the direction, within the bounds, as often and as long as its
// owner said, and for nothing and nobody else. Each refusal is typed and counted, and moves not one byte.
import { describe, expect, test } from 'vitest';
import type { Exposure, NetworkManager, Peer, RemoteBuffer } from '../../lib/index.js';
import { code, failure, until } from '../support/events.js';
import {
  connectTo,
  envelope,
  filled,
  makeManager,
  makePair,
  take,
  untilIdle,
  valueOf,
} from '../support/managers.js';
import { TRANSPORTS } from '../support/transports.js';

const SIZE = 100_000;

/** Tries to read with a tag, and proves that not one byte came. */
async function refusal(remote: RemoteBuffer, reader: NetworkManager): Promise<string> {
  const target = reader.allocate(remote.length);
  target.bytes.fill(0x5a);
  const failed = await code(remote.resolve({ into: target }));
  expect(target.bytes.every((byte) => byte === 0x5a)).toBe(true);
  target.release();
  return failed;
}

function refused(manager: NetworkManager): number {
  const { tags } = manager.stats;
  return (
    tags.refusedUnknown +
    tags.refusedForeign +
    tags.refusedExpired +
    tags.refusedExhausted +
    tags.refusedDirection +
    tags.refusedBounds
  );
}

/** Peers are who they say they are: for tests of audiences. */
const authenticate = (peer: Peer): string => peer.identity;

describe.each(TRANSPORTS)('$name', (transport) => {
  // Goal: a tag for one use is worth one use, a tag for three is worth three, and what failed at the gate is no use.
  test('a replayed tag is refused', async () => {
    const { server, client, outgoing } = await makePair(transport);
    const buffer = filled(client, SIZE);
    await outgoing.send(envelope(), { buffers: [buffer, { buffer, uses: 3 }] });
    const message = await take(server);
    const [once, thrice] = message.buffers as [RemoteBuffer, RemoteBuffer];
    const longer = message.connection.remote({ tag: once.tag as string, length: SIZE + 1, access: 'read' });
    expect(await refusal(longer, server)).toBe('TAG_BOUNDS');
    for (const [remote, uses] of [
      [once, 1],
      [thrice, 3],
    ] as const) {
      for (let use = 0; use < uses; use++) {
        const copy = await remote.resolve();
        expect(copy.bytes.equals(buffer.bytes)).toBe(true);
        copy.release();
      }
      expect(await refusal(remote, server)).toBe('TAG_EXHAUSTED');
    }
    expect(client.stats.tags.refusedExhausted).toBe(2);
    expect(client.stats.tags.refusedBounds).toBe(1);
    message.release();
  });

  // Goal: a tag ends at its time even if nobody uses it, its owner is told, and its memory comes back.
  test('an expired tag is refused', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport);
    const buffer = filled(client, SIZE);
    const exposure = outgoing.share(buffer, { expiresMs: 5 });
    const remote = incoming.remote(exposure);
    expect(await exposure.ended).toBe('TAG_EXPIRED');
    expect(['TAG_EXPIRED', 'TAG_UNKNOWN']).toContain(await refusal(remote, server));
    expect(refused(client)).toBe(1);
    buffer.release({ ifBusy: 'throw' });
    const never = outgoing.share(filled(client, 10), { expiresMs: 0 });
    expect(await never.ended).toBe('TAG_EXPIRED');
  });

  // Goal: a tag for one connection is worth nothing on another, even of the same peer, and the refusal tells nothing.
  test('another connection’s tag is refused', async () => {
    const { server, client, outgoing, incoming, address } = await makePair(transport);
    const [, secondIncoming] = await connectTo(server, client, address);
    const buffer = filled(client, SIZE);
    const exposure = outgoing.share(buffer);
    expect(await refusal(secondIncoming.remote(exposure), server)).toBe('TAG_UNKNOWN');
    expect(client.stats.tags.refusedForeign).toBe(1);
    const copy = await incoming.remote(exposure).resolve();
    expect(copy.bytes.equals(buffer.bytes)).toBe(true);
    copy.release();
  });

  // Goal: a tag for a principal works on each of its connections and on nobody else's.
  test('a principal’s tag', async () => {
    const owner = makeManager({ authenticate });
    const { address } = await owner.listen(transport.listenAddress());
    const alice = makeManager({ identity: 'alice' });
    const bob = makeManager({ identity: 'bob' });
    const buffer = filled(owner, SIZE);
    const exposure = owner.expose(buffer, {
      access: 'read',
      uses: Infinity,
      audience: { principal: 'alice' },
    });
    for (let i = 0; i < 2; i++) {
      const connection = await alice.connect(address);
      const copy = await connection.remote(exposure).resolve();
      expect(copy.bytes.equals(buffer.bytes)).toBe(true);
      copy.release();
    }
    const foreign = await bob.connect(address);
    expect(await refusal(foreign.remote(exposure), bob)).toBe('TAG_UNKNOWN');
    expect(owner.stats.tags.refusedForeign).toBe(1);
    expect(exposure.tag).not.toContain('alice');
  });

  // Goal: a bearer tag can be forwarded to a third peer, who resolves it at the owner; a session's tag cannot.
  test('forwarding a bearer’s tag to a third peer', async () => {
    const owner = makeManager();
    const { address } = await owner.listen(transport.listenAddress());
    const third = makeManager();
    const { address: thirdAddress } = await third.listen(transport.listenAddress());
    const middle = makeManager();
    const [toOwner, fromOwner] = await connectTo(owner, middle, address);
    const toThird = await middle.connect(thirdAddress);

    const buffer = filled(owner, SIZE);
    await fromOwner.send(envelope('take'), {
      buffers: [{ buffer, audience: { bearer: true }, uses: 2 }, buffer],
    });
    const message = await take(middle);
    const [bearer, bound] = message.buffers as [RemoteBuffer, RemoteBuffer];
    await toThird.send(envelope(`${bearer.tag} ${bound.tag}`));
    const [forwarded = '', stolen = ''] = valueOf(await take(third)).split(' ');

    const direct = await third.connect(address);
    const copy = await direct.remote({ tag: forwarded, length: SIZE, access: 'read' }).resolve();
    expect(copy.bytes.equals(buffer.bytes)).toBe(true);
    copy.release();
    expect(await refusal(direct.remote({ tag: stolen, length: SIZE, access: 'read' }), third)).toBe(
      'TAG_UNKNOWN',
    );
    const own = await bearer.resolve();
    own.release();
    expect(await refusal(direct.remote({ tag: forwarded, length: SIZE, access: 'read' }), third)).toBe(
      'TAG_EXHAUSTED',
    );
    // A third peer asked where the tag does not come from: it is unknown there.
    expect(await refusal(toThird.remote({ tag: forwarded, length: SIZE, access: 'read' }), middle)).toBe(
      'TAG_UNKNOWN',
    );
    message.release();
    await toOwner.close();
  });

  // Goal: bounds are kept to the byte by the owner, whatever the holder says of the length.
  test('out of bounds', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport);
    const whole = filled(client, SIZE);
    const exposure = outgoing.share(whole.slice(1000, 5000));
    const claim = { tag: exposure.tag, access: 'read' as const };
    const lying = incoming.remote({ ...claim, length: SIZE });
    for (const range of [
      { offset: 0, length: 5001 },
      { offset: 4999, length: 2 },
      { offset: 5000, length: 1 },
      { offset: 90_000, length: 10_000 },
    ]) {
      expect(await code(lying.resolve({ range }))).toBe('TAG_BOUNDS');
    }
    const far = incoming.remote({ ...claim, length: Number.MAX_SAFE_INTEGER });
    const into = server.allocate(16);
    expect(await code(far.resolve({ range: { offset: 2 ** 53 - 20, length: 16 }, into }))).toBe('TAG_BOUNDS');
    const copy = await lying.resolve({ range: { offset: 0, length: 5000 } });
    expect(copy.bytes.equals(whole.bytes.subarray(1000, 6000))).toBe(true);
    expect(client.stats.tags.refusedBounds).toBe(5);
  });

  // Goal: each tag has one direction: reading, writing or atomics.
  test('the wrong direction', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport);
    const buffer = filled(client, 4096);
    const before = Buffer.from(buffer.bytes);
    const from = filled(server, 4096, 2);
    const share = (access: Exposure['access']): RemoteBuffer =>
      incoming.remote(outgoing.share(buffer, { access }));
    const readable = share('read');
    const writable = share('write');
    const atomic = share('atomic');
    expect(await code(readable.write(from))).toBe('TAG_DIRECTION');
    expect(await code(readable.fetchAndAdd(0, 1n))).toBe('TAG_DIRECTION');
    expect(await refusal(writable, server)).toBe('TAG_DIRECTION');
    expect(await code(writable.compareAndSwap(0, 0n, 1n))).toBe('TAG_DIRECTION');
    expect(await refusal(atomic, server)).toBe('TAG_DIRECTION');
    expect(await code(atomic.write(from))).toBe('TAG_DIRECTION');
    expect(client.stats.tags.refusedDirection).toBe(6);
    expect(buffer.bytes.equals(before)).toBe(true);
    await writable.write(from);
    expect(buffer.bytes.equals(from.bytes)).toBe(true);
  });

  // Goal: who revokes is obeyed at once, by uses to come and by those in progress.
  test('a revoked tag is refused, and ends what is in progress', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport);
    const buffer = filled(client, 64 << 20);
    const exposure = outgoing.share(buffer);
    const remote = incoming.remote(exposure);
    const running = failure(remote.resolve());
    await until(() => (server.stats.transports[transport.transport]?.bytesReceived ?? 0) > 1 << 20);
    exposure.revoke();
    expect((await running).code).toBe('TAG_REVOKED');
    expect(await exposure.ended).toBe('TAG_REVOKED');
    expect(
      await refusal(incoming.remote({ ...exposure, tag: exposure.tag, length: 100, access: 'read' }), server),
    ).toBe('TAG_UNKNOWN');
    exposure.revoke();
    expect(server.stats.memory.buffers).toBe(0);
    await until(() => buffer.holders === 0);
    buffer.release({ ifBusy: 'throw' });
    await untilIdle(client, server);
  });

  // Goal: tags of a session end with it; a new connection of the same peers has no use of them.
  test('tags end with their connection', async () => {
    const { server, client, outgoing, incoming, address } = await makePair(transport);
    const buffer = filled(client, SIZE);
    const exposure = outgoing.share(buffer);
    const { tag } = incoming.remote(exposure);
    await outgoing.close();
    await incoming.closed;
    expect(await exposure.ended).toBe('TAG_REVOKED');
    buffer.release({ ifBusy: 'throw' });
    const [, next] = await connectTo(server, client, address);
    expect(await refusal(next.remote({ tag: tag as string, length: SIZE, access: 'read' }), server)).toBe(
      'TAG_UNKNOWN',
    );
    expect(await code(incoming.remote(exposure).resolve())).toMatch(/^(CLOSED|SESSION_EXPIRED)$/);
  });

  // Goal: nothing is learned by guessing. Method: every field of a good tag changed by one bit, memory unchanged after.
  test('guessed tags', async () => {
    const { server, client, outgoing, incoming } = await makePair(transport);
    const readable = filled(client, 4096, 3);
    const target = filled(client, 4096, 4);
    const before = Buffer.from(target.bytes);
    const reading = Buffer.from(outgoing.share(readable).tag, 'base64url');
    const writing = Buffer.from(outgoing.share(target, { access: 'write' }).tag, 'base64url');
    const from = filled(server, 4096, 5);
    let tries = 0;
    for (let byte = 0; byte < 32; byte++) {
      for (const [tag, access] of [
        [reading, 'read'],
        [writing, 'write'],
      ] as const) {
        const guess = Buffer.from(tag);
        guess[byte] = (guess[byte] as number) ^ (1 << (byte % 8));
        const remote = incoming.remote({ tag: guess.toString('base64url'), length: 4096, access });
        expect(access === 'read' ? await refusal(remote, server) : await code(remote.write(from))).toBe(
          'TAG_UNKNOWN',
        );
        tries++;
      }
    }
    const zeros = incoming.remote({ tag: 'A'.repeat(43), length: 10, access: 'read' });
    expect(await refusal(zeros, server)).toBe('TAG_UNKNOWN');
    expect(client.stats.tags.refusedUnknown).toBe(tries + 1);
    expect(target.bytes.equals(before)).toBe(true);
  });

  // Goal: a tag that is no tag is refused here, before anything is sent.
  test('malformed tags', async () => {
    const { outgoing } = await makePair(transport);
    for (const tag of ['', 'short', 'A'.repeat(42), 'A'.repeat(44), '!'.repeat(43)]) {
      const remote = (): unknown => outgoing.remote({ tag, length: 10, access: 'read' }).resolve();
      expect(await code(remote)).toBe('INVALID_ARGUMENT');
    }
  });

  // Goal: options of an exposure are checked where they are given.
  test('rights that cannot be given are refused', async () => {
    const { client, outgoing } = await makePair(transport, { client: { tagsMax: 4 } });
    const buffer = filled(client, 4096);
    for (const uses of [0, -1, 1.5, 65, NaN]) {
      expect(await code(() => outgoing.share(buffer, { uses }))).toBe('INVALID_ARGUMENT');
    }
    for (const expiresMs of [-1, NaN, -Infinity]) {
      expect(await code(() => outgoing.share(buffer, { expiresMs }))).toBe('INVALID_ARGUMENT');
    }
    expect(await code(() => outgoing.share([]))).toBe('INVALID_ARGUMENT');
    expect(await code(() => outgoing.share(Array(1025).fill(buffer.slice(0, 1))))).toBe('INVALID_ARGUMENT');
    expect(await code(() => outgoing.share(buffer.slice(4, 16), { access: 'atomic' }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(client.stats.exposures).toBe(0);
    const live = [1, 2, 3, 4].map(() => outgoing.share(buffer));
    expect(await code(() => outgoing.share(buffer))).toBe('LIMIT_EXCEEDED');
    live[0]?.revoke();
    await live[0]?.ended;
    expect(outgoing.share(buffer).length).toBe(4096);
  });
});
