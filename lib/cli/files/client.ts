// The asking side of file transfers: lists what is at a peer, gets files, puts files. One connection; knows nothing of
// command lines.
import { randomUUID } from 'node:crypto';
import { SplitplaneError } from '../../errors.js';
import { Files, lend, type Proxy, type ReceivedResponse } from '../../runtime/index.js';
import { asked, type Client } from '../client.js';
import { errnoOf, Failure } from '../../runtime/failure.js';
import type { Hashes } from '../../runtime/services/files/hashes.js';
import { fileChanged, type Directory, type FoundFile, type Kind } from '../../runtime/services/files/root.js';
import { digestOf, registered } from '../../runtime/services/files/source.js';
import {
  checkEqual,
  Receiver,
  RESUMABLE_BYTES_MIN,
  type Stored,
} from '../../runtime/services/files/store.js';

/** The name of the service that has them. */
export const FILES = 'files';
/** What is asked takes as long as the file does; what ends it is the connection, or Ctrl-C. */
const timeoutMs = 24 * 3600 * 1000;

type Page = ReceivedResponse<(typeof Files)['operations']['list']>;

/** A name in a peer's directory. */
export interface RemoteEntry {
  readonly name: string;
  readonly kind: Kind;
  /** In bytes; 0 unless it is a file. */
  readonly size: number;
}

export interface TransferOptions {
  /** Whether digests are compared at the end. */
  readonly verify: boolean;
  readonly signal: AbortSignal;
  /** Bytes that are in place, those of an earlier transfer included. */
  readonly onBytes: (count: number) => void;
}

/** A file that was transferred. */
export interface Transferred extends Omit<Stored, 'version'> {
  readonly bytes: number;
}

export class FileClient {
  readonly #client: Client;
  readonly #files: Proxy<typeof Files>;
  readonly #hashes: Hashes;
  readonly #receiver: Receiver;

  constructor(client: Client, hashes: Hashes) {
    this.#client = client;
    this.#files = client.proxy(Files, FILES);
    this.#hashes = hashes;
    this.#receiver = new Receiver((length) => client.manager.allocate(length), hashes);
  }

