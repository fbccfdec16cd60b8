// Faults of peers: killed, stopped and continued. The peer is a process of its own; each test is named after its row in the
// table of faults that docs/ARCHITECTURE.md answers.
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { Connection, SplitplaneError } from '../../lib/index.js';
import { code, failure, until } from '../support/events.js';
import { envelope, filled, makeManager, untilIdle } from '../support/managers.js';
import { Child } from '../support/processes.js';
import { element } from '../../lib/index.js';

const BIG = 256 << 20;
/** Short enough that a test need not wait, long enough that a busy machine is no dead one. */
const QUICK = { keepaliveMs: 100, peerTimeoutMs: 1500, resumeMs: 300 };

/** What may be said of a peer that is gone. */
const GONE = [
  'CONNECTION_LOST',
  'PEER_UNRESPONSIVE',
  'CONNECTION_REFUSED',
  'SESSION_EXPIRED',
  'CONNECT_TIMEOUT',
];

describe('peer killed (SIGKILL) mid-transfer', () => {
  // Goal: whoever pulls gets a typed error and no buffer, and everything it held is free again.
  test('the owner of the bytes is killed', async () => {
    const child = new Child('peer', { argument: { listen: 'tcp://127.0.0.1:0', options: QUICK } });
    const manager = makeManager(QUICK);
    const connection = await manager.connect(await child.told<string>('listening'));
    const reply = await connection.request(
      envelope('', { action: 'urn:give', body: element('', 'Bytes', String(BIG)) }),
    );
    const target = manager.allocate(BIG);
    const transfers = [reply.buffers[0]?.resolve({ into: target }), reply.buffers[0]?.resolve()].map(
      (transfer) => failure(transfer as Promise<unknown>),
    );
    const asked = failure(connection.request(envelope('never answered', { action: 'urn:keep' })));
    await until(() => (manager.stats.transports.tcp?.bytesReceived ?? 0) > 4 << 20);
    child.signal('SIGKILL');
    const why = await connection.closed;
    for (const failed of [...transfers, asked]) expect(GONE).toContain((await failed).code);
    expect(GONE).toContain(why.code);
    expect(await code(connection.send(envelope()))).toBe(why.code);
    target.release({ ifBusy: 'throw' });
    await untilIdle(manager);
    expect(manager.connections).toEqual([]);
  });

  // Goal: the tags of a peer that dies while it pulls are revoked, and the memory behind them is free.
  test('the reader of the bytes is killed', async () => {
    const manager = makeManager(QUICK);
    const { address } = await manager.listen('tcp://127.0.0.1:0');
    // Before connecting: filling so much keeps this loop busy for so long that the peer would take it for dead.
    const buffer = filled(manager, BIG);
    const child = new Child('peer', { argument: { options: QUICK } });
    child.tell({ connect: address });
    const [connection] = (await once(manager, 'connection')) as [Connection];
    const sent = await connection.send(envelope('', { action: 'urn:keep' }), { buffers: [buffer] });
    await child.told('taken');
    child.tell({ resolveKept: 'own' });
    await until(() => (manager.stats.transports.tcp?.bytesSent ?? 0) > 4 << 20);
    expect(buffer.holders).toBeGreaterThan(0);
    child.signal('SIGKILL');
    await sent.released;
    expect(GONE).toContain((await connection.closed).code);
    await until(() => buffer.holders === 0);
    buffer.release({ ifBusy: 'throw' });
    await untilIdle(manager);
    expect(manager.stats.tags.live).toBe(0);
  });
});

// Goal: silence ends the session, with everything outstanding; when the peer wakes up its old tags are worth nothing, on its
// old connection and on a new one, and it can connect anew.
test('peer stopped (SIGSTOP), later continued', { timeout: 60_000 }, async () => {
  const manager = makeManager(QUICK);
  const { address } = await manager.listen('tcp://127.0.0.1:0');
  const child = new Child('peer', { argument: { options: QUICK } });
  child.tell({ connect: address });
  const [connection] = (await once(manager, 'connection')) as [Connection];
  await child.told('opened');
  const buffer = filled(manager, 1 << 20);
  const sent = await connection.send(envelope('', { action: 'urn:keep' }), {
    buffers: [{ buffer, uses: Infinity }],
  });
  await child.told('taken');

  const interrupted = once(connection, 'interrupted') as Promise<[SplitplaneError]>;
  child.signal('SIGSTOP');
  const asked = failure(connection.request(envelope('unheard', { action: 'urn:echo' })));
  const [why] = await interrupted;
  expect(['PEER_UNRESPONSIVE', 'CONNECTION_LOST']).toContain(why.code);
  const end = await connection.closed;
  expect(GONE).toContain(end.code);
  expect(GONE).toContain((await asked).code);
  await sent.released;
  expect(buffer.holders).toBe(0);

  child.signal('SIGCONT');
  expect(GONE).toContain(await child.told<string>('closed'));
  child.tell({ resolveKept: 'own' });
  expect([...GONE, 'CLOSED']).toContain(await child.told<string>('failed'));
  child.tell({ connect: address });
  await child.told('opened');
  child.tell({ resolveKept: 'newest' });
  expect(await child.told('failed')).toBe('TAG_UNKNOWN');
  expect(manager.stats.transports.tcp?.bytesSent).toBe(0);
  buffer.release({ ifBusy: 'throw' });
});
