// The addon's face in TypeScript: one engine with its memory, exposures and operations, and the sessions whose messages
// are bytes here. What the bytes mean is lib/network's affair.
import { randomBytes } from 'node:crypto';
import { SplitplaneError } from '../errors.js';
import { eventReader, type ArrivedMessage, type EventHandler } from './events.js';
import { Exposures, type ExposeOptions, type Exposure } from './exposure.js';
import type { LeakListener } from './leaks.js';
import { Memory, type BufferSlices } from './memory.js';
import {
  addon,
  fromNative,
  indexOfCode,
  native,
  POLL_MODES,
  type NativeEngine,
  type NativeHello,
  type NativeOptions,
  type NativeStats,
  type PollMode,
  type SessionFacts,
  type TransportFacts,
} from './native.js';
import { Operations, TIMER_MS_MAX } from './operations.js';
import { releaseTags, RemoteBuffer, type RemoteAccess } from './remote.js';
import { SharedBlocks } from './shared-blocks.js';

export type DataplaneOptions = Omit<NativeOptions, 'poll' | 'nodeId'> & {
  readonly poll: PollMode;
  readonly onLeak: LeakListener;
};

/** What a session tells. Called on the event loop; must not throw. */
export interface SessionHandler {
  hello(session: number, hello: NativeHello): void;
  open(session: number): void;
  /** The bytes are valid during the call only. */
  message(message: ArrivedMessage): void;
  /** As EventHandler.batch. */
  batch(session: number, id: number, count: number, content: Buffer): void;
  messageCanceled(session: number, message: number): void;
  delivered(session: number, upTo: number): void;
  writable(session: number): void;
  interrupted(session: number, why: SplitplaneError): void;
  resumed(session: number): void;
  closed(session: number, why: SplitplaneError): void;
}

/** For who connects to a listener. */
export interface DoorOptions {
  readonly connectionsMax: number;
  /** ListenOptions.trustedPeers of lib/network. */
  readonly trustedPeers: boolean;
}

export interface DialOptions {
  readonly dataChannels: number;
  readonly trustedPeer: boolean;
  /** Anybody when left out. */
  readonly expectedNodeId?: Uint8Array | undefined;
}

const NODE_ID_BYTES = 16;
const ANY_NODE = new Uint8Array(NODE_ID_BYTES);

/** An engine and everything that TypeScript keeps beside it. Single-threaded: one per network manager. */
export class Dataplane {
  /** Who this engine is to peers: 16 random bytes. */
  readonly nodeId = randomBytes(NODE_ID_BYTES);
  readonly memory: Memory;
  readonly #engine: NativeEngine;
  readonly #shared: SharedBlocks;
  readonly #operations: Operations;
  readonly #exposures: Exposures;
  readonly #remote: RemoteAccess;
  #closed = false;

  constructor(options: DataplaneOptions, handler: SessionHandler) {
    const shared = new SharedBlocks(options.messageBytesMax);
    const events: EventHandler = {
      hello: (session, hello) => {
        handler.hello(session, hello);
      },
      open: (session) => {
        handler.open(session);
      },
      message: (message) => {
        handler.message(message);
      },
      batch: (session, id, count, content) => {
        handler.batch(session, id, count, content);
      },
      messageCanceled: (session, message) => {
        handler.messageCanceled(session, message);
      },
      delivered: (session, upTo) => {
        handler.delivered(session, upTo);
      },
      writable: (session) => {
        handler.writable(session);
      },
      interrupted: (session, why) => {
        handler.interrupted(session, fromNative(why) as SplitplaneError);
      },
      resumed: (session) => {
        handler.resumed(session);
      },
      closed: (session, why) => {
        handler.closed(session, fromNative(why) as SplitplaneError);
      },
      regionGone: (region) => {
        this.memory.regionGone(region);
      },
      operation: (operation, code, low, high, error) => {
        this.#operations.ended(operation, code, low, high, error);
      },
      notified: (cookie) => {
        this.#exposures.notified(cookie);
      },
      tagEnded: (cookie, code) => {
        this.#exposures.ended(cookie, code);
      },
    };
    const { onLeak, ...rest } = options;
    const nativeOptions = { ...rest, poll: POLL_MODES[options.poll], nodeId: this.nodeId };
    const engine: NativeEngine = native(
      () =>
        new addon.Engine(
          nativeOptions,
          shared.blocks,
          eventReader(
            shared,
            events,
            (index) => engine.detail(index),
            () => this.#closed,
          ),
        ),
    );
    this.#engine = engine;
    this.#shared = shared;
    this.memory = new Memory(engine, shared, onLeak);
    this.#operations = new Operations(engine);
    this.#exposures = new Exposures(engine, shared);
    this.#remote = { engine, shared, memory: this.memory, operations: this.#operations };
  }

