// Compile-time tests of the public API: what compiles and what must not. `tsc -p test/tsconfig.json` is what runs them
// (an unused @ts-expect-error is an error there); vitest only proves that the names exist at run time.
import { describe, expect, expectTypeOf, test } from 'vitest';
import * as api from '../../lib/index.js';
import type { SplitplaneError } from '../../lib/index.js';
import {
  connect,
  Envelope,
  listen,
  NetworkManager,
  type BufferSlice,
  type Batch,
  type Connection,
  type PackedMessages,
  type ErrorCode,
  type Exposure,
  type ExposureEnd,
  type Message,
  type RegisteredBuffer,
  type RemoteBuffer,
  type Sent,
  type SoapFault,
} from '../../lib/index.js';

/** Code that is compiled and never run. */
function compiled(
  code: (have: {
    manager: NetworkManager;
    connection: Connection;
    batch: Batch;
    message: Message;
    buffer: RegisteredBuffer;
    remote: RemoteBuffer;
    exposure: Exposure;
    envelope: Envelope;
    error: SplitplaneError;
  }) => unknown,
): void {
  expect(code).toBeTypeOf('function');
}

describe('types', () => {
  test('listening and connecting', () => {
    compiled(() => {
      expectTypeOf(listen('x')).resolves.toExtend<NetworkManager>();
      expectTypeOf(listen('x')).resolves.toHaveProperty('address').toEqualTypeOf<string>();
      expectTypeOf(connect('x', { dataChannels: 2, poll: 'adaptive' })).resolves.toExtend<Connection>();
      // @ts-expect-error: an address is text
      void listen(7350);
      // @ts-expect-error: no such poll mode
      void connect('x', { poll: 'sometimes' });
      // @ts-expect-error: no such option
      new NetworkManager({ retries: 3 });
      // @ts-expect-error: a principal is text
      new NetworkManager({ authenticate: () => 5 });
      new NetworkManager({
        authenticate: (peer) => Promise.resolve(peer.localOnly ? peer.identity : undefined),
      });
      new NetworkManager({ authorize: ({ bytes, direction }) => direction === 'send' || bytes < 10 });
    });
  });

  test('batches', () => {
    compiled(({ connection, manager, batch }) => {
      expectTypeOf(
        connection.sendBatch([new Uint8Array(1)], { deadlineMs: 1 }),
      ).resolves.toEqualTypeOf<void>();
      expectTypeOf(manager.batches).toEqualTypeOf<AsyncIterable<Batch, undefined>>();
      expectTypeOf(connection.batches).toEqualTypeOf<AsyncIterable<Batch, undefined>>();
      expectTypeOf(batch).toExtend<PackedMessages & Iterable<Uint8Array>>();
      expectTypeOf(batch.at(0)).toEqualTypeOf<Uint8Array | undefined>();
      void connection.sendBatch(batch);
      void connection.sendBatch({ bytes: Buffer.alloc(8), lengths: 4 });
      // @ts-expect-error: messages are bytes
      void connection.sendBatch(['text']);
      // @ts-expect-error: lengths go with bytes
      void connection.sendBatch({ bytes: Buffer.alloc(8) });
    });
  });

  test('sending', () => {
    compiled(({ connection, manager, envelope, buffer, exposure }) => {
      expectTypeOf(connection.send(envelope)).resolves.toEqualTypeOf<Sent>();
      expectTypeOf(connection.request(envelope)).resolves.toEqualTypeOf<Message>();
      expectTypeOf(manager.request(envelope, { deadlineMs: 5 })).resolves.toEqualTypeOf<Message>();
      void connection.send(envelope, {
        buffers: [
          buffer,
          buffer.slice(0, 5),
          exposure,
          { buffer: [buffer, buffer.slice(1)], cid: 'a', uses: 2 },
        ],
        signal: new AbortController().signal,
      });
      // @ts-expect-error: plain bytes are not registered memory
      void connection.send(envelope, { buffers: [new Uint8Array(5)] });
      // @ts-expect-error: one direction per tag
      void connection.send(envelope, { buffers: [{ buffer, access: 'readwrite' }] });
      // @ts-expect-error: an envelope, not its properties
      void connection.send({ action: 'urn:x' });
      // @ts-expect-error: an envelope has an action
      Envelope.of({ to: 'dos://x' });
    });
  });

  test('resolving', () => {
    compiled(async ({ remote, buffer }) => {
      expectTypeOf(remote.resolve()).resolves.toEqualTypeOf<RegisteredBuffer>();
      expectTypeOf(remote.resolve({ range: { offset: 5 } })).resolves.toEqualTypeOf<RegisteredBuffer>();
      expectTypeOf(remote.resolve({ into: buffer })).resolves.toEqualTypeOf<undefined>();
      expectTypeOf(remote.resolve({ into: new Uint8Array(5) })).resolves.toEqualTypeOf<undefined>();
      expectTypeOf(remote.fetchAndAdd(0, 1n)).resolves.toEqualTypeOf<bigint>();
      expectTypeOf(buffer).toExtend<BufferSlice>();
      // @ts-expect-error: words are bigints
      await remote.compareAndSwap(0, 1, 2);
      // @ts-expect-error: into what?
      await remote.resolve({ into: 5 });
      // @ts-expect-error: a tag is not to be changed
      remote.tag = 'x';
    });
  });

  test('what arrives', () => {
    compiled(async ({ manager, message, exposure, connection }) => {
      for await (const each of manager.messages) expectTypeOf(each).toEqualTypeOf<Message>();
      expectTypeOf(message.fault).toEqualTypeOf<SoapFault | undefined>();
      expectTypeOf(message.buffers).toEqualTypeOf<readonly RemoteBuffer[]>();
      expectTypeOf(message.buffers[0]).toEqualTypeOf<RemoteBuffer | undefined>();
      expectTypeOf(exposure.ended).resolves.toEqualTypeOf<ExposureEnd>();
      expectTypeOf(connection.closed).resolves.toEqualTypeOf<SplitplaneError>();
      connection.on('close', (why) => expectTypeOf(why).toEqualTypeOf<SplitplaneError>());
      // @ts-expect-error: no such event
      connection.on('data', () => undefined);
      // @ts-expect-error: the body cannot be replaced
      message.envelope.body = [];
    });
  });

  test('resource management', () => {
    compiled(async ({ manager }) => {
      expectTypeOf(manager).toExtend<AsyncDisposable>();
      await using connection = await connect('x');
      using buffer = manager.allocate(5);
      using exposure = connection.share(buffer);
      expectTypeOf(exposure).toExtend<Disposable>();
    });
  });

  test('errors', () => {
    compiled(({ error }) => {
      expectTypeOf(error.code).toEqualTypeOf<ErrorCode>();
      if (error.code === 'TAG_EXPIRED') expectTypeOf(error).toExtend<Error>();
      // @ts-expect-error: no such code
      return error.code === 'TAG_EATEN';
    });
  });
});

test('every name is there at run time', () => {
  for (const name of [
    'Connection',
    'DEFAULT_PORT',
    'ERROR_CODES',
    'Envelope',
    'Exposure',
    'FastInfosetSerializer',
    'Message',
    'NetworkManager',
    'RegisteredBuffer',
    'RemoteBuffer',
    'SerializerRegistry',
    'SoapFault',
    'SplitplaneError',
    'XmlElement',
    'XmlSerializer',
    'attribute',
    'connect',
    'crc32c',
    'element',
    'include',
    'listen',
  ]) {
    expect(api).toHaveProperty(name);
  }
});
