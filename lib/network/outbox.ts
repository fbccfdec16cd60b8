// The messages a connection is sending: waiting for room, queued or sent and not yet acknowledged. Each ends exactly once:
// accepted by the peer, canceled, or failed with the connection. Keeps the order of send() calls.
import type { Dataplane } from '../dataplane/dataplane.js';
import type { Exposure } from '../dataplane/exposure.js';
import { watch, type OperationOptions } from '../dataplane/operations.js';
import { SplitplaneError } from '../errors.js';
import type { Serializer } from '../serializer/registry.js';
import type { Envelope } from '../soap/envelope.js';
import { Fifo } from './fifo.js';
import { enqueue, separate, type Attachable, type Separated } from './separator.js';

/** Messages that may wait for room in the queue, per connection. Watch writableNeedDrain to stay far below. */
export const WAITING_MESSAGES_MAX = 65_536;

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

/** One message on its way. */
export interface Outgoing {
  readonly sent: Promise<Sent>;
  /** Ends it here with `reason` and, if it is already there, tells the peer. */
  cancel(reason: SplitplaneError): void;
}

class Entry implements Outgoing {
  readonly sent: Promise<Sent>;
  /** 0 while it waits for room. */
  id = 0;
  resolve!: (sent: Sent) => void;
  reject!: (error: unknown) => void;
  stopWatching: (() => void) | undefined;
  readonly separated: Separated;
  readonly deadlineMs: number;
  readonly #outbox: Outbox;

  constructor(outbox: Outbox, separated: Separated, deadlineMs: number) {
    this.#outbox = outbox;
    this.separated = separated;
    this.deadlineMs = deadlineMs;
    this.sent = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  accepted(): void {
    this.stopWatching?.();
    this.resolve(new Sent(this.separated.envelope.messageId, this.separated.exposures));
  }

  fail(error: unknown): void {
    this.stopWatching?.();
    for (const exposure of this.separated.exposures) exposure.revoke();
    this.reject(error);
  }

  cancel(reason: SplitplaneError): void {
    this.#outbox.cancel(this, reason);
  }
}

export class Outbox {
  readonly #dataplane: Dataplane;
  readonly #session: number;
  readonly #serializer: Serializer;
  readonly #inlineBytesMax: number;
  readonly #onDrain: () => void;
  readonly #waiting = new Fifo<Entry>();
  readonly #unacknowledged = new Fifo<Entry>();

  constructor(
    dataplane: Dataplane,
    session: number,
    serializer: Serializer,
    inlineBytesMax: number,
    onDrain: () => void,
  ) {
    this.#dataplane = dataplane;
    this.#session = session;
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
    if (this.#waiting.length >= WAITING_MESSAGES_MAX) {
      throw new SplitplaneError(
        'QUOTA_EXCEEDED',
        `${WAITING_MESSAGES_MAX} messages wait for this peer. Await send() or the drain event before sending more.`,
      );
    }
    const { buffers = [] } = options;
    const separated = separate(this.#dataplane, this.#session, envelope, buffers, this.#inlineBytesMax);
    const entry = new Entry(this, separated, deadlineMs);
    if (this.full || !this.#enqueue(entry)) this.#waiting.push(entry);
    entry.stopWatching = watch(options, (reason) => {
      entry.cancel(reason);
    });
    return entry;
  }

  cancel(entry: Entry, reason: SplitplaneError): void {
    if (entry.id === 0) this.#waiting.remove((other) => other === entry);
    else this.#dataplane.cancelMessage(this.#session, entry.id);
    entry.fail(reason);
  }

  /** The peer has every message up to this id. */
  delivered(upTo: number): void {
    for (let entry = this.#unacknowledged.peek(); entry !== undefined && entry.id <= upTo;) {
      this.#unacknowledged.shift();
      entry.accepted();
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
    if (had) this.#onDrain();
  }

  /** The connection ended: so does everything here. */
  close(error: SplitplaneError): void {
    for (const queue of [this.#unacknowledged, this.#waiting]) {
      for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) entry.fail(error);
    }
  }

  #enqueue(entry: Entry): boolean {
    try {
      entry.id = enqueue(this.#dataplane, this.#session, this.#serializer, entry.separated, entry.deadlineMs);
    } catch (error) {
      for (const exposure of entry.separated.exposures) exposure.revoke();
      throw error;
    }
    if (entry.id === 0) return false;
    this.#unacknowledged.push(entry);
    return true;
  }
}
