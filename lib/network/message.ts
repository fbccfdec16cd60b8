// A message as its receiver sees it: the envelope, the buffers it refers to, and the way back to its sender.
import type { RemoteBuffer } from '../dataplane/remote.js';
import type { Envelope, ReplyInit } from '../soap/envelope.js';
import type { SoapFault } from '../soap/fault.js';
import type { Connection, SendOptions, Sent } from './connection.js';

/**
 * A message that arrived. Its sender's memory is held until release(): call it, or declare the message with `using`,
 * when nothing more will be resolved.
 */
export class Message implements Disposable {
  readonly envelope: Envelope;
  /** What the envelope's references stand for, in their order. Nothing has moved yet; resolve() moves it. */
  readonly buffers: readonly RemoteBuffer[];
  readonly connection: Connection;
  /** When the sender stops waiting, in performance.now() milliseconds; Infinity when it did not say. */
  readonly deadlineAt: number;
  readonly #id: number;
  #released = false;

  /** @internal */
  constructor(
    connection: Connection,
    id: number,
    envelope: Envelope,
    buffers: readonly RemoteBuffer[],
    deadlineAt: number,
  ) {
    this.connection = connection;
    this.#id = id;
    this.envelope = envelope;
    this.buffers = buffers;
    this.deadlineAt = deadlineAt;
  }

  /** The buffer that the body points at with this content id. */
  buffer(cid: string): RemoteBuffer | undefined {
    return this.buffers[this.envelope.references.findIndex((reference) => reference.cid === cid)];
  }

  /** The fault that this message is, if it is one. A fault is an answer like any other, not an error of this side. */
  get fault(): SoapFault | undefined {
    return this.envelope.fault;
  }

  /** Aborts when the sender cancels the message. */
  get signal(): AbortSignal {
    return this.connection.cancellation(this.#id);
  }

  /** Whether the sender has canceled the message: what `signal` says, for who only looks. */
  get canceled(): boolean {
    return this.connection.isCanceled(this.#id);
  }

  /** Answers the sender, as wsa:ReplyTo and wsa:RelatesTo ask. Settles like Connection.send. */
  reply(init: ReplyInit, options?: SendOptions): Promise<Sent> {
    return this.connection.send(this.envelope.reply(init), options);
  }

  /** Answers with a fault, as wsa:FaultTo asks. */
  replyFault(fault: SoapFault): Promise<Sent> {
    return this.connection.send(this.envelope.replyFault(fault));
  }

  /**
   * Tells the sender that its buffers are not needed any more: it may reuse them. Resolving after this fails with
   * TAG_UNKNOWN. Buffers that were resolved are not affected. A second call does nothing.
   */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.connection.released(this, this.#id);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** @internal */
  get id(): number {
    return this.#id;
  }
}
