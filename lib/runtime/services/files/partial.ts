// A file that is being received: written from its beginning onward under a name of its own, verified, brought to the disk, and
// only then given its name, in one step. What is there after a break is a beginning without holes, so that a later
// transfer can go on from it. Knows nothing of the network.
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, rename, unlink, type FileHandle } from 'node:fs/promises';
import { errnoOf, Failure, withPath } from '../../failure.js';
import type { Digest, Hashes } from './hashes.js';
import { versionOf, type Directory } from './root.js';

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
const SUFFIX = '.splitplane-partial';
/** NAME_MAX of every Linux file system that matters. */
const NAME_BYTES_MAX = 255;

/** What a file is called while it is being received. */
export function partialName(name: string): string {
  const full = `.${name}${SUFFIX}`;
  if (Buffer.byteLength(full) <= NAME_BYTES_MAX) return full;
  return `.${createHash('sha256').update(name).digest('hex')}${SUFFIX}`;
}

export function isPartialName(name: string): boolean {
  return name.startsWith('.') && name.endsWith(SUFFIX);
}

export class Partial implements AsyncDisposable {
  /** Bytes that were there when it was opened. */
  readonly size: number;
  readonly #file: FileHandle;
  readonly #directory: Directory;
  readonly #name: string;
  readonly #hashes: Hashes;
  #digest: Digest | undefined;

  private constructor(file: FileHandle, size: number, directory: Directory, name: string, hashes: Hashes) {
    this.#file = file;
    this.size = size;
    this.#directory = directory;
    this.#name = name;
    this.#hashes = hashes;
  }

  /**
   * Opens what there is of `name`, or begins it. Rejects with SYSTEM: EISDIR when the name is a directory's, and what
   * open(2) says.
   */
  static async open(directory: Directory, name: string, mode: number, hashes: Hashes): Promise<Partial> {
    const shown = directory.showing(name);
    return await withPath(shown, async () => {
      const existing = await lstat(directory.at(name)).catch((error: unknown) => {
        if (errnoOf(error) !== 'ENOENT') throw error;
      });
      if (existing?.isDirectory() === true) {
        const message = `${shown}: It is a directory. Name a file, or remove the directory first.`;
        throw new Failure('SYSTEM', message, { errno: 'EISDIR', path: shown });
      }
      const flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK;
      const file = await open(directory.at(partialName(name)), flags, mode | 0o600);
      return await Partial.#examine(file, directory, name, hashes);
    });
  }

  /** How much there is of `name`, and its SHA-256; undefined where there is nothing. Rejects as open() does. */
  static async look(
    directory: Directory,
    name: string,
    hashes: Hashes,
  ): Promise<{ size: number; sha256: string } | undefined> {
    const shown = directory.showing(name);
    const file = await withPath(shown, () =>
      open(directory.at(partialName(name)), O_RDONLY | O_NOFOLLOW | O_NONBLOCK),
    ).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') throw error;
    });
    if (file === undefined) return undefined;
    await using partial = await Partial.#examine(file, directory, name, hashes);
    return partial.size === 0 ? undefined : { size: partial.size, sha256: await partial.prefixDigest() };
  }

  static async #examine(
    file: FileHandle,
    directory: Directory,
    name: string,
    hashes: Hashes,
  ): Promise<Partial> {
    try {
      const facts = await file.stat();
      if (facts.isFile()) return new Partial(file, facts.size, directory, name, hashes);
      const shown = directory.showing(name);
      throw new Failure('INVALID_ARGUMENT', `${shown}: Its partial file is no regular file. Remove it.`);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get shown(): string {
    return this.#directory.showing(this.#name);
  }

  /** The SHA-256 of what was there when it was opened. */
  async prefixDigest(): Promise<string> {
    this.#digest ??= this.#hashes.begin(this.#file, this.shown);
    this.#digest.advance(this.size);
    return await this.#digest.sha256();
  }

  /**
   * Goes on at `from`: 0 throws away what is there, anything else is its size. With `hashed`, the digest follows what is
   * written.
   */
  async begin(from: number, hashed: boolean): Promise<void> {
    if (from === 0) {
      await this.#digest?.end();
      this.#digest = undefined;
      if (this.size > 0) await withPath(this.shown, () => this.#file.truncate(0));
    }
    if (!hashed) return;
    this.#digest ??= this.#hashes.begin(this.#file, this.shown);
    this.#digest.advance(from);
  }

  /** Writes all of `bytes`, which may be reused when it has settled. `at` is where the last write ended. */
  async write(bytes: Uint8Array, at: number): Promise<void> {
    await withPath(this.shown, async () => {
      for (let done = 0; done < bytes.length;) {
        done += (await this.#file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
      }
    });
    this.#digest?.advance(at + bytes.length);
  }

  /** The SHA-256 of everything that was written, if begin() asked for it. */
  async sha256(): Promise<string | undefined> {
    return await this.#digest?.sha256();
  }

  /** Gives the file its name. Settles with its version when bytes and name are on the disk. */
  async commit(mode: number): Promise<string> {
    const version = await withPath(this.shown, async () => {
      const facts = await this.#file.stat({ bigint: true });
      // It was made writable for its owner, whom the sender's mode may not allow to write.
      await this.#file.chmod(Number(facts.mode) & mode & 0o777);
      await this.#file.sync();
      await rename(this.#directory.at(partialName(this.#name)), this.#directory.at(this.#name));
      return versionOf(facts);
    });
    await this.#directory.sync();
    return version;
  }

  /** Leaves nothing behind. */
  async discard(): Promise<void> {
    await unlink(this.#directory.at(partialName(this.#name))).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#digest?.end();
    await this.#file.close();
  }
}
