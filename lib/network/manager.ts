// The network manager: the way out of a runtime. It listens, connects, lets peers in, and gives out what arrives. One
// engine, one queue of messages, any number of connections.
import { EventEmitter } from 'node:events';
import { Dataplane } from '../dataplane/dataplane.js';
import type { ArrivedMessage } from '../dataplane/events.js';
import type { Exposure, ExposeOptions } from '../dataplane/exposure.js';
import type { BufferSlices, RegisteredBuffer } from '../dataplane/memory.js';
import { addon, type NativeHello, type NativeStats, type TransportFacts } from '../dataplane/native.js';
import { abortedError, watch, type OperationOptions } from '../dataplane/operations.js';
import { SplitplaneError } from '../errors.js';
import { SerializerRegistry } from '../serializer/registry.js';
import type { Envelope } from '../soap/envelope.js';
import { isLocal, literalAddress, parseAddress } from './address.js';
import { ArrivalQueue } from './arrival-queue.js';
import { BatchMemory, type Batch } from './batch.js';
import { Connection, peerOf, type ConnectionOwner, type SendOptions, type Sent } from './connection.js';
import type { Authorizer } from './inbox.js';
import { openListeners, type ListeningAddress } from './listening.js';
import type { Message } from './message.js';
import { completeOptions, type CompleteOptions, type NetworkManagerOptions } from './options.js';
import { checkPlaintext, type Authorize, type Peer } from './security.js';
import { SeenMessages } from './seen.js';
import { SharedConnections } from './shared-connections.js';
import { Withdrawals } from './withdrawals.js';
import { checkTransports, transportsFor } from './transports.js';

const DATA_CHANNELS_MAX = 16;

export interface ListenOptions {
  /** Listen beyond this host although nothing protects what is sent. */
  readonly allowInsecure?: boolean | undefined;
  /**
   * Whoever connects here is trusted with this process's registered memory. Over RDMA it then stays registered from one
   * transfer to the next, which saves time in each; but a peer's device can read and write all of a slab of which it was
   * ever shown a part, as long as it is connected, whatever the tag said and whatever was revoked. For peers that could as
   * well be threads of this process. Without effect on other transports, on files, and on what peers declare.
   */
  readonly trustedPeers?: boolean | undefined;
}

export interface ConnectOptions extends OperationOptions {
  /** Connect beyond this host although nothing protects what is sent. */
  readonly allowInsecure?: boolean | undefined;
  /** Parallel data sockets, 1 to 16; 1 when left out. */
  readonly dataChannels?: number | undefined;
  /** The peer is trusted with this process's registered memory: ListenOptions.trustedPeers, from who connects. */
  readonly trustedPeer?: boolean | undefined;
  /** The hex node id that must answer; IDENTITY_MISMATCH when another does. */
  readonly expectedNodeId?: string | undefined;
  /**
   * The transports to try, best first, out of those that the manager allows; all of these when left out. An address with a
   * scheme, like tcp://HOST:PORT, names one and has no other tried.
   */
  readonly transports?: readonly string[] | undefined;
}

export interface NetworkManagerEvents {
  /** A peer connected to us and was let in. */
  connection: [connection: Connection];
  /** A peer wanted in and was not let in, or gave up. */
  refused: [why: SplitplaneError, peer: Peer | undefined];
  /** A registered buffer was garbage-collected without release(): its memory is lost until the manager closes. */
  leak: [leak: { length: number; allocatedAt: string | undefined }];
}

interface Opening {
  resolve(connection: Connection): void;
  reject(error: SplitplaneError): void;
}

