// What is measured: for each metric, traffic between this process and a serving one that goes on until it is told to stop, and
// says what arrived. Looks at no clock but for round trips, and adds nothing up: whoever measures does.
import { setImmediate as immediate } from 'node:timers/promises';
import type { RegisteredBuffer } from '../../dataplane/memory.js';
import { Failure, failureOfFault, type Attached } from '../../runtime/index.js';
import { requestActionOf } from '../../runtime/verbs.js';
import { Envelope } from '../../soap/envelope.js';
import { element, type XmlElement } from '../../soap/infoset.js';
import { include } from '../../soap/references.js';
import { asked, type Client } from '../client.js';
import { MEASURE, Measure } from './contract.js';
import { SENDS_IN_FLIGHT } from './limits.js';
import { touched } from './server.js';

/** In the order in which they run and are printed. */
export const METRICS = [
  'message_rtt', // A message with a payload of `size`, and its echo.
  'message_rate', // Messages one way with `size` bytes of text in their body.
  'push', // Writes of `size` into the peer's memory.
  'pull', // Reads of `size` out of the peer's memory.
  'read_rtt', // One read at a time.
  'write_rtt', // One write at a time.
] as const;
export type Metric = (typeof METRICS)[number];

/** Who is told. */
export interface Listener {
  /** A round trip that began at this value of performance.now() has ended. */
  roundTrip(begin: number): void;
  /** Payload is where it was to go, verified; so many messages or transfers. */
  delivered(bytes: number, count: number): void;
}

/** Transfers in flight at once: the next is on its way while the last is verified. */
const TRANSFERS_IN_FLIGHT = 4;

/**
 * Keeps the traffic of a metric going until `signal` aborts; settles when nothing is in flight any more. Rejects with what
 * moving rejects with.
 */
export async function drive(
  client: Client,
  metric: Metric,
  size: number,
  listener: Listener,
  signal: AbortSignal,
): Promise<void> {
  switch (metric) {
    case 'message_rtt':
      await exchange(client, size, listener, signal);
      return;
    case 'message_rate':
      await discard(client, size, listener, signal);
      return;
    case 'push':
    case 'pull':
      await transfer(client, metric, size, TRANSFERS_IN_FLIGHT, listener, signal);
      return;
    case 'read_rtt':
      await transfer(client, 'pull', size, 1, listener, signal);
      return;
    case 'write_rtt':
      await transfer(client, 'push', size, 1, listener, signal);
  }
}

/** No deadline of our own: what ends it is the connection, or whoever stops it. */
const PATIENT = { timeoutMs: Infinity };

async function exchange(
  client: Client,
  size: number,
  listener: Listener,
  signal: AbortSignal,
): Promise<void> {
  using payload = touched(client.connection, size);
  while (!signal.aborted) {
    const begin = performance.now();
    await ping(client, payload, 'echo');
    listener.roundTrip(begin);
    listener.delivered(2 * size, 1);
  }
}

/**
 * One exchange; settles when the payload is back. Of the answer only its buffer is looked at: what reading bodies costs is not the
 * connection's affair.
 */
export async function ping(
  { connection, uriOf }: Client,
  payload: RegisteredBuffer,
  operation: 'ping' | 'echo',
  signal?: AbortSignal,
): Promise<void> {
  const { verb } = Measure.operations[operation];
  const envelope = Envelope.of({
    to: uriOf(MEASURE),
    action: requestActionOf(verb),
    body: BODIES[operation],
  });
  const buffers = [{ buffer: payload, cid: PAYLOAD }];
  using reply = await connection.request(envelope, { buffers, signal });
  const echo = reply.buffers[0];
  if (echo?.length !== payload.length) {
    if (reply.fault !== undefined) throw failureOfFault(reply.fault);
    throw new Failure('MESSAGE_INVALID', 'The echo is not what was sent. Is this `splitplane serve`?');
  }
  if (echo.inline === undefined) (await echo.resolve({ signal })).release();
}

const PAYLOAD = 'payload';
const bodyOf = ({ request }: { readonly request: { readonly name: string } }): XmlElement =>
  element(Measure.uri, request.name, element(Measure.uri, PAYLOAD, include(PAYLOAD)));
const { ping: pinging, echo: echoing } = Measure.operations;
const BODIES = { ping: bodyOf(pinging), echo: bodyOf(echoing) };

async function discard(client: Client, size: number, listener: Listener, signal: AbortSignal): Promise<void> {
  const { verb, request } = Measure.operations.discard;
  const body = element(Measure.uri, request.name, element(Measure.uri, 'text', 'x'.repeat(size)));
  const init = { to: client.uriOf(MEASURE), action: requestActionOf(verb), body };
  while (!signal.aborted) {
    const sends = Array.from({ length: SENDS_IN_FLIGHT }, () => client.connection.send(Envelope.of(init)));
    await Promise.all(sends);
    listener.delivered(size * SENDS_IN_FLIGHT, SENDS_IN_FLIGHT);
    await immediate();
  }
}

async function transfer(
  client: Client,
  direction: 'push' | 'pull',
  size: number,
  inFlight: number,
  listener: Listener,
  signal: AbortSignal,
): Promise<void> {
  const measure = client.proxy(Measure, MEASURE);
  const access = direction === 'push' ? 'write' : 'read';
  using shared = await asked(measure.share({ size, access }, PATIENT));
  const lane = async (there: Attached): Promise<void> => {
    using here = touched(client.connection, size);
    while (!signal.aborted) {
      const begin = performance.now();
      if (direction === 'push') await there.write(here);
      else await there.resolve({ into: here });
      if (inFlight === 1) listener.roundTrip(begin);
      listener.delivered(size, 1);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, () => lane(shared.content)));
}
