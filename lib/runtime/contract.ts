// Contracts: what a service can be asked, as values that the compiler checks both sides against. A contract is a URI, which is the
// namespace of its bodies, and operations: a verb with the shapes of its request and its answer. Knows nothing of queues or URIs
// of services.
import { SplitplaneError } from '../errors.js';
import type { XmlElement } from '../soap/infoset.js';
import { body, type Body, type Received, type Sending } from './shape.js';
import type { Verb } from './verbs.js';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the one type that every body has
export type AnyBody = Body<any, any>;

/** A verb with what its request and its answer hold. */
export interface Operation<Q extends AnyBody = AnyBody, A extends AnyBody = AnyBody> {
  readonly verb: Verb;
  readonly request: Q;
  readonly response: A;
  /** Nobody is told what became of it, once the peer has accepted it. */
  readonly oneWay?: true;
}
export type Operations = Readonly<Record<string, Operation>>;
export type Notifications = Readonly<Record<string, AnyBody>>;

/** The value of a body that holds nothing. */
export type Empty = Readonly<Record<string, never>>;
type Nothing = Body<Empty, Empty>;

function nothing(name: string): Nothing {
  return body(name, {});
}

function operation<Q extends AnyBody, A extends AnyBody = Nothing>(
  verb: Verb,
  request: Q,
  response: A | undefined,
): Operation<Q, A> {
  return { verb, request, response: response ?? (nothing(`${verb}Response`) as unknown as A) };
}

// One function for each verb that a contract can use. What is left out of an answer is an empty element; what is left out
// of Get's request is one, too, since it asks for everything.
type Asking = <Q extends AnyBody, A extends AnyBody = Nothing>(request: Q, response?: A) => Operation<Q, A>;
const asking =
  (verb: Verb): Asking =>
  (request, response) =>
    operation(verb, request, response);

export const Create = asking('Create');
export const Query = asking('Query');
export const Insert = asking('Insert');
export const Update = asking('Update');
export const Upsert = asking('Upsert');
export const Replace = asking('Replace');
export const Delete = asking('Delete');
export const Submit = asking('Submit');
/**
 * Submit without an answer, for what is told often and need not be waited for: it settles when the peer has accepted the message
 * (beside the service, when it has been handled).
 */
export function Tell<Q extends AnyBody>(request: Q): Operation<Q, Nothing> {
  return { ...operation<Q>('Submit', request, undefined), oneWay: true };
}
interface AskingGet {
  <A extends AnyBody>(response: A): Operation<Nothing, A>;
  <Q extends AnyBody, A extends AnyBody>(request: Q, response: A): Operation<Q, A>;
}
/** All of something, or the part that the request names. */
export const Get = ((first: AnyBody, second?: AnyBody) =>
  second === undefined
    ? operation('Get', nothing('Get'), first)
    : operation('Get', first, second)) as AskingGet;

export interface ContractInit<O extends Operations, N extends Notifications, S extends AnyBody> {
  readonly operations?: O;
  /** What subscribers are told, by name. */
  readonly notifications?: N;
  /** What the service is, as an infoset: its answer to Get, and its initial state in a manifest. */
  readonly state?: S;
}

/** A body that is missing, as a type. */
export type NoState = Body<never, never>;

/** What a service can be asked. Immutable. */
export class Contract<
  O extends Operations = Operations,
  N extends Notifications = Notifications,
  S extends AnyBody = AnyBody,
