// A message between two services: what its sender hands to the dispatcher, what the receiving port gets, and the answer. The
// same three things whether the other service is beside this one or on another host; local ones are here. Knows nothing of
// queues, names or rights.
import type { Connection } from '../network/connection.js';
import type { Envelope } from '../soap/envelope.js';
import { SplitplaneError } from '../errors.js';
import type { SoapFault } from '../soap/fault.js';
import { giveBack, LocalAttached, type Attached, type Giving } from './attached.js';
import type { Deadlines, Expiring } from './deadlines.js';
import { Fault } from './fault.js';
import { verbOf, type Verb } from './verbs.js';

/** A buffer on its way: what the body calls it, and what it is. */
export interface Gift {
  readonly cid: string;
  readonly giving: Giving;
}

export const NO_GIFTS: readonly Gift[] = Object.freeze([]);
const NOTHING_ATTACHED: readonly never[] = Object.freeze([]);

/** Who sends a message. */
export interface Sender {
  /** Who it is to the security manager: `service:NAME`, or what a peer was authenticated as. */
  readonly principal: string;
  /** The path of the service that the message's buffers belong to; undefined when they are nobody's but the runtime's. */
  readonly owner: string | undefined;
  /** The runtime that a message came from which is passed on, by the id of its network manager. */
  readonly node?: string | undefined;
}

/** A request as its sender hands it to the dispatcher. */
export interface Outgoing {
  readonly envelope: Envelope;
  /** In the order of the envelope's references. With the request they belong to the dispatcher. */
  readonly gifts: readonly Gift[];
  readonly sender: Sender;
  /** In performance.now() milliseconds. */
  readonly deadlineAt: number;
  readonly signal: AbortSignal | undefined;
  /** Whether the security manager has let it through: what a service's own thread or process is told. */
  readonly judged?: boolean | undefined;
  /** No answer is waited for: the request is done when the peer has accepted it. */
  readonly oneWay?: true | undefined;
}

/** What a request is answered with. Who asked releases it. */
export interface Answer {
  readonly envelope: Envelope;
  /** In the order of the envelope's references. */
  readonly attached: readonly Attached[];
  /** Gives back what was not resolved. A second call does nothing. */
  release(): void;
}

/** A request as its receiver gets it. It is answered or refused once; what comes after that has no effect. */
export interface Delivery {
  readonly envelope: Envelope;
  readonly verb: Verb | undefined;
  readonly attached: readonly Attached[];
  readonly principal: string;
  /** The runtime that it came from, by the id of its network manager; undefined for this one. */
  readonly node: string | undefined;
  /** The path of the service whose buffers are attached, if that is a service of this runtime in a thread or process of its own. */
  readonly owner: string | undefined;
  /** Whether the runtime that this thread or process belongs to has let it through. */
  readonly judged: boolean;
  /** In performance.now() milliseconds. */
  readonly deadlineAt: number;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Whether it was answered, refused or given up. */
  readonly settled: boolean;
  /** The connection that it came by; undefined for a message of this runtime. For services that are about connections. */
  readonly connection: Connection | undefined;
  /** Ends it without an answer where its sender does not wait for one. Answers whether that is so. */
  end?(): boolean;
  /** Answers; `gifts` are the receiver's from now on. `owner` is the path of the service that answers. */
  answer(envelope: Envelope, gifts: readonly Gift[], owner: string | undefined): void;
  refuse(fault: SoapFault): void;
  /** Has it end at this time (performance.now() milliseconds), if that is before it would anyway. */
  shorten(deadlineAt: number): void;
  /** The receiver is done with it: what was attached and not resolved goes back. */
  release(): void;
}

/** What a local answer is judged by before its buffers change hands. */
export type JudgeMemory = (receiver: string, owner: string) => SoapFault | undefined;

/** Why a request is over before it was answered. */
export function expiry({ to }: Envelope, closing: boolean): Fault {
  return closing
    ? new Fault(
        'OperationCanceled',
        `The runtime was closed before ${to} had answered. Ask again when it runs.`,
      )
    : new Fault(
        'ResponseTimeout',
        `${to} did not answer in time. Allow more time, or find out what it waits for.`,
      );
}

