// Between a port and a service: reads the verb and the body of a message, calls the handler for it, and answers with what that gives,
// or with a fault for what it throws. Answers by itself what every service is asked. Knows nothing of queues and names.
import { responseActionOf, type Verb } from './verbs.js';
import { MessageRefusedError, SoapFault } from '../soap/fault.js';
import type { XmlElement } from '../soap/infoset.js';
import { giveBack } from './attached.js';
import { compose, referencesTo, sourceOf } from './compose.js';
import { SplitplaneError } from '../errors.js';
import {
  Contract,
  STATE,
  type AnyBody,
  type AnyContract,
  type Operation,
  type Operations,
} from './contract.js';
import { DeliveredCall } from './delivered-call.js';
import type { Delivery } from './delivery.js';
import { Failure } from './failure.js';
import { Fault, faultOf } from './fault.js';
import type { Concurrency, Receiver } from './port.js';
import type { Publisher } from './publisher.js';
import {
  DROP,
  LOOKUP,
  SERVICE,
  SUBSCRIBE,
  UNSUBSCRIBE,
  type ServiceDescription,
} from './service-contract.js';
import type { AnyService, Call } from './service.js';

/** What the manifest says of the port, and else the service, or nobody. */
export interface PortLimits {
  /** Messages that wait. */
  readonly queueMax?: number | undefined;
  /** Milliseconds that a message may take from when it comes. */
  readonly timeoutMs?: number | undefined;
}

/** What the receiver gets from the runtime. */
export interface ReceiverOwner {
  /** What its buffers belong to. */
  readonly path: string;
  describe(): ServiceDescription;
  /** Somebody with the right to it asks the service to end. Settles when it has. */
  drop(): Promise<void>;
  /** A handler threw something that is nobody's fault but its own. */
  failed(error: unknown, verb: Verb | undefined): void;
}

type AnyHandler = (call: Call) => unknown;

export class ServiceReceiver implements Receiver {
  readonly queueMax: number;
  readonly timeoutMs: number | undefined;
  readonly #service: AnyService;
  readonly #contract: AnyContract;
  readonly #handlers: Readonly<Record<string, AnyHandler>>;
  readonly #publisher: Publisher;
  readonly #owner: ReceiverOwner;
  #faults = 0;

  constructor(service: AnyService, publisher: Publisher, owner: ReceiverOwner, limits: PortLimits) {
    const { queueMax = service.queueMax, timeoutMs } = limits;
    checkService(service, queueMax);
    this.queueMax = queueMax;
    this.timeoutMs = timeoutMs;
    this.#service = service;
    this.#contract = service.contract as AnyContract;
    this.#handlers = service.handlers as Readonly<Record<string, AnyHandler>>;
    this.#publisher = publisher;
    this.#owner = owner;
  }

  get concurrency(): Concurrency {
    return this.#service.concurrency;
  }

  /** Messages that were answered with a fault. */
  get faults(): number {
    return this.#faults;
  }

