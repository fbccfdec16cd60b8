// One peer: a session of the engine with the envelopes on it. It outlives the links that carry it; while it is interrupted
// messages wait. Sends, requests, one-sided access to the peer's memory, and the end.
import { EventEmitter } from 'node:events';
import type { Dataplane } from '../dataplane/dataplane.js';
import type { ArrivedMessage } from '../dataplane/events.js';
import type { Access, Exposure } from '../dataplane/exposure.js';
import type { BufferSlices, RegisteredBuffer } from '../dataplane/memory.js';
import type { NativeHello, PassedOver, SessionFacts } from '../dataplane/native.js';
import { abortedError, watch, type OperationOptions } from '../dataplane/operations.js';
import type { RemoteBuffer } from '../dataplane/remote.js';
import { SplitplaneError, type ErrorCode } from '../errors.js';
import type { Serializer } from '../serializer/registry.js';
import type { Envelope } from '../soap/envelope.js';
import type { SoapFault } from '../soap/fault.js';
import { checkReferences } from '../soap/references.js';
import type { ArrivalQueue } from './arrival-queue.js';
import type { Batch, PackedMessages } from './batch.js';
import { Inbox, type InboxCounters, type Receiver } from './inbox.js';
import type { Message } from './message.js';
import { Outbox, type Outgoing, type SendOptions, type Sent } from './outbox.js';
import { packingOf } from './packing.js';
import { BATCH, type Judged, type Peer } from './security.js';
import { attachedBytes, type Attachment } from './separator.js';

export type { SendOptions, Sent } from './outbox.js';

/** How long close() lets messages wait for room, and as long again the engine for the peer to accept them. */
export const CLOSE_MS_MAX = 10_000;

/** Requests remembered that were given up and whose answer may still come. */
const ABANDONED_MAX = 1024;

/** `interrupted`: the link is lost and may come back. */
export type ConnectionState = 'connecting' | 'open' | 'interrupted' | 'closed';

/** How an interrupted connection came back. */
export interface Resumption {
  /** The transport that carries it now. */
  readonly transport: string;
  /** The one that carried it before; another one if the connection failed over. */
  readonly previous: string;
  /** Better transports than the one in use, and why they are not used. Known to the side that connected. */
  readonly passedOver: readonly PassedOver[];
}

export interface ConnectionEvents {
  interrupted: [why: SplitplaneError];
  resumed: [how: Resumption];
  /** There is room for messages again. */
  drain: [];
  close: [why: SplitplaneError];
}

/** Facts and counters of a connection, `inbox` counting what this side made of the messages that came. */
export type ConnectionFacts = SessionFacts & {
  readonly inbox: Readonly<InboxCounters>;
  readonly messagesWaiting: number;
};

/** What a connection needs of its manager. */
export interface ConnectionOwner extends Receiver {
  readonly dataplane: Dataplane;
  readonly inlineBytesMax: number;
  /** A queue for the batches of this connection, with those that wait already. */
  batchesOf(connection: Connection): ArrivalQueue<Batch>;
}

interface PendingRequest {
  resolve(reply: Message): void;
  reject(error: unknown): void;
}

/** How to expose memory for one-sided access by this peer. */
export type ShareOptions = Pick<Attachment, 'access' | 'uses' | 'expiresMs'>;

export class Connection extends EventEmitter<ConnectionEvents> implements AsyncDisposable {
  /** Settles when the connection is closed, with the reason: CLOSED when it ended in good order. Never rejects. */
  readonly closed: Promise<SplitplaneError>;
  readonly #owner: ConnectionOwner;
  readonly #session: number;
  // Made when they are needed: of thousands of connections most are idle.
  #requests: Map<string, PendingRequest> | undefined;
  #abandoned: Set<string> | undefined;
  #state: ConnectionState = 'connecting';
  #peer: Peer | undefined;
  #principal = '';
  #transport = '';
  #outbox: Outbox | undefined;
  #inbox: Inbox | undefined;
  #batches: ArrivalQueue<Batch> | undefined;
  #messageBytesMax = 0;
  #closing = false;
  #why: SplitplaneError | undefined;
  #settleClosed!: (why: SplitplaneError) => void;

  /** @internal Made by NetworkManager. */
  constructor(owner: ConnectionOwner, session: number) {
    super();
    this.#owner = owner;
    this.#session = session;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
  }

