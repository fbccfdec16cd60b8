// A directory that nothing gets out of: paths below it are opened first and then looked at, through the descriptor, so that
// neither `..` nor a symbolic link nor somebody who swaps one in meanwhile leads outside. Both ends of a transfer write
// and serving reads through this. Knows nothing of transfers. Linux: needs /proc.
import { constants, type BigIntStats } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { Failure, errnoOf, withPath } from '../../failure.js';

/**
 * open(2) that opens nothing but the name: no device is touched, no pipe waited for, and the descriptor can be examined
 * before what it names is opened through /proc. Node has no constant; the value is that of every Linux that it runs on.
 */
const O_PATH = 0o10000000;
const { O_RDONLY, O_DIRECTORY, O_NONBLOCK } = constants;
/** Names in a path. */
const NAMES_MAX = 1024;

/** What lies at a path. */
export type Kind = 'file' | 'directory' | 'other';

/** The names of a path; `''` and `.` are left out. Throws PERMISSION_DENIED for `..` and for what cannot be a name. */
export function namesOf(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) {
    throw new Failure(
      'PERMISSION_DENIED',
      'The path leads out of the root by "..". Name something below it.',
    );
  }
  if (names.length > NAMES_MAX || path.includes('\0')) {
    throw new Failure('INVALID_ARGUMENT', `A path has at most ${NAMES_MAX} names, and no NUL in them.`);
  }
  return names;
}

/** How people know a path: relative to the root. */
export function shown(path: string): string {
  return namesOf(path).join('/') || '.';
}

export function kindOf(facts: { isFile(): boolean; isDirectory(): boolean }): Kind {
  if (facts.isFile()) return 'file';
  return facts.isDirectory() ? 'directory' : 'other';
}

/** An open directory below a root. Names in it are reached through its descriptor, wherever it is moved to. */
export class Directory implements AsyncDisposable {
  readonly #handle: FileHandle;
  /** How people know it. */
  readonly shown: string;

  constructor(handle: FileHandle, shownAs: string) {
    this.#handle = handle;
    this.shown = shownAs;
  }

  /** A path for node:fs of a name in it. */
  at(name: string): string {
    return `${this.#place}/${name}`;
  }

  /** How people know a name in it. */
  showing(name: string): string {
    return this.shown === '.' ? name : `${this.shown}/${name}`;
  }

