// SHA-256 of files, computed by a thread beside the event loop from what the files hold: of what was read at the sender, and
// of what was written at the receiver. A digest can follow a file that grows, and be asked for more than once.
import type { FileHandle } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { systemFailure } from '../../failure.js';
import { fileChanged } from './root.js';

export type ToHasher =
  | { readonly kind: 'begin'; readonly job: number; readonly fd: number }
  | { readonly kind: 'advance'; readonly job: number; readonly upTo: number }
  | { readonly kind: 'ask'; readonly job: number }
  | { readonly kind: 'end'; readonly job: number };

export type FromHasher =
  | { readonly kind: 'digest'; readonly job: number; readonly sha256: string }
  | { readonly kind: 'failed'; readonly job: number; readonly errno: string | undefined }
  | { readonly kind: 'ended'; readonly job: number };

interface Waiting {
  resolve(sha256: string): void;
  reject(error: Error): void;
}

/** The digest of one file. The file stays open until end() has settled. */
export class Digest {
  readonly #job: number;
  readonly #path: string;
  readonly #post: (message: ToHasher) => void;
  readonly #waiting: Waiting[] = [];
  #failure: Error | undefined;
  #onEnded: (() => void) | undefined;

  constructor(job: number, path: string, post: (message: ToHasher) => void) {
    this.#job = job;
    this.#path = path;
    this.#post = post;
  }

  /** The file holds its final bytes up to here: they may be read. */
  advance(upTo: number): void {
    this.#post({ kind: 'advance', job: this.#job, upTo });
  }

  /** The digest of everything up to where advance() allowed. Rejects with FILE_CHANGED when the file is shorter, SYSTEM. */
  async sha256(): Promise<string> {
    if (this.#failure !== undefined) throw this.#failure;
    return await new Promise<string>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#post({ kind: 'ask', job: this.#job });
    });
  }

  /** Settles when the file is not read any more. Digests that were asked for reject. */
  async end(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onEnded = resolve;
      this.#post({ kind: 'end', job: this.#job });
    });
    this.#fail(fileChanged(this.#path));
  }

  told(message: FromHasher): void {
    if (message.kind === 'digest') this.#waiting.shift()?.resolve(message.sha256);
    else if (message.kind === 'ended') this.#onEnded?.();
    else {
      const { errno } = message;
      const cause = errno === undefined ? undefined : Object.assign(new Error(errno), { code: errno });
      this.#fail(cause === undefined ? fileChanged(this.#path) : systemFailure(cause, this.#path));
    }
  }

  #fail(error: Error): void {
    this.#failure = error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }
}

/** The digests of a process. Its thread begins with the first, and keeps the process alive while there is one. */
export class Hashes implements AsyncDisposable {
  readonly #digests = new Map<number, Digest>();
  #worker: Worker | undefined;
  #nextJob = 1;

  begin(file: FileHandle, path: string): Digest {
    const worker = (this.#worker ??= this.#start());
    const job = this.#nextJob++;
    const digest = new Digest(job, path, (message) => {
      worker.postMessage(message);
    });
    this.#digests.set(job, digest);
    worker.ref();
    worker.postMessage({ kind: 'begin', job, fd: file.fd } satisfies ToHasher);
    return digest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./hash-worker.js', import.meta.url), { execArgv: [] });
    worker.on('message', (message: FromHasher) => {
      this.#digests.get(message.job)?.told(message);
      if (message.kind === 'ended') this.#digests.delete(message.job);
      if (this.#digests.size === 0) worker.unref();
    });
    return worker;
  }
}
