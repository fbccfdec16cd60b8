// What goes wrong with services: they hang, flood, end, are replaced and fail to start, callers give up and vanish. Each message ends
// with an answer, a fault or an error to who sent it, the rest goes on, and nothing is held afterwards.
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Deadlines, type Expiring } from '../../lib/runtime/deadlines.js';
import { body, contract, integer, lend, Service, Submit, type Proxy } from '../../lib/runtime/index.js';
import { code, failure, until, watchPromise } from '../support/events.js';
import { makeManager, take } from '../support/managers.js';
import { Proxy as Link } from '../support/proxy.js';
import {
  logOf,
  PLACES,
  serviceModule,
  startDialing,
  startListening,
  startRuntime,
  subcode,
  type Place,
} from '../support/runtimes.js';
import { Counter } from './services/counter.js';
import { Gate, GateService } from './services/gate.js';

interface Have extends Place {
  readonly service: GateService;
  readonly proxy: Proxy<typeof Gate>;
}

afterEach(() => {
  vi.restoreAllMocks();
});

/** The requests whose deadlines are set, here and there. */
function spyOnDeadlines(): ReadonlySet<Expiring> {
  const live = new Set<Expiring>();
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the deadlines that they belong to
  const { set, clear } = Deadlines.prototype;
  vi.spyOn(Deadlines.prototype, 'set').mockImplementation(function (this: Deadlines, what, at) {
    live.add(what);
    return set.call(this, what, at);
  });
  vi.spyOn(Deadlines.prototype, 'clear').mockImplementation(function (this: Deadlines, what, slot) {
    live.delete(what);
    clear.call(this, what, slot);
  });
  return live;
}

// Goal: what has no address is nobody's, and does not pile up where no service would ever take it.
test('batches: refused with a fault, and those who sent them are served on', async () => {
  const home = await startListening();
  const uri = await home.add(new GateService(), { name: 'gate' });
  const client = makeManager({ windowMessages: 4 });
  const connection = await client.connect(home.listening[0]?.address ?? '');
  for (let round = 0; round < 2000; round++) {
    await connection.sendBatch([Buffer.from('to nobody')]);
    using answer = await take(client);
    expect(answer.fault?.subcodes[0]?.localName).toBe('PermissionDenied');
  }
  const away = await startDialing();
  expect(await away.proxy(Gate, uri).pass({ number: 1 })).toEqual({ number: 1 });
});

