// Cuts what sendBatch is given into batches that fit a frame, and packs each into the send arena when the engine has room
// for it. Every mistake of the caller is found before the first byte is sent.
import type { Dataplane } from '../dataplane/dataplane.js';
import { SplitplaneError } from '../errors.js';
import { BATCH_BYTES, LENGTH_BYTES, type PackedMessages } from './batch.js';

/** Bytes in the longest message of a batch: what its length on the wire can say. */
export const BATCHED_BYTES_MAX = 0xffff;
/** What one sendBatch() has left to send. */
export interface Packing {
  /** Bytes of all its messages. */
  readonly byteLength: number;
  readonly done: boolean;
  /** Queues the next batch; answers its id, 0 when there is no room. What is packed is the arena's. */
  enqueue(dataplane: Dataplane, session: number): number;
}

/** Throws INVALID_ARGUMENT and LIMIT_EXCEEDED. `messageBytesMax` is what the connection takes at once. */
export function packingOf(
  messages: readonly Uint8Array[] | PackedMessages,
  messageBytesMax: number,
): Packing {
  return Array.isArray(messages)
    ? new ListPacking(messages as readonly Uint8Array[], messageBytesMax)
    : new PackedPacking(messages as PackedMessages, messageBytesMax);
}

/** What both forms share: the lengths, and how far this has come. */
abstract class Cutting implements Packing {
  readonly byteLength: number;
  /** Of the messages that are queued already. */
  protected bytesQueued = 0;
  #next = 0;
  readonly #count: number;
  readonly #contentBytes: number;

  protected constructor(count: number, bytes: number, longest: number, messageBytesMax: number) {
    const most = Math.min(BATCHED_BYTES_MAX, messageBytesMax - LENGTH_BYTES);
    if (longest > most) {
      throw new SplitplaneError(
        'LIMIT_EXCEEDED',
        `A message of a batch has ${most} bytes at most on this connection, not ${longest}. Send large ones by reference, with send().`,
      );
    }
    this.byteLength = bytes;
    this.#count = count;
    this.#contentBytes = Math.min(messageBytesMax, Math.max(BATCH_BYTES, longest + LENGTH_BYTES));
  }

  get done(): boolean {
    return this.#next === this.#count;
  }

  enqueue(dataplane: Dataplane, session: number): number {
    const lengths = dataplane.sendLengths;
    let bytes = 0;
    let at = this.#next;
    for (let place = 0; at < this.#count; at++, place++) {
      const length = this.lengthOf(at);
      bytes += length + LENGTH_BYTES;
      if (bytes > this.#contentBytes) {
        bytes -= length + LENGTH_BYTES;
        break;
      }
      lengths[place] = length;
    }
    const count = at - this.#next;
    const payloadBytes = bytes - count * LENGTH_BYTES;
    this.copy(dataplane.sendArena, count * LENGTH_BYTES, this.#next, at, payloadBytes);
    const id = dataplane.sendBatch(session, count, bytes);
    if (id !== 0) {
      this.#next = at;
      this.bytesQueued += payloadBytes;
    }
    return id;
  }

  protected abstract lengthOf(index: number): number;
  /** Puts messages `from` to `end` into the arena at `at`, back to back. */
  protected abstract copy(arena: Buffer, at: number, from: number, end: number, bytes: number): void;
}

class ListPacking extends Cutting {
  readonly #messages: readonly Uint8Array[];

  constructor(messages: readonly Uint8Array[], messageBytesMax: number) {
    let bytes = 0;
    let longest = 0;
    for (const message of messages) {
      if (!(message instanceof Uint8Array))
        throw invalid('Each message of a batch is a Uint8Array. Encode it before.');
      bytes += message.length;
      if (message.length > longest) longest = message.length;
    }
    super(messages.length, bytes, longest, messageBytesMax);
    this.#messages = messages;
  }

  protected lengthOf(index: number): number {
    return (this.#messages[index] as Uint8Array).length;
  }

  protected copy(arena: Buffer, at: number, from: number, end: number): void {
    let place = at;
    for (let i = from; i < end; i++) {
      const message = this.#messages[i] as Uint8Array;
      arena.set(message, place);
      place += message.length;
    }
  }
}

class PackedPacking extends Cutting {
  readonly #bytes: Uint8Array;
  readonly #lengths: Uint16Array | number;

  constructor({ bytes, lengths }: PackedMessages, messageBytesMax: number) {
    if (!(bytes instanceof Uint8Array))
      throw invalid('A batch is an array of Uint8Array, or { bytes, lengths }.');
    let count: number;
    let longest = 0;
    if (typeof lengths === 'number') {
      count = bytes.length / lengths;
      longest = lengths;
      if (!Number.isInteger(count) || lengths < 1)
        throw invalid(`${bytes.length} bytes are no whole number of messages of ${lengths} bytes.`);
    } else {
      if (!(lengths instanceof Uint16Array)) throw invalid('lengths is a Uint16Array, or one number.');
      let sum = 0;
      for (const length of lengths) {
        sum += length;
        if (length > longest) longest = length;
      }
      if (sum !== bytes.length)
        throw invalid(`The lengths add up to ${sum}, and there are ${bytes.length} bytes.`);
      count = lengths.length;
    }
    super(count, bytes.length, longest, messageBytesMax);
    this.#bytes = bytes;
    this.#lengths = lengths;
  }

  protected lengthOf(index: number): number {
    return typeof this.#lengths === 'number' ? this.#lengths : (this.#lengths[index] as number);
  }

  protected copy(arena: Buffer, at: number, _from: number, _end: number, bytes: number): void {
    const end = this.bytesQueued + bytes;
    // Both are the caller's to change while this waits for room; what else the arena holds is nobody's to see.
    if (this.#bytes.length < end)
      throw invalid('The lengths or bytes of a batch were changed while it was sent.');
    arena.set(this.#bytes.subarray(this.bytesQueued, end), at);
  }
}

function invalid(message: string): SplitplaneError {
  return new SplitplaneError('INVALID_ARGUMENT', message);
}
