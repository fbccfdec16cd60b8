// Registered memory in TypeScript: buffers from the pool as views on its slabs, memory that the user brings, and files.
// Knows nothing of tags or messages.
import { constants } from 'node:buffer';
import { open, type FileHandle } from 'node:fs/promises';
import { SplitplaneError } from '../errors.js';
import { Leaks, type LeakListener } from './leaks.js';
import { native, type MemoryCounters, type NativeEngine } from './native.js';
import { SLICES_MAX, type SharedBlocks } from './shared-blocks.js';

/** What release() does while tags or transfers still hold the memory. */
export interface ReleaseOptions {
  /**
   * `wait`, the default: let go now, the memory is reused when the last of them has ended.
   * `throw`: do nothing and throw REGION_BUSY.
   */
  readonly ifBusy?: 'wait' | 'throw';
}

/** A part of a registered buffer: what a tag can stand for and a transfer can fill. */
export interface BufferSlice {
  readonly buffer: RegisteredBuffer;
  /** In bytes, from the buffer's beginning. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

/**
 * Registered memory with one owner. Using `bytes` after release() is an error that nothing can detect: the memory may
 * belong to somebody else by then.
 */
export class RegisteredBuffer implements BufferSlice, Disposable {
  /** In bytes. */
  readonly length: number;
  /** 0: a buffer is the slice of itself that begins at 0. */
  readonly offset = 0;
  readonly #memory: Memory;
  readonly #handle: number;
  readonly #view: Buffer | undefined;
  readonly #file: OpenFile | undefined;
  /**
   * Whether `bytes` is another process's own memory, looked at where it is. It can be read, sent on and copied, and not be
   * resolved into.
   */
  readonly readOnly: boolean;
  #released = false;
  /** @internal Whether its collection would be noticed. */
  isWatched = false;

  /** @internal Made by Memory. */
  constructor(
    memory: Memory,
    handle: number,
    length: number,
    view: Buffer | undefined,
    file?: OpenFile,
    readOnly = false,
  ) {
    this.readOnly = readOnly;
    this.#memory = memory;
    this.#handle = handle;
    this.length = length;
    this.#view = view;
    this.#file = file;
  }

  /** This: so that a buffer is a BufferSlice. */
  get buffer(): this {
    return this;
  }

  /**
   * The memory itself, a view and not a copy. Throws REGION_RELEASED after release(), UNSUPPORTED for a file (read it
   * with node:fs), REGION_DETACHED when user code detached the memory.
   */
  get bytes(): Buffer {
    this.#checkHeld();
    if (this.#view === undefined) {
      throw new SplitplaneError(
        'UNSUPPORTED',
        'A registered file has no bytes in memory. Read it with node:fs.',
      );
    }
    if (this.#view.length !== this.length) {
      throw new SplitplaneError(
        'REGION_DETACHED',
        'The ArrayBuffer behind this buffer was transferred or detached. Do not transfer registered memory; copy it.',
      );
    }
    return this.#view;
  }

  /** `length` bytes from `offset`, as something to send or to resolve into. Throws INVALID_ARGUMENT outside. */
  slice(offset: number, length = this.length - offset): BufferSlice {
    checkRange(offset, length, this.length);
    return { buffer: this, offset, length };
  }

  /** False for a file. */
  get inMemory(): boolean {
    return this.#view !== undefined;
  }

  /**
   * Reads a part of a registered file, `into.length` bytes from `offset`, for whoever is in this process and needs no network for
   * it. Settles when all of it is there. Rejects with FILE_CHANGED when the file has become shorter, SYSTEM (cause: the
   * system's error), REGION_RELEASED, UNSUPPORTED for what is in memory anyway.
   */
  async readFile(into: Uint8Array, offset = 0): Promise<void> {
    this.#checkHeld();
    checkRange(offset, into.length, this.length);
    if (this.#file === undefined) {
      throw new SplitplaneError('UNSUPPORTED', 'This buffer is in memory. Look at its bytes.');
    }
    await this.#file.read(into, offset);
  }

  /** A part of a registered file in memory of its own, which the caller releases. Otherwise like readFile; throws OUT_OF_MEMORY. */
  async loadFile(offset: number, length: number): Promise<RegisteredBuffer> {
    const buffer = this.#memory.allocate(length);
    try {
      await this.readFile(buffer.bytes, offset);
      return buffer;
    } catch (error) {
      buffer.release();
      throw error;
    }
  }

  /** Whether release() was called. */
  get released(): boolean {
    return this.#released;
  }

  /** How many tags and transfers hold the memory now. */
  get holders(): number {
    return this.#released ? 0 : this.#memory.engine.holders(this.#handle);
  }

