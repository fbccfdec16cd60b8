// Between the dispatcher and the network manager: requests that leave, messages that arrive, and messages that are passed on to a
// process of this runtime. Makes what comes over a connection look like what comes from the service beside. Knows nothing
// of ports.
import { TIMER_MS_MAX } from '../dataplane/operations.js';
import type { Connection } from '../network/connection.js';
import type { NetworkManager } from '../network/manager.js';
import type { Message } from '../network/message.js';
import type { ConnectOptions } from '../network/manager.js';
import type { Attachment } from '../network/separator.js';
import type { Sent } from '../network/outbox.js';
import { SplitplaneError } from '../errors.js';
import type { Envelope } from '../soap/envelope.js';
import { SoapFault } from '../soap/fault.js';
import { giveBack, Lent, type Attached } from './attached.js';
import type { Deadlines, Expiring } from './deadlines.js';
import {
  expiry,
  NO_GIFTS,
  type Answer,
  type Delivery,
  type Gift,
  type JudgeMemory,
  type Outgoing,
} from './delivery.js';
import { faultAnswer, type Network } from './dispatcher.js';
import { faultOf } from './fault.js';
import { readOrigin, withOrigin, withoutOrigin, type Origin } from './origin.js';
import { Relays } from './relays.js';
import { nodeIdOf, parseServiceUri } from './uri.js';
import { verbOf, type Verb } from './verbs.js';

/** Destinations whose connection is remembered; then all are forgotten, and looked up again. */
const ROUTES_MAX = 4096;

/** What the network gets from its runtime. */
export interface NetworkOwner {
  readonly deadlines: Deadlines;
  readonly judgeMemory: JudgeMemory;
  /** Milliseconds that a request may take whose sender did not say. */
  readonly timeoutMs: number;
  /** Undefined where there is no network binding: then only the threads and processes of services are reached. */
  readonly connectOptions: ConnectOptions | undefined;
  /** In a thread or process of a service: has its runtime decide who may have the service's buffers. */
  readonly askMemory?: ((principal: string) => Promise<SoapFault | undefined>) | undefined;
  arrive(delivery: Delivery): void;
  /** A runtime that sent something is not connected any more. */
  gone(nodeId: string): void;
}

export class RuntimeNetwork implements Network {
  readonly #manager: NetworkManager;
  readonly #owner: NetworkOwner;
  readonly #lines = new WeakMap<Connection, Line>();
  /** By wsa:To, or node: which connection to take, without looking at addresses again for every message. */
  readonly #routes = new Map<string, Connection>();
  /** The threads and processes of services of this runtime, by the ids of their network managers. */
  readonly #children = new Map<string, Connection>();
  /** The path of the service at the other end of each. */
  readonly #paths = new WeakMap<Connection, string>();
  /** Where the runtime is being asked who may have what, the last question. Its answer never rejects. */
  readonly #asking = new Map<Connection, Promise<SoapFault | undefined>>();
  readonly #relays = new Relays((out, nodeId) => this.request(out, nodeId));
  #parent: Connection | undefined;
  /** By wsa:To: the last request that waits for a connection to there. */
  readonly #turns = new Map<string, Promise<Connection>>();

  constructor(manager: NetworkManager, owner: NetworkOwner) {
    this.#manager = manager;
    this.#owner = owner;
  }

  /** Takes what arrives until the network manager closes. */
  async run(): Promise<void> {
    for await (const message of this.#manager.messages) {
      // An answer that nobody waits for any more, or a fault about one: there is nobody to tell.
      if (message.envelope.relatesTo !== undefined) message.release();
      else this.#owner.arrive(this.#deliveryOf(message));
    }
  }

  /** From now on there is a service of this runtime at the other end. What the function does that it answers: not any more. */
  adopt(connection: Connection, path: string): () => void {
    const { nodeId } = connection.peer;
    this.#children.set(nodeId, connection);
    this.#paths.set(connection, path);
    return () => {
      this.#children.delete(nodeId);
    };
  }

  /** From now on this is the thread or process of a service, and its runtime is at the other end. */
  follow(connection: Connection): void {
    this.#parent = connection;
  }

  get parent(): string | undefined {
    return this.#parent?.peer.nodeId;
  }

