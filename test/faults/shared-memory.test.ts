// Faults of memory that processes share: killed at any point, in a container of its own, another user's; and what is kept
// apart from whom. Peers are processes of their own.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { Connection, NetworkManager, PassedOver, RegisteredBuffer } from '../../lib/index.js';
import { code, until } from '../support/events.js';
import { envelope, makeManager, makePair, take, untilIdle } from '../support/managers.js';
import { Child } from '../support/processes.js';
import { TRANSPORTS } from '../support/transports.js';

const SHM = TRANSPORTS.find(({ name }) => name === 'shm') as (typeof TRANSPORTS)[number];
const QUICK = { keepaliveMs: 100, peerTimeoutMs: 1500, resumeMs: 300 };
const GONE = ['CONNECTION_LOST', 'PEER_UNRESPONSIVE', 'CONNECTION_REFUSED', 'SESSION_EXPIRED', 'CLOSED'];

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What this process has of shared memory: descriptors, mappings of peers' memory, and files. */
function holdings(): { descriptors: number; foreign: number; files: string[] } {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    descriptors: targets.filter((target) => target.includes('memfd:splitplane')).length,
    foreign: maps.filter((line) => / r--[ps] .*memfd:splitplane/.test(line)).length,
    files: readdirSync('/dev/shm').sort(),
  };
}

/** A process that connects, and the connection to it. */
async function start(
  manager: NetworkManager,
  address: string,
  prefix: readonly string[] = [],
): Promise<{ child: Child; connection: Connection }> {
  const accepted = once(manager, 'connection') as Promise<[Connection]>;
  const child = new Child('sharer', { argument: { connect: address }, prefix });
  const failed = child.exited.then(() => {
    throw new Error(`The peer ended before it connected. ${child.errors}`);
  });
  const [connection] = await Promise.race([accepted, failed]);
  failed.catch(() => undefined);
  return { child, connection };
}

// Goal: whatever the peer was doing when it was killed, views that are held show the right bytes until they are released, all
// else ends with a typed error, and nothing is left. Method: it sends, is sent to and looks without end; it is killed at a
// number of messages that a seed gives.
test('peer killed at any point', { timeout: 120_000 }, async () => {
  let state = 20_261;
  const random = (below: number): number => (state = (state * 48_271) % 2_147_483_647) % below;
  const manager = makeManager(QUICK);
  const { address } = await manager.listen('shm://127.0.0.1:0');
  let first: ReturnType<typeof holdings> | undefined;
  // Of its own, so that nothing of it can be reached when it is over.
  const kill = async (): Promise<void> => {
    const { child, connection } = await start(manager, address);
    const killAt = 1 + random(60);
    const held: RegisteredBuffer[] = [];
    child.tell({ churn: true });
    const outcomes: Promise<unknown>[] = [];
    for (let got = 0; got < killAt; got++) {
      const message = await take(manager);
      const remote = message.buffers[0];
      if (remote !== undefined && random(2) === 0) held.push(await remote.resolve());
      else if (remote !== undefined) outcomes.push(remote.resolve().then((buffer) => buffer.release()));
      if (random(3) > 0) message.release();
      const own = connection.allocate(100_000);
      own.bytes.fill(0x17);
      outcomes.push(connection.send(envelope('', { action: 'urn:read' }), { buffers: [own] }));
      own.release();
    }
    child.signal('SIGKILL');
    expect(GONE).toContain((await connection.closed).code);
    for (const outcome of await Promise.allSettled(outcomes)) {
      if (outcome.status === 'rejected') expect(GONE).toContain((outcome.reason as { code: string }).code);
    }
    for (const { bytes } of held) expect(bytes.every((byte) => byte === 0x42)).toBe(true);
    for (const buffer of held) buffer.release();
    await untilIdle(manager);
    expect(manager.stats.tags.live).toBe(0);
  };
  for (let round = 0; round < 12; round++) {
    await kill();
    await until(() => {
      collect();
      return holdings().foreign === 0;
    });
    // Memory of ours that was for this peer goes as well.
    first ??= holdings();
    expect(holdings()).toEqual(first);
  }
});

