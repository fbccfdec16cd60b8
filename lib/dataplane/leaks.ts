// Notices registered buffers that were garbage-collected without release(). Reports and never frees, because a view may still
// be in use. Being told of what is collected costs more than handing out a buffer does, and most buffers are released soon;
// so only those are asked about that are still held some time later.
import type { RegisteredBuffer } from './memory.js';

/** So many new buffers are looked at together, or those of so long. */
const YOUNG_MAX = 128;
const YOUNG_MS = 100;
/** Asked once: looking into the environment costs as much as handing out a buffer. */
const TRACES_LEAKS = process.env.SPLITPLANE_TRACE_LEAKS !== undefined;

/** What is told when a buffer was garbage-collected without release(). */
export type LeakListener = (leak: {
  readonly length: number;
  readonly allocatedAt: string | undefined;
}) => void;

export class Leaks {
  readonly #registry: FinalizationRegistry<Parameters<LeakListener>[0]>;
  readonly #young: RegisteredBuffer[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(onLeak: LeakListener) {
    // With the manager its memory went too, and nothing of it can leak any more.
    this.#registry = new FinalizationRegistry((leak) => {
      if (!this.#closed) onLeak(leak);
    });
  }

  /** The buffer was handed out just now. */
  watch(buffer: RegisteredBuffer): void {
    if (TRACES_LEAKS) {
      this.#register(buffer, new Error('allocated here').stack?.split('\n').slice(4).join('\n'));
      return;
    }
    this.#young.push(buffer);
    if (this.#young.length === YOUNG_MAX) this.#grow();
    else
      this.#timer ??= setTimeout(() => {
        this.#grow();
      }, YOUNG_MS).unref();
  }

  /** The buffer was released. */
  forget(buffer: RegisteredBuffer): void {
    if (buffer.isWatched) this.#registry.unregister(buffer);
  }

  close(): void {
    this.#closed = true;
    this.#young.length = 0;
    clearTimeout(this.#timer);
  }

  #grow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const buffer of this.#young) if (!buffer.released) this.#register(buffer, undefined);
    this.#young.length = 0;
  }

  #register(buffer: RegisteredBuffer, allocatedAt: string | undefined): void {
    buffer.isWatched = true;
    this.#registry.register(buffer, { length: buffer.length, allocatedAt }, buffer);
  }
}