  /** @internal The engine's number for it. */
  get session(): number {
    return this.#session;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Who is at the other end. What a peer says of itself is not proven; `principal` is what authenticate made of it. */
  get peer(): Peer {
    if (this.#peer === undefined) throw this.#notOpen();
    return this.#peer;
  }

  get principal(): string {
    return this.#principal;
  }

  /** The encoding of envelopes that was negotiated. */
  get encoding(): string {
    return this.facts.encoding;
  }

  /** Facts and counters now. Throws CLOSED when the connection is. */
  get facts(): ConnectionFacts {
    const facts = this.#owner.dataplane.session(this.#session);
    if (facts === undefined || this.#inbox === undefined) throw this.#notOpen();
    return { ...facts, inbox: { ...this.#inbox.counters }, messagesWaiting: this.waitingCount };
  }

  /**
   * A registered buffer for what goes to this peer and nobody else: a peer on this host that shares memory looks at it
   * where it is, whatever its size, which it may do with no other memory. The peer can read all that was ever put into such
   * buffers of this connection, also after a tag has ended. Contents undefined; the caller releases it. Throws
   * OUT_OF_MEMORY, and CLOSED when the connection is.
   */
  allocate(length: number): RegisteredBuffer {
    if (this.#state === 'closed' || this.#inbox === undefined) throw this.#notOpen();
    return this.#owner.dataplane.memory.allocate(length, this.#session);
  }

  /** Whether messages wait for room: await `drain`, or the promise of send(), before sending more. */
  get writableNeedDrain(): boolean {
    return this.#outbox?.full ?? false;
  }

  /** @internal Messages that wait for room. */
  get waitingCount(): number {
    return this.#outbox?.waitingCount ?? 0;
  }

  /**
   * Sends a message. Settles when the peer has accepted it: it is whole, verified, and in the peer's queue, exactly once
   * even if the link broke meanwhile. The buffers are held until the receiver releases them (Sent.released).
   * Rejects with PERMISSION_DENIED, LIMIT_EXCEEDED, QUOTA_EXCEEDED, INVALID_ARGUMENT, REGION_RELEASED, ABORTED,
   * DEADLINE_EXCEEDED, CLOSED, or the reason the connection ended with; then its buffers' tags are revoked. After ABORTED and
   * DEADLINE_EXCEEDED the peer may have accepted it; it is told that it is canceled.
   */
  send(envelope: Envelope, options: SendOptions = {}): Promise<Sent> {
    const act = (): Promise<Sent> => this.#post(envelope, options).sent;
    return this.#authorized(envelope, () => attached(options), act);
  }

  /**
   * Sends a message and settles with its answer: the message whose wsa:RelatesTo is this one's wsa:MessageID. A SOAP fault
   * is an answer (Message.fault). The caller releases the answer. Rejects as send does; canceling tells the peer.
   */
  request(envelope: Envelope, options: SendOptions = {}): Promise<Message> {
    const act = (): Promise<Message> => this.#request(envelope, options);
    return this.#authorized(envelope, () => attached(options), act);
  }

  /**
   * Sends small messages (0 to 65,535 bytes each) together, without an envelope each: the peer takes them from its `batches`, in
   * this order and in order with its other batches, exactly once even if the link broke meanwhile. What does not fit a frame
   * travels, and arrives, as several batches. Each of these counts as one message where messages are counted: in the peer's
   * window, which is what slows a sender down, in `facts`, and in WAITING_MESSAGES_MAX.
   * Settles when the peer has accepted all of them, as send(). The bytes must not change before that.
   * Rejects with PERMISSION_DENIED, INVALID_ARGUMENT, LIMIT_EXCEEDED, QUOTA_EXCEEDED, ABORTED, DEADLINE_EXCEEDED, CLOSED, or the
   * reason the connection ended with. After ABORTED and DEADLINE_EXCEEDED, and when the connection ended, the peer may have
   * accepted some of the messages, always the first ones.
   */
  sendBatch(messages: readonly Uint8Array[] | PackedMessages, options: OperationOptions = {}): Promise<void> {
    try {
      const outbox = this.#open(options);
      const packing = packingOf(messages, this.#messageBytesMax);
      if (packing.done) return Promise.resolve();
      const act = (): Promise<void> => outbox.postBatch(packing, options).sent;
      return this.#authorized(BATCH, () => packing.byteLength, act);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * The batches of this peer, in their order. Asking for this takes them out of the manager's `batches`, from those on that
   * nobody has taken yet. A batch that nobody takes holds a credit of its sender, as a message does. Ends when the connection
   * has ended and all are taken.
   */
  get batches(): AsyncIterable<Batch, undefined> {
    if (this.#batches === undefined) {
      this.#batches = this.#owner.batchesOf(this);
      if (this.#state === 'closed') this.#batches.close();
    }
    return this.#batches;
  }

  /**
   * Memory of the peer behind a tag that came some other way than with a message's references. Throws INVALID_ARGUMENT for
   * what no tag looks like; whether the peer knows the tag shows when it is used.
   */
  remote(reference: { tag: string; length: number; access: Access }): RemoteBuffer {
    const { tag, length: lengthBytes, access } = reference;
    checkReferences([{ cid: 'remote', tag, lengthBytes, access }]);
    return this.#owner.dataplane.remote(this.#session, reference);
  }

  /** Exposes memory to this peer, to be read, written or updated while the exposure lives. Its tag can be sent in a message. */
  share(buffer: BufferSlices, options: ShareOptions = {}): Exposure {
    const { access = 'read', uses = Infinity, expiresMs } = options;
    return this.#owner.dataplane.expose(buffer, {
      access,
      uses,
      expiresMs,
      audience: { session: this.#session },
    });
  }

  /**
   * Settles when everything sent was accepted, transfers have ended, and the connection is closed on both sides. Where the
   * peer does not take it in time (CLOSE_MS_MAX), the connection is closed all the same, and what is left fails.
   */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#outbox?.full === true) await this.#sendWaiting(this.#outbox);
    if (this.#state !== 'closed') this.#owner.dataplane.closeSession(this.#session);
    await this.closed;
  }

  /** What waits for room goes first: the engine takes nothing any more once it closes. */
  async #sendWaiting(outbox: Outbox): Promise<void> {
    const timer = setTimeout(() => {
      this.destroy(
        new SplitplaneError(
          'DEADLINE_EXCEEDED',
          'The peer did not take everything in time; what was not delivered is lost.',
        ),
      );
    }, CLOSE_MS_MAX);
    await outbox.queued();
    clearTimeout(timer);
  }

  /** Ends at once: whatever is outstanding fails with CLOSED, or with `error`. */
  destroy(error = new SplitplaneError('CLOSED', 'The connection was destroyed on this side.')): void {
    if (this.#state !== 'closed') this.#owner.dataplane.destroySession(this.#session, error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #authorized<T>(what: Judged, bytes: () => number, act: () => Promise<T>): Promise<T> {
    try {
      const verdict = this.#owner.authorize?.(this, what, 'send', bytes()) ?? true;
      if (verdict === true) return act();
      const judged = verdict === false ? Promise.resolve(false) : verdict;
      return judged.then((allowed) => {
        if (!allowed) {
          throw new SplitplaneError(
            'PERMISSION_DENIED',
            `Sending ${what.action} to ${this.#principal} is not permitted.`,
          );
        }
        return act();
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #post(envelope: Envelope, options: SendOptions, deadlineMs = options.deadlineMs): Outgoing {
    return this.#open(options).post(envelope, options, deadlineMs);
  }

  #open({ signal }: OperationOptions): Outbox {
    if (this.#outbox === undefined || this.#state === 'closed') throw this.#notOpen();
    if (this.#closing)
      throw new SplitplaneError('CLOSED', 'The connection is being closed. Open another one.');
    if (signal?.aborted === true) throw abortedError(signal);
    return this.#outbox;
  }

  #request(envelope: Envelope, options: SendOptions): Promise<Message> {
    const { messageId } = envelope;
    if (messageId === undefined) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        'A request needs a MessageID, so that its answer can relate to it.',
      );
    }
    const requests = (this.#requests ??= new Map<string, PendingRequest>());
    if (requests.has(messageId)) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `The request ${messageId} waits for its answer already. Await that, or send an envelope with an id of its own.`,
      );
    }
    // The signal and the deadline cover the answer too, so they are watched here and not by the outbox.
    const { buffers, deadlineMs, signal } = options;
    if (signal?.aborted === true) throw abortedError(signal);
    return new Promise<Message>((resolve, reject) => {
      const outgoing = this.#post(envelope, { buffers }, deadlineMs);
      const stopWatching = watch(options, (reason) => {
        this.#abandon(messageId);
        outgoing.cancel(reason);
        reject(reason);
      });
      const fail = (error: unknown): void => {
        if (requests.delete(messageId)) stopWatching?.();
        reject(error);
      };
      requests.set(messageId, {
        resolve: (reply) => {
          stopWatching?.();
          resolve(reply);
        },
        reject: fail,
      });
      outgoing.sent.then(options.accepted, fail);
    });
  }

  /** Nobody waits for the answer any more: if it comes, it is dropped. */
  #abandon(messageId: string): void {
    this.#requests?.delete(messageId);
    const abandoned = (this.#abandoned ??= new Set<string>());
    abandoned.add(messageId);
    if (abandoned.size > ABANDONED_MAX) abandoned.delete(abandoned.values().next().value as string);
  }

  #notOpen(): SplitplaneError {
    return (
      this.#why ??
      new SplitplaneError('CLOSED', 'The connection is not open (yet). Await connect() before using it.')
    );
  }

  /** @internal */
  greeted(peer: Peer): void {
    this.#peer = peer;
  }

  /** @internal */
  accepted(principal: string): void {
    this.#principal = principal;
  }

  /** @internal */
  opened(serializer: Serializer, messageBytesMax: number): void {
    const { dataplane, inlineBytesMax } = this.#owner;
    this.#state = 'open';
    this.#transport = this.peer.transport;
    this.#messageBytesMax = messageBytesMax;
    this.#outbox = new Outbox(dataplane, this.#session, serializer, inlineBytesMax, () => this.emit('drain'));
    this.#inbox = new Inbox(this, this.#session, dataplane, serializer, this.#owner);
  }

  /** @internal */
  arrived(message: ArrivedMessage): void {
    this.#inbox?.arrived(message);
  }

  /** @internal */
  batchArrived(id: number, count: number, content: Buffer): void {
    this.#inbox?.batchArrived(id, count, content);
  }

  /** @internal Where its batches go, if somebody asked for them. */
  get ownBatches(): ArrivalQueue<Batch> | undefined {
    return this.#batches;
  }

  /** @internal The message answers a request of ours, and has been handed to it, or dropped where nobody waits any more. */
  answered(message: Message): boolean {
    const { relatesTo } = message.envelope;
    if (relatesTo === undefined) return false;
    const pending = this.#requests?.get(relatesTo);
    if (pending !== undefined) {
      this.#requests?.delete(relatesTo);
      pending.resolve(message);
      return true;
    }
    if (this.#abandoned?.delete(relatesTo) !== true) return false;
    message.release();
    return true;
  }

  /** @internal The message was not let in. If it answers a request of ours, no other answer will come. */
  answerRefused({ relatesTo }: Envelope, code: ErrorCode, { reason }: SoapFault): void {
    if (relatesTo === undefined) return;
    const why = `The answer came and was refused on this side: ${reason}`;
    this.#requests?.get(relatesTo)?.reject(new SplitplaneError(code, why));
  }

  /** @internal */
  messageCanceled(id: number): void {
    this.#inbox?.canceled(id);
  }

  /** @internal */
  cancellation(id: number): AbortSignal {
    return this.#inbox?.signal(id) ?? AbortSignal.abort(this.#notOpen());
  }

  /** @internal */
  isCanceled(id: number): boolean {
    return this.#inbox?.isCanceled(id) ?? false;
  }

  /** @internal Nobody handles the message any more. */
  released(message: Message, id: number): void {
    this.#inbox?.forget(id);
    if (this.#state === 'closed') return;
    this.#owner.dataplane.releaseTags(this.#session, message.buffers);
  }

  /** @internal */
  delivered(upTo: number): void {
    this.#outbox?.delivered(upTo);
  }

  /** @internal */
  writable(): void {
    this.#outbox?.writable();
  }

  /** @internal */
  interrupted(why: SplitplaneError): void {
    this.#state = 'interrupted';
    this.emit('interrupted', why);
  }

  /** @internal */
  resumed(): void {
    this.#state = 'open';
    const previous = this.#transport;
    // No facts: it has ended meanwhile, and `close` is the next event.
    const { transport, passedOver } = this.#owner.dataplane.session(this.#session) ?? {
      transport: previous,
      passedOver: [],
    };
    this.#transport = transport;
    this.emit('resumed', { transport, previous, passedOver });
  }

  /** @internal */
  ended(why: SplitplaneError): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#why = why;
    this.#outbox?.close(why);
    for (const pending of [...(this.#requests?.values() ?? [])]) pending.reject(why);
    this.#batches?.close();
    this.#settleClosed(why);
    this.emit('close', why);
  }
}

function attached({ buffers }: SendOptions): number {
  return buffers === undefined ? 0 : attachedBytes(buffers);
}

const NO_CREDENTIALS = Buffer.alloc(0);

/** What a hello says, as the hooks see it. */
export function peerOf(hello: NativeHello): Peer {
  const { dialed, identity, transport, localAddress, remoteAddress, localOnly, uid } = hello;
  // A buffer of nothing keeps memory outside of the heap all the same.
  const credentials = hello.credentials.length === 0 ? NO_CREDENTIALS : hello.credentials;
  const nodeId = hello.nodeId.toString('hex');
  const peer = { nodeId, identity, credentials, dialed, transport, localAddress, remoteAddress, localOnly };
  return uid === undefined ? peer : { ...peer, uid };
}
