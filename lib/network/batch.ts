// Small messages that travel together, as their receiver has them: bytes and lengths, and nothing that was parsed. Knows
// nothing of envelopes.
import { SplitplaneError } from '../errors.js';
import type { Connection } from './connection.js';

/** Bytes that stand for one message's length in front of a batch. docs/WIRE_PROTOCOL.md, "Batches". */
export const LENGTH_BYTES = 2;

/**
 * Messages back to back in one piece of memory. Connection.sendBatch takes it without looking at each message, and a Batch
 * is it too, so that what came can be passed on as it is.
 */
export interface PackedMessages {
  readonly bytes: Uint8Array;
  /** Bytes of each message in order, together as many as there are; one number where all messages are that long. */
  readonly lengths: Uint16Array | number;
}

/** Bytes of a batch on the wire, where its messages allow it: what a chunk of the engine's queue holds. */
export const BATCH_BYTES = 64 * 1024;

/**
 * Memory for batches that arrive: what was released is used again. Without this the collector of garbage would run for every
 * few dozen mebibytes that arrive, and look at everything else in the process each time.
 */
export class BatchMemory {
  /** Bytes below which memory is cheaper to make than to keep. */
  static readonly #KEPT_MIN = 16 * 1024;
  /** Spare pieces of BATCH_BYTES that are kept. */
  static readonly #SPARE_MAX = 64;
  readonly #spare: Buffer[] = [];

  take(bytes: number): Buffer {
    if (bytes < BatchMemory.#KEPT_MIN || bytes > BATCH_BYTES) return Buffer.allocUnsafeSlow(bytes);
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES);
  }

  give(memory: Buffer): void {
    if (memory.length === BATCH_BYTES && this.#spare.length < BatchMemory.#SPARE_MAX)
      this.#spare.push(memory);
  }
}

/**
 * Small messages that arrived together, in the order in which they were sent. The bytes are the batch's own: they were
 * copied out of the engine's memory once, for all messages together, and stay as they are for as long as somebody keeps
 * the batch or a view on it. Nobody has to release it; who does, when nothing of it is needed any more, has its memory used
 * for another batch instead of collected as garbage, which at millions of messages a second is what costs most.
 *
 * Iterating makes a view for every message. Who needs none reads `bytes` with `lengths`, or with offsetOf():
 *
 *     let at = 0;
 *     for (const length of batch.lengths) {
 *       sum += batch.bytes.readUInt32LE(at);
 *       at += length;
 *     }
 */
export class Batch implements PackedMessages, Iterable<Uint8Array>, Disposable {
  readonly connection: Connection;
  /** How many messages it is. */
  readonly length: number;
  /** @internal The engine's number for it. */
  readonly id: number;
  /** @internal What counts against the window. */
  readonly byteCount: number;
  readonly #spare: BatchMemory;
  #memory: Buffer | undefined;
  #bytes: Buffer | undefined;
  #lengths: Uint16Array | undefined;
  #offsets: Uint32Array | undefined;

  /** @internal Copies `content`: `count` lengths, then the messages. */
  constructor(connection: Connection, id: number, count: number, content: Buffer, spare: BatchMemory) {
    this.connection = connection;
    this.id = id;
    this.length = count;
    this.byteCount = content.length;
    this.#spare = spare;
    this.#memory = spare.take(content.length);
    content.copy(this.#memory);
  }

  /** The messages back to back. Throws REGION_RELEASED after release(). */
  get bytes(): Buffer {
    return (this.#bytes ??= this.#own().subarray(this.length * LENGTH_BYTES, this.byteCount));
  }

  /** Bytes of each message. Throws REGION_RELEASED after release(). */
  get lengths(): Uint16Array {
    return (this.#lengths ??= new Uint16Array(this.#own().buffer, 0, this.length));
  }

  /**
   * The memory of this batch may be used for another one. What was made of it before this, views too, must not be looked at any
   * more: it changes. A second call does nothing.
   */
  release(): void {
    if (this.#memory !== undefined) this.#spare.give(this.#memory);
    this.#memory = this.#bytes = this.#lengths = undefined;
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** Message `index`, as Array.prototype.at: from the end when negative, undefined where there is none. */
  at(index: number): Uint8Array | undefined {
    const whole = Math.trunc(index) || 0;
    const place = whole < 0 ? this.length + whole : whole;
    const length = this.lengths[place];
    return length === undefined ? undefined : view(this.bytes, this.offsetOf(place), length);
  }

  /** Where message `index` begins in `bytes`. Throws RangeError where there is none. */
  offsetOf(index: number): number {
    const offset = (this.#offsets ??= offsetsOf(this.lengths))[index];
    if (offset === undefined) throw new RangeError(`A batch of ${this.length} has no message ${index}.`);
    return offset;
  }

  /** A view on each message in turn. */
  [Symbol.iterator](): IterableIterator<Uint8Array> {
    return new Views(this);
  }

  #own(): Buffer {
    if (this.#memory !== undefined) return this.#memory;
    throw new SplitplaneError('REGION_RELEASED', 'This batch was released. Look at it before that.');
  }
}

/** A generator would do, and take a third longer. */
class Views implements IterableIterator<Uint8Array> {
  readonly #bytes: Buffer;
  readonly #lengths: Uint16Array;
  #next = 0;
  #at = 0;

  constructor({ bytes, lengths }: Batch) {
    this.#bytes = bytes;
    this.#lengths = lengths;
  }

  next(): IteratorResult<Uint8Array, undefined> {
    const length = this.#lengths[this.#next++];
    if (length === undefined) return { value: undefined, done: true };
    const value = view(this.#bytes, this.#at, length);
    this.#at += length;
    return { value, done: false };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

function view({ buffer, byteOffset }: Buffer, offset: number, length: number): Uint8Array {
  return new Uint8Array(buffer, byteOffset + offset, length);
}

function offsetsOf(lengths: Uint16Array): Uint32Array {
  const offsets = new Uint32Array(lengths.length);
  for (let i = 1; i < lengths.length; i++) {
    offsets[i] = (offsets[i - 1] as number) + (lengths[i - 1] as number);
  }
  return offsets;
}
