/**
 * The subject `splitplane`: this project through its public API, in two processes over TCP. Bulk data is pulled out of, or
 * pushed into, one registered buffer of the peer, a few transfers in flight; messages are full SOAP envelopes in text XML.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import {
  element,
  Envelope,
  include,
  NetworkManager,
  type Connection,
  type Message,
  type RegisteredBuffer,
  type RemoteBuffer,
} from '../../lib/index.js';
import { MIB, transfersInFlight, type Case, type Mode } from '../measurement.js';
import { pairSubject, type PairDefinition, type Traffic } from '../pair.js';
import type { Recorder } from '../recorder.js';

const NAMESPACE = 'urn:splitplane:bench:1';
const GRANT = `${NAMESPACE}/Grant`;
const ECHO = `${NAMESPACE}/Echo`;
const TEXT = `${NAMESPACE}/Text`;
/** Sends awaited together. */
const SENDS_PER_BATCH = 256;
/** Together two windows of credits: while the peer reads one the next is written. With one batch either side would wait for the other. */
const BATCHES_IN_FLIGHT = 8;
/** How often copies are asked of the engine's counters. */
const COUNTERS_EVERY_MS = 20;

const MODES: readonly Mode[] = ['event', 'adaptive', 'busy'];

export const splitplane: PairDefinition = {
  name: 'splitplane',
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'push', size: 16 * MIB, mode: 'event' },
    { metric: 'pull', size: MIB, mode: 'event' },
    { metric: 'pull', size: 16 * MIB, mode: 'event' },
    ...MODES.map((mode) => ({ metric: 'message_rtt', size: 64, mode }) as const),
    ...MODES.map((mode) => ({ metric: 'read_rtt', size: 64, mode }) as const),
    { metric: 'message_rate', size: 64, mode: 'event' },
  ],
  // The engine counts its own copies, and the recorder is told.
  libraryCopiesPerByte: 0,
};

export const splitplaneSubject = pairSubject(splitplane);

function newManager(transport: string, task: Case, recorder: Recorder, signal: AbortSignal): NetworkManager {
  const manager = new NetworkManager({ poll: task.mode, identity: 'bench' });
  let seen = 0;
  const timer = setInterval(() => {
    const copied = manager.stats.transports[transport]?.bytesCopied ?? 0;
    recorder.copied(copied - seen);
    seen = copied;
  }, COUNTERS_EVERY_MS);
  timer.unref();
  signal.addEventListener('abort', () => {
    clearInterval(timer);
    manager.destroy();
  });
  return manager;
}

/** `host` is the server's address. The link between two hosts is the bench's own, so what is not encrypted may cross it. */
export function trafficOver(transport: string, host: string): Traffic {
  const security = { allowInsecure: true };
  return {
    async serve(task, recorder, signal) {
      const manager = newManager(transport, task, recorder, signal);
      const { address } = await manager.listen(`${transport}://${host}:0`, security);
      void answer(manager, task, recorder);
      return address;
    },

    async drive(task, address, recorder, signal) {
      const manager = newManager(transport, task, recorder, signal);
      const connection = await manager.connect(address, security);
      switch (task.metric) {
        case 'message_rate':
          await sendText(connection, task, signal);
          break;
        case 'message_rtt':
          await exchange(manager, connection, task, recorder, signal);
          break;
        default:
          await transfer(manager, connection, task, recorder, signal);
      }
    },
  };
}

export const traffic = trafficOver('tcp', '127.0.0.1');

/** The server: grants memory, echoes, or counts what arrives. */
async function answer(manager: NetworkManager, task: Case, recorder: Recorder): Promise<void> {
  const buffer = manager.allocate(task.size);
  for await (const message of manager.messages) {
    switch (message.envelope.action) {
      case GRANT:
        await grant(manager, message, task, recorder);
        break;
      case ECHO:
        void echo(message, buffer);
        break;
      case TEXT:
        recorder.delivered(message.envelope.body[0]?.text().length ?? 0);
        break;
    }
    message.release();
  }
}

