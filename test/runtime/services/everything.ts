// A service with an operation of every verb a contract can use, and with fields of every kind: what the same calls from beside it
// and from another runtime are compared with.
import type { RegisteredBuffer } from '../../../lib/index.js';
import {
  body,
  boolean,
  buffer,
  bytes,
  choice,
  contract,
  Create,
  Delete,
  Fault,
  Get,
  Insert,
  integer,
  lend,
  list,
  number,
  optional,
  Query,
  record,
  Replace,
  Service,
  Submit,
  text,
  Update,
  Upsert,
  xml,
  type Handlers,
  type ResolvedBuffer,
  type StateValue,
} from '../../../lib/runtime/index.js';

const pair = record({ key: text(), value: integer() });
const key = { key: text() };
const count = body('Count', { count: integer() });

const everyField = {
  words: text(),
  whole: integer(),
  ratio: number(),
  yes: boolean(),
  few: bytes(),
  colour: choice('red', 'green'),
  maybe: optional(text()),
  nested: record({ inner: optional(pair), numbers: list(integer()) }),
  pairs: list(pair),
  any: xml(),
};

export const Everything = contract('urn:splitplane:test:everything', {
  operations: {
    create: Create(body('New', key), count),
    all: Get(body('GetAll', {}), body('Entries', { entries: list(pair) })),
    query: Query(body('Find', { prefix: text() }), body('Found', { entries: list(pair) })),
    insert: Insert(body('Insert', { key: text(), value: integer() }), count),
    update: Update(body('Update', { key: text(), value: integer() }), count),
    upsert: Upsert(body('Upsert', { key: text(), value: integer() }), count),
    replace: Replace(body('ReplaceAll', { entries: list(pair) }), count),
    delete: Delete(body('Remove', key), count),
    nothing: Submit(body('Nothing', {})),
    echo: Submit(body('Echo', everyField), body('Echoed', everyField)),
    /** Keeps the buffer and says what its first byte is. */
    keep: Insert(body('Keep', { pixels: buffer() }), body('Kept', { length: integer(), first: integer() })),
    /** Gives away what was kept last. */
    take: Query(body('Take', {}), body('Taken', { pixels: buffer() })),
    /** Lends what was kept last. */
    look: Query(body('Look', {}), body('Looked', { pixels: buffer() })),
    /** Writes this byte all over memory that the caller lends. */
    fill: Submit(body('Fill', { value: integer(0, 255), into: buffer() })),
    /** Copies a part of each of any number of buffers into its own memory, and says the sum. */
    sum: Submit(
      body('Sum', { offset: integer(), length: integer(), parts: list(buffer()), last: optional(buffer()) }),
      body('SumOf', { sum: integer() }),
    ),
    fail: Submit(body('Fail', { how: choice('fault', 'stranger', 'known', 'weird', 'partner') })),
  },
  notifications: { changed: body('Changed', { key: text() }) },
  state: body('EverythingState', { entries: list(pair), label: optional(text()) }),
});

/** The text of an error that is nobody's business. */
export const SECRET = 'the password is swordfish';

export class EverythingService extends Service<typeof Everything> {
  readonly contract = Everything;
  readonly entries = new Map<string, number>();
  kept: RegisteredBuffer | ResolvedBuffer | undefined;
  override state: StateValue<typeof Everything> = { entries: [], label: 'fresh' };
  /** Buffers that were lent to callers, and have come back. */
  returned = 0;

  readonly handlers: Handlers<typeof Everything> = {
    create: ({ body: { key } }) => this.#put(key, 0),
    all: () => ({ entries: this.#entries() }),
    query: ({ body: { prefix } }) => ({
      entries: this.#entries().filter(({ key }) => key.startsWith(prefix)),
    }),
    insert: ({ body: { key, value } }) => {
      if (this.entries.has(key)) throw new Fault('DuplicateEntry', `${key} is there already.`);
      return this.#put(key, value);
    },
    update: ({ body: { key, value } }) => {
      if (!this.entries.has(key)) throw new Fault('UnknownEntry', `There is no ${key}.`);
      return this.#put(key, value);
    },
    upsert: ({ body: { key, value } }) => this.#put(key, value),
    replace: ({ body: { entries } }) => {
      this.entries.clear();
      for (const { key, value } of entries) this.entries.set(key, value);
      return this.#changed('*');
    },
    delete: ({ body: { key } }) => {
      if (!this.entries.delete(key)) throw new Fault('UnknownEntry', `There is no ${key}.`);
      return this.#changed(key);
    },
    nothing: () => undefined,
    echo: ({ body }) => body,
    keep: async ({ body: { pixels } }) => {
      this.kept?.release();
      const kept = await pixels.resolve();
      this.kept = kept;
      return { length: kept.length, first: kept.bytes[0] ?? -1 };
    },
    take: () => {
      const kept = this.kept as RegisteredBuffer;
      this.kept = undefined;
      return { pixels: kept };
    },
    look: () => ({ pixels: lend(this.kept as ResolvedBuffer, 'read', () => this.returned++) }),
    fill: async ({ body: { value, into } }) => {
      using bytes = this.allocate(into.length);
      bytes.bytes.fill(value);
      await into.write(bytes);
    },
    sum: async ({ body: { offset, length, parts, last } }) => {
      let sum = 0;
      for (const part of last === undefined ? parts : [...parts, last]) {
        const own = new Uint8Array(length);
        await part.resolve({ into: own, range: { offset, length } });
        sum += own.reduce((all, byte) => all + byte, 0);
      }
      return { sum };
    },
    fail: async ({ body: { how } }) => {
      switch (how) {
        case 'fault':
          throw new Fault('InsufficientResources', 'There is no room. Remove something.');
        case 'stranger':
          throw new Error(SECRET);
        case 'weird':
          throw Object.create(null);
        case 'known':
          this.allocate(-1).release();
          return;
        case 'partner':
          await this.proxy(Everything, this.uri.replace(/[^/]*$/, 'nobody')).nothing();
      }
    },
  };

  override stop(): void {
    this.kept?.release();
  }

  #put(key: string, value: number) {
    this.entries.set(key, value);
    return this.#changed(key);
  }

  #changed(key: string) {
    this.state = { entries: this.#entries() };
    this.publish('changed', { key });
    return { count: this.entries.size };
  }

  #entries() {
    return [...this.entries].map(([key, value]) => ({ key, value }));
  }
}