/** A request between two services of this runtime: passed by reference, never serialized, never cloned. */
export class LocalDelivery implements Delivery, Expiring {
  readonly envelope: Envelope;
  readonly verb: Verb | undefined;
  readonly attached: readonly LocalAttached[];
  deadlineAt: number;
  readonly node: undefined;
  readonly owner: undefined;
  readonly judged = false;
  readonly connection: undefined;
  readonly #sender: Sender;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: unknown) => void;
  readonly #deadlines: Deadlines;
  readonly #judge: JudgeMemory;
  #slot: number;
  #settled = false;
  #abort: AbortController | undefined;
  #stopWatching: (() => void) | undefined;

  constructor(
    { envelope, gifts, sender, deadlineAt, signal }: Outgoing,
    deadlines: Deadlines,
    judge: JudgeMemory,
    resolve: (answer: Answer) => void,
    reject: (error: unknown) => void,
  ) {
    this.envelope = envelope;
    this.verb = verbOf(envelope.action);
    this.attached =
      gifts.length === 0 ? NOTHING_ATTACHED : gifts.map(({ giving }) => new LocalAttached(giving));
    this.deadlineAt = deadlineAt;
    this.#sender = sender;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#deadlines = deadlines;
    this.#judge = judge;
    this.#slot = deadlines.set(this, deadlineAt);
    if (signal !== undefined) this.#watch(signal);
  }

  get principal(): string {
    return this.#sender.principal;
  }

  get settled(): boolean {
    return this.#settled;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#settled) this.#abort.abort(new SplitplaneError('ABORTED', 'The request is over.'));
    }
    return this.#abort.signal;
  }

  answer(envelope: Envelope, gifts: readonly Gift[], owner: string | undefined): void {
    if (!this.#settle()) {
      giveBack(gifts);
      return;
    }
    const fault = gifts.length > 0 && owner !== undefined ? this.#judge(this.principal, owner) : undefined;
    if (fault !== undefined) {
      giveBack(gifts);
      this.#resolve(new LocalAnswer(this.envelope.replyFault(fault), NO_GIFTS));
      return;
    }
    this.#resolve(new LocalAnswer(envelope, gifts));
  }

  refuse(fault: SoapFault): void {
    if (this.#settle()) this.#resolve(new LocalAnswer(this.envelope.replyFault(fault), NO_GIFTS));
  }

  shorten(deadlineAt: number): void {
    if (this.#settled || deadlineAt >= this.deadlineAt) return;
    this.#deadlines.clear(this, this.#slot);
    this.deadlineAt = deadlineAt;
    this.#slot = this.#deadlines.set(this, deadlineAt);
  }

  release(): void {
    for (const attached of this.attached) attached.release();
  }

  /** For Deadlines. */
  expire(closing: boolean): void {
    const error = expiry(this.envelope, closing);
    if (!this.#settle()) return;
    this.#abort?.abort(error);
    this.#resolve(new LocalAnswer(this.envelope.replyFault(error.fault), NO_GIFTS));
    // Its sender has given it up, and may wait for its memory: what nobody has resolved yet goes back now, as over a network.
    this.release();
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#deadlines.clear(this, this.#slot);
    this.#stopWatching?.();
    return true;
  }

  #watch(signal: AbortSignal): void {
    const give = (): void => {
      if (!this.#settle()) return;
      const error = new SplitplaneError('ABORTED', 'The request was canceled by its sender.', {
        cause: signal.reason,
      });
      this.#abort?.abort(error);
      this.#reject(error);
      this.release();
    };
    signal.addEventListener('abort', give);
    this.#stopWatching = () => {
      signal.removeEventListener('abort', give);
    };
  }
}

class LocalAnswer implements Answer {
  readonly envelope: Envelope;
  readonly attached: readonly LocalAttached[];

  constructor(envelope: Envelope, gifts: readonly Gift[]) {
    this.envelope = envelope;
    this.attached =
      gifts.length === 0 ? NOTHING_ATTACHED : gifts.map(({ giving }) => new LocalAttached(giving));
  }

  release(): void {
    for (const attached of this.attached) attached.release();
  }
}

/** The buffer that the body of a message calls by this content id. */
export function attachedAs(
  message: Pick<Answer, 'envelope' | 'attached'>,
  cid: string,
): Attached | undefined {
  const { references } = message.envelope;
  for (let index = 0; index < references.length; index++) {
    if (references[index]?.cid === cid) return message.attached[index];
  }
  return undefined;
}
