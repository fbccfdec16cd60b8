// The sending side of a service, or of a program without one: requests by contract, with typed values, and `Proxy`, a service
// somewhere as an object with a method for each operation. Knows nothing of where the service is.
import { SplitplaneError } from '../errors.js';
import type { Envelope } from '../soap/envelope.js';
import { FaultError, MessageRefusedError } from '../soap/fault.js';
import { giveBack } from './attached.js';
import { compose, requestOf, sourceOf } from './compose.js';
import type {
  AnyBody,
  AnyContract,
  Empty,
  Operation,
  OperationsOf,
  ReceivedResponse,
  Request,
  StateOf,
} from './contract.js';
import type { Answer, Gift, Outgoing, Sender } from './delivery.js';
import { Fault } from './fault.js';
import { DROP, LOOKUP, SERVICE, type ServiceDescription } from './service-contract.js';
import { disposeWith, type Received } from './shape.js';
import { requestActionOf } from './verbs.js';

export interface CallOptions {
  /** Milliseconds that the answer may take; the runtime's `timeoutMs` when left out. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What is left for arguments where everything a request holds may be left out. */
type Arguments<Q> = Empty extends Q
  ? [request?: Q, options?: CallOptions]
  : [request: Q, options?: CallOptions];

/**
 * One method for each operation of a contract. Each settles with what the answer holds; `using`, or calling its
 * Symbol.dispose, gives back the buffers of the answer that were not resolved. Each rejects with FAULT (FaultError: what the
 * service answered) and with what NetworkManager.request rejects with. Buffers in a request are gone from the caller.
 */
export type Proxy<C extends AnyContract> = {
  readonly [K in keyof OperationsOf<C>]: (
    ...args: Arguments<Request<OperationsOf<C>[K]>>
  ) => Promise<ReceivedResponse<OperationsOf<C>[K]> & Disposable>;
} & {
  /** Where the service is. */
  readonly $uri: string;
  /** Its state, if its contract has one. */
  $state(options?: CallOptions): Promise<Received<StateOf<C>> & Disposable>;
  /** What it says that it is. */
  $lookup(options?: CallOptions): Promise<ServiceDescription>;
  /** Ends it. */
  $drop(options?: CallOptions): Promise<void>;
};

/** What carries a client's requests. */
export interface Carrier {
  readonly timeoutMs: number;
  request(out: Outgoing): Promise<Answer>;
}

export class Client {
  readonly sender: Sender;
  readonly #carrier: Carrier;

  constructor(carrier: Carrier, sender: Sender) {
    this.#carrier = carrier;
    this.sender = sender;
  }

  /** Sends a request. Settles with the answer, a fault included, which the caller releases; the gifts are gone in any case. */
  send(envelope: Envelope, gifts: readonly Gift[], options: CallOptions = {}): Promise<Answer> {
    return this.#send(envelope, gifts, options, undefined);
  }

  /** Asks for one operation. */
  async call(
    uri: string,
    namespace: string,
    { verb, request, response, oneWay }: Operation,
    value: unknown,
    options?: CallOptions,
  ): Promise<unknown> {
    const composed = compose(request, namespace, value ?? {});
    const envelope = requestOf(uri, requestActionOf(verb), composed);
    if (oneWay === true) return await this.#tell(envelope, composed.gifts, options);
    return opened(await this.send(envelope, composed.gifts, options), namespace, response);
  }

  async #tell(envelope: Envelope, gifts: readonly Gift[], options: CallOptions = {}): Promise<Disposable> {
    (await this.#send(envelope, gifts, options, true)).release();
    return { [Symbol.dispose]: () => undefined };
  }

  #send(
    envelope: Envelope,
    gifts: readonly Gift[],
    { timeoutMs = this.#carrier.timeoutMs, signal }: CallOptions,
    oneWay: true | undefined,
  ): Promise<Answer> {
    if (!(timeoutMs > 0)) {
      giveBack(gifts);
      const reason = `timeoutMs is a number of milliseconds above 0, not ${String(timeoutMs)}.`;
      return Promise.reject(new SplitplaneError('INVALID_ARGUMENT', reason));
    }
    const deadlineAt = performance.now() + timeoutMs;
    return this.#carrier.request({ envelope, gifts, sender: this.sender, deadlineAt, signal, oneWay });
  }

  proxy<C extends AnyContract>(contract: C, uri: string): Proxy<C> {
    const methods: Record<string, unknown> = {
      $uri: uri,
      $state: (options?: CallOptions) => {
        const state = contract.state as AnyBody | undefined;
        if (state === undefined)
          throw new SplitplaneError('INVALID_ARGUMENT', `${contract.uri} has no state.`);
        return this.call(
          uri,
          contract.uri,
          { verb: 'Get', request: GET_STATE, response: state },
          {},
          options,
        );
      },
      $lookup: (options?: CallOptions) => this.call(uri, SERVICE, LOOKUP, {}, options),
      $drop: async (options?: CallOptions) => {
        await this.call(uri, SERVICE, DROP, {}, options);
      },
    };
    for (const [name, operation] of Object.entries(contract.operations as Record<string, Operation>)) {
      methods[name] = (value?: unknown, options?: CallOptions) =>
        this.call(uri, contract.uri, operation, value, options);
    }
    return methods as Proxy<C>;
  }
}

const GET_STATE = LOOKUP.request.named('Get');

/** What an answer holds. Throws FaultError for a fault; releases what nobody can reach. */
function opened(answer: Answer, namespace: string, response: AnyBody): unknown {
  try {
    const { fault, body } = answer.envelope;
    if (fault !== undefined) throw new FaultError(fault);
    const [element] = body;
    if (!element?.is(namespace, response.name)) {
      throw new SplitplaneError(
        'MESSAGE_INVALID',
        `${response.name} was expected as the answer, not ${element?.localName ?? 'nothing'}. Are both sides of one contract?`,
      );
    }
    const value = response.decode(element, sourceOf(answer)) as object;
    if (answer.attached.length > 0) disposeWith(value, answer);
    return value;
  } catch (error) {
    answer.release();
    if (error instanceof Fault || error instanceof MessageRefusedError) {
      throw new SplitplaneError('MESSAGE_INVALID', `The answer cannot be read: ${error.message}`, {
        cause: error,
      });
    }
    throw error;
  }
}
