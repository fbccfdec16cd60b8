// Small messages that travel together, as their receiver has them: bytes and lengths, and nothing that was parsed. Knows
// nothing of envelopes.
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

/**
 * Small messages that arrived together, in the order in which they were sent. The bytes are the batch's own: they were
 * copied out of the engine's memory once, for all messages together, and stay as they are for as long as somebody keeps
 * the batch or a view on it. There is nothing to release. (A view on memory that has to be given back would spare this
 * copy, which is a few nanoseconds a message, and whoever gives back too early would read another batch.)
 *
 * Iterating makes a view for every message. Who needs none reads `bytes` with `lengths`, or with offsetOf():
 *
 *     let at = 0;
 *     for (const length of batch.lengths) {
 *       sum += batch.bytes.readUInt32LE(at);
 *       at += length;
 *     }
 */
export class Batch implements PackedMessages, Iterable<Uint8Array> {
  readonly connection: Connection;
  /** The messages back to back. */
  readonly bytes: Buffer;
  /** Bytes of each message. */
  readonly lengths: Uint16Array;
  readonly #id: number;
  #offsets: Uint32Array | undefined;

  /** @internal Copies `content`: `count` lengths, then the messages. */
  constructor(connection: Connection, id: number, count: number, content: Buffer) {
    this.connection = connection;
    this.#id = id;
    const own = Buffer.allocUnsafeSlow(content.length);
    content.copy(own);
    this.lengths = new Uint16Array(own.buffer, 0, count);
    this.bytes = own.subarray(count * LENGTH_BYTES);
  }

  /** How many messages it is. */
  get length(): number {
    return this.lengths.length;
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

  /** @internal */
  get id(): number {
    return this.#id;
  }

  /** @internal What counts against the window. */
  get byteCount(): number {
    return this.bytes.length + this.length * LENGTH_BYTES;
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