describe('who sees what', () => {
  // Goal: not one byte that is for one peer is in memory that another one has mapped, whatever memory it was sent from, now
  // and when it is used again. Method: each looks through all it has mapped; it finds its own, so it would find the other's.
  test('a peer reads nothing of another peer', { timeout: 60_000 }, async () => {
    const manager = makeManager();
    const { address } = await manager.listen('shm://127.0.0.1:0');
    const peers = [await start(manager, address), await start(manager, address)] as const;
    const patterns = [randomBytes(32), randomBytes(32)] as const;
    const send = async (who: 0 | 1): Promise<void> => {
      const { connection } = peers[who];
      const buffers = [
        connection.allocate(4096),
        connection.allocate(64 << 20),
        manager.allocate(4096),
        manager.allocate(64 << 20),
      ];
      for (const { bytes } of buffers) {
        for (let at = 0; at < 4096; at += patterns[who].length) bytes.set(patterns[who], at);
        bytes.set(patterns[who], bytes.length - patterns[who].length);
      }
      await connection.send(envelope('', { action: 'urn:keep' }), { buffers });
      for (const buffer of buffers) buffer.release();
      await peers[who].child.told('got');
    };
    const hexadecimal = patterns.map((pattern) => pattern.toString('hex'));
    const look = async (who: 0 | 1): Promise<boolean[]> => {
      peers[who].child.tell({ scan: hexadecimal });
      return peers[who].child.told<boolean[]>('found');
    };
    expect(await look(0)).toEqual([false, false]);
    await send(1);
    expect(await look(1)).toEqual([false, true]);
    expect(await look(0)).toEqual([false, false]);
    await send(0);
    expect(await look(0)).toEqual([true, false]);
    peers[1].child.tell({ release: true });
    await peers[1].child.told('released');
    await send(0);
    expect(await look(0)).toEqual([true, false]);
    expect(await look(1)).toEqual([false, true]);
  });

  // Goal: who cannot see the other process, or is another user, goes over TCP and says why.
  test.each([
    {
      who: 'another PID namespace',
      prefix: ['unshare', '--pid', '--fork', '--mount-proc'],
      why: 'PID namespace',
    },
    { who: 'another user', prefix: ['setpriv', '--reuid=65534', '--clear-groups'], why: 'belongs to user' },
  ])('$who goes over tcp', async ({ prefix, why }) => {
    const manager = makeManager();
    const { address } = await manager.listen('127.0.0.1:0');
    const { child, connection } = await start(manager, address, prefix);
    expect(await child.told('opened')).toBe('tcp');
    expect(connection.facts.transport).toBe('tcp');
    const [passedOver] = await child.told<PassedOver[]>('passedOver');
    expect(passedOver).toMatchObject({ transport: 'shm', code: 'TRANSPORT_UNAVAILABLE' });
    expect(passedOver?.reason).toContain(why);
  });
});

describe('views', () => {
  // Goal: a view is not to be written, and nothing that somebody writes into it by mistake is seen by anybody else; it is
  // memory to send on like any other, and none to fill; it outlives its message, its connection and its sender.
  test('are read-only, and live until they are released', async () => {
    const { server, client, outgoing } = await makePair(SHM);
    const own = outgoing.allocate(100_000);
    own.bytes.fill(0x42);
    await outgoing.send(envelope(), { buffers: [{ buffer: own, uses: Infinity }] });
    const message = await take(server);
    const view = (await message.buffers[0]?.resolve()) as RegisteredBuffer;
    view.bytes[5] = 1;
    expect(own.bytes[5]).toBe(0x42);
    const again = (await message.buffers[0]?.resolve()) as RegisteredBuffer;
    expect(again.bytes.every((byte) => byte === 0x42)).toBe(true);
    expect(await code(message.buffers[0]?.resolve({ into: view }) as Promise<unknown>)).toBe(
      'INVALID_ARGUMENT',
    );
    const [back] = [...server.connections] as [Connection];
    await back.send(envelope(), { buffers: [again] });
    const returned = await take(client);
    const copy = (await returned.buffers[0]?.resolve()) as RegisteredBuffer;
    expect(copy.bytes.every((byte) => byte === 0x42)).toBe(true);
    copy.release();
    returned.release();
    message.release();
    own.release();
    // The sender has no other memory to give than what nobody looks at.
    for (let i = 0; i < 50; i++) {
      const other = outgoing.allocate(100_000);
      other.bytes.fill(i);
      other.release();
    }
    await outgoing.close();
    client.destroy();
    expect(again.bytes.every((byte) => byte === 0x42)).toBe(true);
    view.release();
    again.release();
    await untilIdle(server);
  });
});