export class NetworkManager extends EventEmitter<NetworkManagerEvents> implements AsyncDisposable {
  readonly #options: CompleteOptions;
  readonly #serializers: SerializerRegistry;
  readonly #dataplane: Dataplane;
  readonly #owner: ConnectionOwner;
  readonly #connections = new Map<number, Connection>();
  readonly #opening = new Map<number, Opening>();
  readonly #listeners = new Map<number, { allowInsecure: boolean }>();
  readonly #shared = new SharedConnections((address, options) => this.connect(address, options));
  readonly #messages: ArrivalQueue<Message>;
  readonly #batches: ArrivalQueue<Batch>;
  readonly #seen = new SeenMessages();
  readonly #withdrawals = new Withdrawals((isCanceled) => {
    this.#withdraw(isCanceled);
  });
  #closed = false;

  constructor(options: NetworkManagerOptions = {}) {
    super();
    this.#options = completeOptions(options);
    this.#serializers = new SerializerRegistry(this.#options.serializers);
    this.#dataplane = new Dataplane(
      {
        ...this.#options,
        encodings: this.#serializers.names,
        onLeak: (leak) => {
          this.#reportLeak(leak);
        },
      },
      {
        hello: (session, hello) => {
          void this.#greet(session, hello);
        },
        open: (session) => {
          this.#open(session);
        },
        message: (message) => {
          this.#arrived(message);
        },
        batch: (session, id, count, content) => {
          this.#connections.get(session)?.batchArrived(id, count, content);
        },
        messageCanceled: (session, id) => this.#connections.get(session)?.messageCanceled(id),
        delivered: (session, upTo) => this.#connections.get(session)?.delivered(upTo),
        writable: (session) => this.#connections.get(session)?.writable(),
        interrupted: (session, why) => this.#connections.get(session)?.interrupted(why),
        resumed: (session) => this.#connections.get(session)?.resumed(),
        closed: (session, why) => {
          this.#ended(session, why);
        },
      },
    );
    this.#messages = new ArrivalQueue(this.#consume);
    this.#batches = new ArrivalQueue(this.#consume);
    this.#owner = this.#makeOwner();
  }

  /** Who this manager is to peers, hex. */
  get nodeId(): string {
    return this.#dataplane.nodeId.toString('hex');
  }

  /** The transports of this build, and why one cannot be used. */
  get transports(): TransportFacts[] {
    return this.#dataplane.transports;
  }

  /** Counters since the beginning, for all connections together. */
  get stats(): NativeStats & {
    readonly exposures: number;
    readonly operations: number;
    readonly connections: number;
  } {
    return {
      ...this.#dataplane.stats,
      exposures: this.#dataplane.exposureCount,
      operations: this.#dataplane.operationCount,
      connections: this.#connections.size,
    };
  }

  get connections(): readonly Connection[] {
    return [...this.#connections.values()];
  }

  /**
   * The messages that arrive, in order per connection; answers to request() are not among them. Several iterations share
   * one queue. A message that nobody takes holds a credit of its sender, so a slow reader slows its senders down. Ends
   * when the manager closes. Release each message.
   */
  get messages(): AsyncIterable<Message, undefined> {
    return this.#messages;
  }

  /**
   * The batches that arrive (Connection.sendBatch), in order per connection; those of a connection whose own `batches` were
   * asked for are not among them. As `messages` otherwise: several iterations share one queue, what nobody takes slows its
   * sender down, it ends when the manager closes.
   */
  get batches(): AsyncIterable<Batch, undefined> {
    return this.#batches;
  }

  /** A registered buffer, contents undefined. Throws OUT_OF_MEMORY. The caller releases it. */
  allocate(length: number): RegisteredBuffer {
    return this.#dataplane.memory.allocate(length);
  }
  /** Registers memory the caller has: it must stay where it is until release(). */
  register(bytes: Uint8Array): RegisteredBuffer {
    return this.#dataplane.memory.register(bytes);
  }
  /** Registers a file, or part of it, to be sent from where it lies. See Memory.registerFile. */
  registerFile(path: string, range?: { offset?: number; length?: number }): Promise<RegisteredBuffer> {
    return this.#dataplane.memory.registerFile(path, range);
  }
  /** Exposes memory to a principal or any bearer; for one connection use Connection.share. */
  expose(buffer: BufferSlices, options: ExposeOptions): Exposure {
    return this.#dataplane.expose(buffer, options);
  }

  /**
   * Listens. Settles when peers can connect. Where the address has no scheme, that is over every transport that is allowed
   * and works, on one port; ListeningAddress says over which. Rejects with ADDRESS_INVALID, ADDRESS_IN_USE,
   * INSECURE_TRANSPORT, TRANSPORT_UNAVAILABLE, SYSTEM.
   */
  async listen(address: string, options: ListenOptions = {}): Promise<ListeningAddress> {
    const { allowInsecure = false, trustedPeers = false } = options;
    const parsed = parseAddress(address);
    const literal = await literalAddress(parsed);
    checkPlaintext(address, isLocal(literal), allowInsecure);
    this.#checkOpen();
    const { transports, connectionsMax } = this.#options;
    const usable = transportsFor(parsed, literal, transports, this.#dataplane.transports);
    const { listeners, ...where } = openListeners(this.#dataplane, parsed.transport, usable, literal, {
      connectionsMax,
      trustedPeers,
    });
    for (const listener of listeners) this.#listeners.set(listener, { allowInsecure });
    this.#updateReference();
    return {
      ...where,
      close: () => {
        for (const listener of listeners) {
          if (this.#listeners.delete(listener)) this.#dataplane.closeListener(listener);
        }
        this.#updateReference();
      },
    };
  }

  /**
   * Connects. Settles when both sides have let each other in. Where the address has no scheme, over the first transport
   * that reaches the peer; Connection.facts says why a better one does not. Rejects with ADDRESS_INVALID, CONNECTION_REFUSED,
   * CONNECT_TIMEOUT, INSECURE_TRANSPORT, AUTHENTICATION_FAILED, IDENTITY_MISMATCH, VERSION_UNSUPPORTED,
   * ENCODING_UNSUPPORTED, TRANSPORT_UNAVAILABLE, ABORTED, DEADLINE_EXCEEDED.
   */
  async connect(address: string, options: ConnectOptions = {}): Promise<Connection> {
    const { allowInsecure = false, dataChannels = 1, trustedPeer = false, signal } = options;
    if (!Number.isInteger(dataChannels) || dataChannels < 1 || dataChannels > DATA_CHANNELS_MAX) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `dataChannels is 1 to ${DATA_CHANNELS_MAX}, not ${dataChannels}.`,
      );
    }
    const allowed = this.#allowed(options.transports);
    const parsed = parseAddress(address);
    const literal = await literalAddress(parsed);
    checkPlaintext(address, isLocal(literal), allowInsecure);
    if (signal?.aborted === true) throw abortedError(signal);
    this.#checkOpen();
    const expectedNodeId =
      options.expectedNodeId === undefined ? undefined : nodeIdBytes(options.expectedNodeId);
    const transports = transportsFor(parsed, literal, allowed, this.#dataplane.transports);
    const session = this.#dataplane.connect(transports, literal, {
      dataChannels,
      trustedPeer,
      expectedNodeId,
    });
    const connection = new Connection(this.#owner, session);
    this.#connections.set(session, connection);
    this.#updateReference();
    return await new Promise<Connection>((resolve, reject) => {
      let reason: SplitplaneError | undefined;
      const stopWatching = watch(options, (why) => {
        reason = why;
        connection.destroy(why);
      });
      this.#opening.set(session, {
        resolve: (opened) => {
          stopWatching?.();
          resolve(opened);
        },
        reject: (error) => {
          stopWatching?.();
          reject(reason ?? error);
        },
      });
    });
  }

  /**
   * Sends a message to where its wsa:To points (dos://HOST:PORT/NAME), over the connection to there, which is made when
   * there is none. Otherwise like Connection.send.
   */
  async send(envelope: Envelope, options: SendOptions & ConnectOptions = {}): Promise<Sent> {
    return await (await this.connectionTo(envelope.to, options)).send(envelope, options);
  }

  /** Like send, and settles with the answer; see Connection.request. */
  async request(envelope: Envelope, options: SendOptions & ConnectOptions = {}): Promise<Message> {
    return await (await this.connectionTo(envelope.to, options)).request(envelope, options);
  }

  /**
   * The connection to where an address or wsa:To points (dos://HOST:PORT/NAME); it is made when there is none, with `options`. Of
   * one that is there only `expectedNodeId` is looked at again. Rejects as connect() does, and with ADDRESS_INVALID for what names
   * no host.
   */
  connectionTo(to: string, options: ConnectOptions = {}): Promise<Connection> {
    return this.#shared.connectionTo(to, options);
  }

  /** Stops listening, closes every connection in good order, and gives the memory back. Idempotent. */
  async close(): Promise<void> {
    for (const listener of this.#listeners.keys()) this.#dataplane.closeListener(listener);
    this.#listeners.clear();
    await Promise.all(this.connections.map((connection) => connection.close()));
    this.destroy();
  }

  /** Ends everything at once: what is outstanding fails with CLOSED. Idempotent. */
  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    // The engine goes with the next turn of the loop; the addresses are free at once.
    for (const listener of this.#listeners.keys()) this.#dataplane.closeListener(listener);
    this.#dataplane.shutdown();
    const error = new SplitplaneError('CLOSED', 'The network manager was closed.');
    for (const session of [...this.#connections.keys()]) this.#ended(session, error);
    this.#messages.close();
    this.#batches.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The transports for one connect(), out of those the manager allows. */
  #allowed(wanted: readonly string[] | undefined): readonly string[] {
    const { transports } = this.#options;
    if (wanted === undefined) return transports;
    for (const name of checkTransports(wanted, addon.transports)) {
      if (transports.includes(name)) continue;
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `The manager's option transports leaves ${name} out. Name it there, or leave it out here.`,
      );
    }
    return wanted;
  }

  async #greet(session: number, hello: NativeHello): Promise<void> {
    const peer = peerOf(hello);
    const connection = this.#connections.get(session) ?? new Connection(this.#owner, session);
    this.#connections.set(session, connection);
    connection.greeted(peer);
    this.#updateReference();
    const verdict = await this.#judge(peer, hello.listener);
    // It may have ended meanwhile, by the peer or from here, also where nobody has been told yet.
    if (this.#dataplane.session(session) === undefined) return;
    if (verdict instanceof SplitplaneError) {
      this.#dataplane.reject(session, verdict);
      return;
    }
    connection.accepted(verdict);
    this.#dataplane.accept(session, verdict);
  }

  /** The principal that a peer is, or why it is not let in. */
  async #judge(peer: Peer, listener: number): Promise<string | SplitplaneError> {
    try {
      if (!peer.dialed) {
        const allowInsecure = this.#listeners.get(listener)?.allowInsecure ?? false;
        checkPlaintext(peer.remoteAddress, peer.localOnly, allowInsecure);
      }
      const principal = await this.#options.authenticate(peer);
      if (principal !== undefined) return principal;
      return new SplitplaneError('AUTHENTICATION_FAILED', `${peer.identity} was not authenticated.`);
    } catch (error) {
      if (error instanceof SplitplaneError) return error;
      return new SplitplaneError('AUTHENTICATION_FAILED', `${peer.identity} was not authenticated.`, {
        cause: error,
      });
    }
  }

  #open(session: number): void {
    const connection = this.#connections.get(session);
    const facts = this.#dataplane.session(session);
    if (connection === undefined || facts === undefined) return;
    connection.opened(this.#serializers.get(facts.encoding), facts.messageBytesMax);
    const opening = this.#opening.get(session);
    this.#opening.delete(session);
    if (opening !== undefined) opening.resolve(connection);
    else this.emit('connection', connection);
  }

  readonly #consume = (session: number, count: number, bytes: number): void => {
    this.#dataplane.consume(session, count, bytes);
  };

  #arrived(message: ArrivedMessage): void {
    this.#connections.get(message.session)?.arrived(message);
  }

  #ended(session: number, why: SplitplaneError): void {
    const connection = this.#connections.get(session);
    if (connection === undefined) return;
    this.#connections.delete(session);
    const opening = this.#opening.get(session);
    this.#opening.delete(session);
    const wasOpen = connection.state !== 'connecting';
    connection.ended(why);
    opening?.reject(why);
    if (opening === undefined && !wasOpen) this.emit('refused', why, connection.peer);
    this.#updateReference();
  }

  #makeOwner(): ConnectionOwner {
    const { authorize, understands } = this.#options;
    return {
      dataplane: this.#dataplane,
      inlineBytesMax: this.#options.inlineBytesMax,
      understands,
      isNew: (connection, messageId) => {
        // It may be one that was canceled in this very turn.
        this.#withdrawals.settle();
        return this.#seen.isNew(connection.peer.nodeId, messageId);
      },
      unhandled: (connection, messageId) => {
        this.#seen.return(connection.peer.nodeId, messageId);
      },
      authorize: authorize && authorizer(authorize),
      batchMemory: new BatchMemory(),
      deliver: (message, bytes) => {
        this.#messages.push(message, bytes);
      },
      deliverBatch: (batch) => {
        (batch.connection.ownBatches ?? this.#batches).push(batch, batch.byteCount);
      },
      batchesOf: (connection) => {
        const own = new ArrivalQueue<Batch>(this.#consume);
        this.#batches.move(connection, own);
        return own;
      },
      withdraw: (connection, id) => {
        this.#withdrawals.add(connection, id);
      },
    };
  }

  #withdraw(isCanceled: (connection: Connection, id: number) => boolean): void {
    for (const message of this.#messages.withdraw(isCanceled)) {
      const { connection, envelope } = message;
      if (envelope.messageId !== undefined) this.#owner.unhandled(connection, envelope.messageId);
      message.release();
    }
    const own = this.connections.flatMap(({ ownBatches }) => ownBatches ?? []);
    for (const queue of [this.#batches, ...own]) {
      for (const batch of queue.withdraw(isCanceled)) batch.release();
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new SplitplaneError('CLOSED', 'The network manager is closed. Make a new one.');
  }

  #updateReference(): void {
    this.#dataplane.setReferenced(this.#listeners.size > 0 || this.#connections.size > 0);
  }

  #reportLeak(leak: NetworkManagerEvents['leak'][0]): void {
    if (this.emit('leak', leak)) return;
    const where = leak.allocatedAt ?? 'Set SPLITPLANE_TRACE_LEAKS=1 to see where it was allocated.';
    process.emitWarning(
      `A registered buffer of ${leak.length} bytes was never released. ${where}`,
      'SplitplaneLeak',
    );
  }
}

/** The hook as connections ask it: throwing refuses. */
function authorizer(authorize: Authorize): Authorizer {
  return (connection, { action, to }, direction, bytes) => {
    try {
      const verdict = authorize({ principal: connection.principal, action, to, direction, bytes });
      return typeof verdict === 'boolean' ? verdict : verdict.catch(() => false);
    } catch {
      return false;
    }
  };
}

function nodeIdBytes(hex: string): Uint8Array {
  if (/^[0-9a-f]{32}$/.test(hex)) return Buffer.from(hex, 'hex');
  throw new SplitplaneError('INVALID_ARGUMENT', `A node id is 32 hex digits, not ${JSON.stringify(hex)}.`);
}
