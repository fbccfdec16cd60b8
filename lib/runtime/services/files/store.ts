// Receives a file: pulls ranges of what a peer's message refers to into registered buffers, several at once, and writes them one
// after the other; then compares digests and gives the file its name. The same for `get`, where this side asked, and for
// `put`, where the peer did.
import { SplitplaneError, type ErrorCode } from '../../../errors.js';
import type { RegisteredBuffer } from '../../../dataplane/memory.js';
import type { Attached } from '../../attached.js';
import { errnoOf, Failure } from '../../failure.js';
import { Limiter } from './limiter.js';
import type { Hashes } from './hashes.js';
import { Partial } from './partial.js';
import type { Directory } from './root.js';

/** Bytes that one read of the peer's file moves. */
export const RANGE_BYTES = 4 << 20;
/** Ranges in flight for one file: one on the network, one being written, and those that keep both from waiting. */
const RANGES_IN_FLIGHT = 4;
/**
 * Ranges in flight for all files, and for those of one asker: what a process holds in buffers is this times RANGE_BYTES, and once more
 * for each asker that finds them taken. A peer that stops answers for none of its ranges, and has them until its requests end.
 */
const RANGES_IN_FLIGHT_MAX = 16;
const ASKER_RANGES_IN_FLIGHT_MAX = 12;
/** What is smaller is sent anew after a break: finding out how much of it is there would cost as much. */
export const RESUMABLE_BYTES_MIN = RANGE_BYTES;

/** After these the beginning that was received is kept for a later transfer; after all others it is of no use. */
const RESUMABLE: readonly ErrorCode[] = [
  'CONNECTION_LOST',
  'PEER_UNRESPONSIVE',
  'SESSION_EXPIRED',
  'CLOSED',
  'ABORTED',
  'DEADLINE_EXCEEDED',
  // The sender gave up, which it may tell in either order.
  'TAG_REVOKED',
  'TAG_UNKNOWN',
];

/** What receiving files shares. */
export class Receiver {
  readonly #allocate: (length: number) => RegisteredBuffer;
  readonly #hashes: Hashes;
  readonly #buffers = new Limiter(RANGES_IN_FLIGHT_MAX, ASKER_RANGES_IN_FLIGHT_MAX);

  constructor(allocate: (length: number) => RegisteredBuffer, hashes: Hashes) {
    this.#allocate = allocate;
    this.#hashes = hashes;
  }

  /**
   * Stores a file. Settles when it is on the disk under its name. Rejects with what moving, writing and `accept` reject
   * with; then no file was changed, and a partial one remains only if it can be resumed.
   */
  async store(directory: Directory, name: string, incoming: Incoming): Promise<Stored> {
    await using partial = await Partial.open(directory, name, incoming.mode, this.#hashes);
    try {
      const resumedFrom = await incoming.start(partial);
      await partial.begin(resumedFrom, incoming.verify);
      await this.#pull(partial, incoming, resumedFrom);
      const sha256 = await partial.sha256();
      await incoming.accept(sha256, partial.shown);
      throwIfAborted(incoming.signal);
      const version = await partial.commit(incoming.mode);
      return { resumedFrom, sha256, version };
    } catch (error) {
      if (!isResumable(error, incoming.size)) await partial.discard();
      throw error;
    }
  }

  async #pull(partial: Partial, incoming: Incoming, from: number): Promise<void> {
    const { asker, remote, size, onBytes } = incoming;
    if (remote === undefined) return;
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, incoming.signal]);
    let next = from;
    let previous = Promise.resolve();
    const move = async (offset: number, length: number, turn: Promise<void>): Promise<void> => {
      throwIfAborted(signal);
      using buffer = this.#allocate(length);
      // No CRC32C: the digest of the whole file covers the bytes from disk to disk, and without a checksum to compute the
      // sender's kernel moves them from the file to the socket by itself.
      await remote.resolve({ into: buffer, range: { offset, length }, checksum: false, signal });
      await turn;
      throwIfAborted(signal);
      await partial.write(buffer.bytes, offset);
      onBytes(length);
    };
    const lane = async (): Promise<void> => {
      while (next < size && !signal.aborted) {
        const offset = next;
        next += Math.min(RANGE_BYTES, size - offset);
        const length = next - offset;
        const turn = previous;
        const moved = this.#buffers.run(asker, () => move(offset, length, turn));
        previous = moved.catch(() => undefined);
        await moved.catch((error: unknown) => {
          stop.abort(error);
        });
      }
    };
    await Promise.all(Array.from({ length: RANGES_IN_FLIGHT }, lane));
    // Who ended it says more than what that ended.
    throwIfAborted(incoming.signal);
    if (stop.signal.aborted) throw stop.signal.reason;
  }
}

/** A file that is to be received. */
export interface Incoming {
  /** Whoever has it received, where that is not this side. */
  readonly asker?: unknown;
  /** The sender's bytes; undefined when there are none. */
  readonly remote: Attached | undefined;
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Whether digests are compared at the end. */
  readonly verify: boolean;
  readonly signal: AbortSignal;
  /** Where to go on, having seen what is there: 0 or all of it. */
  start(partial: Partial): Promise<number>;
  /** Everything has been written, with this digest if `verify`. Rejects when it must not be stored. */
  accept(sha256: string | undefined, shown: string): Promise<void>;
  readonly onBytes: (count: number) => void;
}

export interface Stored {
  /** Bytes that an earlier transfer had brought. */
  readonly resumedFrom: number;
  readonly sha256: string | undefined;
  /** Of the file that is there now. */
  readonly version: string;
}

function isResumable(error: unknown, size: number): boolean {
  if (size < RESUMABLE_BYTES_MIN || errnoOf(error) !== undefined) return false;
  return error instanceof SplitplaneError && RESUMABLE.includes(error.code);
}

/** ABORTED, or the failure that the signal was aborted with. */
function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  if (signal.reason instanceof SplitplaneError) throw signal.reason;
  throw new SplitplaneError(
    'ABORTED',
    'The transfer was interrupted. Run the command again to go on from there.',
    {
      cause: signal.reason,
    },
  );
}

/** Throws CHECKSUM_MISMATCH unless the digests of a file are equal. */
export function checkEqual(here: string | undefined, there: string, path: string): void {
  if (here === there) return;
  throw new Failure(
    'CHECKSUM_MISMATCH',
    `The SHA-256 of what arrived of ${path} is not the sender's, and it was not stored. Transfer it again; if it happens twice, suspect memory or disk.`,
    { path },
  );
}
