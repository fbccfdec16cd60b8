// What `splitplane serve` does with the messages that arrive: finds the handler of each action, runs several at once, answers
// with what it says or with a fault, and tells a log. Knows no action itself.
import type { Connection } from '../network/connection.js';
import type { Message } from '../network/message.js';
import type { NetworkManager } from '../network/manager.js';
import type { Attachable } from '../network/separator.js';
import type { XmlNode } from '../soap/infoset.js';
import { SplitplaneError } from '../errors.js';
import { SoapFault } from '../soap/fault.js';
import { faultOf } from '../runtime/fault.js';
import { describe, type Problem } from './failure.js';
import { actionOf, actionUri, Fields, item, type Action, type Attributes } from './wire.js';

/** Requests of one connection that are handled at once; the next are refused. */
const REQUESTS_MAX = 64;

/** One request. */
export class Call {
  readonly manager: NetworkManager;
  readonly message: Message;
  /** The element of its body. */
  readonly fields: Fields;
  readonly #gone: AbortSignal;
  #signal: AbortSignal | undefined;

  constructor(manager: NetworkManager, message: Message, fields: Fields, gone: AbortSignal) {
    this.manager = manager;
    this.message = message;
    this.fields = fields;
    this.#gone = gone;
  }

  /** Aborts when the asker cancels, or is gone. Made when somebody wants it: for a small message it is what costs most. */
  get signal(): AbortSignal {
    this.#signal ??= AbortSignal.any([this.message.signal, this.#gone]);
    return this.#signal;
  }
}

/** What to answer. */
export interface Answer {
  readonly attributes?: Attributes;
  readonly content?: readonly XmlNode[];
  readonly buffers?: readonly Attachable[];
  /** Called when the answer was sent, or could not be. */
  readonly sent?: () => void;
  /** Not for the log: there are more of them than anybody reads. */
  readonly quiet?: boolean;
  /** For the log. */
  readonly path?: string;
  readonly bytes?: number;
}

/** Undefined for what has no answer. */
export type Handler = (call: Call) => Promise<Answer | undefined>;
export type Handlers = Partial<Record<Action, Handler>>;

/** A request that was answered, or has failed: for one that was answered with buffers, when the asker gave them back. */
export interface LogEntry {
  readonly action: Action;
  readonly peer: string;
  readonly path: string | undefined;
  readonly bytes: number | undefined;
  readonly ms: number;
  readonly problem: Problem | undefined;
}

export class Service {
  readonly #manager: NetworkManager;
  readonly #handlers: Handlers;
  readonly #log: (entry: LogEntry) => void;
  readonly #running = new Map<Connection, number>();
  readonly #gone = new WeakMap<Connection, AbortSignal>();

  constructor(manager: NetworkManager, handlers: Handlers, log: (entry: LogEntry) => void) {
    this.#manager = manager;
    this.#handlers = handlers;
    this.#log = log;
  }

  /** Settles when the manager has closed. */
  async run(): Promise<void> {
    for await (const message of this.#manager.messages) void this.#take(message);
  }

  async #take(message: Message): Promise<void> {
    const { connection } = message;
    const running = this.#running.get(connection) ?? 0;
    this.#running.set(connection, running + 1);
    try {
      using held = message;
      const action = actionOf(held.envelope.action);
      const handler = action === undefined ? undefined : this.#handlers[action];
      if (action === undefined || handler === undefined) {
        const reason = `This service knows no action ${held.envelope.action}. Ask what docs/CLI.md lists.`;
        await this.#refuse(held, SoapFault.dssp('ActionNotSupported', reason));
      } else if (running >= REQUESTS_MAX) {
        const reason = `${REQUESTS_MAX} requests of this connection are being handled. Wait for an answer before the next.`;
        await this.#refuse(held, SoapFault.dssp('QueuingLimitExceeded', reason));
      } else {
        await this.#handle(held, action, handler);
      }
    } finally {
      const now = (this.#running.get(connection) ?? 1) - 1;
      if (now > 0) this.#running.set(connection, now);
      else this.#running.delete(connection);
    }
  }

  async #handle(message: Message, action: Action, handler: Handler): Promise<void> {
    const { connection } = message;
    const peer = connection.peer.remoteAddress;
    const begin = performance.now();
    let answer: Answer | undefined;
    let problem: Problem | undefined;
    try {
      const fields = Fields.of(message.envelope, action);
      answer = await handler(new Call(this.#manager, message, fields, this.#goneSignal(connection)));
      if (answer !== undefined) await this.#answer(message, action, answer);
    } catch (error) {
      problem = describe(error);
      await this.#refuse(message, faultOf(error));
    } finally {
      answer?.sent?.();
    }
    if (problem === undefined && (answer === undefined || answer.quiet === true)) return;
    const { path, bytes } = answer ?? {};
    this.#log({ action, peer, path: path ?? problem?.path, bytes, ms: performance.now() - begin, problem });
  }

  async #answer(message: Message, action: Action, answer: Answer): Promise<void> {
    const { attributes = {}, content = [], buffers = [] } = answer;
    const body = item(`${action}Response`, attributes, content);
    const sent = await message.reply({ action: `${actionUri(action)}Response`, body }, { buffers });
    await sent.released;
  }

  /** The asker may be gone; then nobody is there to be told. */
  async #refuse(message: Message, fault: SoapFault): Promise<void> {
    await message.replyFault(fault).catch(() => undefined);
  }

  #goneSignal(connection: Connection): AbortSignal {
    let signal = this.#gone.get(connection);
    if (signal === undefined) {
      const controller = new AbortController();
      signal = controller.signal;
      this.#gone.set(connection, signal);
      void connection.closed.then((why) => {
        controller.abort(new SplitplaneError(why.code, `The other side is gone: ${why.message}`));
      });
    }
    return signal;
  }
}