  /** Its entries by name. A symbolic link is neither file nor directory here. */
  async entries(): Promise<{ name: string; kind: Kind }[]> {
    const found = await withPath(this.shown, () => readdir(this.#place, { withFileTypes: true }));
    const entries = found.map((entry) => ({ name: entry.name, kind: kindOf(entry) }));
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Removes a file, a link, or a directory that is empty. Settles when that is on the disk. Rejects with SYSTEM: ENOENT, ENOTEMPTY,
   * and what else unlink(2) and rmdir(2) say.
   */
  async remove(name: string): Promise<void> {
    await withPath(this.showing(name), async () => {
      const place = this.at(name);
      if ((await lstat(place)).isDirectory()) await rmdir(place);
      else await unlink(place);
    });
    await this.sync();
  }

  /** Settles when the names in it are on the disk. */
  async sync(): Promise<void> {
    await withPath(this.shown, () => this.#handle.sync());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  get #place(): string {
    return `/proc/self/fd/${this.#handle.fd}`;
  }
}

/** A regular file below a root, found and examined, to be opened as often as it takes through `place`. */
export class FoundFile implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly shown: string;
  /** In bytes, when it was found. */
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** Changes when the file does. */
  readonly version: string;

  private constructor(handle: FileHandle, shownAs: string, facts: BigIntStats) {
    this.#handle = handle;
    this.shown = shownAs;
    this.size = Number(facts.size);
    this.mode = Number(facts.mode & 0o777n);
    this.version = versionOf(facts);
  }

  /** A file of whoever runs this process, wherever it is; links are followed. */
  static async local(path: string): Promise<FoundFile> {
    const handle = await withPath(path, () => open(path, O_PATH));
    return await FoundFile.examine(handle, path);
  }

  /** Throws INVALID_ARGUMENT when it is no regular file; then `handle` is closed. */
  static async examine(handle: FileHandle, shownAs: string): Promise<FoundFile> {
    try {
      const facts = await handle.stat({ bigint: true });
      if (facts.isFile()) return new FoundFile(handle, shownAs, facts);
      throw new Failure('INVALID_ARGUMENT', `${shownAs} is no regular file. Name one.`, { path: shownAs });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** A path for node:fs that leads to this file, whatever its name leads to by now. */
  get place(): string {
    return `/proc/self/fd/${this.#handle.fd}`;
  }

  /** Throws FILE_CHANGED when it is not as it was when `version` was taken. */
  async checkUnchanged(version = this.version): Promise<void> {
    const facts = await withPath(this.shown, () => this.#handle.stat({ bigint: true }));
    if (versionOf(facts) !== version) throw fileChanged(this.shown);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

export function fileChanged(path: string): Failure {
  return new Failure(
    'FILE_CHANGED',
    `${path} changed while it was being transferred, and was not stored. Transfer it again when it rests.`,
    { path },
  );
}

/** Another one when the file's content is. */
export function versionOf({ ino, size, mtimeNs }: BigIntStats): string {
  return `${ino}-${size}-${mtimeNs}`;
}

export interface CreateOptions {
  readonly create?: boolean;
  readonly made?: (path: string) => void;
}

export class Root implements AsyncDisposable {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Opens the directory at `path`, which may itself be reached by links. */
  static async open(path: string): Promise<Root> {
    return new Root(await withPath(path, () => open(path, O_RDONLY | O_DIRECTORY)));
  }

  /** The regular file at `path`. Throws PERMISSION_DENIED when it lies outside, INVALID_ARGUMENT when it is no file. */
  async file(path: string): Promise<FoundFile> {
    return await FoundFile.examine(await this.#open(path, O_PATH), shown(path));
  }

  async kind(path: string): Promise<Kind> {
    const handle = await this.#open(path, O_PATH);
    try {
      return kindOf(await handle.stat());
    } finally {
      await handle.close();
    }
  }

  /** The directory at `path`; with `create`, made with those above it where they are missing, of each of which `made` is told. */
  async directory(path: string, { create = false, made }: CreateOptions = {}): Promise<Directory> {
    if (create) await this.#make(namesOf(path), made);
    return new Directory(await this.#open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK), shown(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  /** Step by step, each checked before the next: a link must not have directories made outside. */
  async #make(names: readonly string[], made: CreateOptions['made']): Promise<void> {
    for (let count = 1; count <= names.length; count++) {
      const path = names.slice(0, count).join('/');
      try {
        await (await this.#open(path, O_PATH)).close();
        continue;
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error;
      }
      await using above = await this.directory(names.slice(0, count - 1).join('/'));
      const name = names[count - 1] ?? '';
      try {
        await withPath(path, () => mkdir(above.at(name)));
        made?.(path);
      } catch (error) {
        // Somebody else made it meanwhile.
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
    }
  }

  async #open(path: string, flags: number): Promise<FileHandle> {
    const names = namesOf(path);
    const own = `/proc/self/fd/${this.#handle.fd}`;
    const shownAs = shown(path);
    return await withPath(shownAs, async () => {
      const handle = await open([own, ...names].join('/'), O_PATH);
      try {
        await this.#checkInside(handle, shownAs);
        if (flags === O_PATH) return handle;
        const opened = await open(`/proc/self/fd/${handle.fd}`, flags);
        await handle.close();
        return opened;
      } catch (error) {
        await handle.close();
        throw error;
      }
    });
  }

  async #checkInside(handle: FileHandle, shownAs: string): Promise<void> {
    const root = await readlink(`/proc/self/fd/${this.#handle.fd}`);
    const real = await readlink(`/proc/self/fd/${handle.fd}`);
    if (real === root || real.startsWith(root === '/' ? root : `${root}/`)) return;
    throw new Failure(
      'PERMISSION_DENIED',
      `${shownAs} leads out of the root by a link. Name something below it.`,
      {
        path: shownAs,
      },
    );
  }
}
