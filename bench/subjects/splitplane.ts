/**
 * The subject `splitplane`: this project through its public API, in two processes over TCP. Bulk data is pulled out of, or
 * pushed into, one registered buffer of the peer, a few transfers in flight; messages are full SOAP envelopes,
 * in the encoding that connections take by themselves unless text XML is asked for.
 */
import { NetworkManager, XmlSerializer, type RegisteredBuffer } from '../../lib/index.js';
import { CONCURRENCY, KIB, MIB, type Case, type Mode } from '../measurement.js';
import { pairSubject, type PairDefinition, type Traffic } from '../pair.js';
import type { Recorder } from '../recorder.js';
import { sendBatches, takeBatches } from './batches.js';
import { GRANT, grant, transfer } from './bulk.js';
import { connectMany, CONNECTION_COUNTS, CONNECTIONS_MAX, listenForMany } from './connections.js';
import {
  BUFFER,
  bufferReceiver,
  ECHO,
  echo,
  exchange,
  FETCH,
  idle,
  reply,
  sendBuffers,
  sendText,
  TEXT,
} from './messages.js';
import { touched } from './splitplane-words.js';

/** How often copies are asked of the engine's counters. */
const COUNTERS_EVERY_MS = 20;

const MODES: readonly Mode[] = ['event', 'adaptive', 'busy'];

export const splitplane: PairDefinition = {
  name: 'splitplane',
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'push', size: 16 * MIB, mode: 'event' },
    { metric: 'pull', size: 4 * KIB, mode: 'event', brief: true },
    { metric: 'pull', size: 64 * KIB, mode: 'event', brief: true },
    { metric: 'pull', size: MIB, mode: 'event' },
    { metric: 'pull', size: 16 * MIB, mode: 'event' },
    ...CONCURRENCY.map((count): Case => ({
      metric: 'concurrent_pull',
      size: 256 * KIB,
      mode: 'event',
      count,
      brief: true,
    })),
    ...MODES.map((mode): Case => ({ metric: 'message_rtt', size: 64, mode })),
    { metric: 'message_rtt', size: 64, mode: 'adaptive', encoding: 'xml' },
    ...[4 * KIB, 64 * KIB].map((size): Case => ({
      metric: 'message_rtt',
      size,
      mode: 'adaptive',
      brief: true,
    })),
    { metric: 'message_rtt', size: MIB, mode: 'adaptive' },
    { metric: 'fetch_rtt', size: MIB, mode: 'adaptive' },
    ...MODES.map((mode): Case => ({ metric: 'read_rtt', size: 64, mode })),
    { metric: 'contended_rtt', size: 64, mode: 'adaptive' },
    { metric: 'contended_rtt', size: 64, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event', encoding: 'xml' },
    { metric: 'batch_rate', size: 64, mode: 'event' },
    { metric: 'idle_cpu', size: 64, mode: 'event' },
    { metric: 'idle_cpu', size: 64, mode: 'adaptive' },
    { metric: 'idle_cpu', size: 64, mode: 'event', count: CONNECTIONS_MAX },
    ...CONNECTION_COUNTS.map((count): Case => ({
      metric: 'connections_rate',
      size: 64,
      mode: 'event',
      count,
      ...(count === 1 || count === CONNECTIONS_MAX ? {} : { brief: true }),
    })),
    // Of fewer, what two processes differ by anyway is more.
    { metric: 'connections_memory', size: 64, mode: 'event', count: 1000, brief: true },
    { metric: 'connections_memory', size: 64, mode: 'event', count: CONNECTIONS_MAX },
  ],
  // The engine counts its own copies, and the recorder is told.
  libraryCopiesPerByte: 0,
};

export const splitplaneSubject = pairSubject(splitplane);

function newManager(transport: string, task: Case, recorder: Recorder, signal: AbortSignal): NetworkManager {
  const serializers = task.encoding === 'xml' ? [new XmlSerializer()] : undefined;
  const manager = new NetworkManager({ poll: task.mode, identity: 'bench', serializers });
  signal.addEventListener('abort', () => {
    manager.destroy();
  });
  // Whoever is to be idle is not asked how much it has copied.
  if (task.metric === 'idle_cpu' || task.metric === 'connections_memory') return manager;
  let seen = 0;
  const timer = setInterval(() => {
    const copied = manager.stats.transports[transport]?.bytesCopied ?? 0;
    recorder.copied(copied - seen);
    seen = copied;
  }, COUNTERS_EVERY_MS);
  timer.unref();
  signal.addEventListener('abort', () => {
    clearInterval(timer);
  });
  return manager;
}

function isAboutConnections({ metric, count }: Case): boolean {
  return (
    metric === 'connections_rate' ||
    metric === 'connections_memory' ||
    (metric === 'idle_cpu' && count !== undefined)
  );
}

/** `host` is the server's address. The link between two hosts is the bench's own, so what is not encrypted may cross it. */
export function trafficOver(transport: string, host: string): Traffic {
  const security = { allowInsecure: true };
  return {
    async serve(task, recorder, signal) {
      const manager = newManager(transport, task, recorder, signal);
      void answer(manager, task, recorder);
      void takeBatches(manager, task, recorder);
      if (isAboutConnections(task)) return await listenForMany(manager, transport);
      return (await manager.listen(`${transport}://${host}:0`, security)).address;
    },

    async drive(task, address, recorder, signal) {
      const manager = newManager(transport, task, recorder, signal);
      const connection = isAboutConnections(task)
        ? await connectMany(manager, address, task)
        : await manager.connect(address, security);
      switch (task.metric) {
        case 'batch_rate':
          await sendBatches(connection, task, signal);
          break;
        case 'message_rate':
        case 'connections_rate':
          await sendText(connection, task, signal);
          break;
        case 'buffer_rate':
          await sendBuffers(connection, task, signal);
          break;
        case 'message_rtt':
        case 'contended_rtt':
        case 'fetch_rtt':
          await exchange(connection, task, recorder, signal);
          break;
        case 'idle_cpu':
        case 'connections_memory':
          await idle(connection, recorder);
          break;
        default:
          await transfer(connection, task, recorder, signal);
      }
    },
  };
}

export const traffic = trafficOver('tcp', '127.0.0.1');

/** The server: grants memory, answers, or counts what arrives. */
async function answer(manager: NetworkManager, task: Case, recorder: Recorder): Promise<void> {
  // Of the one peer that there is.
  let memory: RegisteredBuffer | undefined;
  const receiveBuffer = bufferReceiver(task, recorder);
  for await (const message of manager.messages) {
    switch (message.envelope.action) {
      case GRANT:
        await grant(message, task, recorder);
        break;
      case ECHO:
        void echo(message, (memory ??= touched(message.connection, task.size)));
        continue;
      case FETCH:
        void reply(message, `${FETCH}ed`, (memory ??= touched(message.connection, task.size)));
        break;
      case TEXT:
        recorder.delivered(message.envelope.body[0]?.text().length ?? 0);
        break;
      case BUFFER:
        await receiveBuffer(message);
        continue;
    }
    message.release();
  }
}
