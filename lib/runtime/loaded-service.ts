// A service that runs here: the object, its port, its place in the mapping table, and its life from registration to the end.
// Knows how one service lives; which ones there are is the loader's affair.
import { SplitplaneError } from '../errors.js';
import { SoapFault } from '../soap/fault.js';
import type { XmlElement } from '../soap/infoset.js';
import type { RegisteredBuffer } from '../dataplane/memory.js';
import type { Client, Proxy } from './client.js';
import { compose } from './compose.js';
import type { AnyBody, AnyContract } from './contract.js';
import { describe, messageOf } from './describe.js';
import type { Kernel } from './kernel.js';
import { Port } from './port.js';
import { Publisher } from './publisher.js';
import type { ServiceDescription } from './service-contract.js';
import { ServiceReceiver, type PortLimits, type ReceiverOwner } from './service-receiver.js';
import type { AnyService, NotificationHandlers, ServiceContext } from './service.js';
import type { ServiceSnapshot, ServiceState } from './snapshot.js';
import type { Subscribed, SubscribeOptions } from './subscriber.js';
import type { Registration } from './uri-manager.js';

export interface LoadInit extends PortLimits {
  /** The name it would like; generated when left out. */
  readonly name?: string | undefined;
  /** By the name that the service has for each: a URI. */
  readonly partners?: Readonly<Record<string, string>> | undefined;
  /** The initial state, as an infoset. */
  readonly state?: XmlElement | undefined;
}

/** What a loaded service asks of who loaded it. */
export interface LoadOwner {
  /** Part of the runtime itself: nobody is asked whether it may have its name. */
  readonly trusted: boolean;
  /** Somebody with the right to it asks the service to end. */
  drop(): Promise<void>;
}

/** Milliseconds that what a service works on may take to end, and then its stop(), before it counts as ended anyway. */
const STOP_MS_MAX = 5000;

/** What the service has of its runtime is this object itself: one for each of many services. */
export class LoadedService implements ServiceContext, ReceiverOwner {
  readonly registration: Registration;
  readonly partners: Readonly<Record<string, string>>;
  readonly #kernel: Kernel;
  readonly #owner: LoadOwner;
  readonly #limits: PortLimits;
  readonly #port: Port;
  readonly #publisher: Publisher;
  readonly #client: Client;
  #service: AnyService;
  #receiver: ServiceReceiver;
  #state: ServiceState = 'starting';
  #problem: string | undefined;
  /** What the service has subscribed to: it ends with it. */
  #subscribed: Set<Subscribed> | undefined;
  #replacing: Promise<void> = DONE;

