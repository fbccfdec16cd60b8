// Publishers and their subscribers: every notification is delivered or accounted for, whoever is slow or dead delays nobody else, and
// what was lent comes back once. Order of events shows it, no clock does.
import { describe, expect, test } from 'vitest';
import { body, buffer, contract, integer, lend, Service, type Attached } from '../../lib/runtime/index.js';
import { Publisher } from '../../lib/runtime/publisher.js';
import { SERVICE, SUBSCRIBE } from '../../lib/runtime/service-contract.js';
import {
  SubscriptionManager,
  UNCONFIRMED_MAX,
  WAITING_MAX,
  type Notification,
} from '../../lib/runtime/subscriptions.js';
import { failure, turns, until } from '../support/events.js';
import { PLACES, startRuntime, subcode, type Place } from '../support/runtimes.js';

const Ticker = contract('urn:splitplane:test:ticker', {
  notifications: {
    ticked: body('Ticked', { number: integer() }),
    whispered: body('Whispered', { number: integer() }),
    shown: body('Shown', { number: integer(), pixels: buffer() }),
  },
});

class TickerService extends Service<typeof Ticker> {
  readonly contract = Ticker;
  readonly handlers = {};
  tick(number: number): void {
    this.publish('ticked', { number });
  }
}

const SUBSCRIBERS = 10_000;

describe.each(PLACES)('$name', (at) => {
  async function serve(): Promise<Place & { service: TickerService; uri: string }> {
    const place = await at.start();
    const service = new TickerService();
    return { ...place, service, uri: await place.home.add(service, { name: 'ticker' }) };
  }
  const subscribers = ({ home }: Place) =>
    home.snapshot().services.find(({ name }) => name === 'ticker')?.subscribers;

  test('a subscriber is told what it wants, in order, until it leaves', async () => {
    const { away, service, uri, ...rest } = await serve();
    const got: number[] = [];
    const subscribed = await away.subscribe(Ticker, uri, {
      ticked: ({ body }) => void got.push(body.number),
    });
    expect(subscribers({ away, ...rest })).toBe(1);
    const numbers = Array.from({ length: 200 }, (_, number) => number);
    for (const number of numbers) service.tick(number);
    // Another type, which it has no handler for, is not even sent.
    const pixels = away.allocate(10);
    let returned = 0;
    service.publish('shown', { number: 1, pixels: lend(pixels, 'read', () => returned++) });
    await until(() => got.length === numbers.length);
    expect(got).toEqual(numbers);
    expect(returned).toBe(1);
    pixels.release();
    await until(() => subscribers({ away, ...rest }) === 1);
    expect(await subscribed.unsubscribe()).toMatchObject({ published: 200, dropped: 0, failed: 0 });
    expect(await subscribed.ended).toBeUndefined();
    service.tick(0);
    expect(subscribers({ away, ...rest })).toBe(0);
    expect(got).toHaveLength(200);
  });

  test('a subscription for a number of notifications ends after them, on both sides', async () => {
    const { away, service, uri, ...rest } = await serve();
    const got: number[] = [];
    const handlers = { ticked: ({ body }: { body: { number: number } }) => void got.push(body.number) };
    const subscribed = await away.subscribe(Ticker, uri, handlers, { count: 3 });
    for (let number = 1; number <= 5; number++) service.tick(number);
    expect(subscribers({ away, ...rest })).toBe(0);
    expect(await subscribed.ended).toBeUndefined();
    expect(got).toEqual([1, 2, 3]);
    expect(await subscribed.unsubscribe()).toBeUndefined();
  });

  // Goal: what a publisher could not even address is no subscriber, and cannot make publish() throw into its service.
  test('what is no URI of a port is refused, and the service publishes on', async () => {
    const { away, service, uri, ...rest } = await serve();
    for (const subscriber of [
      `${away.prefix}x `,
      `${away.prefix}\u00e4`,
      `${away.prefix}x/../y`,
      away.prefix,
    ]) {
      const asked = away.client.call(uri, SERVICE, SUBSCRIBE, { subscriber, types: [] });
      expect(await subcode(asked)).toBe('MessageNotSupported');
    }
    expect(subscribers({ away, ...rest })).toBe(0);
    service.tick(1);
  });

  test('a subscription is renewed as long as it is wanted, and expires when nobody renews it', async () => {
    const { away, service, uri, ...rest } = await serve();
    const got: number[] = [];
    const handlers = { ticked: ({ body }: { body: { number: number } }) => void got.push(body.number) };
    const kept = await away.subscribe(Ticker, uri, handlers, { expiresMs: 1000 });
    // Counted ones are not renewed: this one's time ends while the other goes on.
    const counted = await away.subscribe(
      Ticker,
      uri,
      { ticked: () => undefined },
      { expiresMs: 2500, count: 9 },
    );
    await counted.ended;
    await until(() => subscribers({ away, ...rest }) === 1);
    service.tick(7);
    await until(() => got.length === 1);
    // It is the same subscription all the time: what it was told counts from its beginning.
    expect(await kept.unsubscribe()).toMatchObject({ published: 1, dropped: 0, failed: 0 });
    expect((await failure(away.subscribe(Ticker, uri, {}))).code).toBe('INVALID_ARGUMENT');
  });

  test.each([100, 300_000])('a buffer of %d bytes that is lent to many comes back once', async (length) => {
    const { home, away, service, uri } = await serve();
    const sums: number[] = [];
    let unread = 0;
    const read = async ({ body: { pixels } }: { body: { pixels: Attached } }) => {
      using bytes = await pixels.resolve();
      sums.push(bytes.bytes[length - 1] as number);
    };
    for (let index = 0; index < 4; index++) {
      await away.subscribe(Ticker, uri, { shown: index === 3 ? () => void unread++ : read });
    }
    const pixels = home.allocate(length);
    pixels.bytes.fill(9);
    let returned = 0;
    service.publish('shown', { number: 1, pixels: lend(pixels, 'read', () => returned++) });
    await until(() => returned > 0);
    await turns();
    expect([sums, unread, returned]).toEqual([[9, 9, 9], 1, 1]);
    // Given away it cannot be to many.
    expect((await failure(() => service.publish('shown', { number: 1, pixels }))).code).toBe(
      'INVALID_ARGUMENT',
    );
    expect(pixels.released).toBe(false);
    pixels.release();
  });
});

