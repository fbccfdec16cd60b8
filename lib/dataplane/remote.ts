// Memory of a peer, reached by a tag: resolving it into memory here, writing into it, atomics on it. What came inline with
// a message looks the same and is resolved without the network. Knows nothing of envelopes.
import { SplitplaneError } from '../errors.js';
import type { Access } from './exposure.js';
import {
  checkRange,
  putSlices,
  totalLength,
  type BufferSlices,
  type Memory,
  type RegisteredBuffer,
} from './memory.js';
import { abortedError, type OperationOptions, type Operations } from './operations.js';
import type { NativeEngine } from './native.js';
import { RELEASED_TAGS_MAX, type SharedBlocks } from './shared-blocks.js';

/** Kinds of atomics, as in native/transport/transport.h. */
const COMPARE_AND_SWAP = 1;
const FETCH_AND_ADD = 2;

/** A range of bytes within what a tag stands for. */
export interface ByteRange {
  readonly offset: number;
  /** To the end when left out. */
  readonly length?: number | undefined;
}

export interface TransferOptions extends OperationOptions {
  /**
   * Whether the bytes are protected by CRC32C and verified before the promise settles: CHECKSUM_MISMATCH. True unless
   * switched off.
   */
  readonly checksum?: boolean | undefined;
}

export interface ResolveOptions extends TransferOptions {
  /** What to resolve; everything when left out. */
  readonly range?: ByteRange | undefined;
}

export interface ResolveIntoOptions extends ResolveOptions {
  /**
   * Where to put the bytes, exactly as long as the range: registered memory, or a Uint8Array that is registered for the
   * while. It must not be touched before the promise settles.
   */
  readonly into: BufferSlices | Uint8Array;
}

export interface WriteOptions extends TransferOptions {
  /** Where in the peer's memory to begin; 0 when left out. */
  readonly offset?: number | undefined;
  /** Tell the owner when the last byte is in place (Exposure.notifications). */
  readonly notify?: boolean | undefined;
}

/** What an engine's remote buffers share. */
export interface RemoteAccess {
  readonly engine: NativeEngine;
  readonly shared: SharedBlocks;
  readonly memory: Memory;
  readonly operations: Operations;
}

/** What a tag stands for. */
export class RemoteBuffer {
  /** The capability, 43 characters of base64url; undefined when the bytes came with the message. */
  readonly tag: string | undefined;
  /** In bytes. */
  readonly length: number;
  readonly access: Access;
  readonly #access: RemoteAccess;
  readonly #session: number;
  readonly #inline: Buffer | undefined;

  /** @internal */
  constructor(
    access: RemoteAccess,
    session: number,
    what: { tag: string | undefined; length: number; access: Access; inline?: Buffer | undefined },
  ) {
    this.#access = access;
    this.#session = session;
    this.tag = what.tag;
    this.length = what.length;
    this.access = what.access;
    this.#inline = what.inline;
  }

  /** The bytes, if they came inline with the message; then nothing has to be resolved. They are the receiver's to keep. */
  get inline(): Buffer | undefined {
    return this.#inline;
  }

  /**
   * Moves the bytes into a new registered buffer, which the caller releases. Settles when every byte is in place and
   * verified. Rejects with TAG_UNKNOWN, TAG_EXPIRED, TAG_EXHAUSTED, TAG_REVOKED, TAG_DIRECTION, CHECKSUM_MISMATCH,
   * FILE_CHANGED, ABORTED, DEADLINE_EXCEEDED, CONNECTION_LOST, CLOSED; then nothing is left allocated.
   */
  resolve(options?: ResolveOptions & { into?: undefined }): Promise<RegisteredBuffer>;
  /** Moves the bytes into memory that the caller has; otherwise the same. On failure its contents are undefined. */
  resolve(options: ResolveIntoOptions): Promise<undefined>;
  resolve(
    options: ResolveOptions & { into?: BufferSlices | Uint8Array | undefined } = {},
  ): Promise<RegisteredBuffer | undefined> {
    try {
      const offset = options.range?.offset ?? 0;
      const length = options.range?.length ?? this.length - offset;
      checkRange(offset, length, this.length);
      if (length === 0)
        throw new SplitplaneError('INVALID_ARGUMENT', 'There are no bytes in this range to resolve.');
      const view = options.into === undefined ? this.#view(offset, length, options) : undefined;
      if (view === undefined) return this.#move(offset, length, options);
      const turn = this.#access.operations.turns.spend();
      return turn === undefined ? Promise.resolve(view) : turn.then(() => view);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Writes `from` into the peer's memory. Settles when every byte is there and verified by the peer. Rejects as resolve
   * does; then the peer's bytes in the range are undefined, and its owner was not notified.
   */
  async write(from: BufferSlices | Uint8Array, options: WriteOptions = {}): Promise<void> {
    const { offset = 0, checksum = true, notify = false } = options;
    const registered = from instanceof Uint8Array ? this.#access.memory.register(from) : undefined;
    const slices = registered ?? (from as BufferSlices);
    try {
      checkRange(offset, totalLength(slices), this.length);
      await this.#run(options, slices, (session, count) =>
        this.#access.engine.write(session, offset, count, checksum ? 1 : 0, notify ? 1 : 0),
      );
    } finally {
      registered?.release();
    }
  }

  /**
   * Stores `desired` in the little-endian unsigned 64-bit word at `offset` (a multiple of 8) if it is `expected`, as one
   * step. Settles with the word that was there: equal to `expected` when it was stored. Rejects with CONNECTION_LOST
   * when the connection broke meanwhile; then nobody knows whether it was.
   */
  compareAndSwap(
    offset: number,
    expected: bigint,
    desired: bigint,
    options: OperationOptions = {},
  ): Promise<bigint> {
    return this.#atomic(COMPARE_AND_SWAP, offset, desired, expected, options);
  }

  /** Adds `delta` to the word at `offset`, modulo 2^64, as one step. Settles with the word before. */
  fetchAndAdd(offset: number, delta: bigint, options: OperationOptions = {}): Promise<bigint> {
    return this.#atomic(FETCH_AND_ADD, offset, delta, 0n, options);
  }

  /** The owner's own memory, where it can be seen from here. */
  #view(offset: number, length: number, options: OperationOptions): RegisteredBuffer | undefined {
    const { tag } = this;
    if (tag === undefined || options.signal?.aborted === true) return undefined;
    return this.#access.memory.view(this.#session, tag, offset, length);
  }