  /** Steps 428 to 444: registers the service. Messages wait until start(). Throws as UriManager.register does. */
  constructor(kernel: Kernel, service: AnyService, init: LoadInit, owner: LoadOwner) {
    this.#kernel = kernel;
    this.#service = service;
    this.#owner = owner;
    this.#limits = { queueMax: init.queueMax, timeoutMs: init.timeoutMs };
    this.partners = init.partners ?? {};
    this.#publisher = new Publisher(this.#contract, (envelope, gifts) => this.#client.send(envelope, gifts));
    this.#receiver = this.#receiverOf(service);
    this.#port = new Port(this.#receiver, kernel.schedule);
    this.#port.pause();
    this.registration = kernel.uris.register({
      principal: `service:${init.name ?? this.#contract.uri}`,
      name: init.name,
      contract: this.#contract.uri,
      target: this.#port,
      trusted: owner.trusted,
    });
    const { principal, path } = this.registration;
    this.#client = kernel.client({ principal, owner: path });
    if (this.#publisher.publishes) kernel.publishers.add(this.#publisher);
  }

  get uri(): string {
    return this.registration.uri;
  }

  get name(): string {
    return this.registration.name;
  }

  get snapshot(): ServiceSnapshot {
    const { uri, name, partners } = this;
    return {
      uri,
      name,
      contract: this.#contract.uri,
      state: this.#state,
      host: 'here',
      partners,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      port: { ...this.#port.facts, faults: this.#receiver.faults },
      subscribers: this.#publisher.subscriberCount,
    };
  }

  /**
   * Starts the service, and lets the messages in that wait. Rejects when the state does not fit, or with what start() rejects
   * with; then it is not registered any more, and what waited was refused.
   */
  async start(state: XmlElement | undefined): Promise<void> {
    try {
      await this.#begin(this.#service, state);
      if (this.#state !== 'starting') return;
      this.#state = 'running';
      this.#port.resume();
    } catch (error) {
      // It may have been ended while it started; then its name may be another's by now.
      if (this.#state === 'starting') {
        this.#state = 'failed';
        this.#problem = messageOf(error);
        this.#remove(SoapFault.dssp('OperationFailed', `${this.uri} did not start.`));
      }
      throw error;
    }
  }

  /**
   * Takes no more messages, refuses those that wait, lets those end that are being handled, and stops the service. Settles when it
   * has stopped, or taken too long.
   */
  async unload(): Promise<void> {
    if (this.#state === 'stopped' || this.#state === 'failed') return;
    this.#state = 'stopped';
    this.#remove(SoapFault.dssp('UnknownEntry', `The service at ${this.uri} has ended.`));
    await this.#untilIdle();
    await this.#stop(this.#service);
  }

  /**
   * Puts another object of the same contract behind the same URI. What is being handled ends first, what comes meanwhile waits,
   * its subscribers stay, and the state goes over. Rejects when the other does not start; then the first goes on.
   */
  replace(service: AnyService): Promise<void> {
    const replaced = this.#replacing.then(() => this.#replace(service));
    this.#replacing = replaced.catch(() => undefined);
    return replaced;
  }

  async #replace(service: AnyService): Promise<void> {
    const contract = service.contract as AnyContract;
    if (contract.uri !== this.#contract.uri) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        `${this.uri} has the contract ${this.#contract.uri}, and what is to replace it ${contract.uri}. Unload it and load the other.`,
      );
    }
    const receiver = this.#receiverOf(service);
    this.#checkRuns();
    this.#port.pause();
    const subscribed = this.#subscribed;
    try {
      await this.#untilIdle();
      this.#checkRuns();
      this.#subscribed = undefined;
      await this.#begin(service, this.#stateElement());
    } catch (error) {
      endAll(this.#subscribed === subscribed ? undefined : this.#subscribed);
      this.#subscribed = subscribed;
      this.#port.resume();
      throw error;
    }
    endAll(subscribed);
    if (this.#state !== 'running') {
      // It was ended meanwhile, and the one that had just started with it.
      endAll(this.#subscribed);
      await this.#stop(service);
      this.#checkRuns();
    }
    const before = this.#service;
    this.#service = service;
    this.#receiver = receiver;
    this.#problem = undefined;
    this.#port.resume(this.#receiver);
    await this.#stop(before);
  }

  /** For ServiceContext. */
  partnerUri(name: string): string {
    if (Object.hasOwn(this.partners, name)) return this.partners[name] as string;
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `${this.name} has no partner called ${name}. Name it in the manifest.`,
    );
  }

  /** For ServiceContext. */
  proxy<P extends AnyContract>(contract: P, uri: string): Proxy<P> {
    return this.#client.proxy(contract, uri);
  }

  /** For ServiceContext. */
  subscribe<P extends AnyContract>(
    contract: P,
    uri: string,
    handlers: NotificationHandlers<P>,
    options?: SubscribeOptions,
  ): Promise<Subscribed> {
    return this.#kernel.subscribe(this.#client, contract, uri, handlers, options).then(async (subscribed) => {
      if (this.#state === 'stopped' || this.#state === 'failed') {
        await subscribed[Symbol.asyncDispose]();
        this.#checkRuns();
      }
      const all = (this.#subscribed ??= new Set());
      all.add(subscribed);
      void subscribed.ended.then(() => all.delete(subscribed));
      return subscribed;
    });
  }

  /** For ServiceContext. */
  publish(name: string, value: unknown): void {
    this.#publisher.publish(name, value);
  }

  /** For ServiceContext. */
  allocate(length: number): RegisteredBuffer {
    return this.#kernel.allocate(length);
  }

  /** For ServiceContext. */
  registerFile(path: string): Promise<RegisteredBuffer> {
    return this.#kernel.registerFile(path);
  }

  /** For ServiceContext. */
  log(text: string): void {
    this.#kernel.log('info', this.name, text);
  }

  /** For ReceiverOwner: what the service's buffers belong to. */
  get path(): string {
    return this.registration.path;
  }

  /** For ReceiverOwner. */
  drop(): Promise<void> {
    return this.#owner.drop();
  }

  /** For ReceiverOwner. */
  failed(error: unknown, verb: string | undefined): void {
    this.#kernel.log('error', this.name, `${verb ?? 'A message'} failed: ${describe(error)}`);
  }

  /** For ReceiverOwner. */
  describe(): ServiceDescription {
    const contract = this.#contract;
    const operations = Object.entries(
      contract.operations as Record<string, { verb: string; request: AnyBody }>,
    );
    const notifications = Object.entries(contract.notifications as Record<string, AnyBody>);
    return {
      uri: this.uri,
      contract: contract.uri,
      operations: operations.map(([name, { verb, request }]) => ({ name, verb, body: request.name })),
      notifications: notifications.map(([name, body]) => ({ name, body: body.name })),
      state: (contract.state as AnyBody | undefined)?.name,
      partners: Object.entries(this.partners).map(([name, uri]) => ({ name, uri })),
    };
  }

  get #contract(): AnyContract {
    return this.#service.contract as AnyContract;
  }

  async #begin(service: AnyService, state: XmlElement | undefined): Promise<void> {
    service.bind(this);
    if (state !== undefined) service.state = readState(service.contract as AnyContract, state);
    await service.start();
  }