  reaches(to: string): boolean {
    if (this.#owner.connectOptions !== undefined) return true;
    const { authority = '' } = parseServiceUri(to) ?? {};
    return (this.#parent !== undefined && authority === '') || nodeIdOf(authority) !== undefined;
  }

  async request(out: Outgoing, nodeId?: string): Promise<Answer> {
    const { envelope, gifts, sender, deadlineAt, signal } = out;
    let pending = gifts;
    try {
      let deadlineMs = remaining(deadlineAt);
      let connection = this.#known(envelope.to, nodeId);
      if (connection === undefined) {
        const { to } = envelope;
        const wanted = nodeId ?? nodeIdOf(parseServiceUri(to)?.authority ?? '');
        connection =
          wanted === undefined
            ? await this.#connectInTurn(to, { signal, deadlineMs })
            : this.#connectedNode(wanted, to);
        this.#remember(nodeId ?? to, connection);
        deadlineMs = remaining(deadlineAt);
      }
      const verdict = this.#judgeReceiver(connection, gifts.length > 0 ? sender.owner : undefined);
      // Not awaited unless it has to be: messages leave in the order in which they were sent.
      const denied = verdict instanceof Promise ? await verdict : verdict;
      if (denied !== undefined) {
        giveBack(gifts);
        return faultAnswer(envelope, denied);
      }
      const told = this.#asTold(out, connection);
      const buffers = attachments(gifts);
      if (out.oneWay === true) {
        settle(gifts, await connection.send(told, { buffers, deadlineMs, signal }));
        return acceptedAnswer(envelope);
      }
      const message = await connection.request(told, {
        buffers,
        deadlineMs,
        signal,
        accepted:
          gifts.length === 0
            ? undefined
            : (sent) => {
                // What the peer has accepted comes back when its tags have ended.
                pending = NO_GIFTS;
                settle(gifts, sent);
              },
      });
      return new RemoteAnswer(
        message,
        told === envelope ? message.envelope : message.envelope.answerTo(envelope),
      );
    } catch (error) {
      giveBack(pending);
      const late = error instanceof SplitplaneError && error.code === 'DEADLINE_EXCEEDED';
      if (late) return faultAnswer(envelope, SoapFault.dssp('ResponseTimeout', error.message));
      throw error;
    }
  }

  relay(delivery: Delivery, nodeId: string, path: string | undefined): void {
    this.#relays.relay(delivery, nodeId, path);
  }

  #deliveryOf(message: Message): RemoteDelivery {
    const { connection, envelope } = message;
    const { principal, peer } = connection;
    const owner = this.#paths.get(connection);
    const own = connection === this.#parent;
    const origin = own
      ? readOrigin(envelope.headers, principal)
      : { principal, node: peer.nodeId, judged: false };
    const linked = own || owner !== undefined;
    return new RemoteDelivery(message, this.#owner, this.#lineOf(connection), origin, owner, linked);
  }

  /** The message as the other end gets it: threads and processes of services are told whom it is from, and nobody else is. */
  #asTold({ envelope, sender, judged = false }: Outgoing, connection: Connection): Envelope {
    const { principal, node } = sender;
    if (this.#paths.has(connection))
      return envelope.passedOn(envelope.to, withOrigin(envelope.headers, { principal, node, judged }));
    return node === undefined ? envelope : envelope.passedOn(envelope.to, withoutOrigin(envelope.headers));
  }

  /**
   * Whether the other end may have buffers of the service `owner`, if there are any. The runtime of a thread or process of a service
   * sees to its own end itself; about others it is asked, and whatever is sent meanwhile waits for its turn.
   */
  #judgeReceiver(
    connection: Connection,
    owner: string | undefined,
  ): Promise<SoapFault | undefined> | SoapFault | undefined {
    const { askMemory } = this.#owner;
    const asking = this.#asking.get(connection);
    if (owner === undefined || connection === this.#parent) return asking?.then(() => undefined);
    if (askMemory === undefined) return this.#owner.judgeMemory(connection.principal, owner);
    const answer = (asking ?? Promise.resolve()).then(() => askMemory(connection.principal));
    this.#asking.set(connection, answer);
    return answer.finally(() => {
      if (this.#asking.get(connection) === answer) this.#asking.delete(connection);
    });
  }

  /** The connection that messages to there took before. */
  #known(to: string, nodeId: string | undefined): Connection | undefined {
    const connection = this.#routes.get(nodeId ?? to);
    return connection?.state === 'closed' ? undefined : connection;
  }

  /**
   * A connection to there, made if there is none. Whoever asks for the same while one is being made gets it in turn: the first
   * message to somewhere must not be overtaken by the second.
   */
  async #connectInTurn(to: string, options: ConnectOptions): Promise<Connection> {
    const before = this.#turns.get(to);
    const connecting = this.#manager.connectionTo(to, { ...this.#owner.connectOptions, ...options });
    const turn =
      before === undefined
        ? connecting
        : connecting.then((connection) =>
            before.then(
              () => connection,
              () => connection,
            ),
          );
    this.#turns.set(to, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(to) === turn) this.#turns.delete(to);
    }
  }

