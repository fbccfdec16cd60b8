/**
 * The peer `node:net`: what a careful user of Node's own sockets reaches. The receiving side dials, because only a dialled socket
 * takes `onread`, which places the bytes straight into the final buffer; large messages leave whole, small ones corked.
 */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setImmediate as immediate } from 'node:timers/promises';
import { CONCURRENCY, KIB, MIB, type Case } from '../measurement.js';
import { pairSubject, type Traffic } from '../pair.js';
import type { Recorder } from '../recorder.js';
import { temporarySocket } from '../temporary.js';

const READ_BYTES = 64 * KIB;
const PULLS_IN_FLIGHT = 4;
/** The next message is queued while one leaves; more make single writes longer, and the loop wait. */
const PUSHES_IN_FLIGHT = 2;
const CORKED_MESSAGES = 1024;

const SIZES_OF_CURVES = [4 * KIB, 64 * KIB] as const;

export const NODE_NET = {
  name: 'node:net',
  // With `onread` the stream neither allocates nor copies.
  libraryCopiesPerByte: 0,
  version: () => Promise.resolve(process.versions.node),
} as const;

/** Alike over TCP and unix sockets. */
export const NODE_NET_CASES: readonly Case[] = [
  ...SIZES_OF_CURVES.map((size): Case => ({ metric: 'pull', size, mode: 'event', brief: true })),
  { metric: 'pull', size: MIB, mode: 'event' },
  { metric: 'pull', size: 16 * MIB, mode: 'event' },
  { metric: 'message_rtt', size: 64, mode: 'event' },
  ...SIZES_OF_CURVES.map((size): Case => ({ metric: 'message_rtt', size, mode: 'event', brief: true })),
  { metric: 'message_rtt', size: MIB, mode: 'event', brief: true },
  { metric: 'fetch_rtt', size: MIB, mode: 'event' },
  { metric: 'message_rate', size: 64, mode: 'event' },
  { metric: 'idle_cpu', size: 64, mode: 'event' },
];

export const nodeNetSubject = pairSubject({
  ...NODE_NET,
  module: import.meta.url,
  cases: [
    { metric: 'push', size: MIB, mode: 'event' },
    { metric: 'push', size: 16 * MIB, mode: 'event' },
    ...NODE_NET_CASES,
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

export const traffic = netTraffic('tcp');

export function netTraffic(family: 'tcp' | 'unix'): Traffic {
  return {
    async serve(task, _recorder, signal) {
      const server = createServer({ noDelay: family === 'tcp' }, (socket) => {
        // The client is ended first; what breaks then is no failure.
        socket.on('error', () => socket.destroy());
        attend(task, socket, signal);
      });
      if (family === 'unix') {
        const path = temporarySocket(signal);
        server.listen(path);
        await once(server, 'listening');
        return path;
      }
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return String((server.address() as AddressInfo).port);
    },

    async drive(task, address, recorder, signal) {
      const receive = task.metric === 'message_rate' ? splitter(task, recorder) : assembler(task, recorder);
      const at =
        family === 'unix' ? { path: address } : { port: Number(address), host: '127.0.0.1', noDelay: true };
      const socket = connect({ ...at, onread: receive.onread });
      await once(socket, 'connect', { signal });
      receive.start(socket);
      signal.addEventListener('abort', () => socket.destroy());
      await once(socket, 'close');
    },
  };
}

function attend(task: Case, socket: Socket, signal: AbortSignal): void {
  const payload = Buffer.alloc(task.size, 1);
  switch (task.metric) {
    case 'push':
      for (let i = 0; i < PUSHES_IN_FLIGHT; i++) sendAgain(socket, payload);
      break;
    case 'pull':
    case 'concurrent_pull':
    case 'fetch_rtt':
      socket.on('data', (requests) => {
        for (let i = 0; i < requests.length; i++) socket.write(payload);
      });
      break;
    case 'message_rate':
      sendMessages(socket, payload, signal).catch(() => socket.destroy());
      break;
    default:
      socket.on('data', (chunk) => socket.write(chunk));
  }
}

function sendAgain(socket: Socket, payload: Buffer): void {
  socket.write(payload, (error) => {
    // Not at once: while the receiver keeps up, writes finish within the call, and the loop would never turn.
    if (!error) setImmediate(sendAgain, socket, payload);
  });
}

async function sendMessages(socket: Socket, payload: Buffer, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    socket.cork();
    for (let i = 0; i < CORKED_MESSAGES; i++) socket.write(payload);
    socket.uncork();
    if (socket.writableNeedDrain) await once(socket, 'drain', { signal });
    // A write that finishes at once drains in a microtask, and would never let the loop turn.
    await immediate();
  }
}

interface Receiver {
  readonly onread: { buffer: () => Uint8Array; callback: (bytes: number, buffer: Uint8Array) => boolean };
  start(socket: Socket): void;
}

/** Fills one final buffer by reads placed one after the other; a full buffer is a message delivered. */
function assembler(task: Case, recorder: Recorder): Receiver {
  const message = Buffer.alloc(task.size, 1);
  const isRoundTrip = task.metric.endsWith('_rtt');
  const asksForMore = task.metric !== 'push' && task.metric !== 'idle_cpu';
  const pulls = task.metric === 'concurrent_pull' ? (task.count ?? 1) : PULLS_IN_FLIGHT;
  const request = isRoundTrip && task.metric !== 'fetch_rtt' ? Buffer.alloc(task.size, 1) : Buffer.alloc(1);
  let filled = 0;
  let begin = 0;
  let socket: Socket | undefined;
  const ask = () => {
    begin = performance.now();
    socket?.write(request);
  };
  return {
    onread: {
      buffer: () => message.subarray(filled, Math.min(filled + READ_BYTES, task.size)),
      callback: (bytes) => {
        filled += bytes;
        if (filled === task.size) {
          filled = 0;
          if (isRoundTrip) recorder.roundTrip(begin);
          else recorder.delivered(task.size);
          if (asksForMore) ask();
        }
        return true;
      },
    },
    start(connected) {
      socket = connected;
      if (task.metric.endsWith('pull')) for (let i = 0; i < pulls; i++) ask();
      if (isRoundTrip) ask();
      // One echo shows that the connection is there; then nothing happens.
      if (task.metric === 'idle_cpu') socket.write(Buffer.alloc(task.size, 1));
    },
  };
}

/** Cuts the stream into messages, each a view that is handed to JavaScript; a message across two reads is put together. */
function splitter(task: Case, recorder: Recorder): Receiver {
  const chunk = Buffer.alloc(READ_BYTES, 1);
  let held = 0;
  let checksum = 0;
  const deliver = (message: Buffer) => {
    checksum = (checksum + message.readUInt8(0)) | 0;
  };
  return {
    onread: {
      buffer: () => chunk.subarray(held),
      callback: (bytes) => {
        const end = held + bytes;
        let at = 0;
        for (; end - at >= task.size; at += task.size) deliver(chunk.subarray(at, at + task.size));
        recorder.delivered(at, at / task.size);
        held = end - at;
        chunk.copyWithin(0, at, end);
        recorder.copied(held);
        return true;
      },
    },
    start: () => undefined,
  };
}
