// The subscribing side: a port for the notifications of one publisher, the handlers that get them, and a subscription that is renewed
// for as long as it is wanted. Knows nothing of how the publisher is reached.
import { SplitplaneError } from '../errors.js';
import { MessageRefusedError, SoapFault } from '../soap/fault.js';
import type { Client } from './client.js';
import { compose, sourceOf } from './compose.js';
import type { AnyBody, AnyContract } from './contract.js';
import { DeliveredCall } from './delivered-call.js';
import type { Delivery } from './delivery.js';
import { Fault, faultOf } from './fault.js';
import { QUEUE_MAX, type Receiver } from './port.js';
import type { Call } from './service.js';
import { NOTIFIED, SERVICE, SUBSCRIBE, UNSUBSCRIBE } from './service-contract.js';
import type { Received } from './shape.js';
import { responseActionOf, type Verb } from './verbs.js';

export interface SubscribeOptions {
  /** Ends the subscription. */
  readonly signal?: AbortSignal | undefined;
  /** How many notifications; without end when left out. */
  readonly count?: number | undefined;
  /** Milliseconds that the publisher keeps the subscription when nobody renews it, which this side does; 60,000 when left out. */
  readonly expiresMs?: number | undefined;
}

const CONFIRMATION = compose(NOTIFIED, SERVICE, {}).element;

/** Who wants to know what becomes of notifications. */
export interface NotificationOwner {
  /** A handler threw something that is nobody's fault but its own. */
  failed(error: unknown): void;
  /** One has been handled, or refused. */
  told(): void;
}

/** What a subscriber's port stands before. */
export class NotificationReceiver implements Receiver {
  readonly concurrency = 'exclusive';
  readonly queueMax = QUEUE_MAX;
  readonly #contract: AnyContract;
  readonly #handlers: Readonly<Record<string, ((call: Call) => unknown) | undefined>>;
  readonly #owner: NotificationOwner;

  constructor(
    contract: AnyContract,
    handlers: Readonly<Record<string, ((call: Call) => unknown) | undefined>>,
    owner: NotificationOwner,
  ) {
    this.#contract = contract;
    this.#handlers = handlers;
    this.#owner = owner;
  }

  accepts(verb: Verb | undefined): SoapFault | undefined {
    if (verb === 'Notify') return undefined;
    return SoapFault.dssp('ActionNotSupported', 'This port takes notifications only.');
  }

  async handle(delivery: Delivery): Promise<void> {
    try {
      const told = delivery.envelope.body[0];
      const name = told && this.#contract.notificationOf(told);
      const handler = name === undefined ? undefined : this.#handlers[name];
      if (told === undefined || name === undefined || handler === undefined) {
        throw new Fault(
          'MessageNotSupported',
          `Nobody here wants ${told?.localName ?? 'an empty notification'}.`,
        );
      }
      const shape = (this.#contract.notifications as Record<string, AnyBody>)[name] as AnyBody;
      const body: unknown = shape.decode(told, sourceOf(delivery));
      await handler(new DeliveredCall(delivery, body));
      const answer = delivery.envelope.reply({ action: responseActionOf('Notify'), body: CONFIRMATION });
      delivery.answer(answer, [], undefined);
    } catch (error) {
      if (!(error instanceof Fault || error instanceof MessageRefusedError)) this.#owner.failed(error);
      delivery.refuse(faultOf(error));
    }
    this.#owner.told();
  }
}

/** A subscription, from the subscriber's side. */
export class Subscribed implements AsyncDisposable {
  /** Settles when it has ended: with the error, if it could not be renewed. Never rejects. */
  readonly ended: Promise<SplitplaneError | undefined>;
  readonly #client: Client;
  readonly #publisher: string;
  readonly #request: Received<typeof SUBSCRIBE.request>;
  readonly #close: () => void;
  #id = '';
  #timer: NodeJS.Timeout | undefined;
  #over = false;
  /** Settles when no renewal is under way. */
  #renewed: Promise<unknown> = Promise.resolve();
  /** Notifications to come, where they are counted. */
  #left: number;
  #settle!: (why: SplitplaneError | undefined) => void;

  /** @internal `close` removes the port. */
  constructor(
    client: Client,
    publisher: string,
    request: Received<typeof SUBSCRIBE.request>,
    close: () => void,
  ) {
    this.#client = client;
    this.#publisher = publisher;
    this.#request = request;
    this.#close = close;
    this.#left = request.count ?? Infinity;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** @internal A notification has been handled. */
  told(): void {
    if (--this.#left === 0) this.#end(undefined);
  }

  /** @internal Settles when the publisher has accepted. */
  async begin(signal: AbortSignal | undefined): Promise<this> {
    try {
      await this.#renew();
    } catch (error) {
      this.#end(undefined);
      throw error;
    }
    const leave = (): void => {
      void this.unsubscribe().catch(() => undefined);
    };
    if (signal?.aborted === true) leave();
    signal?.addEventListener('abort', leave, { once: true });
    void this.ended.then(() => {
      signal?.removeEventListener('abort', leave);
    });
    return this;
  }

  /**
   * Ends it. Settles when the publisher knows, with what became of the notifications; undefined when it had ended before.
   * Rejects when the publisher cannot be reached; it has ended here all the same.
   */
  async unsubscribe(): Promise<Received<typeof UNSUBSCRIBE.response> | undefined> {
    if (this.#over) return undefined;
    this.#end(undefined);
    // Until then nobody knows what the publisher calls it.
    await this.#renewed;
    const answer = await this.#client.call(this.#publisher, SERVICE, UNSUBSCRIBE, { id: this.#id });
    return answer as Received<typeof UNSUBSCRIBE.response>;
  }

  /** Like unsubscribe(), and says nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.unsubscribe().catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const answer = await this.#client.call(this.#publisher, SERVICE, SUBSCRIBE, this.#request);
    const { id, expiresMs } = answer as Received<typeof SUBSCRIBE.response>;
    this.#id = id;
    if (this.#over) return;
    if (this.#request.count !== undefined) {
      // Renewing it would count anew. What was dropped counts there and is not seen here: then its time ends it.
      this.#timer = setTimeout(() => {
        this.#end(undefined);
      }, expiresMs);
      return;
    }
    this.#timer = setTimeout(() => {
      this.#renewed = this.#renew().catch((error: unknown) => {
        this.#end(
          error instanceof SplitplaneError
            ? error
            : new SplitplaneError('CLOSED', 'The subscription ended.', { cause: error }),
        );
      });
    }, expiresMs / 2);
  }

  #end(why: SplitplaneError | undefined): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#close();
    this.#settle(why);
  }
}