  #remember(destination: string, connection: Connection): void {
    if (this.#turns.has(destination)) return;
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
    this.#routes.set(destination, connection);
  }

  #connectedNode(nodeId: string, to: string): Connection {
    if (nodeId === this.parent) return this.#parent as Connection;
    const child = this.#children.get(nodeId);
    if (child !== undefined) return child;
    // The first that there was: who comes later with the same id does not get what is meant for it.
    const connection = this.#manager.connections.find(
      (one) => one.state !== 'connecting' && one.peer.nodeId === nodeId,
    );
    if (connection !== undefined) return connection;
    // The runtime knows who is connected to it.
    if (this.#parent !== undefined) return this.#parent;
    throw new SplitplaneError(
      'CONNECTION_LOST',
      `The runtime of ${to} is not connected. It has to connect to this one.`,
    );
  }

  #lineOf(connection: Connection): Line {
    let line = this.#lines.get(connection);
    if (line === undefined) {
      const made = new Line();
      line = made;
      this.#lines.set(connection, made);
      void connection.closed.then((why) => {
        made.end(new SplitplaneError(why.code, `The sender is gone: ${why.message}`));
        this.#owner.gone(connection.peer.nodeId);
      });
    }
    return line;
  }
}

/**
 * A connection as what came over it knows it. It lasts, and messages do not: so it has those whose signal somebody wants, until they are
 * released, and no signal of its own, which would keep something of each that was made to depend on it.
 */
class Line {
  readonly #listening = new Set<RemoteDelivery>();
  #gone: SplitplaneError | undefined;

  /** Why nobody at the other end waits any more, if so. */
  get gone(): SplitplaneError | undefined {
    return this.#gone;
  }

  add(delivery: RemoteDelivery): void {
    this.#listening.add(delivery);
  }

  delete(delivery: RemoteDelivery): void {
    this.#listening.delete(delivery);
  }

  end(why: SplitplaneError): void {
    this.#gone = why;
    for (const delivery of this.#listening) delivery.giveUp(why);
    this.#listening.clear();
  }
}

class RemoteAnswer implements Answer {
  readonly envelope: Envelope;
  readonly attached: readonly Attached[];
  readonly #message: Message;

  constructor(message: Message, envelope: Envelope) {
    this.envelope = envelope;
    this.attached = message.buffers;
    this.#message = message;
  }

  release(): void {
    this.#message.release();
  }
}

class RemoteDelivery implements Delivery, Expiring {
  readonly envelope: Envelope;
  readonly verb: Verb | undefined;
  readonly attached: readonly Attached[];
  deadlineAt: number;
  readonly principal: string;
  readonly node: string | undefined;
  readonly owner: string | undefined;
  readonly judged: boolean;
  readonly connection: Connection | undefined;
  readonly #message: Message;
  readonly #owner: NetworkOwner;
  readonly #line: Line;
  #slot: number;
  #abort: AbortController | undefined;
  #settled = false;
  #released = false;

  /** `origin` is whom it is from; `linked` says that the other end is a part of this runtime, or the runtime of this part. */
  constructor(
    message: Message,
    runtime: NetworkOwner,
    line: Line,
    origin: Origin,
    owner: string | undefined,
    linked: boolean,
  ) {
    const { deadlineAt, connection } = message;
    this.envelope = message.envelope;
    this.verb = verbOf(message.envelope.action);
    this.attached = message.buffers;
    this.deadlineAt = deadlineAt === Infinity ? performance.now() + runtime.timeoutMs : deadlineAt;
    this.principal = origin.principal;
    this.node = origin.node;
    this.judged = origin.judged;
    this.owner = owner;
    this.connection = linked ? undefined : connection;
    this.#message = message;
    this.#owner = runtime;
    this.#line = line;
    this.#slot = runtime.deadlines.set(this, this.deadlineAt);
  }