  #stateElement(): XmlElement | undefined {
    const shape = this.#contract.state as AnyBody | undefined;
    const state: unknown = this.#service.state;
    return shape === undefined || state === undefined
      ? undefined
      : compose(shape, this.#contract.uri, state).element;
  }

  #receiverOf(service: AnyService): ServiceReceiver {
    return new ServiceReceiver(service, this.#publisher, this, this.#limits);
  }

  #remove(why: SoapFault): void {
    this.#kernel.uris.remove(this.uri);
    this.#kernel.publishers.delete(this.#publisher);
    this.#publisher.close();
    endAll(this.#subscribed);
    this.#port.close(why);
  }

  #checkRuns(): void {
    if (this.#state === 'running') return;
    throw new SplitplaneError(
      'CLOSED',
      `${this.uri} is not running. Load it, and wait until it has started.`,
    );
  }

  async #untilIdle(): Promise<void> {
    if (await this.#port.idle(STOP_MS_MAX)) return;
    const waited = `What it works on has not ended after ${STOP_MS_MAX} ms; it is not waited for.`;
    this.#kernel.log('warning', this.name, waited);
  }

  async #stop(service: AnyService): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#kernel.log(
          'warning',
          this.name,
          `stop() has not ended after ${STOP_MS_MAX} ms; it is not waited for.`,
        );
        resolve();
      }, STOP_MS_MAX);
    });
    try {
      await Promise.race([Promise.resolve(service.stop()), late]);
    } catch (error) {
      this.#kernel.log('error', this.name, `stop() failed: ${describe(error)}`);
    } finally {
      clearTimeout(timer);
    }
  }
}

const DONE = Promise.resolve();

/** Their publishers are told, and not waited for. */
function endAll(subscribed: ReadonlySet<Subscribed> | undefined): void {
  for (const each of subscribed ?? []) void each[Symbol.asyncDispose]();
}

/** Throws INVALID_ARGUMENT when the contract has no state, or another. */
function readState(contract: AnyContract, element: XmlElement): unknown {
  const shape = contract.state as AnyBody | undefined;
  if (shape === undefined || !element.is(contract.uri, shape.name)) {
    const expected = shape === undefined ? 'no state' : `{${contract.uri}}${shape.name}`;
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `The state is {${element.namespace}}${element.localName}, and ${contract.uri} has ${expected}.`,
    );
  }
  try {
    return shape.decode(element, () => undefined);
  } catch (cause) {
    throw new SplitplaneError('INVALID_ARGUMENT', `The state does not fit: ${messageOf(cause)}`, { cause });
  }
}
