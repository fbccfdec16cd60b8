// The regions of a memory service: registered memory with names, in a budget of bytes. A region's memory is replaced as a whole or written
// in place; memory that was replaced or deleted stays until the last reader has given it back. Knows nothing of messages.
import type { RegisteredBuffer } from '../../dataplane/memory.js';
import { Fault } from '../fault.js';
import { isName } from '../names.js';
import { Ranges, type Range } from './ranges.js';

/** Regions of one service. */
export const REGIONS_MAX = 10_000;
/** Bytes that are set to zero before others get their turn. */
const ZERO_AT_ONCE = 64 << 20;

/** Memory that was once a region's, or is. */
interface Held {
  readonly buffer: RegisteredBuffer;
  readonly ranges: Ranges;
}

export class Region {
  readonly name: string;
  /** Changes with whatever is done to any region of the service, and only grows. */
  version: number;
  #held: Held;

  constructor(name: string, version: number, buffer: RegisteredBuffer) {
    this.name = name;
    this.version = version;
    this.#held = { buffer, ranges: new Ranges() };
  }

  /** In bytes. */
  get length(): number {
    return this.#held.buffer.length;
  }

  get held(): Held {
    return this.#held;
  }

  /** How many have a part of it now. */
  get readers(): number {
    return this.#held.ranges.holds;
  }

  /** @internal Puts other memory in its place, and answers what it had. */
  exchange(buffer: RegisteredBuffer): Held {
    const before = this.#held;
    this.#held = { buffer, ranges: new Ranges() };
    return before;
  }
}

/** A hold on a range of a region, and the memory it is in. */
export interface RangeHold {
  readonly region: Region;
  readonly buffer: RegisteredBuffer;
  /** Ends it. To be called once, at whatever time. */
  readonly leave: () => void;
}

export class Regions {
  readonly bytesMax: number;
  readonly #byName = new Map<string, Region>();
  readonly #allocate: (length: number) => RegisteredBuffer;
  #names: readonly string[] | undefined;
  #bytes = 0;
  #version = 0;
  #closed = false;

  constructor(bytesMax: number, allocate: (length: number) => RegisteredBuffer) {
    this.bytesMax = bytesMax;
    this.#allocate = allocate;
  }

  /** Bytes of all regions, of what readers still have of earlier ones, and of what is on its way. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Sorted by their UTF-16 units. */
  get names(): readonly string[] {
    this.#names ??= [...this.#byName.keys()].sort();
    return this.#names;
  }

  find(name: string): Region | undefined {
    return this.#byName.get(name);
  }

  /** Throws Fault UnknownEntry. */
  get(name: string): Region {
    const region = this.#byName.get(name);
    if (region !== undefined) return region;
    throw new Fault('UnknownEntry', 'There is no region of this name. Query what there is.');
  }

  /** Throws Fault OperationFailed for what is no name, DuplicateEntry, InsufficientResources. */
  checkNew(name: string): void {
    this.#checkOpen();
    if (this.#byName.has(name))
      throw new Fault('DuplicateEntry', 'There is a region of this name. Upsert replaces it.');
    if (!isName(name)) {
      throw new Fault(
        'OperationFailed',
        'A name has letters, digits, "-", ".", "_" and "~", in parts with "/" between them, 255 characters at most.',
      );
    }
    if (this.#byName.size >= REGIONS_MAX)
      throw new Fault('InsufficientResources', `${REGIONS_MAX} regions are the most. Delete some.`);
  }

  /**
   * Has `bring` get memory of this length, and counts it. What bring gives belongs to whoever called. Throws Fault
   * InsufficientResources; then bring was not called.
   */
  async within(length: number, bring: () => Promise<RegisteredBuffer>): Promise<RegisteredBuffer> {
    if (length > this.bytesMax - this.#bytes) {
      throw new Fault(
        'InsufficientResources',
        `The regions have ${this.#bytes} of at most ${this.bytesMax} bytes, so ${length} more do not fit. Delete some.`,
      );
    }
    this.#bytes += length;
    try {
      return await bring();
    } catch (error) {
      this.#bytes -= length;
      throw error;
    }
  }

  /** Gives back memory that within() brought and nobody needs. */
  discard(buffer: RegisteredBuffer): void {
    this.#bytes -= buffer.length;
    buffer.release();
  }

  /** Memory of zeros. What was there before is nobody's business. */
  async zeros(length: number): Promise<RegisteredBuffer> {
    const buffer = this.#allocate(length);
    for (let at = 0; at < length; at += ZERO_AT_ONCE) {
      if (at > 0) await new Promise(setImmediate);
      buffer.bytes.fill(0, at, Math.min(length, at + ZERO_AT_ONCE));
    }
    return buffer;
  }

  /** A new region with memory that within() brought. Throws as checkNew does; then the memory is gone. */
  insert(name: string, buffer: RegisteredBuffer): Region {
    try {
      this.checkNew(name);
    } catch (error) {
      this.discard(buffer);
      throw error;
    }
    const region = new Region(name, ++this.#version, buffer);
    this.#byName.set(name, region);
    this.#names = undefined;
    return region;
  }

  /** Puts memory that within() brought in the place of a region's. Who reads the old goes on reading it. Throws after close(). */
  replace(region: Region, buffer: RegisteredBuffer): void {
    if (this.#closed) this.discard(buffer);
    this.#checkOpen();
    this.#retire(region.exchange(buffer));
    this.changed(region);
  }

  /** The region was written. */
  changed(region: Region): void {
    region.version = ++this.#version;
  }

  /** Takes a region off the list. Who reads it goes on reading it; who waits for it looks again. */
  delete(region: Region): void {
    this.#byName.delete(region.name);
    this.#names = undefined;
    region.version = ++this.#version;
    this.#retire(region.held);
  }

  /** Deletes all, and takes no more: what is still on its way is given back when it comes. */
  close(): void {
    this.#closed = true;
    for (const region of [...this.#byName.values()]) this.delete(region);
  }

  /**
   * Calls `use` with a hold on a range as soon as nobody is in the way, and settles with its answer. Rejects with Fault
   * UnknownEntry, OperationFailed for a range that is not in the region, and as Ranges.enter does.
   */
  async enter<T>(
    name: string,
    range: Partial<Range>,
    writes: boolean,
    signal: () => AbortSignal,
    use: (hold: RangeHold) => T,
  ): Promise<T> {
    // Each turn but the last one waited for memory that is the region's no more; its end is that of the signal, at the latest.
    for (;;) {
      const region = this.get(name);
      const { buffer, ranges } = region.held;
      const leave = await ranges.enter(rangeIn(region, range), writes, signal);
      if (leave === undefined) continue;
      // Others had their turn since the hold was granted.
      if (this.#byName.get(name)?.held.buffer === buffer) return use({ region, buffer, leave });
      leave();
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new Fault('UnknownEntry', 'The service has ended, and its regions with it.');
  }

  #retire({ buffer, ranges }: Held): void {
    ranges.retire(() => {
      this.discard(buffer);
    });
  }
}

/** The range, if it is one of the region. Throws Fault OperationFailed. */
export function rangeIn(
  region: Region,
  { offset = 0, length = region.length - offset }: Partial<Range>,
): Range {
  if (length >= 1 && offset + length <= region.length) return { offset, length };
  throw new Fault(
    'OperationFailed',
    `${length} bytes from ${offset} are no range of a region of ${region.length} bytes. Ask for some that it has.`,
  );
}
