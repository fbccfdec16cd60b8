// What `get` and `put` share: their options, the list of files to move, several at once, a line for each result, and the
// summary with its exit code. Knows nothing of directions.
import type { Command } from 'commander';
import type { Client } from './client.js';
import { Failure, errnoOf } from '../runtime/failure.js';
import { describe, EXIT, exitCodeOf, type ExitCode, type Problem } from './failure.js';
import type { Transferred } from './files/client.js';
import { fileChanged } from '../runtime/services/files/root.js';
import { forEach } from './limiter.js';
import { addConnectingOptions, type ConnectingOptions, type Interruption } from './options.js';
import { complain, formatBytes, print, printJson, showProgress } from './terminal.js';
import { SharedMeter } from './usage.js';

/** Files that are transferred at once. */
const FILES_AT_ONCE = 8;
/** Files and directories of one command. */
const ENTRIES_MAX = 1_000_000;

export interface TransferCommandOptions extends ConnectingOptions {
  readonly checksum: boolean;
}

/** A file to transfer. */
export interface Job {
  /** As people know it: what they named, or what was found below that. */
  readonly path: string;
  /** Where it goes. */
  readonly to: string;
  /** When it was listed; for the progress bar. */
  readonly size: number;
}

export const TRANSFER_HELP = `
A file is written under the name .NAME.splitplane-partial, compared with the sender's by SHA-256,
brought to the disk (fsync), and only then gets its name, in one step. After a break, run the same command
again: from 4 MiB on, a file goes on where it stopped, once the digest of what is there matches.
With --no-checksum no SHA-256 is computed; the network and both machines are trusted to make no
mistakes.
Permission bits are kept, owners and times are not. Symbolic links inside a directory are left out.`;

export function addTransferOptions(command: Command): Command {
  command.option('--no-checksum', 'verify nothing');
  return addConnectingOptions(command, 'one JSON line per file, and one of the whole');
}

/** Moves the files of a command and says how it went. */
export class Transfers {
  readonly #client: Client;
  readonly #json: boolean;
  readonly #interruption: Interruption;
  #moved = 0;
  #bytes = 0;
  #resumedBytes = 0;
  #stored = 0;
  #problems: Problem[] = [];

  constructor(client: Client, json: boolean, interruption: Interruption) {
    this.#client = client;
    this.#json = json;
    this.#interruption = interruption;
  }

