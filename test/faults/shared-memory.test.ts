// Faults of memory that processes share: killed at any point, in a container of its own, another user's; and what is kept
// apart from whom. Peers are processes of their own.
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, onTestFailed, test } from 'vitest';
import type {
  Connection,
  NetworkManager,
  PassedOver,
  RegisteredBuffer,
  SplitplaneError,
} from '../../lib/index.js';
import {
  connect,
  isWhole,
  receive,
  send,
  SIZES,
  TRAFFIC,
  type Traffic,
  type Witness,
} from '../support/children/traffic.js';
import { code, News, until } from '../support/events.js';
import { envelope, makeManager, makePair, take, untilIdle } from '../support/managers.js';
import { Child } from '../support/processes.js';
import { TRANSPORTS } from '../support/transports.js';

const SHM = TRANSPORTS.find(({ name }) => name === 'shm') as (typeof TRANSPORTS)[number];
/** Who is killed does not come back. */
const QUICK = { resumeMs: 50 };
const ROUNDS = 3;
/** Views at a time. */
const KEPT_MAX = 20;
const GONE = ['CONNECTION_LOST', 'PEER_UNRESPONSIVE', 'CONNECTION_REFUSED', 'SESSION_EXPIRED', 'CLOSED'];

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What this process has of shared memory. */
interface Holdings {
  /** Mappings of peers' memory. */
  readonly foreign: number;
  /** Mappings of its own. */
  readonly own: number;
  /** Descriptors of memory that is not its own, and memory of its own that only a peer could still name. */
  readonly astray: number;
  readonly files: readonly string[];
}

function holdings(): Holdings {
  const described = new Set<string>();
  for (const fd of readdirSync('/proc/self/fd')) {
    const path = `/proc/self/fd/${fd}`;
    try {
      if (readlinkSync(path).includes('memfd:splitplane')) described.add(String(statSync(path).ino));
    } catch {
      // It was the descriptor of the folder itself.
    }
  }
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const mapped = lines.filter((line) => line.includes('memfd:splitplane')).map((line) => line.split(/ +/));
  const own = new Set(
    mapped.filter(([, rights]) => rights?.startsWith('rw-s')).map(([, , , , inode]) => inode),
  );
  return {
    foreign: mapped.filter(([, rights]) => rights?.startsWith('rw-s') !== true).length,
    own: own.size,
    astray:
      [...described].filter((inode) => !own.has(inode)).length +
      [...own].filter((inode) => !described.has(inode as string)).length,
    files: readdirSync('/dev/shm').sort(),
  };
}

/** What is left of it when all is gone that nobody can reach, managers before this one among it. */
async function collected(manager: NetworkManager): Promise<Holdings> {
  let found = holdings();
  await until(() => {
    collect();
    found = holdings();
    return found.foreign === 0 && found.astray === 0 && found.own === manager.stats.memory.slabs;
  });
  return found;
}

/** The connection that a child makes. */
async function connectionOf(manager: NetworkManager, child: Child): Promise<Connection> {
  const accepted = once(manager, 'connection') as Promise<[Connection]>;
  const failed = child.exited.then(() => {
    throw new Error(`The peer ended before it connected. ${child.errors}`);
  });
  const [connection] = await Promise.race([accepted, failed]);
  failed.catch(() => undefined);
  return connection;
}

/** A process that connects, and the connection to it. */
async function start(
  manager: NetworkManager,
  address: string,
): Promise<{ child: Child; connection: Connection }> {
  const child = new Child('sharer', { argument: { connect: address } });
  return { child, connection: await connectionOf(manager, child) };
}

/** What a survivor hears, counted, and the views that it keeps. */
class Log implements Witness {
  readonly kept: RegisteredBuffer[] = [];
  readonly failures: unknown[] = [];
  readonly #random: Random;
  readonly #news = new News();
  #done = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  done(): void {
    this.#done++;
    this.#news.happened();
  }

  failed(error: unknown): void {
    this.failures.push(error);
  }

  keeps(view: RegisteredBuffer): boolean {
    const keeps = this.kept.length < KEPT_MAX && this.#random(4) === 0;
    if (keeps) this.kept.push(view);
    return keeps;
  }

  /** So much more has been done. */
  async more(count: number): Promise<void> {
    const wanted = this.#done + count;
    while (this.#done < wanted) await this.#news.next();
  }
}

const ROLES = ['server', 'client'] as const;
const SEED = Number(process.env.SPLITPLANE_SEED ?? randomInt(1, 2 ** 31 - 1));
type Random = (below: number) => number;

function randomOf(seed: number): Random {
  let state = seed;
  return (below) => (state = (state * 48_271) % (2 ** 31 - 1)) % below;
}

