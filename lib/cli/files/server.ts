// The files of a serving process: what each action about files does, below one root. Bytes never pass through here: `Get` answers
// with a reference to the file, and `Put` reads what the peer refers to.
import { lstat } from 'node:fs/promises';
import type { Connection } from '../../network/connection.js';
import type { NetworkManager } from '../../network/manager.js';
import { include } from '../../soap/references.js';
import { errnoOf, Failure } from '../../runtime/failure.js';
import type { Answer, Call, Handlers } from '../service.js';
import { encodePath, FILE_CID, item } from '../wire.js';
import { Hashes } from '../../runtime/services/files/hashes.js';
import { isPartialName, Partial } from '../../runtime/services/files/partial.js';
import {
  fileChanged,
  kindOf,
  namesOf,
  type Directory,
  type Root,
} from '../../runtime/services/files/root.js';
import { digestOf, registered } from '../../runtime/services/files/source.js';
import { checkEqual, Receiver } from '../../runtime/services/files/store.js';

/** A page of a directory ends at either. An envelope has 256 KiB, and a name up to 255 bytes that are written as three each. */
const PAGE_ENTRIES_MAX = 512;
const PAGE_BYTES_MAX = 64 << 10;
const MODE_MAX = 0o777;

interface Expected {
  readonly sha256: Promise<string>;
  settle(sha256: string): void;
}

export class FileService implements AsyncDisposable {
  readonly #root: Root;
  readonly #readOnly: boolean;
  readonly #hashes = new Hashes();
  readonly #receiver: Receiver;
  /** Paths that are being written. */
  readonly #writing = new Set<string>();
  /** Digests that the senders of files still owe, by the id they gave their Put. */
  readonly #expected = new WeakMap<Connection, Map<string, Expected>>();

  constructor(root: Root, manager: NetworkManager, readOnly: boolean) {
    this.#root = root;
    this.#readOnly = readOnly;
    this.#receiver = new Receiver((length) => manager.allocate(length), this.#hashes);
  }

  get handlers(): Handlers {
    return {
      Stat: (call) => this.#stat(call),
      List: (call) => this.#list(call),
      Get: (call) => this.#get(call),
      Digest: (call) => this.#digest(call),
      Partial: (call) => this.#partial(call),
      Put: (call) => this.#put(call),
      PutDigest: (call) => this.#putDigest(call),
      MakeDirectory: (call) => this.#makeDirectory(call),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hashes[Symbol.asyncDispose]();
  }

  async #stat({ fields }: Call): Promise<Answer> {
    const path = fields.path();
    const kind = await this.#root.kind(path);
    if (kind !== 'file') return { path, attributes: { kind } };
    await using file = await this.#root.file(path);
    return { path, attributes: { kind, size: file.size, version: file.version } };
  }

