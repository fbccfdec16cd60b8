/**
 * The peer `zeromq`: zeromq.js, messages of the size in question between two sockets over TCP. PUSH/PULL one way, PAIR where
 * there is an answer. It delivers each message whole in a new Buffer; sending and receiving wait in the event loop.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import { packageVersion } from '../children.js';
import { CONCURRENCY, KIB, MIB, type Case } from '../measurement.js';
import { pairSubject, type Traffic } from '../pair.js';
import { temporarySocket } from '../temporary.js';

const PULLS_IN_FLIGHT = 4;
/** Messages that may wait on either side. At 64 bytes a deep queue is faster; at 16 MiB it would be only memory. */
const SMALL_QUEUE = 100_000;
const LARGE_QUEUE = 8;
const SMALL_BYTES_MAX = 64 * KIB;
/** While its queue has room, `send` settles in a microtask and would never let the event loop turn. */
const SENDS_PER_TURN = 256;

const SIZES_OF_CURVES = [4 * KIB, 64 * KIB] as const;

export const ZEROMQ = {
  name: 'zeromq',
  // Not counted: libzmq passes large messages by reference and reads into the message, but the start of each goes through its
  // decoder's buffer.
  libraryCopiesPerByte: null,
  version: () => packageVersion('zeromq'),
} as const;

/** Alike over TCP and ipc. */
export const ZEROMQ_CASES: readonly Case[] = [
  ...SIZES_OF_CURVES.map((size): Case => ({ metric: 'pull', size, mode: 'event', brief: true })),
  { metric: 'pull', size: MIB, mode: 'event' },
  { metric: 'pull', size: 16 * MIB, mode: 'event' },
  { metric: 'message_rtt', size: 64, mode: 'event' },
  ...SIZES_OF_CURVES.map((size): Case => ({ metric: 'message_rtt', size, mode: 'event', brief: true })),
  { metric: 'message_rtt', size: MIB, mode: 'event' },
  { metric: 'fetch_rtt', size: MIB, mode: 'event' },
  { metric: 'message_rate', size: 64, mode: 'event' },
  { metric: 'idle_cpu', size: 64, mode: 'event' },
];

export const zeromqSubject = pairSubject({
  ...ZEROMQ,
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'push', size: 16 * MIB, mode: 'event' },
    ...ZEROMQ_CASES,
    { metric: 'contended_rtt', size: 64, mode: 'event' },
    ...CONCURRENCY.map((count): Case => ({
      metric: 'concurrent_pull',
      size: 256 * KIB,
      mode: 'event',
      count,
      brief: true,
    })),
  ],
});

async function sockets(size: number) {
  const { Pair, Pull, Push } = await import('zeromq');
  const queue = size <= SMALL_BYTES_MAX ? SMALL_QUEUE : LARGE_QUEUE;
  const receiving = { linger: 0, receiveHighWaterMark: queue };
  const sending = { linger: 0, sendHighWaterMark: queue };
  return {
    pair: () => new Pair({ ...receiving, ...sending }),
    pull: () => new Pull(receiving),
    push: () => new Push(sending),
  };
}

function closeOnAbort(socket: { close(): void }, signal: AbortSignal): void {
  signal.addEventListener('abort', () => {
    socket.close();
  });
}

const isOneWay = ({ metric }: Case) => metric === 'push' || metric === 'message_rate';
const isEcho = ({ metric }: Case) =>
  metric === 'message_rtt' || metric === 'contended_rtt' || metric === 'idle_cpu';

export const traffic = zeromqTraffic('tcp');

export function zeromqTraffic(transport: 'tcp' | 'ipc'): Traffic {
  return {
    async serve(task, recorder, signal) {
      const at = transport === 'ipc' ? `ipc://${temporarySocket(signal)}` : 'tcp://127.0.0.1:*';
      const make = await sockets(task.size);
      if (isOneWay(task)) {
        const socket = make.pull();
        await socket.bind(at);
        closeOnAbort(socket, signal);
        void (async () => {
          for await (const [message] of socket) recorder.delivered(message?.length ?? 0);
        })();
        return socket.lastEndpoint ?? '';
      }
      const socket = make.pair();
      await socket.bind(at);
      closeOnAbort(socket, signal);
      const payload = Buffer.alloc(task.size, 1);
      void (async () => {
        for await (const request of socket) await socket.send(isEcho(task) ? request : payload);
      })();
      return socket.lastEndpoint ?? '';
    },

    async drive(task, address, recorder, signal) {
      const make = await sockets(task.size);
      const payload = Buffer.alloc(isEcho(task) || isOneWay(task) ? task.size : 1, 1);
      if (isOneWay(task)) {
        const socket = make.push();
        socket.connect(address);
        closeOnAbort(socket, signal);
        for (let sent = 1; !signal.aborted; sent++) {
          await socket.send(payload);
          if (sent % SENDS_PER_TURN === 0) await immediate();
        }
        return;
      }
      const socket = make.pair();
      socket.connect(address);
      closeOnAbort(socket, signal);
      if (task.metric === 'idle_cpu') {
        await socket.send(payload);
        // One echo shows that the connection is there; then nothing happens.
        for await (const [echo] of socket) recorder.delivered(echo?.length ?? 0);
        return;
      }
      if (task.metric.endsWith('_rtt')) {
        while (!signal.aborted) {
          const begin = performance.now();
          await socket.send(payload);
          await socket.receive();
          recorder.roundTrip(begin);
        }
        return;
      }
      const pulls = task.metric === 'concurrent_pull' ? (task.count ?? 1) : PULLS_IN_FLIGHT;
      for (let i = 0; i < pulls; i++) await socket.send(payload);
      for await (const [message] of socket) {
        recorder.delivered(message?.length ?? 0);
        await socket.send(payload);
      }
    },
  };
}
