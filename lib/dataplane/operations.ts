// Operations on memory behind a peer's tag that have not ended yet: each is a promise that settles exactly once, with
// what the engine says. Aborting or a deadline asks the engine to end one early; the promise still waits for the engine,
// because until then bytes may be placed.
import { SplitplaneError } from '../errors.js';
import { codeFromIndex, fromNative, native, type NativeEngine } from './native.js';
import { Turns } from './turns.js';

/** What every operation that takes time accepts. */
export interface OperationOptions {
  /** Ends it with ABORTED. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds after which it ends with DEADLINE_EXCEEDED; with more than TIMER_MS_MAX it has no deadline. */
  readonly deadlineMs?: number | undefined;
}

/** The longest that Node.js has timers for: 24 days. Longer ones would go off at once. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

interface Pending {
  resolve(value: bigint): void;
  reject(error: unknown): void;
  /** Why we asked the engine to end it. */
  reason: SplitplaneError | undefined;
  stopWatching: (() => void) | undefined;
}

export class Operations {
  readonly #engine: NativeEngine;
  /** Of what ends without the loop: reads and views of memory that can be looked at from here. */
  readonly turns = new Turns();
  readonly #pending = new Map<number, Pending>();

  constructor(engine: NativeEngine) {
    this.#engine = engine;
  }

  get count(): number {
    return this.#pending.size;
  }

  /** Posts what `post` posts (it answers the operation's number, 0 for one that is over) and settles when that ended: the word an atomic found. */
  run(post: () => number, options: OperationOptions): Promise<bigint> {
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted === true) {
        reject(abortedError(options.signal));
        return;
      }
      const number = native(post);
      if (number === 0) {
        const turn = this.turns.spend();
        if (turn === undefined) resolve(0n);
        else void turn.then(() => resolve(0n));
        return;
      }
      const pending: Pending = { resolve, reject, reason: undefined, stopWatching: undefined };
      this.#pending.set(number, pending);
      if (options.signal === undefined && options.deadlineMs === undefined) return;
      pending.stopWatching = watch(options, (reason) => {
        pending.reason ??= reason;
        this.#engine.cancelOperation(number);
      });
    });
  }

  /** The engine says that an operation ended. */
  ended(number: number, code: number, low: number, high: number, error: Error | undefined): void {
    const pending = this.#pending.get(number);
    if (pending === undefined) return;
    this.#pending.delete(number);
    pending.stopWatching?.();
    if (error === undefined) {
      pending.resolve(low === 0 && high === 0 ? 0n : BigInt(low) | (BigInt(high) << 32n));
    } else if (codeFromIndex(code) === 'ABORTED' && pending.reason !== undefined) {
      pending.reject(pending.reason);
    } else {
      pending.reject(fromNative(error));
    }
  }

  /** The engine is gone and will not say. */
  abandon(error: SplitplaneError): void {
    for (const pending of this.#pending.values()) {
      pending.stopWatching?.();
      pending.reject(error);
    }
    this.#pending.clear();
  }
}

/** Calls `end` once when the signal aborts or the deadline passes. Answers how to stop watching. */
export function watch(
  options: OperationOptions,
  end: (reason: SplitplaneError) => void,
): (() => void) | undefined {
  const { signal, deadlineMs } = options;
  if (signal === undefined && deadlineMs === undefined) return undefined;
  const stop = (): void => {
    signal?.removeEventListener('abort', onAbort);
    clearTimeout(timer);
  };
  const onAbort = (): void => {
    stop();
    end(abortedError(signal as AbortSignal));
  };
  signal?.addEventListener('abort', onAbort);
  const timer =
    deadlineMs === undefined || deadlineMs > TIMER_MS_MAX
      ? undefined
      : setTimeout(() => {
          stop();
          end(
            new SplitplaneError(
              'DEADLINE_EXCEEDED',
              `It did not end within ${deadlineMs} ms. Nothing partial was delivered; allow more time or try again.`,
            ),
          );
        }, deadlineMs);
  return stop;
}

/** ABORTED with the signal's reason as its cause. */
export function abortedError(signal: AbortSignal): SplitplaneError {
  return new SplitplaneError('ABORTED', 'The caller aborted it.', { cause: signal.reason });
}
