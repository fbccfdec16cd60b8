// What every service can be asked, whatever its own contract: what it is (Lookup), to be told of changes (Subscribe), and to
// end, or to end a subscription (Drop). Data alone: the shapes of these messages.
import { body, integer, list, optional, record, text, type Received } from './shape.js';
import type { AnyBody } from './contract.js';
import type { Verb } from './verbs.js';

/** The namespace of these messages. */
export { SERVICE } from './names.js';

const named = record({ name: text(), verb: text(), body: text() });

export const ServiceDescription = body('LookupResponse', {
  uri: text(),
  contract: text(),
  operations: list(named),
  /** The elements that subscribers are told. */
  notifications: list(record({ name: text(), body: text() })),
  /** The element that Get answers with, if there is a state. */
  state: optional(text()),
  partners: list(record({ name: text(), uri: text() })),
});
export type ServiceDescription = Received<typeof ServiceDescription>;

function operation<Q extends AnyBody, A extends AnyBody>(verb: Verb, request: Q, response: A) {
  return { verb, request, response } as const;
}

export const LOOKUP = operation('Lookup', body('Lookup', {}), ServiceDescription);

export const SUBSCRIBE = operation(
  'Subscribe',
  body('Subscribe', {
    /** The URI of the port to tell. */
    subscriber: text(),
    /** The elements to be told; all when there are none. */
    types: list(text()),
    expiresMs: optional(integer(1)),
    count: optional(integer(1)),
  }),
  body('SubscribeResponse', { id: text(), expiresMs: integer() }),
);

export const UNSUBSCRIBE = operation(
  'Drop',
  body('Unsubscribe', { id: text() }),
  body('UnsubscribeResponse', {
    published: integer(),
    delivered: integer(),
    dropped: integer(),
    failed: integer(),
  }),
);

export const DROP = operation('Drop', body('Drop', {}), body('DropResponse', {}));

/** The answer to a notification: the subscriber has handled it. */
export const NOTIFIED = body('NotifyResponse', {});
