// The messages that arrive on a connection: decoded by their header, checked, matched with the requests they answer, or
// put into the manager's queue. What is refused is answered with a fault where there is somebody to answer.
import type { Dataplane } from '../dataplane/dataplane.js';
import type { ArrivedMessage } from '../dataplane/events.js';
import type { RemoteBuffer } from '../dataplane/remote.js';
import { SplitplaneError } from '../errors.js';
import type { Serializer } from '../serializer/registry.js';
import { refuseNotUnderstood } from '../soap/addressing.js';
import { Envelope } from '../soap/envelope.js';
import { MessageRefusedError, SoapFault } from '../soap/fault.js';
import type { QName } from '../soap/infoset.js';
import { Batch, type BatchMemory } from './batch.js';
import type { Connection } from './connection.js';
import { Message } from './message.js';
import { BATCH, type Judged } from './security.js';
import { join } from './separator.js';

/** Cancellations remembered of messages that nobody has asked the signal of. */
const CANCELED_MAX = 1024;
/** With more that waits to be sent a message that is refused is not answered any more. */
const ANSWERS_WAITING_MAX = 1024;

/** Whether something may pass; `bytes` of buffers or, of a batch, of messages. */
export type Authorizer = (
  connection: Connection,
  what: Judged,
  direction: 'send' | 'receive',
  bytes: number,
) => Promise<boolean> | boolean;

/** What an inbox needs of its manager. */
export interface Receiver {
  /** Undefined: everything may. */
  readonly authorize: Authorizer | undefined;
  /** Whether a mandatory header block is understood here. */
  readonly understands: (block: QName) => boolean;
  /** Whether the message has not come before. */
  isNew(connection: Connection, messageId: string): boolean;
  /** Nobody has handled a message that came, and nobody will: it may come again. */
  unhandled(connection: Connection, messageId: string): void;
  deliver(message: Message, byteCount: number): void;
  deliverBatch(batch: Batch): void;
  readonly batchMemory: BatchMemory;
  /** Takes a message or a batch back that nobody has taken yet. */
  withdraw(connection: Connection, id: number): void;
}

export interface InboxCounters {
  received: number;
  /** Refused: malformed, contradictory or not authorized. */
  refused: number;
  /** Sent again by the peer's program and dropped by MessageID. */
  repeated: number;
}

export class Inbox {
  readonly counters: InboxCounters = { received: 0, refused: 0, repeated: 0 };
  readonly #connection: Connection;
  readonly #session: number;
  readonly #dataplane: Dataplane;
  readonly #serializer: Serializer;
  readonly #receiver: Receiver;
  // Made when they are needed: few messages are canceled, or asked whether they are.
  #signals: Map<number, AbortController> | undefined;
  #canceled: Set<number> | undefined;
  /** Messages whose authorization is still being asked: those behind them wait, so that order is kept. */
  #asking: Promise<void> | undefined;

  constructor(
    connection: Connection,
    session: number,
    dataplane: Dataplane,
    serializer: Serializer,
    receiver: Receiver,
  ) {
    this.#connection = connection;
    this.#session = session;
    this.#dataplane = dataplane;
    this.#serializer = serializer;
    this.#receiver = receiver;
  }