  accepts(verb: Verb | undefined): SoapFault | undefined {
    if (verb !== undefined) {
      if (this.#contract.knows(verb) || verb === 'Lookup' || verb === 'Drop') return undefined;
      if (verb === 'Subscribe' && this.#publisher.publishes) return undefined;
    }
    const verbs = [...new Set<Verb>([...this.#contract.verbs, 'Lookup', 'Drop'])].join(', ');
    const what = verb ?? 'This action';
    return SoapFault.dssp(
      'ActionNotSupported',
      `${what} is not supported by ${this.#contract.uri}, which has ${verbs}.`,
    );
  }

  handle(delivery: Delivery): Promise<void> | undefined {
    try {
      const verb = delivery.verb as Verb;
      const { body } = delivery.envelope;
      const asked = body[0];
      if (asked === undefined || body.length > 1) {
        const found = asked === undefined ? 'is empty' : 'has several elements';
        throw new Fault('MessageNotSupported', `The body of ${verb} ${found}. Send one.`);
      }
      const operation = this.#contract.operationOf(verb, asked);
      if (operation === STATE) {
        this.#answer(delivery, this.#contract.uri, this.#contract.state as AnyBody, this.#service.state);
        return undefined;
      }
      if (operation !== undefined) return this.#operate(delivery, operation, asked);
      return this.#serve(delivery, verb, asked);
    } catch (error) {
      this.#fail(delivery, error);
      return undefined;
    }
  }

  #operate(delivery: Delivery, name: string, asked: XmlElement): Promise<void> | undefined {
    const operation = (this.#contract.operations as Operations)[name] as Operation;
    const { request, response } = operation;
    const call = new DeliveredCall(delivery, request.decode(asked, sourceOf(delivery)));
    const result = this.#handlers[name]?.(call);
    // Beside the service an answer costs nothing, and says that it has been handled.
    if (operation.oneWay === true && delivery.end?.() === true) {
      if (!isPromise(result)) return undefined;
      return Promise.resolve(result).then(
        () => undefined,
        (error: unknown) => {
          this.#fail(delivery, error);
        },
      );
    }
    if (!isPromise(result)) {
      this.#answer(delivery, this.#contract.uri, response, result);
      return undefined;
    }
    // What only looks like a promise may do anything in then().
    return Promise.resolve(result).then(
      (value) => {
        this.#tryAnswer(delivery, this.#contract.uri, response, value);
      },
      (error: unknown) => {
        this.#fail(delivery, error);
      },
    );
  }

  /** What every service answers by itself. */
  #serve(delivery: Delivery, verb: Verb, asked: XmlElement): Promise<void> | undefined {
    const source = sourceOf(delivery);
    if (asked.is(SERVICE, LOOKUP.request.name) && verb === 'Lookup') {
      this.#answer(delivery, SERVICE, LOOKUP.response, this.#owner.describe());
      return undefined;
    }
    if (asked.is(SERVICE, SUBSCRIBE.request.name) && verb === 'Subscribe') {
      const accepted = this.#publisher.subscribe(delivery, SUBSCRIBE.request.decode(asked, source));
      this.#answer(delivery, SERVICE, SUBSCRIBE.response, accepted);
      return undefined;
    }
    if (asked.is(SERVICE, UNSUBSCRIBE.request.name) && verb === 'Drop') {
      const { id } = UNSUBSCRIBE.request.decode(asked, source);
      this.#answer(
        delivery,
        SERVICE,
        UNSUBSCRIBE.response,
        this.#publisher.unsubscribe(delivery.principal, id),
      );
      return undefined;
    }
    if (asked.is(SERVICE, DROP.request.name) && verb === 'Drop') {
      // It stops taking messages while this one is still being handled: it is not waited for, or nobody would ever be done.
      void this.#owner.drop().then(
        () => {
          this.#tryAnswer(delivery, SERVICE, DROP.response, {});
        },
        (error: unknown) => {
          this.#fail(delivery, error);
        },
      );
      return undefined;
    }
    const bodies = this.#contract.bodiesOf(verb).join(', ');
    throw new Fault(
      'MessageNotSupported',
      `${verb} with a body {${asked.namespace}}${asked.localName} is not in ${this.#contract.uri}. ` +
        (bodies === '' ? `It has no ${verb} of its own.` : `It takes ${bodies}.`),
    );
  }

  #tryAnswer(delivery: Delivery, namespace: string, shape: AnyBody, value: unknown): void {
    try {
      this.#answer(delivery, namespace, shape, value);
    } catch (error) {
      this.#fail(delivery, error);
    }
  }

  #answer(delivery: Delivery, namespace: string, shape: AnyBody, value: unknown): void {
    const { element, gifts } = compose(shape, namespace, value ?? {});
    const { envelope, verb } = delivery;
    try {
      const action = responseActionOf(verb as Verb);
      const answer = envelope.reply({ action, body: element, references: referencesTo(gifts) });
      delivery.answer(answer, gifts, this.#owner.path);
    } catch (error) {
      giveBack(gifts);
      throw error;
    }
  }

  #fail(delivery: Delivery, error: unknown): void {
    this.#faults++;
    const fault = faultOf(error);
    // Refusing is not failing; what a peer's message breaks is in its answer, and no peer fills the log. Nor does what nobody
    // waits for any more.
    const refused =
      error instanceof Fault || error instanceof Failure || error instanceof MessageRefusedError;
    if (!refused && !delivery.signal.aborted) this.#owner.failed(error, delivery.verb);
    delivery.refuse(fault);
  }
}

/** Throws INVALID_ARGUMENT for what the compiler does not let through, but JavaScript does. */
function checkService(service: AnyService, queueMax: number): void {
  const { contract, handlers } = service as { contract: unknown; handlers: unknown };
  if (!(contract instanceof Contract)) {
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      'A service has a contract: set it to what contract() made.',
    );
  }
  const { uri, operations } = contract as Contract;
  for (const name of Object.keys(operations)) {
    if (typeof (handlers as Record<string, unknown> | undefined)?.[name] === 'function') continue;
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `${uri} has an operation ${name}, and the service no handler for it. Add one.`,
    );
  }
  if (!(Number.isSafeInteger(queueMax) && queueMax > 0)) {
    throw new SplitplaneError('INVALID_ARGUMENT', `queueMax is a whole number above 0, not ${queueMax}.`);
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as Promise<unknown>).then === 'function'
  );
}
