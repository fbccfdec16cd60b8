// The memory service: named regions of registered memory that other services read, write and are told about, by reference. What a
// reader gets is lent: the region's own bytes in this process, a tag to move them by elsewhere. The regions are regions.ts's.
import { RegisteredBuffer } from '../../dataplane/memory.js';
import { lend, type Attached } from '../attached.js';
import { contract, Delete, Get, Insert, Query, Update, Upsert } from '../contract.js';
import { Fault } from '../fault.js';
import { Service, type Call, type Handlers } from '../service.js';
import {
  body,
  buffer,
  integer,
  list,
  optional,
  record,
  text,
  type Received,
  type Sending,
} from '../shape.js';
import { firstNot, Page } from './page.js';
import { rangeIn, Regions, type Region } from './regions.js';

/** Bytes of all regions of a memory service that does not say. */
export const MEMORY_BYTES_MAX_DEFAULT = 1024 ** 3;
/** Bytes of one update: they are copied in one go, and everybody waits. Upsert replaces a region of any size without copying. */
export const UPDATE_BYTES_MAX = 64 << 20;
/** Bytes that are on their way into regions at once. */
export const UPDATES_BYTES_MAX = 256 << 20;
/** Regions of one answer. */
export const REGIONS_PAGE_MAX = 500;

const State = body('Memory', {
  /** Bytes of all regions together. */
  bytesMax: optional(integer(1)),
  /** The regions that it begins with. */
  regions: list(record({ name: text(), length: integer(1) })),
});

const regionFields = {
  name: text(),
  /** In bytes. */
  length: integer(1),
  /** Grows with each change of any region. */
  version: integer(1),
} as const;
const Changed = body('Changed', {
  ...regionFields,
  /** What was written. */
  offset: integer(0),
  count: integer(1),
});

/**
 * Regions of memory. What Get answers with is lent, and to be released: until then nothing is written where it lies, and writers
 * of those bytes wait, readers and writers of others do not. Upsert waits for nobody: it puts other memory in the place of the
 * whole region, and who reads the old goes on reading it. A buffer that is given whole becomes the region, without a copy.
 * A region that is deleted stays for who has it. Contracts of faults: DuplicateEntry, UnknownEntry, InsufficientResources where
 * the bytes or regions are used up, QueuingLimitExceeded where too many wait, OperationFailed for ranges that are none.
 */
export const Memory = contract('urn:splitplane:memory:1', {
  operations: {
    /** A new region: of zeros, or of these bytes. */
    insert: Insert(
      body('Region', { name: text(), length: optional(integer(1)), content: optional(buffer()) }),
      body('RegionResponse', regionFields),
    ),
    /** Bytes of a region, lent; all from `offset` on where no length is given. */
    read: Get(
      body('Range', { name: text(), offset: optional(integer(0)), length: optional(integer(1)) }),
      body('RangeResponse', { ...regionFields, offset: integer(0), content: buffer() }),
    ),
    /** Writes bytes into a region, from `offset` on. They are all there or none of them is. */
    write: Update(
      body('Write', { name: text(), offset: optional(integer(0)), content: buffer() }),
      body('WriteResponse', regionFields),
    ),
    /** Makes these bytes the region, whether there was one or not. */
    put: Upsert(body('Put', { name: text(), content: buffer() }), body('PutResponse', regionFields)),
    remove: Delete(body('Delete', { name: text() })),
    query: Query(
      body('Query', {
        /** How the names begin. */
        prefix: optional(text()),
        /** The `next` of the page before. */
        after: optional(text()),
        limit: optional(integer(1, REGIONS_PAGE_MAX)),
      }),
      body('QueryResponse', {
        /** Sorted by name. */
        regions: list(
          record({
            ...regionFields,
            /** How many have a part of it now. */
            readers: integer(0),
          }),
        ),
        /** What to give as `after` for the next page; absent on the last. */
        next: optional(text()),
        /** Of all regions, with what readers still have of earlier ones. */
        bytes: integer(0),
        bytesMax: integer(1),
      }),
    ),
  },
  notifications: {
    inserted: body('Inserted', regionFields),
    /** Some bytes were written, or all. Read them to have them: a notification lends nothing, so that nobody's being slow is in the way. */
    changed: Changed,
    deleted: body('Deleted', { name: text(), version: integer(1) }),
  },
  state: State,
});

export class MemoryService extends Service<typeof Memory> {
  readonly contract = Memory;
  /** Who may be beside whom is told range by range, by the regions. */
  override readonly concurrency = 'concurrent';
  override state: Sending<typeof State> = { regions: [] };
  #regions = new Regions(0, () => this.allocate(1));
  /** Bytes of updates that are on their way. */
  #underWay = 0;

  readonly handlers: Handlers<typeof Memory> = {
    insert: (call) => this.#insert(call),
    read: (call) => this.#read(call),
    write: (call) => this.#write(call),
    put: (call) => this.#put(call),
    remove: ({ body: { name } }) => {
      const region = this.#regions.get(name);
      this.#regions.delete(region);
      this.publish('deleted', { name, version: region.version });
    },
    query: ({ body }) => this.#query(body),
  };

