// Buffers that go with messages between services: what a sender gives or lends, and how a receiver reaches it. A receiver sees
// the same thing whether the sender is a service beside it or on another host. Knows nothing of envelopes or queues.
import {
  checkRange,
  totalLength,
  type BufferSlice,
  type BufferSlices,
  type RegisteredBuffer,
} from '../dataplane/memory.js';
import { abortedError } from '../dataplane/operations.js';
import type { ResolveIntoOptions, ResolveOptions, WriteOptions } from '../dataplane/remote.js';
import { SplitplaneError } from '../errors.js';
import type { Access } from '../soap/references.js';

/** A buffer that its sender keeps. It must leave the bytes alone until the message has been released (see `lend`). */
export class Lent {
  /** @internal Made by lend(). */
  constructor(
    readonly slices: BufferSlices,
    readonly access: Access,
    /** @internal Called once, when nobody who was lent the buffer by this message uses it any more. */
    readonly returned: (() => void) | undefined,
    /** @internal How often its receiver may resolve it or write there. */
    readonly uses: number,
  ) {}
}

/**
 * Lends a buffer, or parts of one, instead of giving it away: the sender still has to release it. `read` lets the receiver
 * resolve it, `write` lets it write there: once, or `uses` times (1 to 64, or Infinity). `returned` is called when the receiver is
 * done with it, or the message failed.
 */
export function lend(
  slices: BufferSlices,
  access: 'read' | 'write' = 'read',
  returned?: () => void,
  uses = 1,
): Lent {
  return new Lent(slices, access, returned, uses);
}

/** What a sender puts where a body has a buffer: a whole buffer changes owner, anything else is lent. */
export type Giving = RegisteredBuffer | Lent;

/** Bytes that a receiver can look at until it releases them. Passing it on in a message lends or gives it on. */
export interface ResolvedBuffer extends BufferSlice, Disposable {
  readonly bytes: Buffer;
  release(): void;
}

/** A buffer as its receiver sees it: nothing has moved yet. */
export interface Attached {
  /** In bytes. */
  readonly length: number;
  readonly access: Access;
  /**
   * The bytes, in registered memory that the caller releases: the sender's own buffer where that is in this process, else
   * a new one into which they were moved. Once per message, unless its sender lent it for more. Rejects as
   * RemoteBuffer.resolve does.
   */
  resolve(options?: ResolveOptions & { into?: undefined }): Promise<ResolvedBuffer>;
  /** Moves the bytes into memory that the caller has. */
  resolve(options: ResolveIntoOptions): Promise<undefined>;
  /** Writes into the sender's memory, if it lent it for that. */
  write(from: BufferSlices | Uint8Array, options?: WriteOptions): Promise<void>;
}

/** How many bytes are given or lent. */
export function givenLength(giving: Giving): number {
  return totalLength(giving instanceof Lent ? giving.slices : giving);
}

/** Gives back what a message that failed, or was never sent, carried: given buffers are released, lent ones return. */
export function giveBack(gifts: readonly { readonly giving: Giving }[]): void {
  for (const { giving } of gifts) {
    if (giving instanceof Lent) giving.returned?.();
    else giving.release();
  }
}

/** A buffer of a service in this process. Its receiver gets it as it is; nothing is copied unless asked for. */
export class LocalAttached implements Attached {
  readonly length: number;
  readonly access: Access;
  readonly #giving: Giving;
  #usesLeft: number;
  /** How many views of what was lent the receiver holds, and how many reads of a lent file are under way. */
  #held = 0;
  #over = false;
  #returned = false;

  constructor(giving: Giving) {
    this.#giving = giving;
    this.length = givenLength(giving);
    this.access = giving instanceof Lent ? giving.access : 'read';
    this.#usesLeft = giving instanceof Lent ? giving.uses : 1;
  }

