// The files service: what each operation of its contract does, below one root. Bytes of files never pass through here: `get` answers
// with the file itself, lent, and `put` reads what its sender lends. What is on the disk is root.ts's, partial.ts's and
// store.ts's affair.
import { setMaxListeners } from 'node:events';
import { lstat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { SplitplaneError } from '../../../errors.js';
import { lend } from '../../attached.js';
import type { OperationsOf, ReceivedRequest, Response } from '../../contract.js';
import { errnoOf, Failure } from '../../failure.js';
import { Service, type Call, type Handlers } from '../../service.js';
import { Admission } from '../admission.js';
import { Confirmations } from './confirmations.js';
import { Files, MODE_DEFAULT } from './contract.js';
import { EitherSignal } from './either-signal.js';
import { Hashes } from './hashes.js';
import { isPartialName, Partial } from './partial.js';
import { fileChanged, kindOf, namesOf, Root, type Directory } from './root.js';
import { digestOf, registered } from './source.js';
import { checkEqual, Receiver } from './store.js';

/** A page of a directory ends at either. An envelope has 256 KiB, and a name up to 255 bytes that are written as three each. */
const PAGE_ENTRIES_MAX = 512;
const PAGE_BYTES_MAX = 64 << 10;

type Asked<K extends keyof OperationsOf<typeof Files>> = Call<ReceivedRequest<OperationsOf<typeof Files>[K]>>;
type Answered<K extends keyof OperationsOf<typeof Files>> = Response<OperationsOf<typeof Files>[K]>;

export interface FilesInit {
  /** The directory to offer; when left out, the state names it. What is given here no reader of the state gets to see. */
  readonly root?: string;
  readonly readOnly?: boolean;
}

export class FilesService extends Service<typeof Files> {
  readonly contract = Files;
  /** Each call sees to itself: files are written under names of their own, and one path by one call. */
  override readonly concurrency = 'concurrent';
  readonly handlers: Handlers<typeof Files> = {
    stat: this.#admitted((call: Asked<'stat'>) => this.#stat(call)),
    list: this.#admitted((call: Asked<'list'>) => this.#list(call)),
    get: this.#admitted((call: Asked<'get'>) => this.#get(call)),
    digest: this.#admitted((call: Asked<'digest'>) => this.#digest(call)),
    partial: this.#admitted((call: Asked<'partial'>) => this.#partial(call)),
    put: this.#admitted((call: Asked<'put'>) => this.#put(call)),
    // Not counted: what a put waits for must not wait for the put.
    confirm: ({ body, connection, from }) => {
      this.#confirmations.tell(connection ?? from, body.transfer, body.sha256);
    },
    makeDirectory: this.#admitted((call: Asked<'makeDirectory'>) => this.#makeDirectory(call)),
    remove: this.#admitted((call: Asked<'remove'>) => this.#remove(call)),
  };
  readonly #place: string | undefined;
  readonly #admission = new Admission();
  readonly #confirmations = new Confirmations();
  readonly #hashes = new Hashes();
  readonly #receiver = new Receiver((length) => this.allocate(length), this.#hashes);
  /** Paths that are being written. */
  readonly #writing = new Set<string>();
  readonly #running = new Set<Promise<unknown>>();
  readonly #ending = new AbortController();
  #opened: Root | undefined;

  constructor({ root, readOnly = false }: FilesInit = {}) {
    super();
    // Every call under way listens, and that is no leak.
    setMaxListeners(0, this.#ending.signal);
    this.#place = root;
    this.state = { readOnly };
  }

  override async start(): Promise<void> {
    const place = this.#place ?? this.state.root;
    if (place === undefined) {
      throw new Failure('INVALID_ARGUMENT', 'A files service needs a root. Name a directory in its state.');
    }
    this.#opened = await Root.open(resolve(place));
  }

  /** What is under way ends, and can be resumed. */
  override async stop(): Promise<void> {
    this.#ending.abort(new SplitplaneError('CLOSED', 'The files service has ended. Go on when it is back.'));
    await Promise.allSettled(this.#running);
    await this.#hashes[Symbol.asyncDispose]();
    await this.#opened?.[Symbol.asyncDispose]();
  }

  get #root(): Root {
    if (this.#opened !== undefined) return this.#opened;
    throw new Failure('CLOSED', 'The files service is not running.');
  }

  /** Bounds what one asker has under way, waits for it at the end, and has every error say which path it is about. */
  #admitted<B extends { readonly path: string }, A>(
    act: (call: Call<B>) => Promise<A>,
  ): (call: Call<B>) => Promise<A> {
    return (call) => {
      const answer = this.#admission
        .run(call, () => act(call))
        .catch((error: unknown) => {
          throw asFailure(error, call.body.path);
        })
        .finally(() => this.#running.delete(answer));
      this.#running.add(answer);
      return answer;
    };
  }

  async #stat({ body: { path } }: Asked<'stat'>): Promise<Answered<'stat'>> {
    const kind = await this.#root.kind(path);
    if (kind !== 'file') return { kind };
    await using file = await this.#root.file(path);
    return { kind, size: file.size, version: file.version };
  }

  async #list({ body: { path, after = '' } }: Asked<'list'>): Promise<Answered<'list'>> {
    await using directory = await this.#root.directory(path);
    const entries: Answered<'list'>['entries'][number][] = [];
    let bytes = 0;
    for (const { name, kind } of await directory.entries()) {
      if (name <= after || isPartialName(name)) continue;
      bytes += encodeURIComponent(name).length;
      if (entries.length === PAGE_ENTRIES_MAX || bytes > PAGE_BYTES_MAX) return { entries, more: true };
      entries.push({ name, kind, size: kind === 'file' ? await sizeOf(directory, name) : undefined });
    }
    return { entries, more: false };
  }

  async #get({ body: { path } }: Asked<'get'>): Promise<Answered<'get'>> {
    await using file = await this.#root.file(path);
    const { size, mode, version } = file;
    const region = await registered((place) => this.registerFile(place), file);
    if (region === undefined) return { size, mode, version };
    // Read range by range, and again what a break interrupted. The receiver's release ends it.
    const content = lend(
      region,
      'read',
      () => {
        region.release();
      },
      Infinity,
    );
    return { size, mode, version, content };
  }

  async #digest({ body, signal }: Asked<'digest'>): Promise<Answered<'digest'>> {
    const { path, length, version } = body;
    await using file = await this.#root.file(path).catch((error: unknown) => {
      throw errnoOf(error) === 'ENOENT' ? fileChanged(path) : error;
    });
    if (file.version !== version || length > file.size) throw fileChanged(file.shown);
    using either = new EitherSignal(signal, this.#ending.signal);
    return { sha256: await digestOf(this.#hashes, file, length, either.signal) };
  }

  async #partial({ body: { path } }: Asked<'partial'>): Promise<Answered<'partial'>> {
    const { above, name } = splitPath(path);
    return await this.#alone(path, async () => {
      try {
        await using directory = await this.#root.directory(above);
        return (await Partial.look(directory, name, this.#hashes)) ?? { size: 0 };
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return { size: 0 };
        throw error;
      }
    });
  }

  async #put({ body, signal, connection, from: asker }: Asked<'put'>): Promise<Answered<'put'>> {
    const { path, mode = MODE_DEFAULT, from = 0, transfer, content } = body;
    const size = content?.length ?? 0;
    // Before the first await: the digest comes in a message right behind this one.
    const owed =
      transfer === undefined ? undefined : this.#confirmations.expect(connection ?? asker, transfer);
    const expected = body.sha256 ?? owed?.sha256;
    try {
      this.#checkWritable();
      const { above, name } = splitPath(path);
      return await this.#alone(path, async (shown) => {
        await using directory = await this.#directory(above);
        using either = new EitherSignal(signal, this.#ending.signal);
        const stored = await this.#receiver.store(directory, name, {
          asker: connection ?? asker,
          remote: content,
          size,
          mode,
          verify: expected !== undefined,
          signal: either.signal,
          start: (partial) => Promise.resolve(checkStart(partial, from, size)),
          accept: async (sha256, where) => {
            if (expected !== undefined) checkEqual(sha256, await orAborted(expected, either.signal), where);
          },
          onBytes: () => undefined,
        });
        this.publish('stored', { path: shown, size, version: stored.version });
        return { size, ...stored };
      });
    } finally {
      owed?.end();
    }
  }

  async #makeDirectory({ body: { path } }: Asked<'makeDirectory'>): Promise<void> {
    this.#checkWritable();
    await using directory = await this.#directory(path);
    await directory.sync();
  }

  async #remove({ body: { path } }: Asked<'remove'>): Promise<void> {
    this.#checkWritable();
    const { above, name } = splitPath(path);
    await this.#alone(path, async (shown) => {
      await using directory = await this.#root.directory(above);
      await directory.remove(name);
      this.publish('removed', { path: shown });
    });
  }

  /** The directory at a path, made where it is missing. */
  #directory(path: string): Promise<Directory> {
    return this.#root.directory(path, {
      create: true,
      made: (shown) => {
        this.publish('directoryMade', { path: shown });
      },
    });
  }

  #checkWritable(): void {
    if (this.state.readOnly !== true) return;
    throw new Failure(
      'PERMISSION_DENIED',
      'Only reading is permitted here: this files service is read only.',
    );
  }

  /** Two that write one file at once would share its partial file. */
  async #alone<T>(path: string, act: (shown: string) => Promise<T>): Promise<T> {
    const key = namesOf(path).join('/');
    if (this.#writing.has(key)) {
      throw new Failure('REGION_BUSY', `${key} is being written by another transfer. Try again later.`, {
        path: key,
      });
    }
    this.#writing.add(key);
    try {
      return await act(key);
    } finally {
      this.#writing.delete(key);
    }
  }
}

/** A file's name and the directory that it is in. */
function splitPath(path: string): { above: string; name: string } {
  const names = namesOf(path);
  const name = names.pop();
  if (name === undefined) {
    throw new Failure('INVALID_ARGUMENT', 'The path is the root itself. Name something in it.', { path });
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

function asFailure(error: unknown, path: string): unknown {
  if (error instanceof Failure || !(error instanceof SplitplaneError) || error.code === 'FAULT') return error;
  return new Failure(error.code, error.message, { path, cause: error });
}

/** Settles as `promise` does, or rejects with the reason of the signal. */
async function orAborted<T>(promise: Promise<T> | T, signal: AbortSignal): Promise<T> {
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(signal.reason as Error);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