  override async start(): Promise<void> {
    const { bytesMax = MEMORY_BYTES_MAX_DEFAULT, regions } = this.state;
    this.#regions = new Regions(bytesMax, (length) => this.allocate(length));
    try {
      for (const { name, length } of regions) await this.#make(name, length);
    } catch (error) {
      this.#regions.close();
      throw error;
    }
  }

  override stop(): void {
    this.#regions.close();
  }

  async #insert({ body: { name, length, content }, signal }: Call<Requests['insert']>) {
    const size = content?.length ?? length;
    if (size === undefined || (length ?? size) !== size)
      throw new Fault('OperationFailed', 'A region has a length, or content, or both of the same length.');
    const region = await (content === undefined
      ? this.#make(name, size)
      : this.#adopt(name, content, signal));
    this.publish('inserted', told(region));
    return told(region);
  }

  async #make(name: string, length: number): Promise<Region> {
    this.#regions.checkNew(name);
    return this.#regions.insert(name, await this.#regions.within(length, () => this.#regions.zeros(length)));
  }

  async #adopt(name: string, content: Attached, signal: AbortSignal): Promise<Region> {
    this.#regions.checkNew(name);
    return this.#regions.insert(name, await this.#bring(content, signal));
  }

  async #put({ body: { name, content }, signal }: Call<Requests['put']>) {
    if (this.#regions.find(name) === undefined) this.#regions.checkNew(name);
    const memory = await this.#bring(content, signal);
    const region = this.#regions.find(name);
    if (region === undefined) {
      const made = this.#regions.insert(name, memory);
      this.publish('inserted', told(made));
      return told(made);
    }
    this.#regions.replace(region, memory);
    this.publish('changed', { ...told(region), offset: 0, count: region.length });
    return told(region);
  }

  #read(call: Call<Requests['read']>) {
    const { name, offset = 0, length } = call.body;
    return this.#regions.enter(
      name,
      { offset, ...(length && { length }) },
      false,
      () => call.signal,
      ({ region, buffer: memory, leave }) => ({
        ...told(region),
        offset,
        content: lend(memory.slice(offset, length), 'read', leave),
      }),
    );
  }

  async #write({ body: { name, offset = 0, content }, signal }: Call<Requests['write']>) {
    const range = rangeIn(this.#regions.get(name), { offset, length: content.length });
    if (range.length > UPDATE_BYTES_MAX)
      throw new Fault(
        'OperationFailed',
        `An update has at most ${UPDATE_BYTES_MAX} bytes. Send several, or Upsert.`,
      );
    if (this.#underWay + range.length > UPDATES_BYTES_MAX) {
      throw new Fault(
        'QueuingLimitExceeded',
        'Too many bytes are on their way into regions. Send again later.',
      );
    }
    this.#underWay += range.length;
    try {
      // Brought here first: what breaks off half way must not be in the region.
      using bytes = await content.resolve({ signal });
      return await this.#regions.enter(
        name,
        range,
        true,
        () => signal,
        ({ region, buffer: memory, leave }) => {
          try {
            bytes.bytes.copy(memory.bytes, offset);
          } finally {
            leave();
          }
          this.#regions.changed(region);
          this.publish('changed', { ...told(region), offset, count: range.length });
          return told(region);
        },
      );
    } finally {
      this.#underWay -= range.length;
    }
  }

  /** Memory of the service's own with this content: the very buffer, where it was given whole. */
  #bring(content: Attached, signal: AbortSignal): Promise<RegisteredBuffer> {
    return this.#regions.within(content.length, async () => {
      const resolved = await content.resolve({ signal });
      if (resolved instanceof RegisteredBuffer && resolved.inMemory) return resolved;
      try {
        const own = this.allocate(content.length);
        resolved.bytes.copy(own.bytes);
        return own;
      } finally {
        resolved.release();
      }
    });
  }

  #query({ prefix = '', after = '', limit = REGIONS_PAGE_MAX }: Requests['query']) {
    const { names, bytes, bytesMax } = this.#regions;
    const page = new Page<ReturnType<typeof told> & { readonly readers: number }>(limit);
    let at = after < prefix ? firstNot(names, prefix, false) : firstNot(names, after, true);
    for (; names[at]?.startsWith(prefix) === true; at++) {
      const region = this.#regions.get(names[at] as string);
      if (!page.add({ ...told(region), readers: region.readers }, region.name)) {
        return { regions: page.items, next: names[at - 1], bytes, bytesMax };
      }
    }
    return { regions: page.items, bytes, bytesMax };
  }
}

type Requests = {
  readonly [K in keyof typeof Memory.operations]: Received<(typeof Memory.operations)[K]['request']>;
};

function told({ name, length, version }: Region) {
  return { name, length, version };
}