/** What a service's publisher counted, which is no affair of those who use it. */
function spyOnPublishers(): Publisher[] {
  const all: Publisher[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the publisher that it belongs to
  const subscribe = Publisher.prototype.subscribe;
  Publisher.prototype.subscribe = function (...args) {
    if (!all.includes(this)) all.push(this);
    return subscribe.apply(this, args);
  };
  return all;
}

test('a notification that cannot be made into a message has failed, and the next is sent', async () => {
  const sent: string[] = [];
  const manager = new SubscriptionManager((notification, subscriber) =>
    Promise.resolve().then(() => {
      notification.messageFor(subscriber);
      sent.push(notification.type);
      return undefined;
    }),
  );
  const { counters } = manager.add({
    subscriber: 'dos:///x',
    principal: 'program',
    types: [],
    expiresMs: undefined,
    count: undefined,
  });
  const notification = (type: string, messageFor: () => never): Notification => ({
    type,
    retain: () => undefined,
    release: () => undefined,
    messageFor,
  });
  const fail = (): never => {
    throw new Error('no message');
  };
  manager.publish(notification('first', fail));
  manager.publish(notification('second', (() => ({})) as unknown as () => never));
  await until(() => counters.delivered + counters.failed === 2);
  expect(counters).toEqual({ published: 2, delivered: 1, dropped: 0, failed: 1 });
  expect(sent).toEqual(['second']);
  manager.close();
});

test('10,000 subscribers, one slow and one dead: each notification is delivered or accounted for', async () => {
  const publishers = spyOnPublishers();
  const runtime = await startRuntime();
  const service = new TickerService();
  const uri = await runtime.add(service, { name: 'ticker' });
  let let_go!: () => void;
  const slow = new Promise<void>((resolve) => (let_go = resolve));
  const got = new Array<number>(SUBSCRIBERS).fill(0);
  const inOrder = new Array<boolean>(SUBSCRIBERS).fill(true);
  const slowOne = 17;
  const deadOne = 4711;
  let told = 0;
  for (let index = 0; index < SUBSCRIBERS; index++) {
    const ticked = ({ body: { number } }: { body: { number: number } }) => {
      if (index === deadOne) throw new Error('I am dead.');
      if (number !== got[index]) inOrder[index] = false;
      got[index] = number + 1;
      told++;
      return index === slowOne ? slow : undefined;
    };
    const whispered = () => undefined;
    await runtime.subscribe(Ticker, uri, index === slowOne ? { ticked, whispered } : { ticked });
  }
  const rounds = 8;
  const others = got.length - 2;
  for (let number = 0; number < rounds; number++) {
    service.tick(number);
    // Everybody else has it before the next one, while the slow one still has its first.
    await until(() => told === others * (number + 1) + 1);
    expect(got[slowOne]).toBe(1);
  }
  // And more for the slow one alone, until its line is full and ten more are dropped.
  const whispers = UNCONFIRMED_MAX + WAITING_MAX - rounds + 10;
  for (let number = 0; number < whispers; number++) service.publish('whispered', { number });
  const [publisher] = publishers as [Publisher];
  // The dead one was given up; the slow one lost what did not fit into its line, and that is counted.
  expect(publisher.subscriberCount).toBe(SUBSCRIBERS - 1);
  expect(publisher.counters.dropped).toBe(10);
  let_go();
  const settled = ({ published, delivered, dropped, failed }: Publisher['counters']): boolean =>
    published === delivered + dropped + failed;
  await until(() => settled(publisher.counters));
  expect(publisher.counters).toMatchObject({ dropped: 10, failed: 3 });
  expect(publisher.counters.delivered).toBe((SUBSCRIBERS - 1) * rounds + whispers - 10);
  expect(inOrder.filter((order) => !order)).toEqual([]);
}, 120_000);