  /** What is at `path`; undefined when there is nothing. */
  async stat(path: string, signal: AbortSignal): Promise<{ kind: Kind; size: number } | undefined> {
    try {
      const { kind, size = 0 } = await asked(this.#files.stat({ path }, { signal, timeoutMs }));
      return { kind, size };
    } catch (error) {
      if (error instanceof Failure && error.errno === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** The names in a directory, page by page, in their order. */
  async *list(path: string, signal: AbortSignal): AsyncGenerator<RemoteEntry, void, void> {
    let after: string | undefined;
    for (;;) {
      const { entries, more } = await asked(this.#files.list({ path, after }, { signal, timeoutMs }));
      yield* entries.map(readEntry);
      const last = entries.at(-1)?.name;
      if (!more || last === undefined) return;
      // The peer chooses names and order; without this it could go on for ever.
      if (after !== undefined && last <= after) throw lyingPeer('a directory that does not advance');
      after = last;
    }
  }

  async makeDirectory(path: string, signal: AbortSignal): Promise<void> {
    await asked(this.#files.makeDirectory({ path }, { signal, timeoutMs }));
  }

  /** Gets the file at `path` as `name` in `directory`. Settles and rejects as Receiver.store does. */
  async get(
    path: string,
    directory: Directory,
    name: string,
    options: TransferOptions,
  ): Promise<Transferred> {
    const { verify, signal, onBytes } = options;
    using file = await asked(this.#files.get({ path }, { signal, timeoutMs }));
    const { size, mode, version, content: remote } = file;
    if ((remote?.length ?? 0) !== size) throw lyingPeer('a file of another length than it says');
    const digest = (length: number): Promise<string> =>
      asked(this.#files.digest({ path, length, version }, { signal, timeoutMs })).then(
        ({ sha256 }) => sha256,
      );
    // Asked now, so that the peer computes it while the bytes are moving.
    const whole = verify ? digest(size) : undefined;
    whole?.catch(() => undefined);
    try {
      const stored = await this.#receiver.store(directory, name, {
        remote,
        size,
        mode,
        verify,
        signal,
        start: async (partial) => {
          if (partial.size < RESUMABLE_BYTES_MIN || partial.size > size) return 0;
          const [here, there] = await Promise.all([partial.prefixDigest(), digest(partial.size)]);
          if (here !== there) return 0;
          onBytes(partial.size);
          return partial.size;
        },
        accept: async (sha256, shown) => {
          if (whole === undefined) await this.#checkVersion(version, path, signal);
          else checkEqual(sha256, await whole, shown);
        },
        onBytes,
      });
      return { bytes: size, ...stored };
    } catch (error) {
      // Was it the network or a disk, or did the file change after its digest was taken?
      if (isMismatch(error)) await this.#checkVersion(version, path, signal);
      throw error;
    }
  }

  /** Puts a file at `path`. Settles when it is on the peer's disk under its name. */
  async put(file: FoundFile, path: string, options: TransferOptions): Promise<Transferred> {
    const { verify, signal } = options;
    const from = await this.#resumeAt(file, path, options);
    using region = await registered((place) => this.#client.manager.registerFile(place), file);
    const transfer = randomUUID();
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const told = verify ? this.#tellDigest(file, transfer, either) : Promise.resolve();
    // When this side cannot say what the file is, the peer must not store it.
    told.catch((error: unknown) => {
      stop.abort(error);
    });
    try {
      const content = region === undefined ? undefined : lend(region, 'read', undefined, Infinity);
      const confirmed = verify ? { transfer } : {};
      const stored = await asked(
        this.#files.put(
          { path, mode: file.mode, from, content, ...confirmed },
          { signal: either, timeoutMs },
        ),
      );
      if (!verify)
        await file.checkUnchanged().catch(() => {
          throw storedTorn(path);
        });
      const { resumedFrom, sha256 } = stored;
      if (resumedFrom > file.size || (sha256 === undefined) === verify)
        throw lyingPeer('another file than it was sent');
      return { bytes: file.size, resumedFrom, sha256 };
    } catch (error) {
      if (stop.signal.aborted) throw stop.signal.reason;
      if (isMismatch(error)) await file.checkUnchanged();
      throw error;
    } finally {
      stop.abort();
      await told.catch(() => undefined);
    }
  }

  async #tellDigest(file: FoundFile, transfer: string, signal: AbortSignal): Promise<void> {
    const sha256 = await digestOf(this.#hashes, file, file.size, signal);
    await asked(this.#files.confirm({ transfer, sha256 }, { signal, timeoutMs }));
  }

  /** How much of the file the peer has from a transfer that broke off. */
  async #resumeAt(file: FoundFile, path: string, options: TransferOptions): Promise<number> {
    const { signal, onBytes } = options;
    if (file.size < RESUMABLE_BYTES_MIN) return 0;
    const { size, sha256 } = await asked(this.#files.partial({ path }, { signal, timeoutMs }));
    if (size < RESUMABLE_BYTES_MIN || size > file.size) return 0;
    if ((await digestOf(this.#hashes, file, size, signal)) !== sha256) return 0;
    onBytes(size);
    return size;
  }

  async #checkVersion(version: string, path: string, signal: AbortSignal): Promise<void> {
    const stat = asked(this.#files.stat({ path }, { signal, timeoutMs }));
    const now = await stat.catch((error: unknown) => {
      throw errnoOf(error) === 'ENOENT' ? fileChanged(path) : error;
    });
    if (now.version !== version) throw fileChanged(path);
  }
}

/** Without a digest the peer stores what it read before this side can know. */
function storedTorn(path: string): Failure {
  const message = `${path} changed while it was being transferred, and what was stored is a mixture. Transfer it again when it rests.`;
  return new Failure('FILE_CHANGED', message, { path });
}

function isMismatch(error: unknown): boolean {
  return error instanceof SplitplaneError && error.code === 'CHECKSUM_MISMATCH';
}

/** A name is a peer's word: it must be one, and lead nowhere. */
function readEntry({ name, kind, size = 0 }: Page['entries'][number]): RemoteEntry {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name))
    throw lyingPeer('a name that is none');
  return { name, kind, size };
}

function lyingPeer(what: string): Failure {
  return new Failure('PROTOCOL_VIOLATION', `The peer answered with ${what}. Nothing of it was used.`);
}
