// What users write: a class that extends Service, with a contract, a handler for each operation, and a state if it has one. How it
// gets its messages is service-receiver.ts's affair.
import type { RegisteredBuffer } from '../dataplane/memory.js';
import type { Connection } from '../network/connection.js';
import { SplitplaneError } from '../errors.js';
import type { Proxy } from './client.js';
import type {
  AnyContract,
  Empty,
  NoState,
  NotificationsOf,
  OperationsOf,
  ReceivedRequest,
  Response,
  StateOf,
} from './contract.js';
import { QUEUE_MAX, type Concurrency } from './port.js';
import type { Received, Sending } from './shape.js';
import type { SubscribeOptions, Subscribed } from './subscriber.js';

/** A request as a handler gets it. */
export interface Call<B = unknown> {
  /** What the request holds. Its buffers can be resolved until the handler has settled; what was resolved is the handler's. */
  readonly body: B;
  /** Who asks: `service:NAME` in this runtime, else what the peer was authenticated as. */
  readonly from: string;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** In performance.now() milliseconds. */
  readonly deadlineAt: number;
  /** The connection it came by, undefined for one of this runtime. For services that are about connections; others need not know. */
  readonly connection: Connection | undefined;
}

/**
 * The handler of each operation: takes the call and answers with what the response holds (nothing, where it holds nothing).
 * Throw Fault to refuse.
 */
export type Handlers<C extends AnyContract> = {
  readonly [K in keyof OperationsOf<C>]: (
    call: Call<ReceivedRequest<OperationsOf<C>[K]>>,
  ) => Answering<Response<OperationsOf<C>[K]>>;
};
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- a handler that returns nothing answers nothing
type Answering<A> = Empty extends A ? A | void | Promise<A | void> : A | Promise<A>;

/** What a service of this contract has as its state. */
export type StateValue<C> = [StateOf<C>] extends [NoState] ? undefined : Sending<StateOf<C>>;

/** What to do with each kind of notification; those that are not named are not subscribed to. */
export type NotificationHandlers<C> = {
  readonly [K in keyof NotificationsOf<C>]?: (
    call: Call<Received<NotificationsOf<C>[K]>>,
  ) => Promise<void> | void;
};

/** What a service has of its runtime. */
export interface ServiceContext {
  readonly uri: string;
  /** Throws INVALID_ARGUMENT for a name that the manifest does not give. */
  partnerUri(name: string): string;
  proxy<P extends AnyContract>(contract: P, uri: string): Proxy<P>;
  subscribe<P extends AnyContract>(
    contract: P,
    uri: string,
    handlers: NotificationHandlers<P>,
    options?: SubscribeOptions,
  ): Promise<Subscribed>;
  publish(name: string, value: unknown): void;
  allocate(length: number): RegisteredBuffer;
  registerFile(path: string): Promise<RegisteredBuffer>;
  log(text: string): void;
}

/** A service. Its module exports the class as `default`, with a constructor that takes nothing. */
export abstract class Service<C extends AnyContract = AnyContract> {
  abstract readonly contract: C;
  abstract readonly handlers: Handlers<C>;
  /** Which messages are handled at the same time. */
  readonly concurrency: Concurrency = 'concurrent-reads';
  /** Messages that wait for this service at most; the next are refused with QueuingLimitExceeded. */
  readonly queueMax: number = QUEUE_MAX;
  /** What Get answers with. From the manifest, or set by the class; messages that change it are its own affair. */
  declare state: StateValue<C>;
  #context: ServiceContext | undefined;

  /** Called before the first message, with `state` and partners in place. Rejecting means that the service does not run. */
  start(): Promise<void> | void {
    return undefined;
  }

  /** Called after the last message. */
  stop(): Promise<void> | void {
    return undefined;
  }

  /** This service's URI. */
  get uri(): string {
    return this.#bound.uri;
  }

  /** The partner that the manifest calls by this name. Throws INVALID_ARGUMENT when it names none. */
  partner<P extends AnyContract>(name: string, contract: P): Proxy<P> {
    return this.#bound.proxy(contract, this.#bound.partnerUri(name));
  }

  /** Any service, by its URI. */
  proxy<P extends AnyContract>(contract: P, uri: string): Proxy<P> {
    return this.#bound.proxy(contract, uri);
  }

  /** Has the handlers called for what a publisher tells, until the subscription ends. Settles when the publisher has accepted. */
  subscribe<P extends AnyContract>(
    contract: P,
    uri: string,
    handlers: NotificationHandlers<P>,
    options?: SubscribeOptions,
  ): Promise<Subscribed> {
    return this.#bound.subscribe(contract, uri, handlers, options);
  }

  /** Tells every subscriber. Returns at once: what becomes of it stands in the counters. Buffers must be lent, not given. */
  publish<K extends keyof NotificationsOf<C> & string>(name: K, value: Sending<NotificationsOf<C>[K]>): void {
    this.#bound.publish(name, value);
  }

  /** Registered memory, for what goes with messages. Contents undefined; whoever has it last releases it. Throws OUT_OF_MEMORY. */
  allocate(length: number): RegisteredBuffer {
    return this.#bound.allocate(length);
  }

  /** A regular file as something to lend. See Runtime.registerFile. */
  registerFile(path: string): Promise<RegisteredBuffer> {
    return this.#bound.registerFile(path);
  }

  /** Writes a line to the runtime's console. */
  log(text: string): void {
    this.#bound.log(text);
  }

  /** @internal Called by the runtime, before anything else. */
  bind(context: ServiceContext): void {
    this.#context = context;
  }

  get #bound(): ServiceContext {
    if (this.#context !== undefined) return this.#context;
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      'This service has not been loaded into a runtime yet. Use partners, memory and its URI from start() on.',
    );
  }
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the one type that every service has
export type AnyService = Service<any>;