  /** Gives the memory back. A second call does nothing. Throws REGION_BUSY if asked to (ReleaseOptions). */
  release(options: ReleaseOptions = {}): void {
    if (this.#released) return;
    if (!this.#memory.release(this, this.#handle, options.ifBusy === 'throw')) {
      throw new SplitplaneError(
        'REGION_BUSY',
        'Tags or transfers still hold this memory. Wait until they end, revoke or abort them, or release with ifBusy: wait.',
      );
    }
    this.#released = true;
    if (this.#file !== undefined) this.#memory.closeFile(this.#file);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** @internal This engine's number for it. Throws REGION_RELEASED after release(), INVALID_ARGUMENT for another engine's. */
  handleIn(engine: NativeEngine): number {
    this.#checkHeld();
    if (engine === this.#memory.engine) return this.#handle;
    // To the other engine the number would stand for memory that nobody meant.
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      'This buffer belongs to another network manager. Allocate it from the one that sends or resolves it.',
    );
  }

  #checkHeld(): void {
    if (this.#released) {
      throw new SplitplaneError('REGION_RELEASED', 'This buffer was released. Allocate another.');
    }
  }
}

/** A registered file as this process reads it; the engine has a descriptor of its own. Reads that are under way end before it closes. */
class OpenFile {
  readonly #handle: FileHandle;
  readonly #begin: number;
  #reading = 0;
  #closing = false;

  constructor(handle: FileHandle, begin: number) {
    this.#handle = handle;
    this.#begin = begin;
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    this.#reading++;
    try {
      for (let done = 0; done < into.length;) {
        const at = this.#begin + offset + done;
        const { bytesRead } = await this.#handle.read(into, done, into.length - done, at);
        if (bytesRead === 0) {
          throw new SplitplaneError(
            'FILE_CHANGED',
            'The file became shorter while it was read. Read it again when it rests.',
          );
        }
        done += bytesRead;
      }
    } catch (cause) {
      if (cause instanceof SplitplaneError) throw cause;
      throw new SplitplaneError('SYSTEM', `The file cannot be read: ${(cause as Error).message}`, { cause });
    } finally {
      this.#reading--;
      this.#closeIfDone();
    }
  }

  close(): void {
    this.#closing = true;
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    // Nobody can do anything about a file that was only read and does not close.
    if (this.#closing && this.#reading === 0) void this.#handle.close().catch(() => undefined);
  }
}

/** Whatever can be sent from or resolved into: one slice or several, which then count as one range of bytes. */
export type BufferSlices = BufferSlice | readonly BufferSlice[];

/**
 * Puts the slices where the engine's next call takes them; answers how many. Throws REGION_RELEASED or INVALID_ARGUMENT. */
export function putSlices(shared: SharedBlocks, slices: BufferSlices, engine: NativeEngine): number {
  if ('buffer' in slices) {
    putSlice(shared, 0, slices, engine);
    return 1;
  }
  if (slices.length > SLICES_MAX) {
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `A tag or a transfer takes ${SLICES_MAX} slices at most, not ${slices.length}.`,
    );
  }
  slices.forEach((slice, index) => {
    putSlice(shared, index, slice, engine);
  });
  return slices.length;
}

function putSlice(shared: SharedBlocks, index: number, slice: BufferSlice, engine: NativeEngine): void {
  const { buffer, offset, length } = slice;
  checkRange(offset, length, buffer.length);
  shared.putSlice(index, buffer.handleIn(engine), offset, length);
}

/** Bytes in all slices together. */
export function totalLength(slices: BufferSlices): number {
  if ('buffer' in slices) return slices.length;
  return slices.reduce((sum, slice) => sum + slice.length, 0);
}

/** Throws INVALID_ARGUMENT unless the range lies within `total` bytes. */
export function checkRange(offset: number, length: number, total: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length >= 0 && offset + length <= total) return;
  throw new SplitplaneError(
    'INVALID_ARGUMENT',
    `The range of ${length} bytes from ${offset} does not lie within ${total} bytes.`,
  );
}

/** An engine's registered memory. */
export class Memory {
  readonly engine: NativeEngine;
  readonly #shared: SharedBlocks;
  readonly #slabs = new Map<number, ArrayBuffer>();
  readonly #leaks: Leaks;
  readonly #files = new Set<OpenFile>();
  #closed = false;

  constructor(engine: NativeEngine, shared: SharedBlocks, onLeak: LeakListener) {
    this.engine = engine;
    this.#shared = shared;
    this.#leaks = new Leaks(onLeak);
  }

