// Between the dispatcher and the network manager: requests that leave, messages that arrive, and messages that are passed on to a
// process of this runtime. Makes what comes over a connection look like what comes from the service beside. Knows nothing
// of ports.
import type { Connection } from '../network/connection.js';
import type { NetworkManager } from '../network/manager.js';
import type { Message } from '../network/message.js';
import type { ConnectOptions } from '../network/manager.js';
import type { Attachment } from '../network/separator.js';
import type { Sent } from '../network/outbox.js';
import { SplitplaneError } from '../errors.js';
import type { Envelope } from '../soap/envelope.js';
import { SoapFault } from '../soap/fault.js';
import { giveBack, Lent, type Attached, type ResolvedBuffer, lend } from './attached.js';
import type { Deadlines, Expiring } from './deadlines.js';
import {
  attachedAs,
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
import { TIMEOUT_MS_MAX } from './deadlines.js';
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
  readonly connectOptions: ConnectOptions;
  arrive(delivery: Delivery): void;
  /** A runtime that sent something is not connected any more. */
  gone(nodeId: string): void;
}

export class RuntimeNetwork implements Network {
  readonly #manager: NetworkManager;
  readonly #owner: NetworkOwner;
  readonly #gone = new WeakMap<Connection, AbortSignal>();
  /** By wsa:To, or node: which connection to take, without looking at addresses again for every message. */
  readonly #routes = new Map<string, Connection>();

  constructor(manager: NetworkManager, owner: NetworkOwner) {
    this.#manager = manager;
    this.#owner = owner;
  }

  /** Takes what arrives until the network manager closes. */
  async run(): Promise<void> {
    for await (const message of this.#manager.messages) {
      // An answer that nobody waits for any more, or a fault about one: there is nobody to tell.
      if (message.envelope.relatesTo !== undefined) message.release();
      else this.#owner.arrive(new RemoteDelivery(message, this.#owner, this.#goneSignal(message.connection)));
    }
  }

  async request(out: Outgoing, nodeId?: string): Promise<Answer> {
    const { envelope, gifts, sender, deadlineAt, signal } = out;
    let pending = gifts;
    try {
      let deadlineMs = remaining(deadlineAt);
      let connection = this.#known(envelope.to, nodeId);
      if (connection === undefined) {
        connection = await this.#connectionFor(envelope.to, nodeId, { signal, deadlineMs });
        deadlineMs = remaining(deadlineAt);
      }
      const denied =
        gifts.length > 0 && sender.owner !== undefined
          ? this.#owner.judgeMemory(connection.principal, sender.owner)
          : undefined;
      if (denied !== undefined) {
        giveBack(gifts);
        return faultAnswer(envelope, denied);
      }
      const message = await connection.request(envelope, {
        buffers: attachments(gifts),
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
      return new RemoteAnswer(message);
    } catch (error) {
      giveBack(pending);
      const late = error instanceof SplitplaneError && error.code === 'DEADLINE_EXCEEDED';
      if (late) return faultAnswer(envelope, SoapFault.dssp('ResponseTimeout', error.message));
      throw error;
    }
  }

  relay(delivery: Delivery, nodeId: string): void {
    void this.#relay(delivery, nodeId).finally(() => {
      delivery.release();
    });
  }

