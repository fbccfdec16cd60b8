// The messages a connection is sending: waiting for room, queued or sent and not yet acknowledged. Each ends exactly once:
// accepted by the peer, canceled, or failed with the connection. Keeps the order of send() calls.
import type { Dataplane } from '../dataplane/dataplane.js';
import type { Audience, Exposure } from '../dataplane/exposure.js';
import { watch, type OperationOptions } from '../dataplane/operations.js';
import { SplitplaneError } from '../errors.js';
import type { Serializer } from '../serializer/registry.js';
import type { Envelope } from '../soap/envelope.js';
import { Fifo } from './fifo.js';
import type { Packing } from './packing.js';
import { enqueue, separate, type Attachable, type Separated } from './separator.js';

/** Messages that may wait for room in the queue, per connection. Watch writableNeedDrain to stay far below. */
export const WAITING_MESSAGES_MAX = 65_536;

/** What was canceled is dropped from what the peer has not acknowledged when there is so much and it is the larger half. */
const CANCELED_KEPT_MAX = 1024;

const NO_BUFFERS: readonly Attachable[] = [];

export interface SendOptions extends OperationOptions {
  /** Memory that goes with the message by reference, or inline when it is small. It is held until it is released there. */
  readonly buffers?: readonly Attachable[] | undefined;
  /** Called when the peer has accepted a request, which settles only when it is answered. */
  readonly accepted?: ((sent: Sent) => void) | undefined;
}

/** A message that the peer has accepted. */
export class Sent {
  /** wsa:MessageID. */
  readonly messageId: string | undefined;
  readonly #exposures: readonly Exposure[];

  constructor(messageId: string | undefined, exposures: readonly Exposure[]) {
    this.messageId = messageId;
    this.#exposures = exposures;
  }

  /** Settles when the receiver gave back every buffer, or their tags ended otherwise. Never rejects. */
  get released(): Promise<void> {
    return Promise.all(this.#exposures.map((exposure) => exposure.ended)).then(() => undefined);
  }
}

/** One send on its way, which settles with `T`. */
export interface Outgoing<T = Sent> {
  readonly sent: Promise<T>;
  /** Ends it here with `reason` and, if it is already there, tells the peer. */
  cancel(reason: SplitplaneError): void;
}

/** What the queues of an outbox hold. */
interface Entry {
  /** Some of it, or all, waits for room. */
  waits: boolean;
  canceled: boolean;
  /** The engine's numbers for the rest, which follow each other; 0: there is none. */
  readonly firstId: number;
  readonly lastId: number;
  stopWatching: (() => void) | undefined;
  /** Queues what there is room for. True when nothing is left. */
  enqueue(dataplane: Dataplane, session: number): boolean;
  accepted(): void;
  fail(error: unknown): void;
  cancel(reason: SplitplaneError): void;
}

abstract class OutgoingEntry<T> implements Entry, Outgoing<T> {
  readonly sent: Promise<T>;
  waits = true;
  canceled = false;
  firstId = 0;
  lastId = 0;
  stopWatching: (() => void) | undefined;
  protected resolve!: (sent: T) => void;
  readonly #outbox: Outbox;
  #reject!: (error: unknown) => void;

  protected constructor(outbox: Outbox) {
    this.#outbox = outbox;
    this.sent = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.#reject = reject;
    });
  }

  abstract enqueue(dataplane: Dataplane, session: number): boolean;

  abstract accepted(): void;

  fail(error: unknown): void {
    this.stopWatching?.();
    this.#reject(error);
  }

  cancel(reason: SplitplaneError): void {
    this.#outbox.cancel(this, reason);
  }
}

/**
 * Once it is queued it lets go of the message. Thousands may be on their way, and if all that was made for them lived as long,
 * the collector would copy it, and then come to believe that such things grow old and make them among the old ones.
 */
class MessageEntry extends OutgoingEntry<Sent> {
  readonly #serializer: Serializer;
  readonly #deadlineMs: number;
  readonly #exposures: readonly Exposure[];
  #unqueued: Separated | undefined;
  #messageId: string | undefined;

  constructor(outbox: Outbox, separated: Separated, serializer: Serializer, deadlineMs: number) {
    super(outbox);
    this.#serializer = serializer;
    this.#deadlineMs = deadlineMs;
    this.#exposures = separated.exposures;
    this.#unqueued = separated;
  }