  /**
   * A buffer of `length` bytes, 1 or more, whose contents are whatever was there before. Throws OUT_OF_MEMORY at the
   * manager's limit, LIMIT_EXCEEDED beyond what a Buffer can have here. Memory for a session is apart from all other, so that its
   * peer may be shown it whole.
   */
  allocate(length: number, session = 0): RegisteredBuffer {
    if (!Number.isSafeInteger(length) || length < 1) {
      throw new SplitplaneError('INVALID_ARGUMENT', `A buffer has 1 byte or more, not ${length}.`);
    }
    // Asked first: a length may be what a peer claims.
    if (length > constants.MAX_LENGTH) {
      throw new SplitplaneError(
        'LIMIT_EXCEEDED',
        `A buffer has at most ${constants.MAX_LENGTH} bytes in this version of Node.js, not ${length}. Use several, or ranges.`,
      );
    }
    const handle = native(() => this.engine.allocate(length, session));
    return this.#own(new RegisteredBuffer(this, handle, length, this.#show(handle, length)));
  }

  /**
   * The memory behind a session's `tag`, where the peer itself has it: read-only, and without a copy. Undefined where it
   * cannot be looked at from here.
   */
  view(session: number, tag: string, offset: number, length: number): RegisteredBuffer | undefined {
    if (length > constants.MAX_LENGTH) return undefined;
    this.#shared.putTag(tag);
    const handle = native(() => this.engine.view(session, offset, length));
    return handle < 0
      ? undefined
      : this.#own(new RegisteredBuffer(this, handle, length, this.#show(handle, length), undefined, true));
  }

  /** A region is gone from the engine; its memory goes when nobody has a view on it any more. */
  regionGone(region: number): void {
    this.#slabs.delete(region);
  }

  /** The buffer that the engine has just handed out; what cannot be shown goes back. */
  #show(handle: number, length: number): Buffer {
    const region = this.#shared.allocatedRegion;
    const offset = this.#shared.allocatedOffset;
    let slab = this.#slabs.get(region);
    // Empty: user code detached it. The memory is still the engine's, so it is shown anew.
    if (slab === undefined || slab.byteLength === 0) {
      slab = this.#slabOf(region, handle);
      this.#slabs.set(region, slab);
    }
    return Buffer.from(slab, offset, length);
  }

  /** A peer's slab may be longer than a buffer can be here, although the part that is looked at is not. */
  #slabOf(region: number, handle: number): ArrayBuffer {
    try {
      return native(() => this.engine.regionBuffer(region, constants.MAX_LENGTH));
    } catch (error) {
      this.engine.release(handle, 0);
      throw error;
    }
  }

  /**
   * Registers memory that the caller has. It must not be transferred or detached before release(); a transfer that
   * meets detached memory ends with REGION_DETACHED.
   */
  register(bytes: Uint8Array): RegisteredBuffer {
    if (bytes.length === 0) throw new SplitplaneError('INVALID_ARGUMENT', 'There are no bytes to register.');
    const handle = native(() => this.engine.registerUser(bytes));
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return this.#own(new RegisteredBuffer(this, handle, bytes.length, view));
  }

  /**
   * Registers a regular file, or a part of it, to be sent without reading it into memory first. Settles when the file is
   * open. A file that becomes shorter ends its transfers with FILE_CHANGED. Rejects with SYSTEM (cause: the system's
   * error) when it cannot be opened, INVALID_ARGUMENT when it is no regular file or shorter than the range.
   */
  async registerFile(
    path: string,
    range: { offset?: number; length?: number } = {},
  ): Promise<RegisteredBuffer> {
    let file: FileHandle;
    try {
      file = await open(path, 'r');
    } catch (cause) {
      throw new SplitplaneError('SYSTEM', `Cannot open ${path}: ${(cause as Error).message}`, { cause });
    }
    try {
      const facts = await file.stat();
      const offset = range.offset ?? 0;
      const length = range.length ?? facts.size - offset;
      if (!facts.isFile() || length < 1) {
        throw new SplitplaneError('INVALID_ARGUMENT', `${path} is no regular file with bytes in that range.`);
      }
      checkRange(offset, length, facts.size);
      const handle = native(() => this.engine.registerFile(file.fd, offset, length));
      const opened = new OpenFile(file, offset);
      this.#files.add(opened);
      return this.#own(new RegisteredBuffer(this, handle, length, undefined, opened));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get counters(): MemoryCounters {
    return native(() => this.engine.stats().memory);
  }

  /** @internal False: busy, and nothing was done. */
  release(buffer: RegisteredBuffer, handle: number, unlessBusy: boolean): boolean {
    if (!this.#closed && native(() => this.engine.release(handle, unlessBusy ? 1 : 0)) !== 0) return false;
    this.#leaks.forget(buffer);
    return true;
  }

  /** The engine is gone and its memory with it: release() has nothing left to give back, and is no error. */
  close(): void {
    this.#closed = true;
    this.#leaks.close();
    for (const file of this.#files) this.closeFile(file);
  }

  /** @internal */
  closeFile(file: OpenFile): void {
    this.#files.delete(file);
    file.close();
  }

  #own(buffer: RegisteredBuffer): RegisteredBuffer {
    this.#leaks.watch(buffer);
    return buffer;
  }
}
