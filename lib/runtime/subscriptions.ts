// A publisher's subscription manager: who wants to be told what, until when and how often, and what became of each notification.
// Every subscriber has a line of its own, so that a slow one delays nobody; what does not fit into it is dropped and counted.
// Knows nothing of contracts or handlers.
import { randomUUID } from 'node:crypto';
import { SplitplaneError } from '../errors.js';
import { Fifo } from '../network/fifo.js';
import type { Envelope } from '../soap/envelope.js';
import type { Gift } from './delivery.js';
import { Fault } from './fault.js';

/** Subscriptions of one service. */
export const SUBSCRIBERS_MAX = 100_000;
/** How long a subscription lasts that does not say, and how long at most; it can be renewed. */
export const EXPIRES_MS_DEFAULT = 60_000;
export const EXPIRES_MS_MAX = 3_600_000;
/** Notifications to one subscriber that it has not confirmed yet. */
export const UNCONFIRMED_MAX = 16;
/** Notifications that wait for one subscriber; those beyond are dropped. */
export const WAITING_MAX = 256;
/** Notifications that a subscriber fails to confirm, one after the other, before it counts as gone. */
export const FAILURES_MAX = 3;

export interface SubscriptionInit {
  /** The URI of the port that is told. */
  readonly subscriber: string;
  readonly principal: string;
  /** The element names of the notifications it wants; all when there are none. */
  readonly types: readonly string[];
  readonly expiresMs: number | undefined;
  /** How many it wants. */
  readonly count: number | undefined;
}

/** What became of the notifications for one subscriber, or all. They add up to those that were published. */
export interface NotificationCounters {
  /** Published while the subscription was there, and of a type that it wants. */
  published: number;
  /** Confirmed by the subscriber. */
  delivered: number;
  /** Not sent, because too many were waiting, or the subscription ended. */
  dropped: number;
  /** Refused by the subscriber, not answered in time, or lost with its connection. */
  failed: number;
}

/** One notification, on its way to many. */
export interface Notification {
  /** The name of its body's element. */
  readonly type: string;
  /** Keeps its buffers until messageFor() or release(). */
  retain(): void;
  /** The message for a subscriber; what it was retained for goes with it, or is released where it throws. */
  messageFor(subscriber: string): { readonly envelope: Envelope; readonly gifts: readonly Gift[] };
  /** It will not be sent. */
  release(): void;
}

/** Sends a notification. Settles with the subcode of a fault that answered it; rejects when it could not be sent. */
export type Send = (
  notification: Notification,
  subscriber: string,
) => Promise<{ readonly subcode: string | undefined } | undefined>;

export class Subscription {
  readonly id: string;
  readonly subscriber: string;
  readonly principal: string;
  readonly counters: NotificationCounters = { published: 0, delivered: 0, dropped: 0, failed: 0 };
  /** In performance.now() milliseconds. */
  expiresAt: number;
  readonly #manager: SubscriptionManager;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #waiting = new Fifo<Notification>();
  #left: number;
  #unconfirmed = 0;
  #failures = 0;
  #over = false;

  constructor(manager: SubscriptionManager, init: SubscriptionInit, id: string) {
    this.#manager = manager;
    this.id = id;
    this.subscriber = init.subscriber;
    this.principal = init.principal;
    this.#types = init.types.length === 0 ? undefined : new Set(init.types);
    this.#left = init.count ?? Infinity;
    this.expiresAt = performance.now() + (init.expiresMs ?? EXPIRES_MS_DEFAULT);
  }