  async #move(
    offset: number,
    length: number,
    options: ResolveOptions & { into?: BufferSlices | Uint8Array | undefined },
  ): Promise<RegisteredBuffer | undefined> {
    const { into } = options;
    if (into !== undefined && !(into instanceof Uint8Array)) {
      await this.#read(offset, length, into, options);
      return undefined;
    }
    const { memory } = this.#access;
    const buffer = into === undefined ? memory.allocate(length) : memory.register(into);
    try {
      await this.#read(offset, length, buffer, options);
    } catch (error) {
      buffer.release();
      throw error;
    }
    if (into === undefined) return buffer;
    buffer.release();
    return undefined;
  }

  async #atomic(kind: number, offset: number, operand: bigint, compare: bigint, options: OperationOptions) {
    checkRange(offset, 8, this.length);
    return await this.#run(options, undefined, (session) => {
      this.#access.shared.putOperands(BigInt.asUintN(64, operand), BigInt.asUintN(64, compare));
      return this.#access.engine.atomic(session, offset, kind);
    });
  }

  #read(offset: number, length: number, into: BufferSlices, options: ResolveOptions): Promise<unknown> {
    if (totalLength(into) !== length) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `The range has ${length} bytes and the memory to resolve into ${totalLength(into)}. Make them equal.`,
      );
    }
    if (this.#inline !== undefined) {
      if (options.signal?.aborted === true) throw abortedError(options.signal);
      copyInto(into, this.#inline.subarray(offset, offset + length));
      return Promise.resolve();
    }
    const checksum = options.checksum === false ? 0 : 1;
    return this.#run(options, into, (session, count) =>
      this.#access.engine.read(session, offset, count, checksum),
    );
  }

  #run(
    options: OperationOptions,
    slices: BufferSlices | undefined,
    post: (session: number, sliceCount: number) => number,
  ): Promise<bigint> {
    const { tag } = this;
    if (tag === undefined) {
      throw new SplitplaneError(
        'UNSUPPORTED',
        'The bytes came inline with the message; there is no peer memory behind it.',
      );
    }
    const { engine, shared, operations } = this.#access;
    return operations.run(() => {
      const count = slices === undefined ? 0 : putSlices(shared, slices, engine);
      shared.putTag(tag);
      return post(this.#session, count);
    }, options);
  }
}

/** Tells the peer that what these stand for is not needed any more. */
export function releaseTags(
  { engine, shared }: RemoteAccess,
  session: number,
  references: readonly { readonly tag: string | undefined }[],
): void {
  let count = 0;
  for (const { tag } of references) {
    if (tag === undefined) continue;
    if (count === RELEASED_TAGS_MAX) {
      engine.releaseTags(session, count);
      count = 0;
    }
    shared.putReleasedTag(count++, tag);
  }
  if (count > 0) engine.releaseTags(session, count);
}

function copyInto(into: BufferSlices, bytes: Buffer): void {
  let at = 0;
  for (const { buffer, offset, length } of 'buffer' in into ? [into] : into) {
    bytes.copy(buffer.bytes, offset, at, at + length);
    at += length;
  }
}
