// The file behind an audit log: lines appended in order, without anybody waiting for the disk. What cannot be written in time
// is dropped and counted, and the count is written as soon as something can be. Knows nothing of what the lines say.
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { messageOf } from './describe.js';
import { SplitplaneError } from '../errors.js';

/** Bytes that wait for the disk; of refusals half as many. */
export const PENDING_BYTES_MAX = 4 << 20;
/** Lines a second that are written over time: a peer that is refused a million times a second must not fill the disk. */
export const LINES_PER_SECOND_MAX = 1000;
/** Lines that may come at once before that limit holds. */
export const LINES_AT_ONCE_MAX = 10_000;

/** What a line is about. Each has its own limits: else an attacker could have what he may do dropped behind what he may not. */
export type LineKind = 'allowed' | 'refused';

export interface AuditFileOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told when writing begins to fail, in a sentence. */
  readonly log: (text: string) => void;
}

/** How many lines may be written now. */
class Allowance {
  #lines = LINES_AT_ONCE_MAX;
  #at: number;

  constructor(now: number) {
    this.#at = now;
  }

  take(now: number): boolean {
    const more = (Math.max(0, now - this.#at) * LINES_PER_SECOND_MAX) / 1000;
    this.#lines = Math.min(LINES_AT_ONCE_MAX, this.#lines + more);
    this.#at = now;
    if (this.#lines < 1) return false;
    this.#lines--;
    return true;
  }
}

export class AuditFile {
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #options: AuditFileOptions;
  #pending: string[] = [];
  #pendingBytes = 0;
  readonly #allowances: Readonly<Record<LineKind, Allowance>>;
  #dropped = 0;
  #droppedTotal = 0;
  /** Whether the file may end in the middle of a line. */
  #isTorn: boolean;
  #isFailing = false;
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  private constructor(file: FileHandle, path: string, isTorn: boolean, options: AuditFileOptions) {
    this.#file = file;
    this.#path = path;
    this.#isTorn = isTorn;
    this.#options = options;
    const now = options.now();
    this.#allowances = { allowed: new Allowance(now), refused: new Allowance(now) };
  }

  /** Opens a file to append to, and makes it, for its owner alone, if there is none. Rejects with SYSTEM if it cannot. */
  static async open(path: string, options: AuditFileOptions): Promise<AuditFile> {
    // A named pipe or a terminal will do as well: nothing here waits for its reader.
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;
    let file: FileHandle | undefined;
    try {
      file = await open(path, flags, 0o600);
      const stats = await file.stat();
      const last = Buffer.from('\n');
      if (stats.isFile() && stats.size > 0) await file.read(last, 0, 1, stats.size - 1);
      return new AuditFile(file, path, last.toString('latin1') !== '\n', options);
    } catch (cause) {
      await file?.close();
      const says = `The audit log ${path} cannot be written: ${messageOf(cause)}. Name another file, or give the right to it.`;
      throw new SplitplaneError('SYSTEM', says, { cause });
    }
  }

  /** Lines that were dropped so far. */
  get dropped(): number {
    return this.#droppedTotal;
  }

  /** Appends one JSON object, soon. Never throws. */
  append(line: string, kind: LineKind): void {
    if (this.#closing !== undefined) return;
    const bytesMax = kind === 'allowed' ? PENDING_BYTES_MAX : PENDING_BYTES_MAX / 2;
    const isAllowed = this.#allowances[kind].take(this.#options.now());
    if (!isAllowed || this.#pendingBytes + line.length > bytesMax) {
      this.#dropped++;
      this.#droppedTotal++;
      return;
    }
    this.#pending.push(`${line}\n`);
    this.#pendingBytes += line.length + 1;
    this.#draining ??= this.#drain();
  }

  /** Settles when everything is on the disk that ever will be. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#draining;
    if (this.#dropped > 0) await this.#write();
    try {
      if ((await this.#file.stat()).isFile()) await this.#file.datasync();
    } catch (error) {
      this.#fail(error);
    } finally {
      await this.#file.close();
    }
  }

  async #drain(): Promise<void> {
    while (this.#pending.length > 0) await this.#write();
    this.#draining = undefined;
  }

  /** Writes what waits, and how many lines are missing since that was written last. */
  async #write(): Promise<void> {
    const lines = this.#pending;
    const dropped = this.#dropped;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#dropped = 0;
    const notice = dropped === 0 ? '' : this.#noticeOf(dropped);
    try {
      await this.#file.appendFile(`${this.#isTorn ? '\n' : ''}${lines.join('')}${notice}`);
      this.#isTorn = false;
      this.#isFailing = false;
    } catch (error) {
      // Some of them may be there: it is not known which.
      this.#isTorn = true;
      this.#dropped += dropped + lines.length;
      this.#droppedTotal += lines.length;
      this.#fail(error);
    }
  }

  #noticeOf(count: number): string {
    return `${JSON.stringify({ time: new Date(this.#options.now()).toISOString(), kind: 'dropped', count })}\n`;
  }

  /** Once for each time that it begins. */
  #fail(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#options.log(
      `The audit log ${this.#path} cannot be written: ${messageOf(error)}. Lines are missing.`,
    );
  }
}
