// A service that shows what a service sees, and can be made to do whatever a service should not: to be run in a thread and in a
// process as well as beside its callers, with the same results.
import { createHash } from 'node:crypto';
import {
  body,
  boolean,
  buffer,
  contract,
  Fault,
  Insert,
  integer,
  lend,
  list,
  optional,
  Query,
  Service,
  Submit,
  text,
  type Call,
  type Handlers,
  type ResolvedBuffer,
} from '../../../lib/runtime/index.js';

const Where = body('Where', { uri: text() });
const Block = body('Block', { seed: integer(), bytes: buffer() });
const Digest = body('Digest', { length: integer(), sha256: text() });

export const Probe = contract('urn:splitplane:test:probe', {
  operations: {
    who: Submit(body('Who', {}), body('You', { from: text(), connection: boolean(), uri: text() })),
    pid: Query(body('Pid', {}), body('ItsPid', { pid: integer() })),
    keep: Insert(Block, Digest),
    show: Query(body('Show', { length: integer(), seed: integer() }), Block),
    /** The same buffer, lent. */
    borrow: Query(
      body('Borrow', { length: integer(), seed: integer() }),
      body('Borrowed', { bytes: buffer() }),
    ),
    returned: Query(body('Returned', {}), body('HowMany', { count: integer() })),
    fillIn: Submit(body('FillIn', { seed: integer(), target: buffer() })),
    refuse: Submit(body('Refuse', { reason: text() })),
    fail: Submit(body('Fail', {})),
    wait: Submit(body('Wait', {})),
    waits: Query(body('Waits', {}), body('Waiting', { now: integer(), gaveUp: integer() })),
    release: Submit(body('Release', {})),
    say: Submit(body('Say', { text: text() })),
    partner: Submit(body('AskPartner', {}), body('PartnerSaid', { from: text(), uri: text() })),
    forward: Submit(body('Forward', { uri: text(), bytes: optional(buffer()) }), Digest),
    fetch: Submit(body('Fetch', { uri: text(), length: integer() }), Digest),
    tell: Submit(body('Tell', { count: integer(), bytes: boolean() })),
    watch: Submit(Where),
    unwatch: Submit(body('Unwatch', {})),
    seen: Query(body('Seen', {}), body('SeenThis', { told: list(text()) })),
    block: Submit(body('BlockThread', { ms: integer() })),
    end: Submit(body('End', { how: text() })),
  },
  notifications: { told: body('Told', { number: integer(), bytes: optional(buffer()) }) },
  state: body('ProbeState', { note: text() }),
});

/** Repeatable bytes. */
export function bytesOf(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4)
    bytes.writeUInt32LE((Math.imul(at + seed, 2_654_435_761) ^ at) >>> 0, at);
  return bytes;
}