  /** Something was left out or could not be transferred. */
  fail(path: string, error: unknown): void {
    const problem = { ...describe(error), path };
    this.#problems.push(problem);
    if (this.#json) printJson({ path, ok: false, error: problem });
    // What Ctrl-C ended needs no line for each.
    else if (!this.#interruption.signal.aborted) complain(error, false);
  }

  /** The same for a part of a tree that was listed, of which the rest goes on. Throws what ends all of it. */
  leaveOut(path: string, error: unknown): void {
    const over = this.#interruption.signal.aborted || this.#client.connection.state === 'closed';
    if (over || error instanceof TooManyEntries) throw error;
    this.fail(path, errnoOf(error) === 'ENOENT' ? goneSinceListed(path) : error);
  }

  /**
   * Transfers `jobs` by `move`, which says what it moved as it goes. `counted` are bytes moved that only the transport
   * knows of. Settles when all have ended, with the exit code.
   */
  async run<T extends Job>(
    jobs: readonly T[],
    move: (job: T, onBytes: (count: number) => void) => Promise<Transferred>,
    counted: () => number = () => 0,
  ): Promise<ExitCode> {
    const gone = new AbortController();
    void this.#client.connection.closed.then((why) => {
      gone.abort(why);
    });
    const signal = AbortSignal.any([gone.signal, this.#interruption.signal]);
    const total = jobs.reduce((sum, { size }) => sum + size, 0);
    const leftOut = this.#problems.length;
    const meter = new SharedMeter(this.#client, this.#interruption.signal);
    await meter.start();
    const begin = performance.now();
    const hideProgress = this.#json ? () => undefined : showProgress(total, () => this.#moved + counted());
    try {
      await forEach(jobs, FILES_AT_ONCE, signal, async (job) => {
        await this.#one(job, move);
      });
    } finally {
      hideProgress();
    }
    const seconds = (performance.now() - begin) / 1000;
    return await this.#conclude(meter, jobs.length + leftOut, seconds);
  }

  async #one<T extends Job>(
    job: T,
    move: (job: T, onBytes: (count: number) => void) => Promise<Transferred>,
  ): Promise<void> {
    const begin = performance.now();
    try {
      const { bytes, resumedFrom, sha256 } = await move(job, (count) => {
        this.#moved += count;
      });
      this.#stored++;
      this.#bytes += bytes - resumedFrom;
      this.#resumedBytes += resumedFrom;
      if (!this.#json) return;
      const seconds = Number(((performance.now() - begin) / 1000).toFixed(6));
      printJson({
        path: job.path,
        ok: true,
        to: job.to,
        bytes,
        resumedFrom,
        seconds,
        sha256: sha256 ?? null,
      });
    } catch (error) {
      this.fail(job.path, vanished(error) ? goneSinceListed(job.path) : error);
    }
  }

  async #conclude(meter: SharedMeter, files: number, seconds: number): Promise<ExitCode> {
    const interrupted = this.#interruption.exitCode;
    const failed = files - this.#stored;
    // Whoever pressed Ctrl-C does not wait for a peer that may not answer.
    const spent = interrupted === undefined ? await meter.read().catch(() => undefined) : undefined;
    const summary = {
      files: this.#stored,
      failed,
      bytes: this.#bytes,
      resumedBytes: this.#resumedBytes,
      seconds: Number(seconds.toFixed(6)),
      transport: this.#client.connection.peer.transport,
      cpuSecondsPerGB:
        spent === undefined || this.#bytes === 0 ? null : (spent.cpuSeconds / this.#bytes) * 1e9,
      copiesPerByte: spent?.copiesPerByte ?? null,
      eventLoopDelayP99Ms: spent?.eventLoopDelayP99Ms ?? null,
    };
    if (this.#json) printJson({ summary });
    else {
      const rate = formatBytes(Math.round(this.#bytes / Math.max(seconds, 1e-6)));
      const resumed = this.#resumedBytes > 0 ? `, ${formatBytes(this.#resumedBytes)} were there already` : '';
      const lost = failed > 0 ? `; ${failed} not transferred` : '';
      print(
        `${this.#stored} ${this.#stored === 1 ? 'file' : 'files'}, ${formatBytes(this.#bytes)} in ${seconds.toFixed(2)} s, ${rate}/s${resumed}${lost}`,
      );
    }
    if (interrupted !== undefined) return interrupted;
    const [first] = this.#problems;
    if (first === undefined) return EXIT.ok;
    return this.#stored > 0 ? EXIT.partly : exitCodeOf(first);
  }
}

class TooManyEntries extends Failure {
  constructor() {
    const message = `There are more than ${ENTRIES_MAX} files and directories. Transfer parts of the tree.`;
    super('LIMIT_EXCEEDED', message);
  }
}

/** What was found in trees: neither a peer nor a disk may make a list endless, and no two files go to one place. */
export class FoundEntries {
  #count = 0;
  readonly #taken = new Set<string>();

  /** Throws LIMIT_EXCEEDED when that is too many. */
  addDirectory(): void {
    if (this.#count === ENTRIES_MAX) throw new TooManyEntries();
    this.#count++;
  }

  /** A file that goes to `to`. Throws LIMIT_EXCEEDED, and INVALID_ARGUMENT when another one goes there. */
  addFile(to: string): void {
    this.addDirectory();
    if (this.#taken.has(to)) {
      const message = `Another of these files becomes ${to}, too. Transfer this one by itself, to another directory.`;
      throw new Failure('INVALID_ARGUMENT', message, { path: to });
    }
    this.#taken.add(to);
  }
}

function vanished(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT' && error instanceof Failure;
}

/** Why a name that a directory listed leads to nothing. */
function goneSinceListed(path: string): Failure {
  if (!path.includes('\ufffd')) return fileChanged(path);
  const message = `${path}: Its name is not UTF-8, which names have to be here. Rename it.`;
  return new Failure('INVALID_ARGUMENT', message, { path });
}

/** A name below a directory; '' is the root. */
export function joined(above: string, name: string): string {
  return above === '' ? name : `${above}/${name}`;
}
