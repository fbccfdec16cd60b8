/**
 * Message traffic of this project: full SOAP envelopes there and back or one way, with payload beside them that goes inline or by
 * reference as its size has it. It must not know the transport.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import {
  element,
  Envelope,
  include,
  type Connection,
  type Message,
  type RegisteredBuffer,
} from '../../lib/index.js';
import type { Case } from '../measurement.js';
import type { Recorder } from '../recorder.js';
import { NAMESPACE, SERVER, touched } from './splitplane-words.js';

export const ECHO = `${NAMESPACE}/Echo`;
export const FETCH = `${NAMESPACE}/Fetch`;
export const TEXT = `${NAMESPACE}/Text`;
export const BUFFER = `${NAMESPACE}/Buffer`;
/** Sends awaited together. */
const SENDS_PER_BATCH = 32;
/** With one batch either side would wait for the other; with more than these, what is under way lives long enough to burden the collector. */
const BATCHES_IN_FLIGHT = 8;

/**
 * The answer carries as much as the request did, out of memory of this side. What goes inline is copied before `reply` returns, and what
 * goes by reference is only read, so one buffer serves every answer.
 */
export async function echo(message: Message, answer: RegisteredBuffer): Promise<void> {
  if (message.envelope.body.length !== 1) throw new Error('the body is missing');
  await look(message, answer.length, answer);
  const replied = reply(message, `${ECHO}ed`, answer);
  message.release();
  await replied;
}

export function reply(message: Message, action: string, answer: RegisteredBuffer): Promise<unknown> {
  return message.reply({ action, body: include('buffer-0') }, { buffers: [answer] });
}

/** What a receiver does with a payload of which it needs little: it resolves it whole, and looks at both ends. */
async function look(message: Message, size: number, into?: RegisteredBuffer): Promise<void> {
  const [payload] = message.buffers;
  if (payload?.length !== size) throw new Error('the payload is not what was sent');
  if (payload.inline !== undefined) {
    if (into !== undefined) payload.inline.copy(into.bytes);
    return;
  }
  using resolved = await payload.resolve();
  if (resolved.bytes[0] !== 1 || resolved.bytes[size - 1] !== 1) throw new Error('the payload is damaged');
}

/** One at a time: an echo of a payload, or a payload for the asking. */
export async function exchange(
  connection: Connection,
  task: Case,
  recorder: Recorder,
  signal: AbortSignal,
): Promise<void> {
  const buffer = touched(connection, task.size);
  const fetches = task.metric === 'fetch_rtt';
  while (!signal.aborted) {
    const begin = performance.now();
    const request = fetches
      ? Envelope.of({ action: FETCH, to: SERVER })
      : Envelope.of({ action: ECHO, to: SERVER, body: include('buffer-0') });
    using answer = await connection.request(request, fetches ? {} : { buffers: [buffer] });
    await look(answer, task.size);
    recorder.roundTrip(begin);
  }
}

/** One exchange shows that the connection is there; then nothing happens. */
export async function idle(connection: Connection, recorder: Recorder): Promise<void> {
  (await connection.request(Envelope.of({ action: FETCH, to: SERVER }))).release();
  recorder.delivered(1);
  await connection.closed;
}

export async function sendText(connection: Connection, task: Case, signal: AbortSignal): Promise<void> {
  const text = 'x'.repeat(task.size);
  await sendAgain(signal, () =>
    connection.send(
      Envelope.of({
        action: TEXT,
        to: SERVER,
        body: element(NAMESPACE, 'Text', text),
      }),
    ),
  );
}

/** Messages that carry a buffer by reference, each the same one: what is measured is how many of them arrive, and can be looked at. */
export async function sendBuffers(connection: Connection, task: Case, signal: AbortSignal): Promise<void> {
  const buffer = touched(connection, task.size);
  await sendAgain(signal, () =>
    connection.send(Envelope.of({ action: BUFFER, to: SERVER, body: include('buffer-0') }), {
      buffers: [buffer],
    }),
  );
}

async function sendAgain(signal: AbortSignal, send: () => Promise<unknown>): Promise<void> {
  const batches = Array.from({ length: BATCHES_IN_FLIGHT }, async () => {
    while (!signal.aborted) {
      await Promise.all(Array.from({ length: SENDS_PER_BATCH }, send));
      await immediate();
    }
  });
  await Promise.all(batches);
}

/** Messages whose buffers are looked at side by side: each holds memory until it is done. */
const LOOKS_IN_FLIGHT = 64;

/** The receiving end of sendBuffers: answers what to wait for before the next message, if there is something. */
export function bufferReceiver(
  task: Case,
  recorder: Recorder,
): (message: Message) => Promise<void> | undefined {
  let pending = 0;
  let goOn: (() => void) | undefined;
  const receive = async (message: Message) => {
    await look(message, task.size);
    message.release();
    recorder.delivered(1);
    pending--;
    goOn?.();
    goOn = undefined;
  };
  return (message) => {
    pending++;
    void receive(message);
    if (pending < LOOKS_IN_FLIGHT) return undefined;
    return new Promise((resolve) => {
      goOn = resolve;
    });
  };
}