export function digestOf(bytes: Uint8Array): { length: number; sha256: string } {
  return { length: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
}

function consumed(resolved: ResolvedBuffer): { length: number; sha256: string } {
  const digest = digestOf(resolved.bytes);
  resolved.release();
  return digest;
}

export default class extends Service<typeof Probe> {
  readonly contract = Probe;
  override readonly concurrency = 'concurrent';
  override state = { note: 'as made' };
  readonly #waiting = new Set<() => void>();
  #gaveUp = 0;
  #returned = 0;
  readonly #seen: string[] = [];
  #watching: AbortController | undefined;

  override start(): void | Promise<void> {
    if (this.state.note === 'never starts again' && import.meta.url.includes('version=')) {
      this.log('replacing');
      return new Promise(() => undefined);
    }
    if (this.state.note === 'throw') throw new Error('It was told not to start.');
    if (this.state.note === 'exit') process.exit(7);
    if (this.state.note === 'loop') for (;;);
  }

  override async stop(): Promise<void> {
    if (this.state.note === 'never stops') await new Promise(() => undefined);
    this.log('stopped');
  }

  readonly handlers: Handlers<typeof Probe> = {
    who: ({ from, connection }) => ({ from, connection: connection !== undefined, uri: this.uri }),
    pid: () => ({ pid: process.pid }),
    keep: async ({ body: { bytes } }) => consumed(await bytes.resolve()),
    show: ({ body: { length, seed } }) => {
      const bytes = this.allocate(length);
      bytes.bytes.set(bytesOf(length, seed));
      return { seed, bytes };
    },
    borrow: ({ body: { length, seed } }) => {
      const own = this.allocate(length);
      own.bytes.set(bytesOf(length, seed));
      const returned = (): void => {
        this.#returned++;
        own.release();
      };
      return { bytes: lend(own, 'read', returned) };
    },
    returned: () => ({ count: this.#returned }),
    fillIn: async ({ body: { target, seed } }) => {
      await target.write(bytesOf(target.length, seed));
    },
    refuse: ({ body: { reason } }) => {
      throw new Fault('DuplicateEntry', reason);
    },
    fail: () => {
      throw new Error('a secret of the service');
    },
    wait: ({ signal }) => this.#wait(signal),
    waits: () => ({ now: this.#waiting.size, gaveUp: this.#gaveUp }),
    release: () => {
      for (const go of this.#waiting) go();
    },
    say: ({ body: { text: line } }) => {
      this.log(line);
    },
    partner: async () => {
      const { from, uri } = await this.partner('friend', Probe).who();
      return { from, uri };
    },
    forward: (call) => this.#forward(call),
    fetch: async ({ body: { uri, length } }) => {
      const shown = await this.proxy(Probe, uri).show({ length, seed: 5 });
      const digest = consumed(await shown.bytes.resolve());
      shown[Symbol.dispose]();
      return digest;
    },
    tell: ({ body: { count, bytes } }) => {
      for (let number = 1; number <= count; number++) this.#tell(number, bytes);
    },
    watch: async ({ body: { uri } }) => {
      this.#watching = new AbortController();
      await this.subscribe(
        Probe,
        uri,
        {
          told: async ({ body: told, from }) => {
            const bytes = await told.bytes?.resolve();
            const what = bytes === undefined ? '' : ` ${consumed(bytes).sha256}`;
            this.#seen.push(`${told.number} from ${from}${what}`);
          },
        },
        { signal: this.#watching.signal },
      );
    },
    unwatch: () => {
      this.#watching?.abort();
    },
    seen: () => ({ told: this.#seen }),
    block: ({ body: { ms } }) => {
      const end = performance.now() + ms;
      while (performance.now() < end);
    },
    end: ({ body: { how } }) => {
      if (how === 'loop') for (;;);
      if (how === 'exit') process.exit(3);
      if (how === 'kill') process.kill(process.pid, 'SIGKILL');
      if (how === 'throw') setImmediate(() => this.#throw());
      if (how === 'reject') void Promise.reject(new Error('Nobody caught this.'));
    },
  };

  #throw(): never {
    throw new Error('Nobody caught this.');
  }

  async #wait(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const go = (): void => {
        this.#waiting.delete(go);
        resolve();
      };
      this.#waiting.add(go);
      signal.addEventListener('abort', () => {
        this.#gaveUp++;
        go();
      });
    });
  }

  async #forward({
    body: { uri, bytes },
  }: Call<{ uri: string; bytes?: { resolve(): Promise<ResolvedBuffer> } | undefined }>) {
    const mine = await bytes?.resolve();
    const given = this.allocate(mine?.length ?? 8);
    given.bytes.set(mine?.bytes ?? bytesOf(8, 1));
    mine?.release();
    const { length, sha256 } = await this.proxy(Probe, uri).keep({ seed: 0, bytes: given });
    return { length, sha256 };
  }

  #tell(number: number, withBytes: boolean): void {
    if (!withBytes) {
      this.publish('told', { number });
      return;
    }
    const own = this.allocate(1 << 20);
    own.bytes.set(bytesOf(own.length, number));
    const returned = (): void => {
      this.#returned++;
      own.release();
    };
    this.publish('told', { number, bytes: lend(own, 'read', returned) });
  }
}
