// Compile-time tests of contracts and services: the compiler checks a caller's request and answer, and a service's handlers.
// `tsc -p test/tsconfig.json` is what runs them (an unused @ts-expect-error is an error there); vitest only loads the file.
import { expect, expectTypeOf, test } from 'vitest';
import type { RegisteredBuffer } from '../../lib/index.js';
import {
  body,
  buffer,
  choice,
  contract,
  Get,
  Insert,
  integer,
  lend,
  list,
  optional,
  record,
  Service,
  text,
  type Attached,
  type Handlers,
  type Received,
  type Runtime,
  type Sending,
} from '../../lib/runtime/index.js';

const Frame = body('Frame', { sequence: integer(), label: optional(text()), pixels: buffer() });
const Stored = body('Stored', { count: integer(), kind: choice('new', 'old') });
const Recorder = contract('urn:splitplane:test:types', {
  operations: {
    store: Insert(Frame, Stored),
    forget: Insert(body('Forget', {})),
    all: Get(body('GetAll', {}), body('All', { names: list(record({ name: text() })) })),
  },
  notifications: { stored: Stored },
  state: body('State', { count: integer() }),
});

/** Code that is compiled and never run. */
function compiled(code: (have: { runtime: Runtime; pixels: RegisteredBuffer }) => unknown): void {
  expect(code).toBeTypeOf('function');
}

test('bodies', () => {
  expectTypeOf<Sending<typeof Stored>>().toEqualTypeOf<{
    readonly count: number;
    readonly kind: 'new' | 'old';
  }>();
  expectTypeOf<Received<typeof Frame>['pixels']>().toEqualTypeOf<Attached>();
  expectTypeOf<Received<typeof Frame>['label']>().toEqualTypeOf<string | undefined>();
  // @ts-expect-error: a field has a type
  body('Wrong', { count: 5 });
  // @ts-expect-error: what may be missing is no item of a list
  list(optional(text()));
});

test('callers', () => {
  compiled(async ({ runtime, pixels }) => {
    const recorder = runtime.proxy(Recorder, 'dos:///recorder');
    const stored = await recorder.store({ sequence: 1, pixels: lend(pixels) });
    expectTypeOf(stored.count).toEqualTypeOf<number>();
    expectTypeOf(stored.kind).toEqualTypeOf<'new' | 'old'>();
    // @ts-expect-error: no such field in the answer
    void stored.more;
    // @ts-expect-error: pixels are missing
    void recorder.store({ sequence: 1 });
    // @ts-expect-error: a number
    void recorder.store({ sequence: '1', pixels });
    // @ts-expect-error: no such field
    void recorder.store({ sequence: 1, pixels, more: true });
    // @ts-expect-error: plain bytes are not registered memory
    void recorder.store({ sequence: 1, pixels: new Uint8Array(5) });
    // @ts-expect-error: no such operation
    void recorder.remove;
    await recorder.forget();
    await recorder.forget({}, { timeoutMs: 5 });
    expectTypeOf((await recorder.all()).names[0]?.name).toEqualTypeOf<string | undefined>();
    expectTypeOf((await recorder.$state()).count).toEqualTypeOf<number>();
    await runtime.subscribe(Recorder, recorder.$uri, {
      stored: ({ body }) => expectTypeOf(body.kind).toEqualTypeOf<'new' | 'old'>() as never,
    });
    // @ts-expect-error: no such notification
    await runtime.subscribe(Recorder, recorder.$uri, { forgotten: () => undefined });
  });
});

test('services', () => {
  const forget = () => undefined;
  const all = () => ({ names: [] });
  class Good extends Service<typeof Recorder> {
    readonly contract = Recorder;
    override state = { count: 0 };
    readonly handlers: Handlers<typeof Recorder> = {
      store: ({ body }) => ({ count: body.sequence, kind: 'new' }),
      forget,
      all,
    };
    tell(): void {
      this.publish('stored', { count: 1, kind: 'old' });
      // @ts-expect-error: no such word
      this.publish('stored', { count: 1, kind: 'ancient' });
      // @ts-expect-error: no such notification
      this.publish('forgotten', {});
    }
  }
  expect(new Good().contract).toBe(Recorder);
  class WrongState extends Service<typeof Recorder> {
    readonly contract = Recorder;
    // @ts-expect-error: a number
    override state = { count: '0' };
    // @ts-expect-error: an operation without a handler
    readonly handlers: Handlers<typeof Recorder> = { forget, all };
  }
  expect(WrongState).toBeTypeOf('function');
  // @ts-expect-error: an answer that has no kind
  const wrong: Handlers<typeof Recorder> = { forget, all, store: () => ({ count: 1 }) };
  expect(wrong).toBeTypeOf('object');
});