describe.each(PLACES)('$name', (at) => {
  async function serve(service = new GateService()): Promise<Have> {
    const place = await at.start();
    const uri = await place.home.add(service, { name: 'gate' });
    return { ...place, service, proxy: place.away.proxy(Gate, uri) };
  }

  test('a service that hangs: ResponseTimeout at the deadline, and it goes on', async () => {
    const { home, away, service, proxy } = await serve(new GateService('exclusive'));
    await proxy.pass({ number: 0 });
    let returned = 0;
    const pixels = away.allocate(300_000);
    const lent = lend(pixels, 'read', () => returned++);
    // Long enough to get there on a busy machine.
    const hanging = watchPromise(proxy.wait({ number: 1, pixels: lent }, { timeoutMs: 2000 }));
    await until(() => service.begun.length === 1);
    // It waits behind the one that hangs, with a buffer of its own, and is given up before it is begun.
    const given = away.allocate(300_000);
    const behind = proxy.wait({ number: 2, pixels: given }, { timeoutMs: 50 });
    const patient = proxy.pass({ number: 3 });
    expect(await subcode(behind)).toBe('ResponseTimeout');
    await until(() => hanging.settled);
    expect(await subcode(Promise.reject(hanging.error))).toBe('ResponseTimeout');
    expect(given.released).toBe(true);
    // Who gave up has its memory back, although the service still hangs.
    await until(() => returned === 1);
    await until(() => service.calls.get(1)?.signal.aborted === true);
    expect(home.snapshot().services.find(({ name }) => name === 'gate')?.port.running).toBe(1);
    service.release(1);
    expect(await patient).toEqual({ number: 3 });
    expect(service.begun).toEqual([1]);
    pixels.release();
  });

  test('a caller that gives up: ABORTED to it, and the handler is told', async () => {
    const { away, service, proxy } = await serve();
    const controller = new AbortController();
    let returned = 0;
    const pixels = away.allocate(300_000);
    const lent = lend(pixels, 'read', () => returned++);
    const waiting = proxy.wait({ number: 1, pixels: lent }, { signal: controller.signal });
    await until(() => service.begun.length === 1);
    const { signal } = service.calls.get(1) as { signal: AbortSignal };
    expect(signal.aborted).toBe(false);
    controller.abort(new Error('changed my mind'));
    expect((await failure(waiting)).code).toBe('ABORTED');
    await until(() => signal.aborted && returned === 1);
    // Before it is sent it is not sent.
    const never = proxy.wait({ number: 2, pixels: away.allocate(300_000) }, { signal: controller.signal });
    expect((await failure(never)).code).toBe('ABORTED');
    service.release();
    expect(await proxy.pass({ number: 3 })).toEqual({ number: 3 });
    expect(service.begun).toEqual([1]);
    pixels.release();
  });

  // Goal: what was given up while it waited is not kept until its deadline, which is its sender's choice. Method: the deadlines that are
  // set and not cleared, of which one is the hanging request's.
  test('requests that are given up in the queue are gone when their turn has come', async () => {
    const { home, away, service, proxy } = await serve(new GateService('exclusive'));
    const live = spyOnDeadlines();
    const hanging = proxy.wait({ number: 0 }, { timeoutMs: 3_600_000 });
    await until(() => service.begun.length === 1);
    const controller = new AbortController();
    const options = { timeoutMs: 3_600_000, signal: controller.signal };
    const waiting = Array.from({ length: 10 }, (_, at) => code(proxy.wait({ number: at + 1 }, options)));
    const depth = () => home.snapshot().services.find(({ name }) => name === 'gate')?.port.depth;
    await until(() => depth() === 10);
    expect(live.size).toBe(11);
    controller.abort();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['ABORTED']));
    // Behind the cancellations: when this is answered they are there.
    expect(await subcode(away.proxy(Gate, `${home.prefix}nobody`).pass({ number: 1 }))).toBe('UnknownEntry');
    service.release(0);
    await hanging;
    await until(() => live.size === 0);
    expect(service.begun).toEqual([0]);
  });

  // Goal: what a handler is told of, its connection forgets with the message. Method: a signal that was made to depend on one that lasts
  // leaves something with that, which nothing shows; so none is made, and of what there is nothing listens afterwards.
  test('a signal that a handler wants leaves nothing behind', async () => {
    const made = vi.spyOn(AbortSignal, 'any');
    const { service, proxy } = await serve();
    const waiting = proxy.wait({ number: 1 });
    await until(() => service.begun.length === 1);
    expect(service.calls.get(1)?.signal.aborted).toBe(false);
    service.release(1);
    await waiting;
    expect(made).not.toHaveBeenCalled();
    // Who asks when all is over is told nothing, and leaves nothing either.
    expect(service.calls.get(1)?.signal.aborted).toBe(false);
  });

  test('messages of one sender arrive in their order, the very first ones too', async () => {
    const { service, proxy } = await serve(new GateService('concurrent'));
    service.release();
    const numbers = Array.from({ length: 100 }, (_, number) => number);
    await Promise.all(numbers.map((number) => proxy.wait({ number })));
    expect(service.begun).toEqual(numbers);
  });

  test('a flood is refused with QueuingLimitExceeded, and disturbs nobody else', async () => {
    const { home, away, service, proxy } = await serve(new GateService('exclusive', 4));
    const other = new GateService();
    const undisturbed = away.proxy(Gate, await home.add(other, { name: 'other' }));
    const flood = [watchPromise(proxy.wait({ number: 0 }))];
    await until(() => service.begun.length === 1);
    for (let number = 1; number < 20; number++) flood.push(watchPromise(proxy.wait({ number })));
    await until(() => flood.filter(({ settled }) => settled).length === 15);
    for (const { error } of flood.filter(({ settled }) => settled)) {
      expect(await subcode(Promise.reject(error))).toBe('QueuingLimitExceeded');
    }
    expect(await undisturbed.pass({ number: 7 })).toEqual({ number: 7 });
    const { port } = home.snapshot().services.find(({ name }) => name === 'gate') ?? expect.fail();
    expect(port).toMatchObject({ depth: 4, depthMax: 4, running: 1, delivered: 5, refused: 15 });
    service.release();
    await until(() => flood.every(({ settled }) => settled));
    expect(flood.filter(({ error }) => error === undefined).map(({ value }) => value?.number)).toEqual(
      service.ended,
    );
  });

  test('messages that nobody waits for any more make room in a full queue', async () => {
    const { home, service, proxy } = await serve(new GateService('exclusive', 4));
    const hanging = proxy.wait({ number: 0 });
    await until(() => service.begun.length === 1);
    const late = [1, 2, 3, 4].map((number) => proxy.wait({ number }, { timeoutMs: 50 }));
    for (const outcome of await Promise.allSettled(late)) expect(outcome.status).toBe('rejected');
    // The service still hangs, and yet a message finds a place.
    const next = proxy.pass({ number: 5 });
    const gate = () => home.snapshot().services.find(({ name }) => name === 'gate')?.port;
    await until(() => gate()?.delivered === 6);
    expect(gate()).toMatchObject({ depth: 1, refused: 0 });
    service.release();
    expect(await next).toEqual({ number: 5 });
    expect(await hanging).toEqual({ number: 0 });
    expect(service.begun).toEqual([0]);
  });

  test('reads go beside each other, and what changes something alone', async () => {
    const { service, proxy } = await serve();
    const all = [proxy.peek({ number: 1 }), proxy.peek({ number: 2 }), proxy.wait({ number: 3 })];
    all.push(proxy.wait({ number: 4 }), proxy.peek({ number: 5 }), proxy.peek({ number: 6 }));
    const begun = async (...numbers: number[]) => {
      // Everything is there; what may begin has begun when a service that was asked later has answered.
      await until(() => service.begun.length >= numbers.length);
      expect(service.begun).toEqual(numbers);
    };
    await begun(1, 2);
    service.release(2);
    await all[1];
    await begun(1, 2);
    service.release(1);
    await begun(1, 2, 3);
    service.release(3);
    await begun(1, 2, 3, 4);
    service.release(4);
    await begun(1, 2, 3, 4, 5, 6);
    service.release();
    expect((await Promise.all(all)).map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('a service that is unloaded ends what it does, and refuses what waits', async () => {
    const { home, service, proxy } = await serve(new GateService('exclusive'));
    const working = proxy.wait({ number: 1 });
    const waiting = [proxy.wait({ number: 2 }), proxy.pass({ number: 3 })].map(watchPromise);
    await until(() => service.begun.length === 1);
    await until(() => home.snapshot().services.find(({ name }) => name === 'gate')?.port.depth === 2);
    const unloaded = home.unload('gate');
    await until(() => waiting.every(({ settled }) => settled));
    for (const { error } of waiting) expect(await subcode(Promise.reject(error))).toBe('UnknownEntry');
    expect(service.stopped).toBe(0);
    service.release();
    expect(await working).toEqual({ number: 1 });
    await unloaded;
    expect(service.stopped).toBe(1);
    expect(await subcode(proxy.pass({ number: 4 }))).toBe('UnknownEntry');
  });

  test('a service that is replaced loses no message', async () => {
    const { home, service, proxy } = await serve(new GateService('exclusive'));
    service.state = { number: 41 };
    const working = proxy.wait({ number: 1 });
    await until(() => service.begun.length === 1);
    const waiting = [proxy.pass({ number: 2 }), proxy.pass({ number: 3 })];
    const [next, last] = [new GateService('exclusive'), new GateService('exclusive')];
    // Twice at once: one after the other.
    const replaced = [home.replace('gate', next), home.replace('gate', last)];
    service.release();
    await Promise.all(replaced);
    expect(await working).toEqual({ number: 1 });
    expect(await Promise.all(waiting)).toEqual([{ number: 2 }, { number: 3 }]);
    expect([service.stopped, next.started, next.stopped, last.started, last.stopped]).toEqual([
      1, 1, 1, 1, 0,
    ]);
    expect(await proxy.$state()).toEqual({ number: 41 });
    // One that does not start leaves the one that runs where it is.
    class Broken extends GateService {
      override start(): Promise<void> {
        return Promise.reject(new Error('no device'));
      }
    }
    await expect(home.replace('gate', new Broken())).rejects.toThrow('no device');
    expect(await proxy.pass({ number: 5 })).toEqual({ number: 5 });
    expect(last.stopped).toBe(0);
  });

  test('a runtime that is closed answers whoever waits', async () => {
    const { home, service, proxy } = await serve(new GateService('exclusive'));
    const outcomes = [proxy.wait({ number: 1 }), proxy.wait({ number: 2 })].map(watchPromise);
    await until(() => service.begun.length === 1);
    const closed = home.close();
    service.release();
    await closed;
    await until(() => outcomes.every(({ settled }) => settled));
    expect(outcomes[0]?.value).toEqual({ number: 1 });
    expect(outcomes[1]?.error).toMatchObject({ code: 'FAULT' });
  });
});

const Starts = contract('urn:splitplane:test:starts', {
  operations: { ping: Submit(body('Ping', { number: integer() }), body('Pong', { number: integer() })) },
});

describe('partners', () => {
  // Method: each asks the next in start(), all at once; whoever is asked answers when it has started itself.
  test('partners in a cycle that need each other to start are told so, and end nobody else', async () => {
    const entry = { host: 'here' as const, module: serviceModule('asks-early.ts') };
    const runtime = await startRuntime({
      services: [
        { ...entry, name: 'a', partners: { other: 'b' } },
        { ...entry, name: 'b', partners: { other: 'a' } },
        { ...entry, name: 'counter', module: serviceModule('counter.ts'), partners: {} },
        { ...entry, name: 'c', partners: { other: 'counter' } },
      ],
    });
    const states = runtime.snapshot().services.map(({ name, state }) => `${name} ${state}`);
    expect(states).toEqual(expect.arrayContaining(['a failed', 'b failed', 'counter running', 'c running']));
  });

  test('partners in a cycle that are asked after the start find each other', async () => {
    const entry = { host: 'here' as const, module: serviceModule('counter.ts') };
    const names = ['a', 'b', 'c'];
    const runtime = await startRuntime({
      services: names.map((name, index) => ({
        ...entry,
        name,
        partners: { other: names[(index + 1) % names.length] as string },
      })),
    });
    for (const name of names) {
      const counter = runtime.proxy(Counter, `${runtime.prefix}${name}`);
      expect(await counter.addToPartner({ count: 1 })).toEqual({ count: 1 });
    }
  });

  test('a service that fails to start is told of, and its callers too', async () => {
    class Broken extends Service<typeof Starts> {
      readonly contract = Starts;
      fail!: (why: Error) => void;
      readonly handlers = { ping: ({ body }: { body: { number: number } }) => body };
      override start(): Promise<void> {
        return new Promise((_, reject) => (this.fail = reject));
      }
    }
    const runtime = await startRuntime();
    const broken = new Broken();
    const added = runtime.add(broken, { name: 'broken' });
    const early = runtime.proxy(Starts, 'dos:///broken').ping({ number: 1 });
    broken.fail(new Error('no device'));
    await expect(added).rejects.toThrow('no device');
    expect(await subcode(early)).toBe('OperationFailed');
    // The name is free again.
    expect(await runtime.add(new GateService(), { name: 'broken' })).toBe('dos:///broken');
  });

  test('a service that is ended while it starts does not take its successor’s name away', async () => {
    class Slow extends GateService {
      fail!: (why: Error) => void;
      override start(): Promise<void> {
        return new Promise((_, reject) => (this.fail = reject));
      }
    }
    const runtime = await startRuntime();
    const slow = new Slow();
    const added = runtime.add(slow, { name: 'gate' });
    await runtime.unload('gate');
    await runtime.add(new GateService(), { name: 'gate' });
    slow.fail(new Error('too late'));
    await expect(added).rejects.toThrow('too late');
    expect(await runtime.proxy(Gate, 'dos:///gate').pass({ number: 1 })).toEqual({ number: 1 });
    expect(runtime.snapshot().services.filter(({ name }) => name === 'gate')).toMatchObject([
      { state: 'running' },
    ]);
  });

  test('what is no service is refused when it is loaded, not when it is asked', async () => {
    const runtime = await startRuntime();
    class NoHandler extends GateService {
      override readonly handlers = {} as never;
    }
    const why = await failure(runtime.add(new NoHandler()));
    expect(why.message).toMatch(/wait.*handler/);
    expect((await failure(runtime.add(new GateService('exclusive', 0)))).code).toBe('INVALID_ARGUMENT');
    expect((await failure(runtime.add({} as never))).code).toBe('INVALID_ARGUMENT');
  });
});

test('a caller whose connection is killed: its messages end, and the service goes on', async () => {
  const home = await startListening();
  const away = await startDialing();
  const service = new GateService('exclusive');
  const uri = new URL((await home.add(service, { name: 'gate' })).replace('dos:', 'http:'));
  const link = await Link.before(`tcp://${uri.host}`);
  const proxy = away.proxy(Gate, `${link.address.replace('tcp:', 'dos:')}/gate`);
  const given = away.allocate(300_000);
  const outcomes = [1, 2].map((number) =>
    watchPromise(proxy.wait({ number, ...(number === 1 ? { pixels: given } : {}) })),
  );
  await until(() => service.begun.length === 1);
  const { signal } = service.calls.get(1) as { signal: AbortSignal };
  away.network?.connections[0]?.destroy();
  await until(() => outcomes.every(({ settled }) => settled) && signal.aborted);
  expect(outcomes.map(({ error }) => (error as { code: string }).code)).toEqual(['CLOSED', 'CLOSED']);
  service.release();
  // The second was never begun: nobody waits for it.
  const again = home.proxy(Gate, `${home.prefix}gate`);
  expect(await again.pass({ number: 3 })).toEqual({ number: 3 });
  expect(service.begun).toEqual([1]);
  expect(logOf(home).filter(({ level }) => level === 'error')).toEqual([]);
});

test('an error of whoever reads the log ends nothing', async () => {
  const warnings: string[] = [];
  const heard = (warning: Error): void => void warnings.push(warning.name);
  process.on('warning', heard);
  const { Runtime } = await import('../../lib/runtime/index.js');
  await using runtime = await Runtime.start(
    { security: { off: true } },
    {
      log: () => {
        throw new Error('no room for logs');
      },
    },
  );
  class Throws extends GateService {
    override readonly handlers = {
      wait: () => Promise.reject(new Error('x')),
      peek: () => Promise.reject(new Error('x')),
      pass: () => {
        throw new Error('x');
      },
    };
  }
  const proxy = runtime.proxy(Gate, await runtime.add(new Throws()));
  expect(await subcode(proxy.pass({ number: 1 }))).toBe('OperationFailed');
  expect(await subcode(proxy.wait({ number: 1 }))).toBe('OperationFailed');
  await until(() => warnings.includes('SplitplaneLog'));
  process.off('warning', heard);
});
