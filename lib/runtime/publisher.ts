// The publishing side of a service: takes subscriptions, turns what the service publishes into notifications, and sends each
// subscriber its own. Knows the contract; who is behind a subscriber's URI it does not.
import { SplitplaneError } from '../errors.js';
import { Envelope } from '../soap/envelope.js';
import { DSSP } from '../soap/namespaces.js';
import type { XmlElement } from '../soap/infoset.js';
import { lend, Lent } from './attached.js';
import { compose, referencesTo } from './compose.js';
import type { AnyBody, AnyContract } from './contract.js';
import { NO_GIFTS, type Answer, type Delivery, type Gift } from './delivery.js';
import { Fault } from './fault.js';
import { isServiceUri } from './names.js';
import type { SUBSCRIBE, UNSUBSCRIBE } from './service-contract.js';
import type { Received, Sending } from './shape.js';
import { SubscriptionManager, type Notification, type NotificationCounters } from './subscriptions.js';
import { nodePrefix } from './uri.js';
import { requestActionOf } from './verbs.js';

const NOTIFY = requestActionOf('Notify');

/** Sends one notification as a request, whose answer says that the subscriber has it. */
export type SendNotification = (envelope: Envelope, gifts: readonly Gift[]) => Promise<Answer>;

export class Publisher {
  readonly #contract: AnyContract;
  readonly #send: SendNotification;
  /** Made for the first subscriber: most services never have one. */
  #subscriptions: SubscriptionManager | undefined;

  constructor(contract: AnyContract, send: SendNotification) {
    this.#contract = contract;
    this.#send = send;
  }

  get subscriberCount(): number {
    return this.#subscriptions?.count ?? 0;
  }

  /** What became of all notifications. */
  get counters(): NotificationCounters {
    return this.#subscriptions?.counters ?? NONE_PUBLISHED;
  }

  /** Ends the subscriptions of ports whose URIs begin like this: their runtime is gone. */
  removeBelow(prefix: string): void {
    this.#subscriptions?.removeBelow(prefix);
  }

  /** Ends all subscriptions. */
  close(): void {
    this.#subscriptions?.close();
  }

  get #bodies(): Readonly<Record<string, AnyBody>> {
    return this.#contract.notifications as Readonly<Record<string, AnyBody>>;
  }

  /** Whether there is anything to subscribe to. */
  get publishes(): boolean {
    return Object.keys(this.#bodies).length > 0;
  }

  /** Tells whoever wants to know. Throws INVALID_ARGUMENT for what is not in the contract, and for buffers that are not lent. */
  publish(name: string, value: unknown): void {
    const shape = this.#bodies[name];
    if (shape === undefined) {
      throw new SplitplaneError('INVALID_ARGUMENT', `${this.#contract.uri} has no notification ${name}.`);
    }
    const { element, gifts } = compose(shape, this.#contract.uri, value);
    if (!gifts.every(isLent)) {
      throw new SplitplaneError(
        'INVALID_ARGUMENT',
        'A notification goes to many: lend() its buffers instead of giving them.',
      );
    }
    const publication = new Publication(element, gifts);
    publication.retain();
    this.#subscriptions?.publish(publication);
    publication.release();
  }

  /** Throws Fault. */
  subscribe(
    { principal, node }: Pick<Delivery, 'principal' | 'node'>,
    { subscriber, types, expiresMs, count }: Received<typeof SUBSCRIBE.request>,
  ): Sending<typeof SUBSCRIBE.response> {
    if (!isServiceUri(subscriber)) {
      throw new Fault('MessageNotSupported', 'A subscriber is the URI of a port. Name one of yours.');
    }
    // A peer names ports of its own only: nobody is made to talk to strangers.
    if (node !== undefined && !subscriber.startsWith(nodePrefix(node))) {
      throw new Fault(
        'PermissionDenied',
        'A subscriber is a port of the runtime that subscribes. Name one of yours.',
      );
    }
    const known = new Set(Object.values(this.#bodies).map(({ name }) => name));
    const unknown = types.find((type) => !known.has(type));
    if (unknown !== undefined) {
      throw new Fault(
        'UnknownEntry',
        `There are no notifications ${unknown}; there are ${[...known].join(', ')}.`,
      );
    }
    const subscription = (this.#subscriptions ??= this.#makeManager()).add({
      subscriber,
      principal,
      types,
      expiresMs,
      count,
    });
    return { id: subscription.id, expiresMs: Math.round(subscription.expiresAt - performance.now()) };
  }

  /** Throws Fault UnknownEntry. */
  unsubscribe(principal: string, id: string): Sending<typeof UNSUBSCRIBE.response> {
    const subscription = this.#subscriptions?.find(id);
    // Somebody else's is the same as none.
    if (subscription?.principal !== principal) {
      throw new Fault('UnknownEntry', 'There is no such subscription (any more).');
    }
    this.#subscriptions?.remove(id);
    return subscription.counters;
  }

  #makeManager(): SubscriptionManager {
    return new SubscriptionManager(async (notification, subscriber) => {
      const { envelope, gifts } = notification.messageFor(subscriber);
      const answer = await this.#send(envelope, gifts);
      try {
        const { fault } = answer.envelope;
        if (fault === undefined) return undefined;
        return { subcode: fault.subcodes.find(({ namespace }) => namespace === DSSP)?.localName };
      } finally {
        answer.release();
      }
    });
  }
}

const NONE_PUBLISHED: NotificationCounters = Object.freeze({
  published: 0,
  delivered: 0,
  dropped: 0,
  failed: 0,
});

/** A notification and the buffers that it lends to every subscriber. */
class Publication implements Notification {
  readonly type: string;
  readonly #element: XmlElement;
  readonly #gifts: readonly LentGift[];
  readonly #references: ReturnType<typeof referencesTo>;
  #holders = 0;

  constructor(element: XmlElement, gifts: readonly LentGift[]) {
    this.type = element.localName;
    this.#element = element;
    this.#gifts = gifts;
    this.#references = referencesTo(gifts);
  }

  retain(): void {
    this.#holders++;
  }

  release(): void {
    this.#holders--;
    if (this.#holders > 0) return;
    for (const { giving } of this.#gifts) giving.returned?.();
  }

  messageFor(subscriber: string): { envelope: Envelope; gifts: readonly Gift[] } {
    const envelope = this.#envelopeFor(subscriber);
    let out = this.#gifts.length;
    if (out === 0) {
      this.release();
      return { envelope, gifts: NO_GIFTS };
    }
    const returned = (): void => {
      if (--out === 0) this.release();
    };
    const gifts = this.#gifts.map(({ cid, giving }) => ({
      cid,
      giving: lend(giving.slices, 'read', returned, giving.uses),
    }));
    return { envelope, gifts };
  }

  #envelopeFor(to: string): Envelope {
    try {
      return Envelope.of({ to, action: NOTIFY, body: this.#element, references: this.#references });
    } catch (error) {
      this.release();
      throw error;
    }
  }
}

type LentGift = Gift & { readonly giving: Lent };

function isLent(gift: Gift): gift is LentGift {
  return gift.giving instanceof Lent;
}