  override enqueue(dataplane: Dataplane, session: number): boolean {
    const message = this.#unqueued;
    if (message === undefined) return true;
    try {
      this.lastId = enqueue(dataplane, session, this.#serializer, message, this.#deadlineMs);
    } catch (error) {
      this.#revoke();
      throw error;
    }
    this.firstId = this.lastId;
    if (this.lastId === 0) return false;
    this.#messageId = message.envelope.messageId;
    this.#unqueued = undefined;
    return true;
  }

  override accepted(): void {
    this.stopWatching?.();
    this.resolve(new Sent(this.#messageId, this.#exposures));
  }

  override fail(error: unknown): void {
    this.#revoke();
    super.fail(error);
  }

  #revoke(): void {
    for (const exposure of this.#exposures) exposure.revoke();
  }
}

class BatchEntry extends OutgoingEntry<void> {
  readonly #packing: Packing;

  constructor(outbox: Outbox, packing: Packing) {
    super(outbox);
    this.#packing = packing;
  }

  override enqueue(dataplane: Dataplane, session: number): boolean {
    while (!this.#packing.done) {
      const id = this.#packing.enqueue(dataplane, session);
      if (id === 0) return false;
      if (this.firstId === 0) this.firstId = id;
      this.lastId = id;
    }
    return true;
  }

  override accepted(): void {
    this.stopWatching?.();
    this.resolve();
  }
}

export class Outbox {
  readonly #dataplane: Dataplane;
  readonly #session: number;
  readonly #audience: Audience;
  readonly #serializer: Serializer;
  readonly #inlineBytesMax: number;
  readonly #onDrain: () => void;
  readonly #waiting = new Fifo<Entry>();
  readonly #unacknowledged = new Fifo<Entry>();
  #deliveredUpTo = 0;
  /** Of those that are unacknowledged. */
  #canceledCount = 0;
  #onQueued: (() => void) | undefined;
  #queued: Promise<void> | undefined;

  constructor(
    dataplane: Dataplane,
    session: number,
    serializer: Serializer,
    inlineBytesMax: number,
    onDrain: () => void,
  ) {
    this.#dataplane = dataplane;
    this.#session = session;
    this.#audience = { session };
    this.#serializer = serializer;
    this.#inlineBytesMax = inlineBytesMax;
    this.#onDrain = onDrain;
  }

  /** Whether messages wait for room. */
  get full(): boolean {
    return this.#waiting.length > 0;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Starts sending; `deadlineMs` is what the peer is told. Throws what is wrong with the message itself. */
  post(envelope: Envelope, options: SendOptions, deadlineMs = 0): Outgoing {
    this.#checkRoom();
    const { buffers = NO_BUFFERS } = options;
    const separated = separate(this.#dataplane, this.#audience, envelope, buffers, this.#inlineBytesMax);
    return this.#start(new MessageEntry(this, separated, this.#serializer, deadlineMs), options);
  }

  /** Starts sending a batch. */
  postBatch(packing: Packing, options: OperationOptions): Outgoing<void> {
    this.#checkRoom();
    return this.#start(new BatchEntry(this, packing), options);
  }

  cancel(entry: Entry, reason: SplitplaneError): void {
    entry.canceled = true;
    if (entry.waits) this.#waiting.remove((other) => other === entry);
    else if (entry.lastId > this.#deliveredUpTo) this.#canceledCount++;
    for (let id = entry.firstId; id !== 0 && id <= entry.lastId; id++) {
      this.#dataplane.cancelMessage(this.#session, id);
    }
    entry.fail(reason);
    // A peer that takes nothing acknowledges nothing either, and what was meant for it would stay for as long.
    if (this.#canceledCount > CANCELED_KEPT_MAX && this.#canceledCount * 2 > this.#unacknowledged.length) {
      this.#unacknowledged.removeAll(({ canceled }) => canceled);
      this.#canceledCount = 0;
    }
    this.#settleQueued();
  }

  /** The peer has every message up to this id. */
  delivered(upTo: number): void {
    this.#deliveredUpTo = upTo;
    for (let entry = this.#unacknowledged.peek(); entry !== undefined && entry.lastId <= upTo;) {
      this.#unacknowledged.shift();
      if (entry.canceled) this.#canceledCount--;
      else entry.accepted();
      entry = this.#unacknowledged.peek();
    }
  }

  /** There is room again. */
  writable(): void {
    const had = this.full;
    for (let entry = this.#waiting.peek(); entry !== undefined; entry = this.#waiting.peek()) {
      try {
        if (!this.#enqueue(entry)) return;
      } catch (error) {
        entry.fail(error);
      }
      this.#waiting.shift();
    }
    this.#settleQueued();
    if (had) this.#onDrain();
  }

  /** Settles when nothing waits for room any more, or all has failed. */
  queued(): Promise<void> {
    this.#queued ??= new Promise((resolve) => {
      this.#onQueued = resolve;
    });
    this.#settleQueued();
    return this.#queued;
  }

  /** The connection ended: so does everything here. */
  close(error: SplitplaneError): void {
    for (const queue of [this.#unacknowledged, this.#waiting]) {
      for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) entry.fail(error);
    }
    this.#settleQueued();
  }

  #settleQueued(): void {
    if (!this.full) this.#onQueued?.();
  }

  #checkRoom(): void {
    if (this.#waiting.length < WAITING_MESSAGES_MAX) return;
    throw new SplitplaneError(
      'QUOTA_EXCEEDED',
      `${WAITING_MESSAGES_MAX} messages wait for this peer. Await send() or the drain event before sending more.`,
    );
  }

  #start<E extends Entry>(entry: E, options: OperationOptions): E {
    if (this.full || !this.#enqueue(entry)) this.#waiting.push(entry);
    entry.stopWatching = watch(options, (reason) => {
      entry.cancel(reason);
    });
    return entry;
  }

  #enqueue(entry: Entry): boolean {
    if (!entry.enqueue(this.#dataplane, this.#session)) return false;
    entry.waits = false;
    this.#unacknowledged.push(entry);
    return true;
  }
}
