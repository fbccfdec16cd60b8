// Network managers for tests: every one is tracked and destroyed after the test that made it, so that a failing test
// leaves nothing to the next. Also the envelopes and buffers that tests send.
import { once } from 'node:events';
import { afterEach } from 'vitest';
import type { Connection } from '../../lib/index.js';
import {
  element,
  Envelope,
  NetworkManager,
  type ConnectOptions,
  type EnvelopeInit,
  type Message,
  type NetworkManagerOptions,
  type RegisteredBuffer,
  type XmlElement,
} from '../../lib/index.js';
import { until } from './events.js';
import { RDMA_ADDRESS, type TransportCase } from './transports.js';

const tracked = new Set<NetworkManager>();

afterEach(() => {
  for (const manager of tracked) manager.destroy();
  tracked.clear();
});

/** RDMA devices have no loopback addresses, and the tests that run over them are not about that. */
class InsecureManager extends NetworkManager {
  override listen(...[address, options]: Parameters<NetworkManager['listen']>) {
    return super.listen(address, { allowInsecure: true, ...options });
  }
  override connect(...[address, options]: Parameters<NetworkManager['connect']>) {
    return super.connect(address, { allowInsecure: true, ...options });
  }
}

const Manager = RDMA_ADDRESS === undefined ? NetworkManager : InsecureManager;

/** A manager that ends with the test; of a class of its own where the test is about plaintext. */
export function makeManager(options: NetworkManagerOptions = {}, Class = Manager): NetworkManager {
  const manager = new Class(options);
  tracked.add(manager);
  return manager;
}

export interface Pair {
  readonly server: NetworkManager;
  readonly client: NetworkManager;
  /** Where the server listens. */
  readonly address: string;
  /** The connection as the client has it. */
  readonly outgoing: Connection;
  /** The same as the server has it. */
  readonly incoming: Connection;
}

export interface PairOptions {
  readonly server?: NetworkManagerOptions;
  readonly client?: NetworkManagerOptions;
  readonly connect?: ConnectOptions;
  /** Where the client connects to, when not straight to where the server listens: through a proxy. */
  readonly through?: (address: string) => Promise<string>;
}

/** Two managers and the connection between them. */
export async function makePair(transport: TransportCase, options: PairOptions = {}): Promise<Pair> {
  const server = makeManager(options.server);
  const client = makeManager(options.client);
  const { address } = await server.listen(transport.listenAddress());
  const target = options.through === undefined ? address : await options.through(address);
  const [outgoing, incoming] = await connectTo(server, client, target, options.connect);
  return { server, client, address, outgoing, incoming };
}

/** One more connection between two managers, as both have it. */
export async function connectTo(
  server: NetworkManager,
  client: NetworkManager,
  address: string,
  options?: ConnectOptions,
): Promise<[outgoing: Connection, incoming: Connection]> {
  const accepted = once(server, 'connection') as Promise<[Connection]>;
  const outgoing = await client.connect(address, options);
  const [incoming] = await accepted;
  return [outgoing, incoming];
}

const TEST = 'urn:splitplane:test';

/** A message that carries `value` in its body. */
export function envelope(value: string | number = '', init: Partial<EnvelopeInit> = {}): Envelope {
  return Envelope.of({ action: `${TEST}:tell`, body: element(TEST, 'Value', String(value)), ...init });
}

/** A header block that no manager of a test understands and every receiver has to. */
export function mandatory(): XmlElement {
  const namespace = 'http://www.w3.org/2003/05/soap-envelope';
  const qualifiedAttributes = [{ namespace, localName: 'mustUnderstand', value: 'true', prefix: 's' }];
  return element('urn:t', 'Must', [], { qualifiedAttributes });
}

/** What envelope() put into the body. */
export function valueOf(message: Message): string {
  return message.envelope.body[0]?.text() ?? '';
}

/** The next message of a manager. */
export async function take(manager: NetworkManager): Promise<Message> {
  const { value, done } = await manager.messages[Symbol.asyncIterator]().next();
  if (done === true) throw new Error('The manager closed, and no message is left.');
  return value;
}

/** Answers every message with its own body until the manager closes. */
export async function echo(manager: NetworkManager): Promise<void> {
  for await (const message of manager.messages) {
    const { action, body } = message.envelope;
    message.reply({ action, body }).catch(() => undefined);
    message.release();
  }
}

/** Fills bytes with what only this seed gives. */
export function fill(bytes: Uint8Array, seed = 1): void {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  const words = new Uint32Array(Math.ceil(bytes.length / 4));
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  bytes.set(new Uint8Array(words.buffer, 0, bytes.length));
}

/** A registered buffer with the pattern of `seed`. */
export function filled(manager: NetworkManager, length: number, seed = 1): RegisteredBuffer {
  const buffer = manager.allocate(length);
  fill(buffer.bytes, seed);
  return buffer;
}

/** Waits until nothing of the manager's memory is held by a tag, a transfer or a buffer. */
export async function untilIdle(...managers: NetworkManager[]): Promise<void> {
  await until(() =>
    managers.every(({ stats }) => {
      return stats.exposures === 0 && stats.operations === 0 && stats.memory.buffers === 0;
    }),
  );
}