async function grant(
  manager: NetworkManager,
  message: Message,
  task: Case,
  recorder: Recorder,
): Promise<void> {
  const buffer = touched(manager, task.size);
  const access = task.metric === 'push' ? 'write' : 'read';
  const exposure = message.connection.share(buffer, { access });
  // The exposure keeps the memory until it ends.
  buffer.release();
  await message.reply({ action: `${GRANT}ed`, body: include('buffer-0') }, { buffers: [exposure] });
  void (async () => {
    let told = 0;
    for await (const written of exposure.notifications()) {
      recorder.delivered((written - told) * task.size, written - told);
      told = written;
    }
  })();
}

/** What goes inline is copied before `reply` returns, so one buffer serves every answer. */
function echo(message: Message, buffer: RegisteredBuffer): Promise<unknown> {
  const bytes = message.buffers[0]?.inline;
  if (bytes === undefined || message.envelope.body.length !== 1) throw new Error('the payload is missing');
  bytes.copy(buffer.bytes);
  return message.reply({ action: `${ECHO}ed`, body: include('buffer-0') }, { buffers: [buffer] });
}

async function exchange(
  manager: NetworkManager,
  connection: Connection,
  task: Case,
  recorder: Recorder,
  signal: AbortSignal,
): Promise<void> {
  const buffer = touched(manager, task.size);
  while (!signal.aborted) {
    const begin = performance.now();
    const request = Envelope.of({
      action: ECHO,
      to: 'urn:splitplane:bench:server',
      body: include('buffer-0'),
    });
    const reply = await connection.request(request, { buffers: [buffer] });
    if (reply.buffers[0]?.inline?.length !== task.size) throw new Error('the echo is not what was sent');
    reply.release();
    recorder.roundTrip(begin);
  }
}

/** Pushes, pulls, or reads one at a time, into or out of memory the server granted. */
async function transfer(
  manager: NetworkManager,
  connection: Connection,
  task: Case,
  recorder: Recorder,
  signal: AbortSignal,
): Promise<void> {
  const granted = await connection.request(Envelope.of({ action: GRANT }));
  const remote = granted.buffers[0];
  if (remote === undefined) throw new Error('the server granted nothing');
  const repeat = async (step: (remote: RemoteBuffer, buffer: RegisteredBuffer) => Promise<void>) => {
    const buffer = touched(manager, task.size);
    while (!signal.aborted) await step(remote, buffer);
  };
  if (task.metric === 'read_rtt') {
    await repeat(async (from, into) => {
      const begin = performance.now();
      await from.resolve({ into });
      recorder.roundTrip(begin);
    });
    return;
  }
  // Pushed and pulled out of one buffer, as the peers do.
  const source = touched(manager, task.size);
  const transport = connection.peer.transport === 'rdma' ? 'rdma' : 'tcp';
  const steps = Array.from({ length: transfersInFlight(transport, task.size) }, () =>
    repeat(async (there, here) => {
      if (task.metric === 'push') {
        await there.write(source, { notify: true, checksum: task.checksum });
      } else {
        await there.resolve({ into: here, checksum: task.checksum });
        recorder.delivered(task.size);
      }
    }),
  );
  await Promise.all(steps);
}

async function sendText(connection: Connection, task: Case, signal: AbortSignal): Promise<void> {
  const text = 'x'.repeat(task.size);
  const send = () =>
    connection.send(
      Envelope.of({
        action: TEXT,
        to: 'urn:splitplane:bench:server',
        body: element(NAMESPACE, 'Text', text),
      }),
    );
  const batches = Array.from({ length: BATCHES_IN_FLIGHT }, async () => {
    while (!signal.aborted) {
      await Promise.all(Array.from({ length: SENDS_PER_BATCH }, send));
      await immediate();
    }
  });
  await Promise.all(batches);
}

function touched(manager: NetworkManager, length: number): RegisteredBuffer {
  const buffer = manager.allocate(length);
  buffer.bytes.fill(1);
  return buffer;
}
