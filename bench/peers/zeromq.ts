/**
 * The peer `zeromq`: zeromq.js, messages of the size in question between two sockets over TCP. PUSH/PULL one way, PAIR where
 * there is an answer. It delivers each message whole in a new Buffer; sending and receiving wait in the event loop.
 */
import { setImmediate as immediate } from 'node:timers/promises';
import { KIB, MIB } from '../measurement.js';
import { pairSubject, type Traffic } from '../pair.js';

const PULLS_IN_FLIGHT = 4;
/** Messages that may wait on either side. At 64 bytes a deep queue is faster; at 16 MiB it would be only memory. */
const SMALL_QUEUE = 100_000;
const LARGE_QUEUE = 8;
const SMALL_BYTES_MAX = 64 * KIB;
/** While its queue has room, `send` settles in a microtask and would never let the event loop turn. */
const SENDS_PER_TURN = 256;

export const zeromqSubject = pairSubject({
  name: 'zeromq',
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'push', size: 16 * MIB, mode: 'event' },
    { metric: 'pull', size: MIB, mode: 'event' },
    { metric: 'pull', size: 16 * MIB, mode: 'event' },
    { metric: 'message_rtt', size: 64, mode: 'event' },
    { metric: 'message_rate', size: 64, mode: 'event' },
  ],
  // Not counted: libzmq passes large messages by reference and reads into the message, but the start of each goes through its
  // decoder's buffer.
  libraryCopiesPerByte: null,
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

export const traffic: Traffic = {
  async serve(task, recorder, signal) {
    const make = await sockets(task.size);
    if (task.metric === 'push' || task.metric === 'message_rate') {
      const socket = make.pull();
      await socket.bind('tcp://127.0.0.1:*');
      closeOnAbort(socket, signal);
      void (async () => {
        for await (const [message] of socket) recorder.delivered(message?.length ?? 0);
      })();
      return socket.lastEndpoint ?? '';
    }
    const socket = make.pair();
    await socket.bind('tcp://127.0.0.1:*');
    closeOnAbort(socket, signal);
    const payload = Buffer.alloc(task.size, 1);
    const echoes = task.metric === 'message_rtt';
    void (async () => {
      for await (const request of socket) await socket.send(echoes ? request : payload);
    })();
    return socket.lastEndpoint ?? '';
  },

  async drive(task, address, recorder, signal) {
    const make = await sockets(task.size);
    const payload = Buffer.alloc(task.size, 1);
    if (task.metric === 'push' || task.metric === 'message_rate') {
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
    if (task.metric === 'message_rtt') {
      while (!signal.aborted) {
        const begin = performance.now();
        await socket.send(payload);
        await socket.receive();
        recorder.roundTrip(begin);
      }
      return;
    }
    const request = Buffer.alloc(1);
    for (let i = 0; i < PULLS_IN_FLIGHT; i++) await socket.send(request);
    for await (const [message] of socket) {
      recorder.delivered(message?.length ?? 0);
      await socket.send(request);
    }
  },
};