  resolve(options?: ResolveOptions & { into?: undefined }): Promise<ResolvedBuffer>;
  resolve(options: ResolveIntoOptions): Promise<undefined>;
  resolve(
    options: ResolveOptions & { into?: BufferSlices | Uint8Array | undefined } = {},
  ): Promise<ResolvedBuffer | undefined> {
    try {
      return Promise.resolve(this.#resolve(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  write(from: BufferSlices | Uint8Array, options: WriteOptions = {}): Promise<void> {
    try {
      this.#check('write', options);
      const { offset = 0 } = options;
      const target = gather(this.#slices());
      const bytes = from instanceof Uint8Array ? [from] : gather(from);
      copy(bytes, target, offset, this.length);
      this.#usesLeft--;
      this.#returnIfDone();
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The message was released: what was not taken goes back. */
  release(): void {
    if (this.#over) return;
    this.#over = true;
    const giving = this.#giving;
    if (giving instanceof Lent) this.#returnIfDone();
    else if (this.#usesLeft > 0) giving.release();
  }

  #resolve(
    options: ResolveOptions & { into?: BufferSlices | Uint8Array | undefined },
  ): ResolvedBuffer | Promise<RegisteredBuffer | undefined> | undefined {
    const { range, into } = options;
    const offset = range?.offset ?? 0;
    const length = range?.length ?? this.length - offset;
    checkRange(offset, length, this.length);
    if (length === 0)
      throw new SplitplaneError('INVALID_ARGUMENT', 'There are no bytes in this range to resolve.');
    this.#check('read', options);
    const giving = this.#giving;
    const file = fileOf(this.#slices());
    if (file !== undefined) return this.#readFile(file, offset, length, into);
    if (into !== undefined) {
      const target = into instanceof Uint8Array ? [into] : gather(into);
      copyRange(gather(this.#slices()), offset, length, target);
      this.#usesLeft--;
      if (giving instanceof Lent) this.#returnIfDone();
      else giving.release();
      return undefined;
    }
    if (giving instanceof Lent) {
      const slice = sliceOf(giving.slices, offset, length);
      this.#usesLeft--;
      this.#held++;
      return new Borrowed(slice, () => {
        this.#held--;
        this.#returnIfDone();
      });
    }
    this.#usesLeft--;
    if (offset === 0 && length === this.length) return giving;
    // The whole buffer is the receiver's now; the part is a view of it that releases it.
    return new Borrowed(giving.slice(offset, length), () => {
      giving.release();
    });
  }

  /** A file has no bytes in memory; they are read, in this process, into memory of the receiver's. */
  async #readFile(
    file: BufferSlice,
    offset: number,
    length: number,
    into: BufferSlices | Uint8Array | undefined,
  ): Promise<RegisteredBuffer | undefined> {
    this.#usesLeft--;
    this.#held++;
    try {
      const from = file.offset + offset;
      if (into === undefined) return await file.buffer.loadFile(from, length);
      const parts = into instanceof Uint8Array ? [into] : gather(into);
      checkRoom(parts, length);
      let at = from;
      for (const part of parts) {
        await file.buffer.readFile(part, at);
        at += part.length;
      }
      return undefined;
    } finally {
      this.#held--;
      if (this.#giving instanceof Lent) this.#returnIfDone();
      else this.#giving.release();
    }
  }

  #slices(): BufferSlices {
    return this.#giving instanceof Lent ? this.#giving.slices : this.#giving;
  }

  /** Throws where it cannot be used for this (any more). What fails afterwards has not used it up. */
  #check(access: Access, { signal }: { signal?: AbortSignal | undefined }): void {
    if (signal?.aborted === true) throw abortedError(signal);
    if (this.#over)
      throw new SplitplaneError('TAG_UNKNOWN', 'The message was released. Resolve buffers before that.');
    if (access !== this.access) {
      throw new SplitplaneError(
        'TAG_DIRECTION',
        `The buffer may be ${this.access === 'read' ? 'read' : 'written'} only.`,
      );
    }
    if (this.#usesLeft === 0) {
      throw new SplitplaneError(
        'TAG_EXHAUSTED',
        'The buffer was resolved already. Keep what resolve() gave.',
      );
    }
  }

  /** What was lent returns when it has been used as often as it can be, or will not be any more. */
  #returnIfDone(): void {
    if (this.#returned || this.#held > 0 || !(this.#usesLeft === 0 || this.#over)) return;
    this.#returned = true;
    if (this.#giving instanceof Lent) this.#giving.returned?.();
  }
}

/** A view on memory that somebody else owns, or a part of a buffer that came with a message. */
class Borrowed implements ResolvedBuffer {
  readonly buffer: RegisteredBuffer;
  readonly offset: number;
  readonly length: number;
  readonly #release: () => void;
  #released = false;

  constructor({ buffer, offset, length }: BufferSlice, release: () => void) {
    this.buffer = buffer;
    this.offset = offset;
    this.length = length;
    this.#release = release;
  }

  get bytes(): Buffer {
    if (this.#released) {
      throw new SplitplaneError('REGION_RELEASED', 'This buffer was released. Look at it before that.');
    }
    return this.buffer.bytes.subarray(this.offset, this.offset + this.length);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** The file that was given or lent, if it is one. */
function fileOf(slices: BufferSlices): BufferSlice | undefined {
  if ('buffer' in slices) return slices.buffer.inMemory ? undefined : slices;
  if (slices.every(({ buffer }) => buffer.inMemory)) return undefined;
  if (slices.length === 1) return slices[0];
  throw new SplitplaneError(
    'UNSUPPORTED',
    'A file and other buffers were sent as one. Send the file by itself.',
  );
}

function sliceOf(slices: BufferSlices, offset: number, length: number): BufferSlice {
  const list = 'buffer' in slices ? [slices] : slices;
  let at = 0;
  for (const slice of list) {
    if (offset >= at && offset + length <= at + slice.length) {
      return { buffer: slice.buffer, offset: slice.offset + offset - at, length };
    }
    at += slice.length;
  }
  throw new SplitplaneError(
    'UNSUPPORTED',
    'The buffer lies in several pieces. Resolve it into memory of your own.',
  );
}

function gather(slices: BufferSlices): Uint8Array[] {
  const list = 'buffer' in slices ? [slices] : slices;
  return list.map(({ buffer, offset, length }) => buffer.bytes.subarray(offset, offset + length));
}

function copyRange(
  from: readonly Uint8Array[],
  offset: number,
  length: number,
  into: readonly Uint8Array[],
): void {
  checkRoom(into, length);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const part of from) {
    const begin = Math.max(0, offset - at);
    const end = Math.min(part.length, offset + length - at);
    if (begin < end) parts.push(part.subarray(begin, end));
    at += part.length;
  }
  copy(parts, into, 0, length);
}

function checkRoom(into: readonly Uint8Array[], length: number): void {
  const room = into.reduce((sum, part) => sum + part.length, 0);
  if (room === length) return;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `The range has ${length} bytes and the memory to resolve into ${room}. Make them equal.`,
  );
}

/** Copies all of `from` into `into`, whose bytes count as one range of `total`, from `offset` on. */
function copy(from: readonly Uint8Array[], into: readonly Uint8Array[], offset: number, total: number): void {
  checkRange(
    offset,
    from.reduce((sum, part) => sum + part.length, 0),
    total,
  );
  let index = 0;
  let at = offset;
  for (let part of from) {
    while (part.length > 0) {
      const target = into[index] as Uint8Array;
      if (at >= target.length) {
        at -= target.length;
        index++;
        continue;
      }
      const count = Math.min(part.length, target.length - at);
      target.set(part.subarray(0, count), at);
      part = part.subarray(count);
      at += count;
    }
  }
}