  async #list({ fields }: Call): Promise<Answer> {
    const path = fields.path();
    const after = fields.has('after') ? fields.path('after') : '';
    await using directory = await this.#root.directory(path);
    const all = await directory.entries();
    const content = [];
    let bytes = 0;
    let more = false;
    for (const { name, kind } of all) {
      if (name <= after || isPartialName(name)) continue;
      const written = encodePath(name);
      bytes += written.length;
      more = content.length === PAGE_ENTRIES_MAX || bytes > PAGE_BYTES_MAX;
      if (more) break;
      const size = kind === 'file' ? await sizeOf(directory, name) : undefined;
      content.push(item('Entry', { name: written, kind, size }));
    }
    return { path, attributes: { more }, content };
  }

  async #get({ fields, manager }: Call): Promise<Answer> {
    const path = fields.path();
    await using file = await this.#root.file(path);
    const { size, mode, version } = file;
    const region = await registered((place) => manager.registerFile(place), file);
    const attributes = { size, mode, version };
    if (region === undefined) return { path, attributes };
    return {
      path,
      bytes: size,
      attributes,
      content: [include(FILE_CID)],
      // Read range by range, and again what a break interrupted. The receiver's release ends it.
      buffers: [{ buffer: region, cid: FILE_CID, uses: Infinity }],
      sent: () => {
        region.release();
      },
    };
  }

  async #digest({ fields, signal }: Call): Promise<Answer> {
    const path = fields.path();
    const length = fields.count('length');
    await using file = await this.#root.file(path).catch((error: unknown) => {
      throw errnoOf(error) === 'ENOENT' ? fileChanged(path) : error;
    });
    if (file.version !== fields.text('version') || length > file.size) throw fileChanged(file.shown);
    return { path, attributes: { sha256: await digestOf(this.#hashes, file, length, signal) } };
  }

  async #partial({ fields }: Call): Promise<Answer> {
    this.#checkWritable();
    const path = fields.path();
    const { above, name } = splitPath(path);
    return await this.#writingTo(path, async () => {
      await using directory = await this.#root.directory(above, { create: true });
      await using partial = await Partial.open(directory, name, 0o600, this.#hashes);
      if (partial.size === 0) {
        await partial.discard();
        return { path, attributes: { size: 0 } };
      }
      return { path, attributes: { size: partial.size, sha256: await partial.prefixDigest() } };
    });
  }

  async #put({ fields, message, signal }: Call): Promise<Answer> {
    const path = fields.path();
    const mode = fields.count('mode', MODE_MAX);
    const from = fields.count('from');
    const verify = fields.flag('verify');
    const remote = message.buffer(FILE_CID);
    const size = remote?.length ?? 0;
    const id = fields.text('id');
    // Before the first await: the digest comes in a message right behind this one.
    const expected = verify ? this.#expect(message.connection, id) : undefined;
    try {
      this.#checkWritable();
      const { above, name } = splitPath(path);
      return await this.#writingTo(path, async () => {
        await using directory = await this.#root.directory(above, { create: true });
        const stored = await this.#receiver.store(directory, name, {
          remote,
          size,
          mode,
          verify,
          signal,
          start: (partial) => Promise.resolve(checkStart(partial, from, size)),
          accept: async (sha256, shown) => {
            if (expected !== undefined) checkEqual(sha256, await orAborted(expected.sha256, signal), shown);
          },
          onBytes: () => undefined,
        });
        const { resumedFrom, sha256 } = stored;
        return { path, bytes: size - resumedFrom, attributes: { size, resumedFrom, sha256 } };
      });
    } finally {
      this.#expected.get(message.connection)?.delete(id);
    }
  }

  #putDigest({ fields, message }: Call): Promise<undefined> {
    const sha256 = fields.sha256();
    // A Put that has failed meanwhile does not expect it any more.
    this.#expected.get(message.connection)?.get(fields.text('id'))?.settle(sha256);
    return Promise.resolve(undefined);
  }

  async #makeDirectory({ fields }: Call): Promise<Answer> {
    this.#checkWritable();
    const path = fields.path();
    await using directory = await this.#root.directory(path, { create: true });
    await directory.sync();
    return { path };
  }

  #checkWritable(): void {
    if (!this.#readOnly) return;
    throw new Failure('PERMISSION_DENIED', 'Only reading is permitted here: it serves with --read-only.');
  }

  /** Two that write one file at once would share its partial file. */
  async #writingTo<T>(path: string, act: () => Promise<T>): Promise<T> {
    const key = namesOf(path).join('/');
    if (this.#writing.has(key)) {
      throw new Failure('REGION_BUSY', `${key} is being written by another transfer. Try again later.`, {
        path: key,
      });
    }
    this.#writing.add(key);
    try {
      return await act();
    } finally {
      this.#writing.delete(key);
    }
  }

  #expect(connection: Connection, id: string): Expected {
    let settle: (sha256: string) => void = () => undefined;
    const sha256 = new Promise<string>((resolve) => {
      settle = resolve;
    });
    const expected = { sha256, settle };
    const ofConnection = this.#expected.get(connection) ?? new Map<string, Expected>();
    this.#expected.set(connection, ofConnection.set(id, expected));
    return expected;
  }
}

/** A file's name and the directory that it is in. */
function splitPath(path: string): { above: string; name: string } {
  const names = namesOf(path);
  const name = names.pop();
  if (name === undefined) {
    throw new Failure('INVALID_ARGUMENT', 'The path is the root itself. Name a file in it.', { path });
  }
  return { above: names.join('/'), name };
}

/** Where the sender wants to go on must be where this side is. */
function checkStart(partial: Partial, from: number, size: number): number {
  if (from === 0 || (from === partial.size && from <= size)) return from;
  throw fileChanged(partial.shown);
}

/** Undefined for what vanished since it was listed. */
async function sizeOf(directory: Directory, name: string): Promise<number | undefined> {
  const facts = await lstat(directory.at(name)).catch(() => undefined);
  return facts !== undefined && kindOf(facts) === 'file' ? facts.size : undefined;
}

/** Settles as `promise` does, or rejects with the reason of the signal. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = (): void => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  return await Promise.race([promise, aborted]);
}