  /** Where the next message is encoded: its envelope at 0, inline payloads behind it. */
  get sendArena(): Buffer {
    return this.#shared.send;
  }

  /** Where the lengths of the next batch are put: the beginning of the send arena. */
  get sendLengths(): Uint16Array {
    return this.#shared.sendLengths;
  }

  expose(slices: BufferSlices, options: ExposeOptions): Exposure {
    return this.#exposures.expose(slices, options);
  }

  /** The memory behind a peer's tag, or the bytes that came inline. */
  remote(session: number, what: ConstructorParameters<typeof RemoteBuffer>[2]): RemoteBuffer {
    return new RemoteBuffer(this.#remote, session, what);
  }

  /** Tells the peer that what these stand for is not needed any more. */
  releaseTags(session: number, references: readonly { readonly tag: string | undefined }[]): void {
    if (!this.#closed) releaseTags(this.#remote, session, references);
  }

  /** Puts the length of attachment `index` of the next message, -1 for one by reference. */
  putAttachment(index: number, inlineBytes: number): void {
    this.#shared.putAttachment(index, inlineBytes);
  }

  /**
   * Queues the message in the send arena, with so many attachments that were put. Answers its id, 0 when the queue is full (wait
   * for writable). The peer is told the deadline; 0, and one beyond TIMER_MS_MAX, is none.
   */
  send(session: number, envelopeBytes: number, attachments: number, deadlineMs: number): number {
    const told = deadlineMs > TIMER_MS_MAX ? 0 : deadlineMs;
    return native(() => this.#engine.send(session, envelopeBytes, attachments, told));
  }

  /** Queues the batch of `count` messages in the send arena, lengths first. Answers as send(). */
  sendBatch(session: number, count: number, contentBytes: number): number {
    return native(() => this.#engine.sendBatch(session, count, contentBytes));
  }

  /** True when the message was still queued and is gone. */
  cancelMessage(session: number, message: number): boolean {
    return !this.#closed && this.#engine.cancelMessage(session, message) !== 0;
  }

  /** Gives back the credits of messages that were taken. */
  consume(session: number, messages: number, bytes: number): void {
    if (!this.#closed) this.#engine.consume(session, messages, bytes);
  }

  listen(transport: string, address: string, { connectionsMax, trustedPeers }: DoorOptions): number {
    return native(() => this.#engine.listen(transport, address, connectionsMax, trustedPeers));
  }
  listenerAddress(listener: number): string {
    return this.#engine.listenerAddress(listener);
  }
  closeListener(listener: number): void {
    if (!this.#closed) this.#engine.closeListener(listener);
  }

  /** Over the first of `transports` that reaches the peer; the same list serves to resume the session. */
  connect(
    transports: readonly string[],
    address: string,
    { dataChannels, trustedPeer, expectedNodeId = ANY_NODE }: DialOptions,
  ): number {
    return native(() => this.#engine.connect(transports, address, dataChannels, expectedNodeId, trustedPeer));
  }
  accept(session: number, principal: string): void {
    native(() => {
      this.#engine.accept(session, principal);
    });
  }
  reject(session: number, error: SplitplaneError): void {
    native(() => {
      this.#engine.reject(session, indexOfCode(error.code), error.message);
    });
  }
  /** Ends a session in good order; `closed` follows. */
  closeSession(session: number): void {
    if (!this.#closed) this.#engine.closeSession(session);
  }
  /** Ends a session at once; `closed` follows. */
  destroySession(session: number, error: SplitplaneError): void {
    if (!this.#closed) this.#engine.destroySession(session, indexOfCode(error.code), error.message);
  }
  session(session: number): SessionFacts | undefined {
    return this.#closed ? undefined : this.#engine.session(session);
  }

  get transports(): TransportFacts[] {
    return native(() => this.#engine.transports());
  }
  get stats(): NativeStats {
    return native(() => this.#engine.stats());
  }
  get operationCount(): number {
    return this.#operations.count;
  }
  get exposureCount(): number {
    return this.#exposures.count;
  }

  /** Whether open connections and listeners keep the process alive. */
  setReferenced(referenced: boolean): void {
    if (!this.#closed) this.#engine.setReferenced(referenced);
  }

  /** Ends everything at once. Idempotent. */
  shutdown(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#engine.shutdown();
    this.memory.close();
    this.#operations.abandon(new SplitplaneError('CLOSED', 'The network manager was closed.'));
    this.#exposures.abandon();
  }
}