  async #relay(delivery: Delivery, nodeId: string): Promise<void> {
    const { envelope, attached, deadlineAt, signal } = delivery;
    let gifts: readonly Gift[] = [];
    try {
      gifts = await takeOver(envelope, attached, signal);
      const sender = { principal: delivery.principal, owner: undefined };
      const answer = await this.request({ envelope, gifts, sender, deadlineAt, signal }, nodeId);
      try {
        const back = await takeOver(answer.envelope, answer.attached, signal);
        delivery.answer(answer.envelope, back, undefined);
      } finally {
        answer.release();
      }
    } catch (error) {
      delivery.refuse(faultOf(error));
    }
  }

  /** The connection that messages to there took before. */
  #known(to: string, nodeId: string | undefined): Connection | undefined {
    const connection = this.#routes.get(nodeId ?? to);
    return connection?.state === 'closed' ? undefined : connection;
  }

  async #connectionFor(to: string, nodeId: string | undefined, options: ConnectOptions): Promise<Connection> {
    const wanted = nodeId ?? nodeIdOf(parseServiceUri(to)?.authority ?? '');
    const connection =
      wanted === undefined
        ? await this.#manager.connectionTo(to, { ...this.#owner.connectOptions, ...options })
        : this.#connectedNode(wanted, to);
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
    this.#routes.set(nodeId ?? to, connection);
    return connection;
  }

  #connectedNode(nodeId: string, to: string): Connection {
    // The first that there was: who comes later with the same id does not get what is meant for it.
    const connection = this.#manager.connections.find(
      (one) => one.state !== 'connecting' && one.peer.nodeId === nodeId,
    );
    if (connection !== undefined) return connection;
    throw new SplitplaneError(
      'CONNECTION_LOST',
      `The runtime of ${to} is not connected. It has to connect to this one.`,
    );
  }

  #goneSignal(connection: Connection): AbortSignal {
    let signal = this.#gone.get(connection);
    if (signal === undefined) {
      const controller = new AbortController();
      signal = controller.signal;
      this.#gone.set(connection, signal);
      void connection.closed.then((why) => {
        controller.abort(new SplitplaneError(why.code, `The sender is gone: ${why.message}`));
        this.#owner.gone(connection.peer.nodeId);
      });
    }
    return signal;
  }
}

class RemoteAnswer implements Answer {
  readonly envelope: Envelope;
  readonly attached: readonly Attached[];
  readonly #message: Message;

  constructor(message: Message) {
    this.envelope = message.envelope;
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
  readonly deadlineAt: number;
  readonly #message: Message;
  readonly #owner: NetworkOwner;
  readonly #gone: AbortSignal;
  readonly #slot: number;
  #late: AbortController | undefined;
  #signal: AbortSignal | undefined;
  #settled = false;

  constructor(message: Message, owner: NetworkOwner, gone: AbortSignal) {
    this.envelope = message.envelope;
    this.verb = verbOf(message.envelope.action);
    this.attached = message.buffers;
    const said = message.deadlineAt !== Infinity;
    this.deadlineAt = said ? message.deadlineAt : performance.now() + owner.timeoutMs;
    this.#message = message;
    this.#owner = owner;
    this.#gone = gone;
    this.#slot = owner.deadlines.set(this, this.deadlineAt);
  }

  get principal(): string {
    return this.#message.connection.principal;
  }

  get settled(): boolean {
    // Who is gone waits for nothing.
    const gone = this.#gone.aborted && !this.envelope.wantsNoReply;
    return this.#settled || gone || this.#message.canceled;
  }

  get connection(): Connection {
    return this.#message.connection;
  }

  /** Made when somebody wants it: for a small message it is what costs most. */
  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      this.#late = new AbortController();
      this.#signal = AbortSignal.any([this.#message.signal, this.#gone, this.#late.signal]);
    }
    return this.#signal;
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

  refuse(fault: SoapFault): void {
    if (this.#settle() && !this.envelope.wantsNoReply) this.#send(this.envelope.replyFault(fault), []);
  }

  release(): void {
    this.#message.release();
  }

  /** For Deadlines. */
  expire(closing: boolean): void {
    const why = expiry(this.envelope, closing);
    this.refuse(why.fault);
    this.#late?.abort(why);
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

/** Moves the buffers of a message here, to be passed on: a tag is worth nothing to anybody but who it was sent to. */
async function takeOver(
  envelope: Envelope,
  attached: readonly Attached[],
  signal: AbortSignal,
): Promise<Gift[]> {
  const gifts: Gift[] = [];
  try {
    for (const { cid } of envelope.references) {
      const from = attachedAs({ envelope, attached }, cid);
      if (from === undefined) continue;
      if (from.access !== 'read') {
        throw new SplitplaneError(
          'UNSUPPORTED',
          'A buffer to be written cannot be passed on to another process. Send it for reading.',
        );
      }
      gifts.push({ cid, giving: owned(await from.resolve({ signal })) });
    }
    return gifts;
  } catch (error) {
    giveBack(gifts);
    throw error;
  }
}

function owned(resolved: ResolvedBuffer): Lent {
  return lend(resolved, 'read', () => {
    resolved.release();
  });
}

/** Milliseconds left, as the wire has them. */
function remaining(deadlineAt: number): number | undefined {
  if (deadlineAt === Infinity) return undefined;
  return Math.min(TIMEOUT_MS_MAX, Math.max(1, Math.ceil(deadlineAt - performance.now())));
}
