// Who reads and who writes which bytes of a piece of memory: readers share, a writer is alone on its range, and whoever came first to
// a range goes first. Grants and takes note; touches no memory.
import { abortedError } from '../../dataplane/operations.js';
import { Fault } from '../fault.js';

/** Holds on one piece of memory at once. */
export const HOLDS_MAX = 4096;
/** Those that wait for one. */
export const WAITING_MAX = 256;

export interface Range {
  readonly offset: number;
  readonly length: number;
}

interface Hold extends Range {
  readonly writes: boolean;
}

interface Waiting extends Hold {
  /** Takes what ends the hold, or undefined: the memory is not what it was, look again. */
  readonly settle: (leave: (() => void) | undefined) => void;
}

export class Ranges {
  readonly #held = new Set<Hold>();
  readonly #waiting: Waiting[] = [];
  #idle: (() => void) | undefined;
  #retired = false;

  /** How many hold a range now. */
  get holds(): number {
    return this.#held.size;
  }

  /** How many wait for one. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * A hold on a range. Settles with what ends it, when nobody is in the way; with undefined when the memory was retired. Rejects
   * with Fault QueuingLimitExceeded and InsufficientResources, and with ABORTED when the signal aborts; it is asked for only if
   * there is something to wait for.
   */
  enter(range: Range, writes: boolean, signal: () => AbortSignal): Promise<(() => void) | undefined> {
    if (this.#retired) return Promise.resolve(undefined);
    const wanted = { offset: range.offset, length: range.length, writes };
    if (this.#held.size >= HOLDS_MAX) {
      return refused(
        'InsufficientResources',
        `${HOLDS_MAX} have this region lent. Ask when some have released it.`,
      );
    }
    if (!this.#isBlocked(wanted, this.#waiting.length)) return Promise.resolve(this.#hold(wanted));
    if (this.#waiting.length >= WAITING_MAX) {
      return refused(
        'QueuingLimitExceeded',
        `${WAITING_MAX} wait for this region already. Send again later.`,
      );
    }
    return this.#wait(wanted, signal());
  }

  /** There will be no more holds; `idle` is called when the last has ended. */
  retire(idle: () => void): void {
    this.#retired = true;
    this.#idle = idle;
    for (const { settle } of this.#waiting.splice(0)) settle(undefined);
    this.#endIfIdle();
  }

  #wait(wanted: Hold, signal: AbortSignal): Promise<(() => void) | undefined> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(abortedError(signal));
        return;
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(abortedError(signal));
        this.#grant();
      };
      const waiting: Waiting = {
        ...wanted,
        settle: (hold) => {
          signal.removeEventListener('abort', leave);
          resolve(hold);
        },
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiting);
    });
  }

  /** Whether a hold, or one of the first `before` that wait, is in the way. */
  #isBlocked(wanted: Hold, before: number): boolean {
    for (const held of this.#held) if (conflict(held, wanted)) return true;
    for (let index = 0; index < before; index++)
      if (conflict(this.#waiting[index] as Waiting, wanted)) return true;
    return false;
  }

  #hold(wanted: Hold): () => void {
    this.#held.add(wanted);
    return () => {
      if (!this.#held.delete(wanted)) return;
      this.#grant();
      this.#endIfIdle();
    };
  }

  #grant(): void {
    for (let index = 0; index < this.#waiting.length;) {
      const next = this.#waiting[index] as Waiting;
      if (this.#isBlocked(next, index)) {
        index++;
        continue;
      }
      this.#waiting.splice(index, 1);
      next.settle(this.#hold({ offset: next.offset, length: next.length, writes: next.writes }));
    }
  }

  #endIfIdle(): void {
    if (!this.#retired || this.#held.size > 0) return;
    this.#idle?.();
    this.#idle = undefined;
  }
}

function conflict(a: Hold, b: Hold): boolean {
  return (a.writes || b.writes) && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

function refused(subcode: ConstructorParameters<typeof Fault>[0], reason: string): Promise<never> {
  return Promise.reject(new Fault(subcode, reason));
}