> {
  /** Names the contract, and is the namespace of its bodies. */
  readonly uri: string;
  readonly operations: O;
  readonly notifications: N;
  readonly state: S | undefined;
  readonly #byVerb = new Map<Verb, Map<string, string>>();
  readonly #notificationsByBody = new Map<string, string>();

  /** @internal Made by contract(). */
  constructor(uri: string, init: ContractInit<O, N, S>) {
    this.uri = uri;
    this.operations = init.operations ?? ({} as O);
    this.notifications = init.notifications ?? ({} as N);
    this.state = init.state;
    for (const [name, { verb, request }] of Object.entries(this.operations))
      this.#add(verb, request.name, name);
    if (this.state !== undefined) this.#add('Get', 'Get', STATE);
    for (const [name, { name: element }] of Object.entries(this.notifications)) {
      if (this.#notificationsByBody.has(element)) throw ambiguous(uri, 'Notify', element);
      this.#notificationsByBody.set(element, name);
    }
  }

  /** Whether any operation has this verb. */
  knows(verb: Verb): boolean {
    return this.#byVerb.has(verb);
  }

  /** The verbs of its operations. */
  get verbs(): readonly Verb[] {
    return [...this.#byVerb.keys()];
  }

  /** The name of the operation that a verb with this body asks for, STATE for the service's state; undefined for none. */
  operationOf(verb: Verb, asked: XmlElement): string | undefined {
    return asked.namespace === this.uri ? this.#byVerb.get(verb)?.get(asked.localName) : undefined;
  }

  /** The name of the notification that this body is. */
  notificationOf(told: XmlElement): string | undefined {
    return told.namespace === this.uri ? this.#notificationsByBody.get(told.localName) : undefined;
  }

  /** The bodies that a verb takes, for messages to people. */
  bodiesOf(verb: Verb): readonly string[] {
    return [...(this.#byVerb.get(verb)?.keys() ?? [])];
  }

  #add(verb: Verb, element: string, operation: string): void {
    const bodies = this.#byVerb.get(verb) ?? new Map<string, string>();
    if (bodies.has(element)) throw ambiguous(this.uri, verb, element);
    this.#byVerb.set(verb, bodies.set(element, operation));
  }
}

/** Where an operation's name would stand, this stands for reading the state. */
export const STATE = '(state)';

/** The verbs that every service answers by itself: no contract may use them for anything else. */
const BUILT_IN: ReadonlySet<Verb> = new Set<Verb>(['Lookup', 'Subscribe', 'Notify', 'Drop']);

/** A contract. Throws INVALID_ARGUMENT where two operations could not be told apart. */
export function contract<
  const O extends Operations = Empty,
  const N extends Notifications = Empty,
  S extends AnyBody = NoState,
>(uri: string, init: ContractInit<O, N, S>): Contract<O, N, S> {
  if (!/^[a-zA-Z][a-zA-Z0-9+.-]*:\S+$/.test(uri)) {
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `A contract is named by a URI, not ${JSON.stringify(uri)}.`,
    );
  }
  for (const [name, { verb }] of Object.entries(init.operations ?? {})) {
    if (!BUILT_IN.has(verb)) continue;
    throw new SplitplaneError(
      'INVALID_ARGUMENT',
      `${name} is ${verb}, which every service answers by itself.`,
    );
  }
  return new Contract(uri, init);
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the one type that every contract has
export type AnyContract = Contract<any, any, any>;
export type OperationsOf<C> = C extends Contract<infer O> ? O : never;
export type NotificationsOf<C> = C extends Contract<Operations, infer N> ? N : never;
export type StateOf<C> = C extends Contract<Operations, Notifications, infer S> ? S : never;

/** What a request of an operation holds for who sends it, and for who gets it; and its answer the same. */
export type Request<O> = O extends Operation<infer Q> ? Sending<Q> : never;
export type ReceivedRequest<O> = O extends Operation<infer Q> ? Received<Q> : never;
export type Response<O> = O extends Operation<AnyBody, infer A> ? Sending<A> : never;
export type ReceivedResponse<O> = O extends Operation<AnyBody, infer A> ? Received<A> : never;

function ambiguous(uri: string, verb: Verb, element: string): SplitplaneError {
  return new SplitplaneError(
    'INVALID_ARGUMENT',
    `In ${uri} two messages are ${verb} with a body ${element}. Name them apart.`,
  );
}