  /** Lasts longer, as it is; answers false where something else is wanted than before. */
  renew({ types, expiresMs, count }: SubscriptionInit): boolean {
    const same =
      new Set(types).size === (this.#types?.size ?? 0) && types.every((type) => this.#types?.has(type));
    if (!same || count !== undefined || this.#left !== Infinity) return false;
    this.expiresAt = performance.now() + (expiresMs ?? EXPIRES_MS_DEFAULT);
    return true;
  }

  /** Puts a notification on its way. Answers whether the subscription goes on. */
  publish(notification: Notification): boolean {
    if (this.#types?.has(notification.type) === false) return true;
    this.counters.published++;
    this.#left--;
    if (this.#waiting.length >= WAITING_MAX) {
      this.counters.dropped++;
      return this.#left > 0;
    }
    notification.retain();
    if (this.#unconfirmed < UNCONFIRMED_MAX) this.#send(notification);
    else this.#waiting.push(notification);
    return this.#left > 0;
  }

  /** Sends nothing any more, except, after its last notification, what waits already. */
  end(finish: boolean): void {
    this.#over = true;
    if (finish) return;
    this.counters.dropped += this.#waiting.length;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next.release();
  }

  #send(notification: Notification): void {
    this.#unconfirmed++;
    this.#manager.send(notification, this.subscriber).then(
      (fault) => {
        this.#confirmed(fault?.subcode, fault === undefined);
      },
      (error: unknown) => {
        this.#confirmed(error instanceof SplitplaneError ? error.code : undefined, false);
      },
    );
  }

  #confirmed(why: string | undefined, delivered: boolean): void {
    this.#unconfirmed--;
    if (delivered) {
      this.counters.delivered++;
      this.#failures = 0;
    } else {
      this.counters.failed++;
      this.#failures++;
      // A port that is not there will not come back under this name; and a deaf one is not talked to for ever.
      if (!this.#over && (isGone(why) || this.#failures >= FAILURES_MAX)) this.#manager.remove(this.id);
    }
    const next = this.#waiting.shift();
    if (next !== undefined) this.#send(next);
    else if (this.#over && this.#unconfirmed === 0) this.#manager.settled(this);
  }

  /** Whether something is still under way after end(). */
  get busy(): boolean {
    return this.#unconfirmed > 0;
  }
}

/** What says that a subscriber does not exist any more. */
const GONE: ReadonlySet<string> = new Set([
  'UnknownEntry',
  'ActionNotSupported',
  'PermissionDenied',
  'CONNECTION_REFUSED',
  'CONNECTION_LOST',
  'CONNECT_TIMEOUT',
  'PEER_UNRESPONSIVE',
  'SESSION_EXPIRED',
  'IDENTITY_MISMATCH',
  'CLOSED',
]);

function isGone(why: string | undefined): boolean {
  return why !== undefined && GONE.has(why);
}

export class SubscriptionManager {
  readonly #byId = new Map<string, Subscription>();
  readonly #bySubscriber = new Map<string, Subscription>();
  readonly #ending = new Set<Subscription>();
  readonly #past: NotificationCounters = { published: 0, delivered: 0, dropped: 0, failed: 0 };
  readonly send: Send;
  #sweep: NodeJS.Timeout | undefined;
  #sweepAt = Infinity;

  constructor(send: Send) {
    this.send = send;
  }

  get count(): number {
    return this.#byId.size;
  }

  /** Of all subscriptions that there are and were. */
  get counters(): NotificationCounters {
    const sum = { ...this.#past };
    for (const { counters } of [...this.#byId.values(), ...this.#ending]) add(sum, counters);
    return sum;
  }

  /** Adds a subscription; one of the same subscriber is renewed, or replaced where it wants something else now. Throws Fault InsufficientResources. */
  add(init: SubscriptionInit): Subscription {
    const { expiresMs, count } = init;
    if (expiresMs !== undefined && !(expiresMs >= 1 && expiresMs <= EXPIRES_MS_MAX)) {
      throw new Fault(
        'OperationFailed',
        `A subscription lasts 1 to ${EXPIRES_MS_MAX} ms; renew it for more.`,
      );
    }
    if (count !== undefined && count < 1)
      throw new Fault('OperationFailed', 'A subscription is for 1 notification or more.');
    const before = this.#bySubscriber.get(init.subscriber);
    if (before !== undefined && before.principal !== init.principal) {
      throw new Fault('PermissionDenied', `${init.subscriber} has a subscription of somebody else.`);
    }
    if (before === undefined && this.#byId.size >= SUBSCRIBERS_MAX) {
      throw new Fault(
        'InsufficientResources',
        `${SUBSCRIBERS_MAX} subscriptions are the most. Try again later.`,
      );
    }
    if (before?.renew(init) === true) {
      this.#sweepBy(before.expiresAt);
      return before;
    }
    if (before !== undefined) this.remove(before.id, true);
    const subscription = new Subscription(this, init, randomUUID());
    this.#byId.set(subscription.id, subscription);
    this.#bySubscriber.set(subscription.subscriber, subscription);
    this.#sweepBy(subscription.expiresAt);
    return subscription;
  }

  find(id: string): Subscription | undefined {
    return this.#byId.get(id);
  }

  /** Ends a subscription; `finish` sends what waits. Answers whether there was one. */
  remove(id: string, finish = false): boolean {
    const subscription = this.#byId.get(id);
    if (subscription === undefined) return false;
    this.#byId.delete(id);
    if (this.#bySubscriber.get(subscription.subscriber) === subscription)
      this.#bySubscriber.delete(subscription.subscriber);
    subscription.end(finish);
    if (subscription.busy) this.#ending.add(subscription);
    else add(this.#past, subscription.counters);
    return true;
  }

  /** Ends the subscriptions of ports whose URIs begin like this: their runtime is gone. */
  removeBelow(prefix: string): void {
    for (const { id, subscriber } of [...this.#byId.values()])
      if (subscriber.startsWith(prefix)) this.remove(id);
  }

  /** Tells every subscriber that wants this type. */
  publish(notification: Notification): void {
    for (const subscription of this.#byId.values()) {
      if (!subscription.publish(notification)) this.remove(subscription.id, true);
    }
  }

  close(): void {
    clearTimeout(this.#sweep);
    for (const id of [...this.#byId.keys()]) this.remove(id);
  }

  /** @internal Its last notification was confirmed. */
  settled(subscription: Subscription): void {
    if (this.#ending.delete(subscription)) add(this.#past, subscription.counters);
  }

  /** One timer for all: it does not keep the process alive, since nobody has to be told. */
  #sweepBy(at: number): void {
    if (at >= this.#sweepAt) return;
    this.#sweepAt = at;
    clearTimeout(this.#sweep);
    this.#sweep = setTimeout(
      () => {
        this.#sweepNow();
      },
      Math.max(1, at - performance.now()),
    ).unref();
  }

  #sweepNow(): void {
    this.#sweepAt = Infinity;
    const now = performance.now();
    let next = Infinity;
    for (const subscription of this.#byId.values()) {
      if (subscription.expiresAt <= now) this.remove(subscription.id);
      else next = Math.min(next, subscription.expiresAt);
    }
    if (next !== Infinity) this.#sweepBy(next);
  }
}

function add(sum: NotificationCounters, more: NotificationCounters): void {
  sum.published += more.published;
  sum.delivered += more.delivered;
  sum.dropped += more.dropped;
  sum.failed += more.failed;
}