  get settled(): boolean {
    // Who is gone waits for nothing.
    const gone = this.#line.gone !== undefined && !this.envelope.wantsNoReply;
    return this.#settled || gone || this.#message.canceled;
  }

  /** Made when somebody wants it: for a small message it is what costs most. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      const { gone } = this.#line;
      if (gone !== undefined) this.#abort.abort(gone);
      else if (!this.#released) this.#listen();
    }
    return this.#abort.signal;
  }

  #listen(): void {
    const { signal } = this.#message;
    if (signal.aborted) {
      this.giveUp(signal.reason);
      return;
    }
    this.#line.add(this);
    signal.addEventListener('abort', () => {
      this.giveUp(signal.reason);
    });
  }

  /** Nobody waits for the answer any more. */
  giveUp(why: unknown): void {
    this.#abort?.abort(why);
  }

  answer(envelope: Envelope, gifts: readonly Gift[], owner: string | undefined): void {
    const over = !this.#settle() || this.envelope.wantsNoReply;
    const denied =
      !over && gifts.length > 0 && owner !== undefined
        ? this.#owner.judgeMemory(this.principal, owner)
        : undefined;
    if (over || denied !== undefined) {
      giveBack(gifts);
      if (denied !== undefined) this.#send(this.envelope.replyFault(denied), []);
      return;
    }
    this.#send(envelope, gifts);
  }

  /** A runtime that passes a message on to a part of it waits in any case. */
  end(): boolean {
    return this.connection !== undefined && this.#settle();
  }

  refuse(fault: SoapFault): void {
    if (this.#settle() && !this.envelope.wantsNoReply) this.#send(this.envelope.replyFault(fault), []);
  }

  shorten(deadlineAt: number): void {
    if (this.#settled || deadlineAt >= this.deadlineAt) return;
    this.#owner.deadlines.clear(this, this.#slot);
    this.deadlineAt = deadlineAt;
    this.#slot = this.#owner.deadlines.set(this, deadlineAt);
  }

  release(): void {
    // Before the message forgets that it was canceled: what waits for nothing must not wait for its deadline.
    if (this.settled) this.#settle();
    this.#released = true;
    if (this.#abort !== undefined) this.#line.delete(this);
    this.#message.release();
  }

  /** For Deadlines. */
  expire(closing: boolean): void {
    const why = expiry(this.envelope, closing);
    this.refuse(why.fault);
    this.giveUp(why);
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#owner.deadlines.clear(this, this.#slot);
    return true;
  }

  #send(envelope: Envelope, gifts: readonly Gift[]): void {
    this.#message.connection.send(envelope, { buffers: attachments(gifts) }).then(
      (sent) => {
        settle(gifts, sent);
      },
      (error: unknown) => {
        giveBack(gifts);
        // What cannot be sent as it is can still be told of; a connection that is gone has nobody to tell.
        if (this.#message.connection.state === 'closed') return;
        const told = this.#message.connection.send(this.envelope.replyFault(faultOf(error)));
        told.catch(() => undefined);
      },
    );
  }
}

/** What stands for the answer to a request that has none. */
function acceptedAnswer(request: Envelope): Answer {
  return { envelope: request, attached: NO_GIFTS as readonly never[], release: () => undefined };
}

function attachments(gifts: readonly Gift[]): Attachment[] {
  return gifts.map(({ cid, giving }) =>
    giving instanceof Lent ? lentAttachment(cid, giving) : { buffer: giving, cid, access: 'read' },
  );
}

/** A buffer that can be used once may go inline; whoever lends one for more uses wants a tag, which `uses` asks for. */
function lentAttachment(cid: string, { slices, access, uses }: Lent): Attachment {
  return uses === 1 ? { buffer: slices, cid, access } : { buffer: slices, cid, access, uses };
}

/** The peer has the message: what was given is let go (its tags hold it), what was lent returns when they have ended. */
function settle(gifts: readonly Gift[], sent: Sent): void {
  for (const { giving } of gifts) if (!(giving instanceof Lent)) giving.release();
  const lent = gifts.filter(({ giving }) => giving instanceof Lent && giving.returned !== undefined);
  if (lent.length === 0) return;
  void sent.released.then(() => {
    giveBack(lent);
  });
}

/** Milliseconds left, as the wire has them. */
function remaining(deadlineAt: number): number | undefined {
  if (deadlineAt === Infinity) return undefined;
  return Math.min(TIMER_MS_MAX, Math.max(1, Math.ceil(deadlineAt - performance.now())));
}