  arrived(arrived: ArrivedMessage): void {
    const { id, byteCount } = arrived;
    this.counters.received++;
    let envelope: Envelope | undefined;
    let buffers: readonly RemoteBuffer[];
    try {
      envelope = this.#serializer.decodeHeader(arrived.envelope);
      refuseNotUnderstood(envelope.headers, this.#receiver.understands);
      buffers = join(this.#dataplane, envelope, arrived);
    } catch (error) {
      this.#refuse(envelope, error, byteCount);
      return;
    }
    const deadlineAt = arrived.deadlineMs === 0 ? Infinity : performance.now() + arrived.deadlineMs;
    const message = new Message(this.#connection, id, envelope, buffers, deadlineAt);
    this.#inTurn(() => this.#judge(message, byteCount));
  }

  batchArrived(id: number, count: number, content: Buffer): void {
    this.counters.received++;
    const batch = new Batch(this.#connection, id, count, content, this.#receiver.batchMemory);
    this.#inTurn(() => this.#judgeBatch(batch));
  }

  canceled(id: number): void {
    const controller = this.#signals?.get(id);
    if (controller !== undefined) {
      controller.abort(new SplitplaneError('ABORTED', 'The sender canceled this message.'));
      return;
    }
    const canceled = (this.#canceled ??= new Set<number>());
    canceled.add(id);
    if (canceled.size > CANCELED_MAX) canceled.delete(canceled.values().next().value as number);
    this.#receiver.withdraw(this.#connection, id);
  }

  /** The signal of a message that somebody handles. */
  signal(id: number): AbortSignal {
    const signals = (this.#signals ??= new Map<number, AbortController>());
    let controller = signals.get(id);
    if (controller === undefined) {
      controller = new AbortController();
      signals.set(id, controller);
      if (this.#canceled?.delete(id) === true) this.canceled(id);
    }
    return controller.signal;
  }

  /** Whether its sender has canceled a message; cheaper than asking for its signal. */
  isCanceled(id: number): boolean {
    return this.#canceled?.has(id) === true || this.#signals?.get(id)?.signal.aborted === true;
  }

  /** Nobody handles the message any more. */
  forget(id: number): void {
    this.#signals?.delete(id);
    this.#canceled?.delete(id);
  }

  /** Undefined when it could be judged at once. */
  #judge(message: Message, byteCount: number): Promise<void> | undefined {
    const { envelope } = message;
    const { messageId } = envelope;
    if (messageId !== undefined && !this.#receiver.isNew(this.#connection, messageId)) {
      this.counters.repeated++;
      message.release();
      this.#dataplane.consume(this.#session, 1, byteCount);
      return undefined;
    }
    const { authorize } = this.#receiver;
    if (authorize === undefined) {
      this.#dispatch(message, byteCount);
      return undefined;
    }
    const bytes = envelope.references.reduce((sum, reference) => sum + reference.lengthBytes, 0);
    return this.#judged(authorize(this.#connection, envelope, 'receive', bytes), (allowed) => {
      if (allowed) this.#dispatch(message, byteCount);
      else this.#deny(message, byteCount);
    });
  }

  #judgeBatch(batch: Batch): Promise<void> | undefined {
    const { authorize } = this.#receiver;
    const verdict = authorize?.(this.#connection, BATCH, 'receive', batch.bytes.length) ?? true;
    return this.#judged(verdict, (allowed) => {
      if (allowed) {
        this.#receiver.deliverBatch(batch);
        return;
      }
      this.counters.refused++;
      this.#answer(undefined, this.#denial(BATCH));
      batch.release();
      this.#dataplane.consume(this.#session, 1, batch.byteCount);
    });
  }

  /** Undefined when `settle` was called at once. */
  #judged(
    verdict: Promise<boolean> | boolean,
    settle: (allowed: boolean) => void,
  ): Promise<void> | undefined {
    if (typeof verdict !== 'boolean') return verdict.then(settle);
    settle(verdict);
    return undefined;
  }

  /** Judges what arrived after what arrived before it. */
  #inTurn(judge: () => Promise<void> | undefined): void {
    if (this.#asking !== undefined) {
      this.#asking = this.#asking.then(judge);
      return;
    }
    const judged = judge();
    if (judged === undefined) return;
    const asking = judged.then(() => {
      if (this.#asking === asking) this.#asking = undefined;
    });
    this.#asking = asking;
  }

  #dispatch(message: Message, byteCount: number): void {
    if (this.#connection.answered(message)) {
      this.#dataplane.consume(this.#session, 1, byteCount);
      return;
    }
    this.#receiver.deliver(message, byteCount);
  }

  #deny(message: Message, byteCount: number): void {
    const { envelope } = message;
    const { messageId } = envelope;
    const fault = this.#denial(envelope);
    this.counters.refused++;
    this.#answer(envelope, fault);
    if (messageId !== undefined) this.#receiver.unhandled(this.#connection, messageId);
    this.#connection.answerRefused(envelope, 'PERMISSION_DENIED', fault);
    message.release();
    this.#dataplane.consume(this.#session, 1, byteCount);
  }

  #denial({ action }: Judged): SoapFault {
    return SoapFault.dssp('PermissionDenied', `${action} is not permitted to ${this.#connection.principal}.`);
  }

  #refuse(envelope: Envelope | undefined, error: unknown, byteCount: number): void {
    this.counters.refused++;
    const fault =
      error instanceof MessageRefusedError
        ? error.fault
        : new SoapFault({ code: 'Receiver', reason: 'The message could not be processed.' });
    this.#answer(envelope, fault);
    if (envelope !== undefined) {
      this.#connection.answerRefused(envelope, 'MESSAGE_INVALID', fault);
      this.#dataplane.releaseTags(this.#session, envelope.references);
    }
    this.#dataplane.consume(this.#session, 1, byteCount);
  }

  /**
   * Faults are never answered with faults: two nodes would go on for ever. Nor is a peer that does not take what is sent to it:
   * it needs no credit to be answered.
   */
  #answer(envelope: Envelope | undefined, fault: SoapFault): void {
    if (this.#connection.waitingCount > ANSWERS_WAITING_MAX) return;
    if (envelope !== undefined && (envelope.wantsNoReply || envelope.relatesTo !== undefined)) return;
    const answer = envelope === undefined ? Envelope.fault(fault) : envelope.replyFault(fault);
    // The connection may be gone by now; then nobody is there to be answered.
    this.#connection.send(answer).catch(() => undefined);
  }
}
