// Memory of ours that peers may reach: each exposure is one tag, its life and its notifications. Knows nothing of
// envelopes; lib/network puts tags into them.
import { SplitplaneError, type ErrorCode } from '../errors.js';
import { codeFromIndex, native, type NativeEngine } from './native.js';
import { putSlices, totalLength, type BufferSlices } from './memory.js';
import type { SharedBlocks } from './shared-blocks.js';

/** What the holder of a tag may do. One direction per tag: a peer that may read cannot write, and the reverse. */
export type Access = 'read' | 'write' | 'atomic';
const ACCESS = { read: 1, write: 2, atomic: 3 } as const;
/** A year: what is to live longer than that does not expire. */
const EXPIRES_MS_MAX = 365 * 24 * 3600 * 1000;
const AUDIENCE = { session: 1, principal: 2, bearer: 3 } as const;

/** Who may use a tag: one connection, one authenticated principal on any connection, or whoever has it. */
export type Audience =
  { readonly session: number } | { readonly principal: string } | { readonly bearer: true };

export interface ExposeOptions {
  readonly access: Access;
  readonly audience: Audience;
  /** How many operations may use it: 1 to 64, or Infinity. 1 when left out. */
  readonly uses?: number | undefined;
  /** Milliseconds until it ends by itself; it does not when left out. */
  readonly expiresMs?: number | undefined;
}

/** How an exposure ended: `RELEASED` when the peer gave it back. */
export type ExposureEnd = 'RELEASED' | Extract<ErrorCode, 'TAG_REVOKED' | 'TAG_EXPIRED' | 'CLOSED'>;

/** Memory that a peer may reach while this lives. The memory is held until it ends, even if released before. */
export class Exposure implements Disposable {
  /** The capability: 43 characters of base64url. Whoever is in its audience can use it. */
  readonly tag: string;
  readonly access: Access;
  /** Bytes that it stands for. */
  readonly length: number;
  readonly #exposures: Exposures;
  #end: ExposureEnd | undefined;
  // Made when somebody asks: nearly every message has an exposure, and few want to know when it ends.
  #ended: Promise<ExposureEnd> | undefined;
  #settle: ((end: ExposureEnd) => void) | undefined;
  #written = 0;
  #waiting: (() => void) | undefined;

  /** @internal Made by Exposures. */
  constructor(exposures: Exposures, tag: string, access: Access, length: number) {
    this.#exposures = exposures;
    this.tag = tag;
    this.access = access;
    this.length = length;
  }

  /** Settles when the tag ended and the memory is no longer held by it. Never rejects. */
  get ended(): Promise<ExposureEnd> {
    this.#ended ??=
      this.#end === undefined
        ? new Promise((resolve) => {
            this.#settle = resolve;
          })
        : Promise.resolve(this.#end);
    return this.#ended;
  }

  /** Takes the right back at once: operations in progress end with TAG_REVOKED at the peer. */
  revoke(): void {
    if (this.#end === undefined) this.#exposures.revoke(this.tag);
  }

  [Symbol.dispose](): void {
    this.revoke();
  }

  /**
   * How many writes with `notify` have finished so far, each time that there are more; ends when the exposure does.
   * Writes that finish between two steps of the iteration are told together. One iteration at a time.
   */
  async *notifications(): AsyncGenerator<number, void, void> {
    let told = 0;
    while (this.#end === undefined || told < this.#written) {
      if (told < this.#written) {
        told = this.#written;
        yield told;
      } else {
        await new Promise<void>((resolve) => {
          this.#waiting = resolve;
        });
      }
    }
  }

  /** @internal */
  notify(): void {
    this.#written++;
    this.#wake();
  }

  /** @internal */
  end(how: ExposureEnd): void {
    this.#end = how;
    this.#settle?.(how);
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

export class Exposures {
  readonly #engine: NativeEngine;
  readonly #shared: SharedBlocks;
  /** By the cookie that the engine tells of them by. Those that are free are used again, the last one first. */
  readonly #live: (Exposure | undefined)[] = [undefined];
  readonly #free: number[] = [];

  constructor(engine: NativeEngine, shared: SharedBlocks) {
    this.#engine = engine;
    this.#shared = shared;
  }

  get count(): number {
    return this.#live.length - 1 - this.#free.length;
  }

  /** Makes a tag for `slices`. Throws INVALID_ARGUMENT, REGION_RELEASED, or LIMIT_EXCEEDED when there are too many tags. */
  expose(slices: BufferSlices, options: ExposeOptions): Exposure {
    const { access, audience, uses = 1, expiresMs } = options;
    const count = putSlices(this.#shared, slices, this.#engine);
    if (count < 1)
      throw new SplitplaneError('INVALID_ARGUMENT', 'A tag stands for one slice or more, not 0.');
    const counted = Number.isInteger(uses) && uses >= 1 && uses <= 64;
    if (!counted && uses !== Infinity) {
      throw new SplitplaneError('INVALID_ARGUMENT', `uses is 1 to 64 or Infinity, not ${uses}.`);
    }
    if (expiresMs !== undefined && !(expiresMs >= 0 && expiresMs <= EXPIRES_MS_MAX)) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `expiresMs is a number from 0 to ${EXPIRES_MS_MAX}, not ${expiresMs}. Leave it out for a tag that does not expire.`,
      );
    }
    const cookie = this.#free.at(-1) ?? this.#live.length;
    native(() => {
      this.#engine.exportTag(
        ACCESS[access],
        'session' in audience
          ? AUDIENCE.session
          : 'bearer' in audience
            ? AUDIENCE.bearer
            : AUDIENCE.principal,
        'session' in audience ? audience.session : 0,
        counted ? uses : 0,
        expiresMs ?? -1,
        cookie,
        count,
        'principal' in audience ? audience.principal : undefined,
      );
    });
    const exposure = new Exposure(this, this.#shared.takeTag(), access, totalLength(slices));
    if (cookie === this.#live.length) this.#live.push(exposure);
    else this.#live[this.#free.pop() as number] = exposure;
    return exposure;
  }

  /** @internal */
  revoke(tag: string): void {
    this.#shared.putTag(tag);
    this.#engine.revokeTag();
  }

  notified(cookie: number): void {
    this.#live[cookie]?.notify();
  }

  ended(cookie: number, code: number): void {
    const exposure = this.#live[cookie];
    if (exposure === undefined) return;
    this.#live[cookie] = undefined;
    this.#free.push(cookie);
    exposure.end(code === 0 ? 'RELEASED' : (codeFromIndex(code) as ExposureEnd));
  }

  /** The engine is gone, and every tag with it. */
  abandon(): void {
    for (const exposure of this.#live) exposure?.end('CLOSED');
    this.#live.length = 1;
    this.#free.length = 0;
  }
}