// Goal: whatever either side is doing when it is killed, the other one hears of it by typed errors, keeps views as they are
// until it lets go of them, has nothing of the dead one then, and works on. Method: both do the same thing to each other
// without end; after a number of events and then of turns of a wheel, which a seed gives, one is killed; the next one comes.
describe.each(ROLES)('the %s is killed', (role) => {
  test.each(['connecting', ...TRAFFIC] as const)('%s', { timeout: 60_000 }, async (what) => {
    onTestFailed(() => {
      console.error(`Again with SPLITPLANE_SEED=${SEED}.`);
    });
    const random = randomOf(SEED);
    const manager = makeManager(QUICK);
    const { address } = await manager.listen('shm://127.0.0.1:0');
    const log = new Log(random);
    if (what !== 'connecting') receive(what, manager, log);
    // Of its own, so that nothing of it can be reached when it is over.
    const kill = async (): Promise<void> => {
      const place = role === 'server' ? { listen: 'shm://127.0.0.1:0' } : { connect: address };
      const child = new Child('trafficker', { argument: { what, options: QUICK, ...place } });
      const finished = await engage(role, what, { manager, child, log });
      await Promise.race([log.more(5 + random(40)), child.exited]);
      for (let i = random(300_000); i > 0; i--) Math.imul(i, i);
      child.process.kill('SIGKILL');
      expect(await child.exited, child.errors).toMatchObject({ signal: 'SIGKILL' });
      await finished();
      await until(() => manager.connections.length === 0);
      for (const error of log.failures.splice(0)) {
        expect(GONE, String(error)).toContain((error as SplitplaneError).code);
      }
      for (const view of log.kept) expect(isWhole(view)).toBe(true);
      for (const view of log.kept.splice(0)) view.release();
      await untilIdle(manager);
      expect(manager.stats.tags.live).toBe(0);
    };
    // The slabs that memory for nobody in particular comes from stay.
    for (const size of SIZES) manager.allocate(size).release();
    const before = await collected(manager);
    for (let round = 0; round < ROUNDS; round++) {
      await kill();
      expect(await collected(manager)).toEqual(before);
    }
  });
});

/** Begins what a survivor does with a child. What is given back settles when all of it has ended. */
async function engage(
  role: (typeof ROLES)[number],
  what: Traffic | 'connecting',
  { manager, child, log }: { manager: NetworkManager; child: Child; log: Log },
): Promise<() => Promise<void>> {
  if (what === 'connecting' && role === 'server') {
    const ended = connect(manager, await child.told<string>('listening'), log);
    return () => ended;
  }
  if (what === 'connecting') {
    const count = (): void => {
      log.done();
    };
    manager.on('connection', count);
    return () => {
      manager.off('connection', count);
      return Promise.resolve();
    };
  }
  const connection =
    role === 'server'
      ? await manager.connect(await child.told<string>('listening'))
      : await connectionOf(manager, child);
  expect(connection.facts.transport).toBe('shm');
  const ended = send(what, manager, connection, log);
  return async () => {
    expect(GONE).toContain((await connection.closed).code);
    await ended;
  };
}

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
});

/** Where a peer lives, and why its memory is not shared, by what the peer is. */
interface Place {
  readonly where: string;
  readonly prefix: readonly string[];
  readonly why: { readonly client?: string; readonly server?: string };
}
const CONTAINER = ['unshare', '--pid', '--ipc', '--uts', '--fork', '--kill-child', '--mount-proc'];
const OTHER_USER = ['setpriv', '--reuid=65534', '--clear-groups'];
// Who is refused by the other side is not told which of the reasons it was.
const REFUSED = "another user's, or in another PID namespace";
const PLACES: readonly Place[] = [
  { where: 'beside the other one', prefix: [], why: {} },
  {
    where: 'in mount, IPC and UTS namespaces of its own',
    prefix: ['unshare', '--mount', '--ipc', '--uts'],
    why: {},
  },
  {
    where: 'in a container with PIDs of its own',
    prefix: CONTAINER,
    why: { client: 'lives in another PID namespace', server: REFUSED },
  },
  {
    where: 'with another user',
    prefix: OTHER_USER,
    why: { client: 'belongs to user', server: 'belongs to user' },
  },
];

// Goal: whoever sees the other process and is the same user shares memory, whatever else keeps the two apart; everybody else
// goes over TCP, whichever side connects, and the one that does knows why. Method: peers as they are in containers that share a
// network; messages with memory go both ways.
describe.each(ROLES)('the %s lives', (role) => {
  test.for(PLACES)('$where', async ({ prefix, why }, context) => {
    const root = process.getuid?.() === 0;
    if (prefix.length > 0 && !root) context.skip('namespaces and other users need root');
    const manager = makeManager();
    const log = new Log(() => 1);
    receive('views', manager, log);
    const place =
      role === 'server'
        ? { listen: '127.0.0.1:0' }
        : { connect: (await manager.listen('127.0.0.1:0')).address };
    const child = new Child('trafficker', { argument: { what: 'views', options: {}, ...place }, prefix });
    const connection =
      role === 'server'
        ? await manager.connect(await child.told<string>('listening'))
        : await connectionOf(manager, child);
    const passedOver =
      role === 'server' ? connection.facts.passedOver : await child.told<PassedOver[]>('passedOver');
    const reason: string | undefined = why[role];
    expect(connection.facts.transport).toBe(reason === undefined ? 'shm' : 'tcp');
    if (reason === undefined) expect(passedOver).toEqual([]);
    else expect(passedOver[0]).toMatchObject({ transport: 'shm', code: 'TRANSPORT_UNAVAILABLE' });
    expect(passedOver[0]?.reason ?? '').toContain(reason ?? '');
    void send('views', manager, connection, log);
    await Promise.race([log.more(20), child.exited]);
    expect(log.failures).toEqual([]);
    expect(child.process.exitCode, child.errors).toBe(null);
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
